"""Flips: where a choice among straight lines changes with the tradeoff, and how decisions are told in a run's terms.

Pure.
"""

from __future__ import annotations

from itertools import compress, starmap
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from curveroute.agent.types import Flip, Rejection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.types import Arm

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]

_DIGITS = 4
_TIE = 1e-12


class Overtaking(NamedTuple):
    """Where a line is overtaken, and by which; ``None`` where several do so within a hair of each other."""

    tradeoff: float
    line: int | None


def overtaken(
    gain: Floats, price: Floats, tradeoff: float, watched: int | Indices, *, up: bool, hair: float = _TIE
) -> Overtaking | None:
    """Where one of some straight lines ``(1 - λ) * gain - λ * price`` is next overtaken by any other; None for nowhere.

    Equal lines never cross.

    Args:
        gain: (N,) of every line; NaN for one that is not in the race.
        price: (N,) in the same units.
        tradeoff: λ to begin at.
        watched: one line, or (n, 1) several.
        up: whether to look above λ, or below.
        hair: tradeoffs that are not told apart.
    """
    ahead = gain[watched] - gain  # at λ = 0
    slope = ahead + (price[watched] - price)  # the lead of a watched line falls with λ where this is positive
    with np.errstate(divide="ignore", invalid="ignore"):
        at = ahead / slope
    if up:
        far = np.where((slope > 0.0) & (at >= max(tradeoff - _TIE, 0.0)) & (at <= 1.0), at, np.inf)
    else:
        far = -np.where((slope < 0.0) & (at <= min(tradeoff + _TIE, 1.0)) & (at >= 0.0), at, -np.inf)
    place = int(far.argmin())
    nearest = far.flat[place]
    if nearest == np.inf:
        return None
    alone = np.count_nonzero(far <= nearest + hair) == 1
    return Overtaking(float(nearest if up else -nearest) + 0.0, place % gain.size if alone else None)


def named_flips(found: Sequence[tuple[float, tuple[int, ...]]], arms: Sequence[Arm]) -> tuple[Flip, ...]:
    """Flips in the terms of a run, from choices that are indices of ``arms``."""
    return tuple(Flip(at, tuple(arms[index] for index in chosen)) for at, chosen in found)


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
