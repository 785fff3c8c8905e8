"""Ask two, and believe them when they agree; else ask a third. No learning but which arms to ask.

The simple cascade that every verifier has to beat. A pair may be two samples of one arm (self-consistency, Wang et al.
2022) where several were recorded. When the answers agree, the one given is that of the arm with the better training
mean; when they differ or one is missing, the third arm's is. Everything that was asked is paid. Of all pairs and thirds
the best on training queries is kept for each of some levels of cost, so a point is "the best cascade for about so
much".

Where arms have several samples, the first arm's sample s is set beside the second arm's sample s + 1 (cyclically), and
cost and quality are means over s: expectations over which sample one happens to get.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.evals.baselines.constants import known_columns
from curveroute.agent.evals.policy import Replay, cross_replay
from curveroute.agent.predictor.regress.regressor import head_means

if TYPE_CHECKING:
    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Indices, Singles

LEVELS = 60
ROUND_OFF = 1e-6  # of means in single precision
BLOCK_PAIRS = 512  # whose agreement on every query is held at a time


@dataclass(frozen=True, slots=True, eq=False)
class Cascade:
    """Arms of P cascades, as columns of a grid; ``better`` is the one of the pair whose answer is given."""

    first: Indices
    second: Indices
    better: Indices
    third: Indices


class TwoAgree:
    """The cascade at several levels of cost.

    Args:
        levels: (P,) USD per query; taken from the cheapest to the dearest useful cascade when not given.
        seed: of the folds of the training replay.
    """

    def __init__(self, *, levels: Floats | None = None, seed: int = 0) -> None:
        self._levels = levels
        self._seed = seed

    def fit(self, train: Grid) -> Self:
        """Choose a cascade for each level, by mean cost and quality on these queries."""
        self._train, known = train, known_columns(train)
        self._rest = known[np.argsort(-head_means(train.quality)[known], kind="stable")]
        pairs = _pairs(train, known)
        quality, cost = _means(train, pairs, known)
        shape = quality.shape
        quality, cost = quality.ravel(), cost.ravel()
        order = np.lexsort((-quality, cost))
        best = np.maximum.accumulate(quality[order])
        front = order[np.flatnonzero(np.diff(best, prepend=-np.inf) > ROUND_OFF)]
        self.levels_ = _levels(cost[front]) if self._levels is None else self._levels
        place = np.searchsorted(cost[front], self.levels_ * (1.0 + 1e-9), side="right") - 1
        pair, third = np.unravel_index(front[np.maximum(place, 0)], shape)
        self.cascade_ = Cascade(pairs.first[pair], pairs.second[pair], pairs.better[pair], known[third])
        return self

    def replay(self, test: Grid) -> Replay:
        """Run each level's cascade on every query."""
        runs = [_run(test, self.cascade_, place, self._rest) for place in range(self.levels_.size)]
        nowhere = np.full(self.levels_.size, np.nan)
        return Replay(nowhere, np.stack([cost for cost, _ in runs]), np.stack([quality for _, quality in runs]))

    def replay_training(self) -> Replay:
        """At the same levels, by cascades that were chosen on the other folds."""
        return cross_replay(self._train, lambda: TwoAgree(levels=self.levels_, seed=self._seed), seed=self._seed)


def _pairs(train: Grid, known: Indices) -> Cascade:
    """All pairs of known arms, and an arm with itself where it has several samples; no thirds yet."""
    alone = 1 if train.samples.quality.shape[2] < 2 else 0  # noqa: PLR2004
    first, second = (known[side] for side in np.triu_indices(known.size, alone))
    if first.size == 0:  # a single arm with a single sample can only agree with itself
        first = second = known
    quality, cost = head_means(train.quality), head_means(train.cost_usd)
    ahead = (quality[first] > quality[second]) | ((quality[first] == quality[second]) & (cost[first] <= cost[second]))
    return Cascade(first, second, np.where(ahead, first, second), np.zeros(0, dtype=np.intp))


