"""Ridge heads with a penalty of their own each, chosen by leave-one-out error, or one fixed for all.

An adaptor of ``RidgePath``, whose penalties are in units of the mean variance of a feature. ``absolute=True`` takes
them as they are, so that ``Ridge(alpha=10.0, absolute=True)`` is the regressor of R2-Router (arXiv 2602.02823 and its
released code: scikit-learn's ``Ridge(alpha=10)`` on raw embeddings), and ``alpha=0`` is ordinary least squares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.predictor.regress.regressor import head_means, left_out_means, squared_error
from curveroute.agent.predictor.ridge import FEWEST_ROWS, RidgePath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats, Indices

ALPHAS = (10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, np.inf)


class Ridge:
    """Linear heads with an unpenalised intercept.

    Args:
        alpha: the penalty, or several of which each head takes the one with the least leave-one-out error.
        absolute: whether penalties count as they are instead of in units of the mean variance of a feature.

    Attributes:
        alpha_: (H,) each head's penalty, in the units given.
        coef_: (H, D).
        intercept_: (H,), NaN for a head that was never observed.
    """

    alpha_: Floats
    coef_: Floats
    intercept_: Floats

    def __init__(self, *, alpha: float | Sequence[float] = ALPHAS, absolute: bool = False) -> None:
        self.alpha = alpha
        self.absolute = absolute

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Fit all heads; one that was observed on a single row, or on none, keeps its mean.

        Args:
            x: (n, D).
            y: (n, H) with gaps.
        """
        rows, targets = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        heads = targets.shape[1]
        self.alpha_, self.coef_ = np.full(heads, np.inf), np.zeros((heads, rows.shape[1]))
        self.intercept_ = head_means(targets)
        self._left_out = left_out_means(targets)
        learned = np.flatnonzero((~np.isnan(targets)).sum(axis=0) >= FEWEST_ROWS)
        if learned.size:
            self._fit(RidgePath(rows, targets[:, learned]), targets[:, learned], learned)
        return self

    def predict(self, x: ArrayLike) -> Floats:
        """(m, H) for (m, D)."""
        return np.asarray(np.asarray(x, dtype=np.float64) @ self.coef_.T + self.intercept_)

    def predict_left_out(self) -> Floats:
        """(n, H) in closed form, under the chosen penalties; see ``RidgePath.loo``.

        Without a penalty and with no more rows than features a fit goes through every point, and what it would say
        of a point it has not seen cannot be read off it: refit on folds instead.
        """
        return self._left_out

    def _fit(self, path: RidgePath, targets: Floats, heads: Indices) -> None:
        unit = path.scale if self.absolute else 1.0
        tried = np.atleast_1d(np.asarray(self.alpha, dtype=np.float64))
        alpha, left_out = _choose(path, targets, tried / unit)
        self.alpha_[heads] = alpha * unit
        self.coef_[heads], self.intercept_[heads] = path.weights(alpha)
        self._left_out[:, heads] = left_out


def _choose(path: RidgePath, targets: Floats, alphas: Floats) -> tuple[Floats, Floats]:
    """Each head's penalty with the least leave-one-out error (H,), and the predictions under it (n, H)."""
    alpha = np.full(targets.shape[1], alphas[0])
    best = path.loo(alphas[0])
    errors = squared_error(targets, best)
    for one in alphas[1:]:
        predicted = path.loo(one)
        error = squared_error(targets, predicted)
        better = error < errors
        alpha[better], errors[better], best[:, better] = one, error[better], predicted[:, better]
    return alpha, best
