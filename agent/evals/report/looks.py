"""Which policy looks how: ours stands out, what is always there stays grey, the learned ones take colours in turn.

The colours are those of Okabe and Ito, which the colour-blind can tell apart; from the seventh policy on, lines are
dashed. Names stand at the lines, so that nothing hangs on a colour alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_GREY = {
    "best-single": "fixed",
    "cheapest": "fixed",
    "random": "fixed",
    "constant-arm": "fixed",
    "oracle-point": "oracle",
    "oracle-curve": "oracle",
}
_COLOURS = 6
_OURS = ("ours", "ours second")


def looks(names: Iterable[str]) -> dict[str, str]:
    """Policy → classes of its marks."""
    found: dict[str, str] = {}
    learned = ours = 0
    for name in names:
        if name in _GREY:
            found[name] = _GREY[name]
        elif name.startswith("curveroute"):
            found[name] = _OURS[min(ours, 1)]
            ours += 1
        else:
            found[name] = f"c{learned % _COLOURS}{' second' if learned >= _COLOURS else ''}"
            learned += 1
    return found
