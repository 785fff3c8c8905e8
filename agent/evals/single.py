"""curveroute without looking: the fitted predictor and the single-shot rule, as a policy.

Its options take one mend of R2-Router's rule (arXiv 2602.02823) away at a time, so that each can be measured: the unit
of cost, the tokens that are charged, the shrinkage of the heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from curveroute.agent.embed.cues import cue_vectors
from curveroute.agent.evals.policy import sweep
from curveroute.agent.predictor import Predictor
from curveroute.agent.predictor.ridge import FEWEST_ROWS

if TYPE_CHECKING:
    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.evals.policy import Replay
    from curveroute.agent.predictor import Predictions

USD_PER_MILLION = 1e6


class SingleShot:
    """Predict once, choose once, at every tradeoff of the sweep.

    Args:
        unit: ``"pool"`` weighs cost in units of the pool's dearest arm, ``"usd"`` in dollars, as the paper does.
        tokens: ``"learned"`` charges the output tokens that each head expects, ``"nominal"`` the budget.
        shrunk: whether heads are believed only as far as they earned in cross-validated routing.
        calibrated: whether estimates are bent until they come true on average.
        cues: whether counts and words of the text stand beside its embedding.
    """

    def __init__(
        self,
        *,
        unit: Literal["pool", "usd"] = "pool",
        tokens: Literal["learned", "nominal"] = "learned",
        shrunk: bool = True,
        calibrated: bool = True,
        cues: bool = True,
    ) -> None:
        self.unit = unit
        self.tokens = tokens
        self.shrunk = shrunk
        self.calibrated = calibrated
        self.cues = cues

    def fit(self, train: Grid) -> Self:
        """Fit heads for every arm with answers enough.

        Raises:
            PredictorError: no arm has two answers.
        """
        self._train = train
        self.known_: Indices = np.flatnonzero((~np.isnan(train.quality)).sum(axis=0) >= FEWEST_ROWS)
        known = train.keep(self.known_)
        self.predictor_ = Predictor(embedder="given", shrunk=self.shrunk, calibrated=self.calibrated).fit(
            self._features(train),
            known.quality,
            known.output_tokens,
            cost_usd=known.cost_usd,
            arms=known.arms,
            output_price=known.prices[:, 1] * USD_PER_MILLION,
        )
        return self

    def estimates(self, test: Grid) -> Floats:
        """(n, A) quality expected of every arm, NaN for arms without heads."""
        return self._spread(self._predict(test).quality)

    def expected(self, test: Grid) -> tuple[Floats, Floats]:
        """(n, A) quality and output tokens expected of every arm, NaN for arms without heads."""
        predicted = self._predict(test)
        return self._spread(predicted.quality), self._spread(predicted.output_tokens)

    def expected_cost(self, grid: Grid, tokens: Floats) -> Floats:
        """(n, A) USD expected of every arm that uses these tokens, NaN for arms without heads."""
        return self._spread(self._expected_cost(grid.keep(self.known_), tokens[:, self.known_]))

    def replay(self, test: Grid) -> Replay:
        """Route queries it has not seen."""
        expected = self._predict(test)
        return self._sweep(test, expected.quality, expected.output_tokens)

    def replay_training(self) -> Replay:
        """Route the training queries on leave-one-out estimates."""
        return self._sweep(self._train, self.predictor_.loo_quality_, self.predictor_.loo_tokens_)

    def _features(self, grid: Grid) -> Floats:
        return np.hstack((grid.x, cue_vectors(grid.texts))) if self.cues else grid.x

    def _predict(self, grid: Grid) -> Predictions:
        return self.predictor_.predict(self._features(grid))

    def _sweep(self, grid: Grid, quality: Floats, tokens: Floats) -> Replay:
        known = grid.keep(self.known_)
        unit = self.predictor_.reference_cost_usd_ if self.unit == "pool" else 1.0
        return sweep(known, quality, self._expected_cost(known, tokens), unit)

    def _expected_cost(self, known: Grid, tokens: Floats) -> Floats:
        """(n, A) USD: the prompt is known before asking, the answer's length is not."""
        means = np.nanmean(self._train.keep(self.known_).cost_usd, axis=0)
        if self.tokens == "nominal":
            used = np.nanmean(self._train.keep(self.known_).output_tokens, axis=0)
            nominal = [one if arm.budget is None else arm.budget for arm, one in zip(known.arms, used, strict=True)]
            tokens = np.broadcast_to(np.asarray(nominal, dtype=np.float64), tokens.shape)
        cost = self._train.keep(self.known_).expected_cost(known.input_tokens, tokens)
        return np.where(np.isnan(cost), means, cost)

    def _spread(self, values: Floats) -> Floats:
        """Columns of the known arms in the places of all arms."""
        whole = np.full((values.shape[0], len(self._train.arms)), np.nan)
        whole[:, self.known_] = values
        return whole
