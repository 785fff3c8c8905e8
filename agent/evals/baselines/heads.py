"""The single-shot rule on learned heads: what every router that predicts once comes to.

Quality is a head of each arm. What a call will cost is the prompt's price, which is known before asking, and the price
of the output tokens that other heads expect. The policies differ in the heads and in the arms they choose from.
Training queries are routed on predictions that have not seen them: in closed form where the heads know it, else by
heads that were fitted on the other folds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np

from curveroute.agent.bench.grid import folds
from curveroute.agent.errors import PredictorError
from curveroute.agent.evals.baselines.constants import known_columns, unit_usd
from curveroute.agent.evals.policy import FOLDS, Replay, sweep
from curveroute.agent.predictor.regress.regressor import LeavesOut, head_means

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.predictor.regress.regressor import Regressor

    Maker: TypeAlias = Callable[[Grid], Regressor]


class LearnedHeads:
    """Predict quality and cost of every arm, then take the best of ``(1 - t) * quality - t * cost / unit``.

    Args:
        quality: makes fresh heads of quality, for the arms of a grid.
        tokens: makes fresh heads of output tokens.
        columns: the arms it may choose from, given the training queries.
        closed_form: whether heads that know their left-out predictions may be asked for them.
        folds: parts of the training queries where they may not, or do not.
        seed: of those parts.
    """

    def __init__(
        self,
        *,
        quality: Maker,
        tokens: Maker,
        columns: Callable[[Grid], Indices] = known_columns,
        closed_form: bool = True,
        folds: int = FOLDS,
        seed: int = 0,
    ) -> None:
        self._makers = (quality, tokens)
        self._columns = columns
        self._closed_form = closed_form
        self._folds = folds
        self._seed = seed

    def fit(self, train: Grid) -> Self:
        """Fit both kinds of heads.

        Raises:
            MissingExtra: heads that are not installed.
            PredictorError: queries without embeddings.
        """
        if train.x.shape[1] == 0:
            raise PredictorError("the queries have no embeddings to learn from: embed the grid before fitting")
        self._unit, self._open = unit_usd(train), self._columns(train)
        self._train = train.keep(self._open)
        self._prompt = head_means(self._train.input_tokens)
        self._heads = [make(self._train).fit(train.x, y) for make, y in self._learned()]
        return self

    def estimates(self, test: Grid) -> Floats:
        """(n, A) quality expected of every arm, NaN for those it does not choose from."""
        whole = np.full(test.quality.shape, np.nan)
        whole[:, self._open] = np.clip(self._heads[0].predict(test.x), 0.0, 1.0)
        return whole

    def replay(self, test: Grid) -> Replay:
        """Route at every tradeoff of the sweep."""
        quality, tokens = (heads.predict(test.x) for heads in self._heads)
        return self._routed(test.keep(self._open), quality, tokens)

    def replay_training(self) -> Replay:
        """Route on predictions that have not seen the query."""
        quality, tokens = (
            self._left_out(heads, make, y) for heads, (make, y) in zip(self._heads, self._learned(), strict=True)
        )
        return self._routed(self._train, quality, tokens)

    def _learned(self) -> list[tuple[Maker, Floats]]:
        return list(zip(self._makers, (self._train.quality, self._train.output_tokens), strict=True))

    def _left_out(self, heads: Regressor, make: Maker, y: Floats) -> Floats:
        if self._closed_form and isinstance(heads, LeavesOut):
            return heads.predict_left_out()
        predicted = np.tile(head_means(y), (y.shape[0], 1))
        for rest, held in folds(self._train, self._folds, self._seed):
            if rest.size:
                part = make(self._train).fit(self._train.x[rest], y[rest]).predict(self._train.x[held])
                predicted[held] = np.where(np.isnan(part), predicted[held], part)
        return predicted

    def _routed(self, grid: Grid, quality: Floats, tokens: Floats) -> Replay:
        prompt = np.where(np.isnan(grid.input_tokens), self._prompt, grid.input_tokens)
        cost = self._train.expected_cost(prompt, np.maximum(tokens, 0.0))
        return sweep(grid, quality, cost, self._unit)
