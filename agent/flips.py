"""Flips: the nearest tradeoffs, below and above a run's own, at which a step would have chosen otherwise.

Pure, and blind to what is chosen: a choice is anything that can be compared. Tradeoffs are told in thousandths, because
nobody sets a finer one. What is promised: at a flip the choice differs, and one thousandth nearer to the run's tradeoff
it does not. A choice that differs only between two neighbours of the grid, and not at them, is passed over.
"""

from __future__ import annotations

import math
from itertools import compress, starmap
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from curveroute.agent.types import Flip, Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from curveroute.agent.types import Arm

Choice = TypeVar("Choice")
Floats: TypeAlias = NDArray[np.float64]

FINEST = 1000  # tradeoffs are told in thousandths
GRID = tuple(
    thousandth / FINEST for thousandth in (0, 1, 2, 5, 10, 20, *range(50, 951, 50), 980, 990, 995, 998, 999, 1000)
)
_DIGITS = 4
_TIE = 1e-12


def flips_of(
    choose: Callable[[float], Choice], tradeoff: float, grid: Sequence[float] = GRID
) -> tuple[tuple[float, Choice], ...]:
    """The nearest tradeoffs below and above at which ``choose`` differs, and what it chooses there.

    Scans the grid outward from the run's tradeoff, and halves the first gap behind which the choice is another one.

    Args:
        choose: the choice at a tradeoff; called about 30 times when nothing changes.
        tradeoff: the run's own λ, in [0, 1].
        grid: where to look; a finer one finds what changes and changes back.

    Returns:
        At most two pairs, the lower tradeoff first.
    """
    own = choose(tradeoff)
    found = []
    for side in _sides(tradeoff, grid):
        same: int | None = None  # the last thousandth on this side that chose alike
        for thousandth in side:
            if choose(thousandth / FINEST) != own:
                at = _halved(choose, own, _beside(tradeoff, thousandth) if same is None else same, thousandth)
                found.append((at / FINEST, choose(at / FINEST)))
                break
            same = thousandth
    return tuple(sorted(found, key=lambda pair: pair[0]))


def flips_from(
    choices: Sequence[Choice], tradeoff: float, grid: Sequence[float], *, own: Choice
) -> tuple[tuple[float, Choice], ...]:
    """The same from choices that were all made at once, one for each tradeoff of the grid; exact to the grid alone."""
    by_tradeoff = sorted(zip(grid, choices, strict=True), key=lambda pair: pair[0])
    below = [(at, choice) for at, choice in by_tradeoff if at < tradeoff and choice != own]
    above = [(at, choice) for at, choice in by_tradeoff if at > tradeoff and choice != own]
    return (*below[-1:], *above[:1])


class Crossings(NamedTuple):
    """Where another choice overtakes, and which: an index, or ``None`` for stopping. ``None`` for both: nowhere."""

    below: tuple[float, int | None] | None
    above: tuple[float, int | None] | None


def crossings(gain: Floats, price: Floats, tradeoff: float, chosen: int | None, *, may_stop: bool = True) -> Crossings:
    """Exact flips of a rule that maximises ``(1 - λ) * gain - λ * price``, as one pass over the arms.

    Each arm is a straight line in λ, and stopping is the line at 0, so the choice changes where its line is first
    crossed on either side. Arms that may not be asked have a gain of NaN. Equal lines never cross.

    Args:
        gain: (A,) expected gain.
        price: (A,) price in the same units.
        tradeoff: the run's own λ.
        chosen: index of the chosen arm; ``None`` when the rule stopped.
        may_stop: stopping is a choice too; not before the first answer.
    """
    stop = np.array((0.0 if may_stop else np.nan,))
    gains, prices = np.concatenate((gain, stop)), np.concatenate((price, stop))
    own = gain.size if chosen is None else chosen
    ahead = gains[own] - gains  # at λ = 0
    slope = ahead + (prices[own] - prices)  # the lead of the chosen line falls with λ where this is positive
    with np.errstate(divide="ignore", invalid="ignore"):
        at = ahead / slope
    below = np.where((slope < 0.0) & (at >= 0.0) & (at <= min(tradeoff + _TIE, 1.0)), at, -np.inf)
    above = np.where((slope > 0.0) & (at <= 1.0) & (at >= max(tradeoff - _TIE, 0.0)), at, np.inf)
    return Crossings(_at(below, int(below.argmax()), gain.size), _at(above, int(above.argmin()), gain.size))


def named_flips(
    found: Sequence[tuple[float, tuple[int, ...]]],
    arms: Sequence[Arm],
    reason: Callable[[tuple[int, ...]], str] = lambda _: "",
) -> tuple[Flip, ...]:
    """Flips in the terms of a run, from choices that are indices of ``arms``; with a reason where there is one."""
    return tuple(Flip(at, tuple(arms[index] for index in chosen), reason(chosen)) for at, chosen in found)


def rejections(
    arms: Sequence[Arm], reasons: Sequence[str], *, net_gain: Floats, gain: Floats, price: Floats, probability: Floats
) -> tuple[Rejection, ...]:
    """Every arm that has a reason against it, with its figures to four decimals; ``None`` for what is not finite.

    Figures are rounded here, where they are made, so that the ledger can be small and still hold what was decided.
    """
    figures = _figures(np.array((net_gain, gain, price, probability), dtype=np.float64))
    rows = compress(zip(arms, reasons, *figures, strict=True), reasons)
    return tuple(starmap(Rejection, rows))


def _figures(columns: Floats) -> list[list[float | None]]:
    values = columns.round(_DIGITS) + 0.0  # no negative zero
    finite = np.isfinite(values)
    if finite.all():
        return cast("list[list[float | None]]", values.tolist())
    found = np.full(values.shape, None)
    found[finite] = values[finite]
    return cast("list[list[float | None]]", found.tolist())


def _sides(tradeoff: float, grid: Sequence[float]) -> tuple[list[int], list[int]]:
    """The grid in thousandths below the tradeoff and above it, nearest first."""
    points = sorted({round(point * FINEST) for point in grid})
    own = tradeoff * FINEST
    return [point for point in reversed(points) if point < own], [point for point in points if point > own]


def _beside(tradeoff: float, towards: int) -> int:
    """The tradeoff itself in thousandths, or where it is none the neighbour that lies further from ``towards``."""
    own = tradeoff * FINEST
    near = round(own)
    if math.isclose(own, near, abs_tol=1e-9):
        return near
    return math.ceil(own) if towards < own else math.floor(own)


def _halved(choose: Callable[[float], Choice], own: Choice, same: int, other: int) -> int:
    """The thousandth nearest to ``same`` of a boundary between it and ``other``, on the side of ``other``."""
    while abs(other - same) > 1:
        middle = (same + other) // 2
        if choose(middle / FINEST) == own:
            same = middle
        else:
            other = middle
    return other


def _at(values: Floats, place: int, arms: int) -> tuple[float, int | None] | None:
    if not math.isfinite(values[place]):
        return None
    return float(values[place]), None if place == arms else place