def _means(train: Grid, pairs: Cascade, known: Indices) -> tuple[Floats, Floats]:
    """(pairs, A) mean quality and mean cost of every pair with every third, on the training queries."""
    last = np.hstack((_filled(train.quality[:, known]), _filled(train.cost_usd[:, known])))
    quality, cost = np.empty((2, pairs.first.size, known.size))
    for start in range(0, pairs.first.size, BLOCK_PAIRS):
        block = slice(start, start + BLOCK_PAIRS)
        asked = zip(pairs.first[block], pairs.second[block], pairs.better[block], strict=True)
        share, given, paid = (np.stack(part) for part in zip(*(_asked(train, *arms) for arms in asked), strict=True))
        more = (1.0 - share) @ last / len(train)
        quality[block] = given.mean(axis=1)[:, None] + more[:, : known.size]
        cost[block] = paid.mean(axis=1)[:, None] + more[:, known.size :]
    return quality, cost


def _asked(grid: Grid, first: int, second: int, better: int) -> tuple[Singles, Singles, Singles]:
    """Of each query: chance that the two agree, quality given when they do (0 else), and cost of the two; (n,) each."""
    one = grid.samples
    answers = one.answer[:, first], np.roll(one.answer[:, second], -1, axis=1)
    qualities = one.quality[:, first], np.roll(one.quality[:, second], -1, axis=1)
    agree = (answers[0] == answers[1]) & (answers[0] >= 0)
    both = ~(np.isnan(qualities[0]) | np.isnan(qualities[1]))
    tried = np.maximum(both.sum(axis=1), 1)
    worth = qualities[0] if better == first else qualities[1]
    share = (agree & both).sum(axis=1) / tried
    given = np.where(agree & both, worth, 0.0).sum(axis=1) / tried
    cost = np.nan_to_num(grid.cost_usd[:, first]) + np.nan_to_num(grid.cost_usd[:, second])
    return share.astype(np.float32), given.astype(np.float32), cost.astype(np.float32)


def _run(test: Grid, cascade: Cascade, place: int, rest: Indices) -> tuple[Singles, Singles]:
    """(n,) cost and quality of one cascade.

    Where its third arm was not recorded, the better of the pair answers, or the other one; where none of the three
    was, the first of ``rest`` that was is asked instead.
    """
    first, second, better = (int(side[place]) for side in (cascade.first, cascade.second, cascade.better))
    third = int(cascade.third[place])
    share, given, cost = _asked(test, first, second, better)
    last, more = test.quality[:, third].copy(), np.nan_to_num(test.cost_usd[:, third])
    for other in (better, first, second):
        last = np.where(np.isnan(last), test.quality[:, other], last)
    nobody = np.flatnonzero(np.isnan(last))
    if nobody.size:
        instead = rest[(~np.isnan(test.quality[np.ix_(nobody, rest)])).argmax(axis=1)]
        last[nobody], more[nobody] = test.quality[nobody, instead], test.cost_usd[nobody, instead]
    dear = cost + (1.0 - share) * more
    return dear.astype(np.float32), (given + (1.0 - share) * last).astype(np.float32)


def _filled(values: Floats) -> Singles:
    return np.asarray(np.where(np.isnan(values), head_means(values), values), dtype=np.float32)


def _levels(cost: Floats) -> Floats:
    """Up to sixty costs of the front, evenly in the logarithm, each that of a cascade."""
    wanted = np.linspace(0.0, cost.size - 1.0, min(cost.size, LEVELS)).round().astype(np.intp)
    if cost.size > LEVELS and cost[0] > 0.0:
        wanted = np.searchsorted(cost, np.geomspace(cost[0], cost[-1] * (1.0 + 1e-9), LEVELS), side="right") - 1
    return np.asarray(cost[np.unique(np.maximum(wanted, 0))])
