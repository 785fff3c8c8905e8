"""Ridge regression of many heads at once, for every penalty at the price of one.

All heads that were observed on the same queries share one eigendecomposition of the centred design, so a further
penalty, and the leave-one-out prediction of every query under it, costs one matrix product and no refit. With
``Xc = X - mean`` and its right singular vectors ``V`` (squared singular values ``s``), ``Z = Xc V``, the fit is
``y = mean(y) + Z (Z'y / (s + alpha))``, the leverage ``h = 1/n + Z² (1 / (s + alpha))``, and the prediction of row i
without row i is ``y_i - (y_i - fit_i) / (1 - h_i)`` (the PRESS identity; the intercept is not penalised).

Penalties are in units of the mean variance of a feature, so they mean the same for embeddings of any length.
R2-Router (arXiv 2602.02823) fits one ridge regressor per arm in this model's place, at one fixed penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.errors import PredictorError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats, Indices, Mask

RANK_TOLERANCE = 1e-12  # directions whose share of the variance is below rounding carry nothing
KEPT_GROUPS = 2  # each keeps as much memory as the embeddings
FEWEST_ROWS = 2  # a head seen once has nothing to be left out of


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """The heads that were observed on the same rows, and the one factorisation they share."""

    heads: Indices  # (g,) columns of y
    rows: Indices  # (m,) rows of x
    centre: Floats  # (D,)
    directions: Floats  # (D, r) right singular vectors of the centred design
    spectrum: Floats  # (r,) squared singular values
    mean: Floats  # (g,)
    projection: Floats  # (r, g) Z'y
    targets: Floats  # (m, g)


class RidgePath:
    """All ridge fits of the columns of ``y`` on ``x``, whatever the penalty.

    Args:
        x: (n, D) features, finite.
        y: (n, H) targets; NaN where a head was not observed. Heads with the same gaps are fitted together.

    Raises:
        PredictorError: a head that was observed on fewer than two rows.
    """

    def __init__(self, x: ArrayLike, y: ArrayLike) -> None:
        self._x: Floats = np.asarray(x, dtype=np.float64)
        targets: Floats = np.asarray(y, dtype=np.float64)
        self.shape = (int(targets.shape[0]), int(targets.shape[1]))
        self.scale = _mean_variance(self._x)
        self._scores: dict[int, Floats] = {}
        self._groups = [_factorise(self._x, targets, rows, heads) for rows, heads in _patterns(~np.isnan(targets))]

    def loo(self, alpha: ArrayLike, heads: int | None = None) -> Floats:
        """Predict every row without having seen it.

        Where a head was not observed on a row, its ordinary prediction has not seen that row either and stands.

        Args:
            alpha: penalty, one for all heads or (H,); ``inf`` leaves each head its mean.
            heads: only the first so many heads; all when not given.

        Returns:
            (n, heads) predictions, never NaN.
        """
        width = self.shape[1] if heads is None else heads
        predictions = np.empty((self.shape[0], width))
        penalties = self._penalties(alpha)
        for group in self._groups:
            wanted = np.flatnonzero(group.heads < width)
            if wanted.size:
                columns = group.heads[wanted]
                predictions[:, columns] = self._loo_of(group, wanted, penalties[columns])
        return predictions

    def weights(self, alpha: ArrayLike) -> tuple[Floats, Floats]:
        """The fitted heads.

        Args:
            alpha: penalty, one for all heads or (H,).

        Returns:
            (H, D) coefficients and (H,) intercepts, so that a prediction is ``x @ coef.T + intercept``.
        """
        coef, intercept = np.empty((self.shape[1], self._x.shape[1])), np.empty(self.shape[1])
        penalties = self._penalties(alpha)
        for group in self._groups:
            part = group.directions @ (_gains(group, penalties[group.heads]) * group.projection)
            coef[group.heads] = part.T
            intercept[group.heads] = group.mean - group.centre @ part
        return coef, intercept

    def _loo_of(self, group: _Group, wanted: Indices, penalties: Floats) -> Floats:
        gains = _gains(group, penalties[:1] if (penalties == penalties[0]).all() else penalties)
        scores = self._scores_of(group)
        fitted = scores @ (gains * group.projection[:, wanted]) + group.mean[wanted]
        leverage = 1.0 / group.rows.size + np.square(scores[group.rows]) @ gains
        targets = group.targets[:, wanted]
        residual = (targets - fitted[group.rows]) / np.maximum(1.0 - leverage, np.finfo(np.float64).eps)
        fitted[group.rows] = targets - residual
        return np.asarray(fitted)

    def _scores_of(self, group: _Group) -> Floats:
        """(n, r) all rows in the group's directions; kept for the first groups, which mostly are the only ones."""
        first = int(group.heads[0])
        scores = self._scores.get(first)
        if scores is None:
            scores = np.asarray((self._x - group.centre) @ group.directions)
            if len(self._scores) < KEPT_GROUPS:
                self._scores[first] = scores
        return scores

    def _penalties(self, alpha: ArrayLike) -> Floats:
        return np.broadcast_to(np.asarray(alpha, dtype=np.float64), (self.shape[1],)) * self.scale


def _gains(group: _Group, penalties: Floats) -> Floats:
    """(r, g) ``1 / (s + alpha)``."""
    return np.asarray(1.0 / (group.spectrum[:, None] + penalties))


def _mean_variance(x: Floats) -> float:
    variance = float(np.mean(np.var(x, axis=0))) if x.size else 0.0
    return variance if variance > 0.0 else 1.0


def _patterns(observed: Mask) -> list[tuple[Indices, Indices]]:
    """Rows and heads of each pattern of gaps."""
    by_pattern: dict[bytes, list[int]] = {}
    for head in range(observed.shape[1]):
        by_pattern.setdefault(observed[:, head].tobytes(), []).append(head)
    return [(np.flatnonzero(observed[:, heads[0]]), np.array(heads, dtype=np.intp)) for heads in by_pattern.values()]


def _factorise(x: Floats, y: Floats, rows: Indices, heads: Indices) -> _Group:
    if rows.size < FEWEST_ROWS:
        raise PredictorError(
            f"head {int(heads[0])} was observed on {rows.size} queries and needs at least {FEWEST_ROWS}: "
            "collect more answers of that arm, or leave it out of the training table"
        )
    centre = x[rows].mean(axis=0)
    design = x[rows] - centre
    targets = y[np.ix_(rows, heads)]
    mean = targets.mean(axis=0)
    spectrum, directions = _spectrum(design)
    projection = directions.T @ (design.T @ (targets - mean))
    return _Group(heads, rows, centre, directions, spectrum, mean, projection, targets)


def _spectrum(design: Floats) -> tuple[Floats, Floats]:
    """Squared singular values (r,) and right singular vectors (D, r), from the smaller of the two Gram matrices."""
    rows, features = design.shape
    wide = rows < features
    spectrum, vectors = np.linalg.eigh(design @ design.T if wide else design.T @ design)
    kept = spectrum > RANK_TOLERANCE * max(float(spectrum[-1]), np.finfo(np.float64).tiny)
    spectrum, vectors = spectrum[kept], vectors[:, kept]
    if wide:
        vectors = design.T @ vectors / np.sqrt(spectrum)
    return spectrum, vectors
