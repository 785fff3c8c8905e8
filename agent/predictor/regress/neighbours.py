"""Nearest neighbours: a query is answered by the queries that point the same way.

CARROT-KNN (arXiv 2502.03261) with its released settings: cosine, equal weights, and one number of neighbours for all
targets, a power of two up to 512, chosen by the mean R² over targets. There five folds are refitted for the choice;
here each row is left out in turn, which costs nothing more than ignoring it as its own neighbour. Similarities are
computed a block of rows at a time, so memory grows with the block and not with the square of the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.predictor.regress.regressor import head_means, share_left

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats, Indices, Singles

COUNTS = tuple(2**power for power in range(1, 10))
BLOCK_ROWS = 128
ROW_BYTES = 1 << 26  # neighbours' targets held at a time


class Neighbours:
    """Mean of the nearest training rows, by cosine.

    Args:
        counts: numbers of neighbours to choose from; those above the number of other rows count as all of them.

    Attributes:
        count_: the number chosen.
        means_: (H,) of all rows: what is said where none of the neighbours was observed, or the query has no direction.
    """

    count_: int
    means_: Floats

    def __init__(self, *, counts: Sequence[int] = COUNTS) -> None:
        self.counts = counts

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Keep the rows, and choose the number of neighbours.

        Args:
            x: (n, D).
            y: (n, H) with gaps.
        """
        self._x = _directions(x)
        targets = np.asarray(y, dtype=np.float64)
        self._y: Singles = targets.astype(np.float32)
        self.means_ = head_means(targets)
        others = self._y.shape[0] - 1
        counts = sorted({min(count, others) for count in self.counts})
        if others == 0:
            self.count_, self._left_out = 1, self.means_[None, :]
            return self
        tried = self._curves(self._x, counts, itself=True)
        best = int(np.argmin([share_left(targets, predicted) for predicted in tried]))
        self.count_, self._left_out = counts[best], np.asarray(tried[best], dtype=np.float64)
        return self

    def predict(self, x: ArrayLike) -> Floats:
        """(m, H) for (m, D)."""
        return np.asarray(self._curves(_directions(x), [self.count_], itself=False)[0], dtype=np.float64)

    def predict_left_out(self) -> Floats:
        """(n, H) means of the nearest other rows."""
        return self._left_out

    def _curves(self, x: Singles, counts: list[int], *, itself: bool) -> Singles:
        """(len(counts), m, H) predictions for each number of neighbours, in rising order."""
        curves = np.empty((len(counts), x.shape[0], self._y.shape[1]), dtype=np.float32)
        for rows, nearest in self._nearest(x, counts[-1], itself=itself):
            curves[:, rows] = self._averaged(nearest, counts)
        curves[:, ~x.any(axis=1)] = self.means_
        return curves

    def _nearest(self, x: Singles, count: int, *, itself: bool) -> Iterator[tuple[slice, Indices]]:
        """(b, count) training rows, nearest first, for each block of rows; not the row itself where it is one."""
        step = max(1, min(BLOCK_ROWS, ROW_BYTES // (4 * count * self._y.shape[1])))
        for start in range(0, x.shape[0], step):
            rows = slice(start, min(start + step, x.shape[0]))
            away = -(x[rows] @ self._x.T)
            if itself:
                away[np.arange(rows.stop - start), np.arange(start, rows.stop)] = np.inf
            near = np.argpartition(away, count - 1, axis=1)[:, :count]
            order = np.argsort(np.take_along_axis(away, near, axis=1), axis=1, kind="stable")
            yield rows, np.take_along_axis(near, order, axis=1)

    def _averaged(self, nearest: Indices, counts: list[int]) -> Singles:
        """(len(counts), b, H) means over the first so many neighbours that were observed."""
        held = self._y[nearest]
        seen = ~np.isnan(held)
        places = np.array(counts) - 1
        total = np.where(seen, held, 0.0).cumsum(axis=1, dtype=np.float32)[:, places]
        number = seen.cumsum(axis=1, dtype=np.int32)[:, places]
        means = np.where(number > 0, total / np.maximum(number, 1), self.means_)
        return np.asarray(means.transpose(1, 0, 2), dtype=np.float32)


def _directions(x: ArrayLike) -> Singles:
    """Rows of unit length; a row of zeros stays one."""
    rows = np.asarray(x, dtype=np.float32)
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.where(length > 0.0, length, 1.0))
