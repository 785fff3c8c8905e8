"""Policies that only ``generalisation.py`` needs: ours between the anchors of its curves, and every kind of heads.

The kinds share everything but their quality heads: the arms, the tokens (ridge, a penalty for each arm), the rule.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.evals.baselines.heads import LearnedHeads
from curveroute.agent.evals.policy import sweep
from curveroute.agent.evals.single import USD_PER_MILLION, SingleShot
from curveroute.agent.predictor import Predictor
from curveroute.agent.predictor.regress import Boosted, Described, ItemResponse, Mlp, Neighbours, Ridge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats
    from curveroute.agent.evals.policy import Policy, Replay
    from curveroute.agent.predictor import Predictions
    from curveroute.agent.predictor.regress import Regressor

    Makers = dict[str, Callable[[int], Policy]]

SVD_DIMENSIONS = 64


class Interpolated(SingleShot):
    """Ours, replayed over arms it was not fitted on: between two anchors heads are mixed from theirs."""

    def estimates(self, test: Grid) -> Floats:
        return self._of_arms(test).quality

    def replay(self, test: Grid) -> Replay:
        expected = self._of_arms(test)
        prompt = np.nanmean(test.input_tokens, axis=1, keepdims=True)  # known before asking, whatever the budget
        prompt = np.where(np.isnan(test.input_tokens), prompt, test.input_tokens)
        cost = test.expected_cost(prompt, expected.output_tokens)
        return sweep(test, expected.quality, cost, self.predictor_.reference_cost_usd_)

    def _of_arms(self, test: Grid) -> Predictions:
        return self.predictor_.for_arms(test.arms).predict(self._features(test))


class Shrunk:
    """The quality heads of ours, as heads among others.

    Args:
        grid: the queries and arms that it will be fitted on.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        grid = self._grid
        price = grid.prices[:, 1] * USD_PER_MILLION
        self.predictor_ = Predictor(embedder="given").fit(
            x, y, grid.output_tokens, cost_usd=grid.cost_usd, arms=grid.arms, output_price=price
        )
        return self

    def predict(self, x: ArrayLike) -> Floats:
        return self.predictor_.predict(x).quality


class Clocked:
    """Heads that know how long their fit took, in processor seconds, since others may use the machine."""

    def __init__(self, inner: Regressor) -> None:
        self.inner, self.fit_s = inner, np.nan

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        start = time.process_time()
        self.inner.fit(x, y)
        self.fit_s = time.process_time() - start
        return self

    def predict(self, x: ArrayLike) -> Floats:
        return self.inner.predict(x)


class Heads(LearnedHeads):
    """The single-shot rule over one kind of quality heads."""

    def __init__(self, quality: Callable[[Grid], Regressor]) -> None:
        super().__init__(quality=lambda grid: Clocked(quality(grid)), tokens=lambda _: Ridge())

    @property
    def fit_s(self) -> float:
        clocked = self._heads[0]
        assert isinstance(clocked, Clocked)
        return clocked.fit_s


KINDS: Makers = {
    "ours": lambda _: Heads(Shrunk),
    "ridge, α = 10": lambda _: Heads(lambda _: Ridge(alpha=10.0, absolute=True)),
    "ridge, α per head": lambda _: Heads(lambda _: Ridge()),
    "neighbours": lambda _: Heads(lambda _: Neighbours()),
    "clusters": lambda seed: Heads(lambda _: Described(seed=seed)),
    "item response": lambda seed: Heads(lambda _: ItemResponse(seed=seed)),
    "network": lambda seed: Heads(lambda _: Mlp(seed=seed)),
    "boosted trees": lambda seed: Heads(lambda _: Boosted(seed=seed)),
}


def hashed(train: Sequence[str], test: Sequence[str]) -> tuple[Floats, Floats]:
    """Character n-grams, hashed, and their leading directions on the training texts: no encoder at all."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer

    grams = HashingVectorizer(n_features=2**14, analyzer="char_wb", ngram_range=(3, 5), lowercase=True)
    found = grams.transform(train)
    directions = TruncatedSVD(min(SVD_DIMENSIONS, len(train) - 1), random_state=0).fit(found)
    return directions.transform(found), directions.transform(grams.transform(test))
