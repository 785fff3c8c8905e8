"""k-means: queries that are alike, without looking at any answer.

Lloyd's iterations from k-means++ seeds (Arthur and Vassilvitskii 2007), in single precision. The same rows and seed
give the same centres.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from curveroute.agent.decide import Indices, Singles

ITERATIONS = 25


def k_means(x: Singles, count: int, rng: np.random.Generator) -> Singles:
    """Centres of clusters.

    Args:
        x: (n, D), at least one row.
        count: of clusters; fewer come back where fewer rows differ.
        rng: draws the seeds.

    Returns:
        (K, D) centres.
    """
    centres = _seeds(x, count, rng)
    before = np.full(x.shape[0], -1)
    for _ in range(ITERATIONS):
        nearest = assign(x, centres)
        if (nearest == before).all():
            break
        sizes = np.bincount(nearest, minlength=centres.shape[0])
        kept = sizes > 0  # an empty cluster keeps its centre: the next assignment may fill it
        centres[kept] = (_sums(x, nearest, centres.shape[0]) / np.maximum(sizes, 1)[:, None])[kept]
        before = nearest
    return centres


def assign(x: Singles, centres: Singles) -> Indices:
    """(n,) the nearest centre of each row; the first of equally near ones."""
    return np.asarray((np.square(centres).sum(axis=1) - 2.0 * (x @ centres.T)).argmin(axis=1), dtype=np.intp)


def _seeds(x: Singles, count: int, rng: np.random.Generator) -> Singles:
    """Rows drawn in proportion to their squared distance from those drawn before."""
    chosen = [int(rng.integers(x.shape[0]))]
    distance = np.square(x - x[chosen[0]]).sum(axis=1, dtype=np.float64)
    while len(chosen) < count and distance.max() > 0.0:
        chosen.append(int(rng.choice(x.shape[0], p=distance / distance.sum())))
        distance = np.minimum(distance, np.square(x - x[chosen[-1]]).sum(axis=1, dtype=np.float64))
    return x[chosen].copy()


def _sums(x: Singles, nearest: Indices, count: int) -> Singles:
    """(count, D) sums of each cluster's rows."""
    order = np.argsort(nearest, kind="stable")
    starts = np.searchsorted(nearest[order], np.arange(count))
    filled = np.flatnonzero(np.diff(np.append(starts, x.shape[0])))
    sums = np.zeros((count, x.shape[1]), dtype=np.float32)
    sums[filled] = np.add.reduceat(x[order], starts[filled], axis=0)
    return sums
