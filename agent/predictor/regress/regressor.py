"""What every head offers, whatever is behind it: many targets at once, with gaps, from one matrix of features.

A head is a column of ``y``. One that was never observed predicts NaN, so that no policy can mistake silence for an
estimate; whoever routes leaves its arm out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats


class Regressor(Protocol):
    """Fits H heads on D features. ``__init__`` only stores; what is fitted ends in an underscore."""

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Fit all heads.

        Args:
            x: (n, D) features, finite.
            y: (n, H) targets, NaN where a head was not observed.
        """

    def predict(self, x: ArrayLike) -> Floats:
        """(m, H) predictions for (m, D) features; NaN for heads that were never observed."""


@runtime_checkable
class LeavesOut(Protocol):
    """A regressor that knows what it would have said of each training row without having seen it."""

    def predict_left_out(self) -> Floats:
        """(n, H) predictions of the training rows, each made without that row's targets."""


def head_means(y: Floats) -> Floats:
    """(H,) mean of each column of (n, H) over its observed rows, NaN where there is none."""
    observed = ~np.isnan(y)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(observed, y, 0.0).sum(axis=0) / observed.sum(axis=0))


def left_out_means(y: Floats) -> Floats:
    """(n, H) mean of each column over its other observed rows; of all of them where there are no others."""
    observed = ~np.isnan(y)
    filled = np.where(observed, y, 0.0)
    rest = observed.sum(axis=0) - observed
    return np.asarray(np.where(rest > 0, (filled.sum(axis=0) - filled) / np.maximum(rest, 1), head_means(y)))


def squared_error(y: Floats, predicted: Floats) -> Floats:
    """(H,) mean squared error of each head over its observed rows, NaN where there is none."""
    return head_means(np.square(y - predicted))


def share_left(y: Floats, predicted: Floats) -> float:
    """Share of variance that (n, H) predictions leave, averaged over the heads that vary: one minus the mean R²."""
    variance = squared_error(y, np.broadcast_to(head_means(y), y.shape))
    varied = variance > 0.0
    return float((squared_error(y, predicted)[varied] / variance[varied]).mean()) if varied.any() else 0.0
