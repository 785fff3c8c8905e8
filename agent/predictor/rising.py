"""Calibration of quality estimates: a rising line through what scores turned out to be worth.

Scores of queries that were not seen, in bins of equal size, against the mean quality of each bin, made monotone by
pooling adjacent violators (isotonic regression, Zadrozny and Elkan 2002), joined by straight lines. Flat steps would
make arms tie, so a tenth of the identity is mixed in: the map is strictly increasing, one for all arms, and therefore
changes no ranking by quality, only what a difference in quality is worth against a difference in cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats

MOST_BINS, FEWEST_BINS = 20, 5
BIN_SIZE = 200
IDENTITY = 0.1

NO_MAP: Floats = np.array([[0.0, 1.0], [0.0, 1.0]])


def fit_rising(score: Floats, quality: Floats) -> Floats:
    """The map as knots.

    Args:
        score: estimates in [0, 1] of queries that were not seen, any shape.
        quality: what was measured, the same shape; NaN where nothing was.

    Returns:
        (2, K): rising scores from 0 to 1, and the quality of each; ``NO_MAP`` below a thousand answers.
    """
    seen = ~np.isnan(quality)
    x, y = score[seen], quality[seen]
    bins = min(MOST_BINS, x.size // BIN_SIZE)
    if bins < FEWEST_BINS:
        return NO_MAP
    parts = np.array_split(np.argsort(x, kind="stable"), bins)
    at = np.array([x[part].mean() for part in parts])
    worth = pooled(np.array([y[part].mean() for part in parts]), np.array([part.size for part in parts], dtype=float))
    apart = np.diff(at, prepend=0.0) > np.finfo(np.float32).eps  # equal scores are one knot
    apart &= at < 1.0
    at, worth = at[apart], (1.0 - IDENTITY) * worth[apart] + IDENTITY * at[apart]
    if not at.size:
        return NO_MAP
    ends = worth[0] / 2.0, (1.0 + worth[-1]) / 2.0
    return np.vstack((np.concatenate(([0.0], at, [1.0])), np.concatenate(([ends[0]], worth, [ends[1]]))))


def pooled(values: Floats, weights: Floats) -> Floats:
    """The closest non-decreasing sequence, by weighted least squares (pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append((float(value), float(weight), 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (first, one, count), (second, other, more) = blocks[-2:]
            blocks[-2:] = [((first * one + second * other) / (one + other), one + other, count + more)]
    return np.repeat([value for value, _, _ in blocks], [count for _, _, count in blocks])


def rise(knots: Floats, score: Floats) -> Floats:
    """The map at scores in [0, 1], any shape."""
    return np.asarray(np.interp(score, knots[0], knots[1]))
