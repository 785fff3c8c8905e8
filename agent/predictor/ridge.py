"""Ridge regression of many heads at once, for every penalty at the price of one.

All heads that were observed on the same queries share one eigendecomposition of the centred Gram matrix, so a further
penalty, its generalised cross-validation, and the leave-one-out prediction of every query under it, need no refit. With
``Xc = X - mean``, the eigenvectors ``V`` and eigenvalues ``s`` of ``Xc'Xc``, ``Z = Xc V``, ``p = Z'y`` and
``g = 1 / (s + alpha)``, the fit is ``mean(y) + Z (g p)``, its residual sum of squares ``y'y - sum(p² (2g - s g²))``,
its degrees of freedom ``1 + sum(s g)``, the leverage of a row ``1/n + Z² g``, and the prediction of row i without row
i ``y_i - (y_i - fit_i) / (1 - h_i)`` (the PRESS identity; the intercept is not penalised).

Penalties are in units of the mean variance of a feature, so they mean the same for embeddings of any length.
R2-Router (arXiv 2602.02823) fits one ridge regressor per arm in this model's place, at one fixed penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.errors import PredictorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats, Indices, Mask

RANK_TOLERANCE = 1e-12  # directions whose share of the variance is below rounding carry nothing
FEWEST_ROWS = 2  # a head seen once has nothing to be left out of
KEPT_SCORES = 40_000_000  # cells of Z that are kept for the next penalty: 320 MB
BLOCK_ROWS = 8192


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """The heads that were observed on the same rows, and the one factorisation they share."""

    heads: Indices  # (g,) columns of y
    rows: Indices  # (m,) rows of x
    centre: Floats  # (D,)
    directions: Floats  # (D, r) eigenvectors of the centred Gram matrix
    spectrum: Floats  # (r,) its eigenvalues
    mean: Floats  # (g,)
    projection: Floats  # (r, g) Z'y
    total: Floats  # (g,) centred y'y


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
        self._y: Floats = np.asarray(y, dtype=np.float64)
        self.shape = (int(self._y.shape[0]), int(self._y.shape[1]))
        self._kept: list[tuple[tuple[int, int], bytes, Floats]] = []
        observed = ~np.isnan(self._y)
        self._groups = [_factorise(self._x, self._y, rows, heads) for rows, heads in _patterns(observed)]
        self.scale = _mean_variance(self._x, self._groups)

    def gram(self) -> tuple[Floats, Floats, Floats]:
        """Of all rows: their centre (D,), and (D, r) eigenvectors and (r,) eigenvalues of the centred Gram matrix."""
        whole = next((group for group in self._groups if group.rows.size == self.shape[0]), None)
        if whole is not None:
            return whole.centre, whole.directions, whole.spectrum
        centre = self._x.mean(axis=0)
        spectrum, directions = _spectrum(self._x, centre)
        return centre, directions, spectrum

    def gcv(self, alphas: Sequence[float]) -> Floats:
        """Each head's penalty with the least generalised cross-validation error (Golub, Heath and Wahba 1979).

        Args:
            alphas: penalties to choose from; ``inf`` is always tried.

        Returns:
            (H,) penalties. Costs no pass over the rows.
        """
        chosen, least = np.full(self.shape[1], np.inf), np.full(self.shape[1], np.inf)
        for alpha in (np.inf, *sorted(alphas, reverse=True)):
            for group in self._groups:
                error = _gcv_of(group, alpha * self.scale)
                better = error < least[group.heads] * (1.0 - RANK_TOLERANCE)
                chosen[group.heads[better]], least[group.heads[better]] = alpha, error[better]
        return chosen

    def loo(self, alpha: ArrayLike, heads: int | slice | None = None, rows: Indices | None = None) -> Floats:
        """Predict rows without having seen them.

        Where a head was not observed on a row, its ordinary prediction has not seen that row either and stands.

        Args:
            alpha: penalty, one for all heads or (H,); ``inf`` leaves each head its mean.
            heads: only the first so many heads, or a slice of them; all when not given.
            rows: only these rows; all when not given.

        Returns:
            (rows, heads) predictions, never NaN.
        """
        asked = np.zeros(self.shape[1], dtype=np.bool_)
        asked[heads if isinstance(heads, slice) else slice(heads)] = True
        wanted = np.arange(self.shape[0]) if rows is None else rows
        predictions = np.empty((wanted.size, self.shape[1] if asked.all() else int(asked.sum())))
        penalties, place = self._penalties(alpha), np.cumsum(asked) - 1
        for group in self._groups:
            here = np.flatnonzero(asked[group.heads])
            if here.size:
                columns = group.heads[here]
                self._loo_of(group, here, penalties[columns], wanted, (predictions, place[columns]))
        return predictions

    def weights(self, alpha: ArrayLike, heads: int | None = None) -> tuple[Floats, Floats]:
        """The fitted heads.

        Args:
            alpha: penalty, one for all heads or (H,).
            heads: only the first so many heads; all when not given.

        Returns:
            (heads, D) coefficients and (heads,) intercepts, so that a prediction is ``x @ coef.T + intercept``.
        """
        width = self.shape[1] if heads is None else heads
        coef, intercept = np.empty((width, self._x.shape[1])), np.empty(width)
        penalties = self._penalties(alpha)
        for group in self._groups:
            here = np.flatnonzero(group.heads < width)
            columns = group.heads[here]
            part = group.directions @ (_gains(group, penalties[columns]) * group.projection[:, here])
            coef[columns] = part.T
            intercept[columns] = group.mean[here] - group.centre @ part
        return coef, intercept

    def _loo_of(
        self, group: _Group, here: Indices, penalties: Floats, rows: Indices, out: tuple[Floats, Indices]
    ) -> None:
        """Fill the columns of an array that are the group's."""
        filled, places = out
        columns, mean = group.heads[here], group.mean[here]
        gains = _gains(group, penalties[:1] if (penalties == penalties[0]).all() else penalties)
        weights = gains * group.projection[:, here]
        for part, scores in self._scores(group, rows):
            fitted = scores @ weights + mean
            leverage = np.square(scores) @ gains + 1.0 / group.rows.size
            targets = self._y[np.ix_(rows[part], columns)]
            left = targets - (targets - fitted) / np.maximum(1.0 - leverage, np.finfo(np.float64).eps)
            filled[part, places] = np.where(np.isnan(left), fitted, left)

    def _scores(self, group: _Group, rows: Indices) -> Iterator[tuple[slice, Floats]]:
        """Blocks of the rows in the group's directions; what was computed last is kept while it is small."""
        key, mark = (int(group.heads[0]), rows.size), rows.tobytes()
        kept = next((scores for one, other, scores in self._kept if one == key and other == mark), None)
        if kept is None and rows.size * group.spectrum.size <= KEPT_SCORES:
            kept = np.asarray((self._x[rows] - group.centre) @ group.directions)
            room = KEPT_SCORES - kept.size
            self._kept = [one for one in self._kept[-1:] if one[2].size <= room] + [(key, mark, kept)]
        for start in range(0, rows.size, BLOCK_ROWS):
            part = slice(start, min(start + BLOCK_ROWS, rows.size))
            if kept is not None:
                yield part, kept[part]
            else:
                yield part, np.asarray((self._x[rows[part]] - group.centre) @ group.directions)

    def _penalties(self, alpha: ArrayLike) -> Floats:
        return np.broadcast_to(np.asarray(alpha, dtype=np.float64), (self.shape[1],)) * self.scale


