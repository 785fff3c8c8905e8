"""What needs no learning: the same arm for every query.

``best_single`` and ``unit_usd`` are what every comparison is made against and in: the model that is best on training
queries at its largest budget, and the pool's unit of cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.evals.policy import Replay
from curveroute.agent.predictor.regress.regressor import head_means

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Indices

AS_GOOD = 0.002  # two models this close are equally good, and the cheaper one is the better single model


def known_columns(train: Grid) -> Indices:
    """The arms that were asked at all; of the others nothing is known, and none of them is ever chosen."""
    return np.flatnonzero(~np.isnan(train.quality).all(axis=0))


def largest_budget_columns(train: Grid) -> Indices:
    """The column of the largest budget of every model, among arms that were asked; in the order of the models."""
    largest: dict[str, int] = {}
    for column in known_columns(train).tolist():
        arm = train.arms[column]
        held = largest.setdefault(arm.model, column)
        if _length(train, column) > _length(train, held):
            largest[arm.model] = column
    return np.array(list(largest.values()), dtype=np.intp)


def best_single(train: Grid) -> int:
    """The column of the best model at its largest budget, on these queries.

    Among models within 0.002 of the best mean quality, the cheapest by mean cost.
    """
    columns = largest_budget_columns(train)
    quality, cost = head_means(train.quality[:, columns]), head_means(train.cost_usd[:, columns])
    as_good = quality >= quality.max() - AS_GOOD
    return int(columns[np.where(as_good, cost, np.inf).argmin()])


def unit_usd(train: Grid) -> float:
    """The pool's unit of cost: the dearest arm's mean cost on these queries, USD; 1 where every arm is free."""
    dearest = float(np.max(head_means(train.cost_usd)[known_columns(train)], initial=0.0))
    return dearest if dearest > 0.0 else 1.0


class OneArm:
    """One arm for every query, chosen by its training means: a single point.

    Args:
        rule: which column to take, from the training queries.
    """

    def __init__(self, rule: Callable[[Grid], int]) -> None:
        self._rule = rule

    def fit(self, train: Grid) -> Self:
        """Choose the arm, and those of about its cost that stand in for it where it was not asked."""
        self._train, self.column_ = train, self._rule(train)
        self._quality, cost = head_means(train.quality), head_means(train.cost_usd)
        self._order: Indices = np.argsort(np.abs(cost - cost[self.column_]), kind="stable")
        self._order = np.concatenate(([self.column_], self._order[self._order != self.column_]))
        return self

    def replay(self, test: Grid) -> Replay:
        """Its recorded answers."""
        asked = ~np.isnan(test.quality[:, self._order])
        place = np.arange(len(test)), self._order[asked.argmax(axis=1)]
        return point(test.cost_usd[place], test.quality[place], self._quality[place[1]])

    def replay_training(self) -> Replay:
        """Its recorded answers; one arm chosen among few has little luck in it."""
        return self.replay(self._train)


class Blind:
    """An arm drawn evenly for every query: its expectation, so that no draw has to be seeded."""

    def fit(self, train: Grid) -> Self:
        """Nothing to learn but which arms there are."""
        self._train, self._columns = train, known_columns(train)
        return self

    def replay(self, test: Grid) -> Replay:
        """Mean over arms of each query."""
        known = test.keep(self._columns)
        cost, quality = head_means(known.cost_usd.T), head_means(known.quality.T)
        return point(cost, quality, np.full(len(test), head_means(self._train.quality)[self._columns].mean()))

    def replay_training(self) -> Replay:
        """As on any queries."""
        return self.replay(self._train)


class ConstantArm:
    """The best arm, by training means, within each cost: one point for the mean cost of every arm, by rising cost.

    Anyone may always use a fixed arm, so every policy's points are joined by these. They are all arms on the Pareto
    front of the training means; a sweep of tradeoffs would reach only those on its convex hull.
    """

    def fit(self, train: Grid) -> Self:
        """Keep each arm's mean quality, and the arms by rising mean cost."""
        self._train, known = train, known_columns(train)
        cost, quality = head_means(train.cost_usd)[known], head_means(train.quality)[known]
        order = np.lexsort((-quality, cost))
        self.columns_: Indices = known[order]
        self._expected = quality[order]
        return self

    def replay(self, test: Grid) -> Replay:
        """Their recorded answers, a point for each cost; where an arm was not asked, the next best answers."""
        known = test.keep(self.columns_)
        worth = np.where(np.isnan(known.quality), -1.0, self._expected)
        first = (worth >= 0.0).argmax(axis=1)  # the cheapest that was asked, where nothing within the cost was
        within = [worth[:, : level + 1] for level in range(self.columns_.size)]
        chosen = [np.where(part.max(axis=1) >= 0.0, part.argmax(axis=1), first) for part in within]
        place = np.arange(len(test)), np.stack(chosen)
        cost, quality = (values[place].astype(np.float32) for values in (known.cost_usd, known.quality))
        return Replay(np.full(len(chosen), np.nan), cost, quality, self._expected[place[1]].astype(np.float32))

    def replay_training(self) -> Replay:
        """Their recorded answers; arms chosen among few have little luck in them."""
        return self.replay(self._train)


def point(cost_usd: Floats, quality: Floats, estimate: Floats) -> Replay:
    """A replay of one point that belongs to no tradeoff; (n,) each."""
    one, two, three = (values[None, :].astype(np.float32) for values in (cost_usd, quality, estimate))
    return Replay(np.array([np.nan]), one, two, three)


def cheapest(train: Grid) -> int:
    """The column with the least mean cost on these queries."""
    cost = head_means(train.cost_usd)
    return int(np.where(np.isnan(cost), np.inf, cost).argmin())


def _length(train: Grid, column: int) -> float:
    budget = train.arms[column].budget
    return np.inf if budget is None else float(budget)
