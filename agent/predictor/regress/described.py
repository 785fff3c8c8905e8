"""Heads described by what they got wrong: a model joins from its answers to a validation set alone.

UniRouter (arXiv 2502.08773, "Universal Model Routing for Efficient LLM Inference", its cluster-based variant): training
queries are clustered by their embeddings, a model is the vector of its mean errors in each cluster, and a query is
expected to fare with a model as its cluster did. The clusters never see an answer, so a model that comes later needs
no refit. Means are plain, as in the paper; a cluster with no observed row says what the model does on average. The
number of clusters is chosen by held-out error: clusters are blind to targets, so leaving a row out of its cluster's
mean is exact and free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.predictor.regress.clusters import assign, k_means
from curveroute.agent.predictor.regress.regressor import head_means, left_out_means, share_left

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats, Indices, Singles

COUNTS = (4, 8, 16, 32, 64, 128, 256)
MEMBERS = 8  # of a cluster, at least on average


class Described:
    """Mean of a query's cluster.

    Args:
        counts: numbers of clusters to choose from.
        seed: of the clusters' first centres.

    Attributes:
        centres_: (K, D).
        columns_: (K, H) what each head does in each cluster: its description.
    """

    centres_: Singles
    columns_: Floats

    def __init__(self, *, counts: Sequence[int] = COUNTS, seed: int = 0) -> None:
        self.counts = counts
        self.seed = seed

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Cluster the queries, choose how finely, and describe all heads.

        Args:
            x: (n, D).
            y: (n, H) with gaps.
        """
        rows, targets = np.asarray(x, dtype=np.float32), np.asarray(y, dtype=np.float64)
        least = np.inf
        most = max(rows.shape[0] // MEMBERS, 1)  # alone in its cluster, a query has only itself to be described by
        for count in sorted({min(count, most) for count in self.counts}):
            centres = k_means(rows, count, np.random.default_rng(self.seed))
            columns, left_out = _describe(assign(rows, centres), centres.shape[0], targets)
            misfit = share_left(targets, left_out)
            if misfit < least:
                least, self.centres_, self.columns_, self._left_out = misfit, centres, columns, left_out
        return self

    def predict(self, x: ArrayLike) -> Floats:
        """(m, H) for (m, D)."""
        return np.asarray(self.columns_[assign(np.asarray(x, dtype=np.float32), self.centres_)])

    def predict_left_out(self) -> Floats:
        """(n, H) means of the other rows of each row's cluster."""
        return self._left_out

    def describe(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Describe heads that were not there at ``fit`` by their answers to a validation set.

        Args:
            x: (v, D) embeddings of the validation queries.
            y: (v, h) with gaps.

        Returns:
            (K, h) columns.
        """
        nearest = assign(np.asarray(x, dtype=np.float32), self.centres_)
        return _describe(nearest, self.centres_.shape[0], np.asarray(y, dtype=np.float64))[0]

    def adopt(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Add the heads that ``describe`` describes, after those known; arguments as there."""
        self.columns_ = np.hstack((self.columns_, self.describe(x, y)))
        return self


def _describe(nearest: Indices, count: int, y: Floats) -> tuple[Floats, Floats]:
    """(count, H) means of each cluster, and (n, H) the mean of each row's cluster without the row."""
    observed = ~np.isnan(y)
    filled = np.where(observed, y, 0.0)
    member = np.zeros((count, y.shape[0]))
    member[nearest, np.arange(y.shape[0])] = 1.0
    total, number = member @ filled, member @ observed
    columns = np.where(number > 0, total / np.maximum(number, 1), head_means(y))
    rest = number[nearest] - observed
    left_out = np.where(rest > 0, (total[nearest] - filled) / np.maximum(rest, 1), left_out_means(y))
    return columns, left_out
