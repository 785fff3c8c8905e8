"""What every router and every baseline offers: fit on training queries, replay on others, at every tradeoff.

A replay keeps cost and quality of every query at every point of the sweep, so that metrics, their bootstrap and the
breakdown by task all read the same numbers. Every call of a policy is in its cost, rejected ones included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from curveroute.agent.bench.grid import folds

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats

FOLDS = 3
# A tradeoff t weighs cost t / (1 - t) against quality: from free of cost to free of quality, evenly in the logarithm.
_WEIGHTS = np.concatenate(([0.0], np.logspace(-4.0, 3.0, 85)))
SWEEP: Floats = np.append(_WEIGHTS / (1.0 + _WEIGHTS), 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """P points of a sweep over n queries.

    Attributes:
        tradeoffs: (P,), NaN for a point that belongs to no tradeoff.
        cost_usd: (P, n) USD, everything that was asked.
        quality: (P, n) of the answer that was given.
        estimate: (P, n) quality expected of the chosen arm; None for policies that estimate none.
    """

    tradeoffs: Floats
    cost_usd: NDArray[np.float32]
    quality: NDArray[np.float32]
    estimate: NDArray[np.float32] | None = None


class Policy(Protocol):
    """A router or baseline. A fresh one is made for every split; ``fit`` comes once, then any number of replays."""

    def fit(self, train: Grid) -> Policy:
        """Choose and learn everything on these queries; returns itself."""

    def replay(self, test: Grid) -> Replay:
        """Route queries it has not seen."""

    def replay_training(self) -> Replay:
        """Route the training queries, each as if it had not been seen: what operating points are chosen on."""


def cross_replay(train: Grid, make: Callable[[], Policy], *, seed: int = 0, count: int = FOLDS) -> Replay:
    """Route training queries by policies fitted on the other folds; points must be the same in each."""
    parts = [(make().fit(train.take(rest)).replay(train.take(held)), held) for rest, held in folds(train, count, seed)]
    points = min(part.tradeoffs.size for part, _ in parts)
    cost, quality = (np.full((points, len(train)), np.nan, dtype=np.float32) for _ in range(2))
    for part, held in parts:
        cost[:, held], quality[:, held] = part.cost_usd[:points], part.quality[:points]
    return Replay(parts[0][0].tradeoffs[:points], cost, quality)


def sweep(test: Grid, quality: Floats, cost_usd: Floats, unit_usd: float, tradeoffs: Floats = SWEEP) -> Replay:
    """The single-shot rule at every tradeoff, on estimates.

    Args:
        test: what was recorded.
        quality: (n, A) expected.
        cost_usd: (n, A) expected, USD.
        unit_usd: what a whole unit of quality is worth, USD.
        tradeoffs: (P,).
    """
    rows = np.arange(len(test))
    order = np.argsort(cost_usd.mean(axis=0), kind="stable")  # equal scores go to the cheaper arm
    worth = np.clip(quality, 0.0, 1.0)[:, order]
    price = cost_usd[:, order] / unit_usd
    closed = np.isnan(test.quality[:, order])
    scores = ((1.0 - t) * worth - t * price for t in tradeoffs)
    chosen = np.stack([order[np.where(closed, -np.inf, score).argmax(axis=1)] for score in scores])
    return Replay(
        tradeoffs,
        test.cost_usd[rows, chosen].astype(np.float32),
        test.quality[rows, chosen].astype(np.float32),
        np.clip(quality, 0.0, 1.0)[rows, chosen].astype(np.float32),
    )