def _gains(group: _Group, penalties: Floats) -> Floats:
    """(r, g) ``1 / (s + alpha)``."""
    return np.asarray(1.0 / (group.spectrum[:, None] + penalties))


def _gcv_of(group: _Group, penalty: float) -> Floats:
    """(g,) generalised cross-validation error."""
    gains, count = 1.0 / (group.spectrum + penalty), group.rows.size
    explained = (2.0 * gains - group.spectrum * np.square(gains)) @ np.square(group.projection)
    freedom = 1.0 - (1.0 + group.spectrum @ gains) / count
    if freedom <= RANK_TOLERANCE:  # it interpolates: nothing is left to judge it by
        return np.full(group.heads.size, np.inf)
    return np.asarray(np.maximum(group.total - explained, 0.0) / count / freedom**2)


def _mean_variance(x: Floats, groups: list[_Group]) -> float:
    """Of the features over all rows; a group that holds all rows has it in its spectrum."""
    if not x.size:
        return 1.0
    whole = next((group for group in groups if group.rows.size == x.shape[0]), None)
    if whole is not None:
        return float(whole.spectrum.sum()) / x.size or 1.0
    variance = float(np.var(x, axis=0).mean())
    return variance if variance > RANK_TOLERANCE * float(np.square(x).mean()) else 1.0


def _patterns(observed: Mask) -> list[tuple[Indices, Indices]]:
    """Rows and heads of each pattern of gaps."""
    if observed.all():
        return [(np.arange(observed.shape[0]), np.arange(observed.shape[1]))] if observed.shape[1] else []
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
    whole = rows.size == x.shape[0]
    seen = x if whole else x[rows]
    targets = y if whole and heads.size == y.shape[1] else y[np.ix_(rows, heads)]
    mean, centre = targets.mean(axis=0), seen.mean(axis=0)
    spectrum, directions = _spectrum(seen, centre)
    cross = seen.T @ targets - rows.size * np.outer(centre, mean)  # no centred copies of many rows
    total = np.maximum(np.einsum("ij,ij->j", targets, targets) - rows.size * np.square(mean), 0.0)
    return _Group(heads, rows, centre, directions, spectrum, mean, directions.T @ cross, total)


def _spectrum(seen: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues (r,) and eigenvectors (D, r) of the centred Gram matrix, from the smaller of the two."""
    rows, features = seen.shape
    wide = rows < features
    if wide:
        design = seen - centre
        gram, size = design @ design.T, float(np.vdot(seen, seen))
    else:
        gram = seen.T @ seen  # no centred copy of many rows: the mean's part is taken out afterwards
        size = float(np.trace(gram))
        gram -= rows * np.outer(centre, centre)
    spectrum, vectors = np.linalg.eigh(gram)
    kept = spectrum > RANK_TOLERANCE * max(size, np.finfo(np.float64).tiny)
    spectrum, vectors = spectrum[kept], vectors[:, kept]
    if wide:
        vectors = design.T @ vectors / np.sqrt(spectrum)
    return spectrum, vectors
