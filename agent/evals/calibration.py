"""How far estimated qualities can be believed: reliability in ten equal bins, their error, and the Brier score.

Bins have equal widths, not equal masses, so that they are the same for every policy and every seed: counts then add
up, and one reliability diagram can be laid over another. An empty bin weighs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats

BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Sums over estimates, in bins of the estimate.

    Attributes:
        count: (10,) estimates in each bin.
        estimated: (10,) sum of the estimates.
        observed: (10,) sum of the qualities that came.
        squared_error: sum over all of (estimate - quality)².
    """

    count: Floats
    estimated: Floats
    observed: Floats
    squared_error: float

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.count + other.count,
            self.estimated + other.estimated,
            self.observed + other.observed,
            self.squared_error + other.squared_error,
        )

    @property
    def error(self) -> float:
        """Expected calibration error: |mean estimate - mean quality| of a bin, weighed by its count; NaN of none."""
        return float(np.abs(self.estimated - self.observed).sum() / self._total())

    @property
    def brier(self) -> float:
        """Mean squared error of the estimates; NaN of none."""
        return self.squared_error / self._total()

    def _total(self) -> float:
        return float(self.count.sum()) or np.nan


def reliability(estimate: ArrayLike, quality: ArrayLike) -> Reliability:
    """Estimates beside what came of them; pairs in which either is NaN are not there.

    Args:
        estimate: (…) in [0, 1].
        quality: (…) in [0, 1].
    """
    guess, truth = (np.asarray(value, dtype=np.float64).ravel() for value in np.broadcast_arrays(estimate, quality))
    there = np.isfinite(guess) & np.isfinite(truth)
    guess, truth = guess[there], truth[there]
    place = np.clip((guess * BINS).astype(np.intp), 0, BINS - 1)
    count, estimated, observed = (
        np.bincount(place, weights=weights, minlength=BINS).astype(np.float64)
        for weights in (np.ones_like(guess), guess, truth)
    )
    return Reliability(count, estimated, observed, float(((guess - truth) ** 2).sum()))
