"""Propose: an estimate for every eligible arm, in the order of the single-shot score.

Where the predictor knows an arm, its heads speak; where it does not, the pool file's own prior curve does, with a wide
standard deviation. Nothing here calls anyone: after the embedding it is arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.decide import rank
from curveroute.agent.errors import PoolError, PredictorError, QueryError
from curveroute.agent.pool.pool import input_tokens_prior
from curveroute.agent.types import Arm, Estimate, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from curveroute.agent.embed.seam import Vectors
    from curveroute.agent.pool import Pool
    from curveroute.agent.predictor import CurveHeads, Predictor
    from curveroute.agent.types import ModelId, Query

PRIOR_STD = 0.35
_PRIOR_FILL = 0.7
_PRIOR_UNLIMITED_TOKENS = 600.0
_LEAST_ROOM = 8
_USUAL_QUESTION = 100


class Outlooker:
    """Predicts for the arms of one pool.

    Args:
        pool: the arms, their prices and prior curves.
        predictor: fitted heads; ``None`` when the pool has none.

    Raises:
        PoolError: a model that neither the predictor nor a prior curve knows.
    """

    def __init__(self, pool: Pool, predictor: Predictor | None) -> None:
        self.pool = pool
        measured = {} if predictor is None else predictor.calibrator_
        self.reliability = measured.get("reliability", pool.spec.verifier_reliability)
        self._index = {arm: position for position, arm in enumerate(pool.arms)}
        known = set() if predictor is None else {arm.model for arm in predictor.arms_}
        self._learned = [arm for arm in pool.arms if arm.model in known]
        if predictor is not None and not self._learned:
            raise PredictorError(
                f"the predictor knows {', '.join(sorted(known))}, and pool {pool.name!r} has none of them; "
                "train one for this pool, or choose the pool it was made for"
            )
        self._view: CurveHeads | None = predictor.for_arms(self._learned) if predictor and self._learned else None
        self.needs_embedding = self._view is not None
        self._base = _prior_arrays(pool, known)
        self._positions = np.array([self._index[arm] for arm in self._learned], dtype=np.intp)
        self._covariance = np.diag(np.full(len(pool.arms), PRIOR_STD**2))
        if self._view is not None:
            self._covariance[np.ix_(self._positions, self._positions)] = self._view.covariance
        self.reference_cost_usd = (
            predictor.reference_cost_usd_ if self._view and predictor else _prior_reference(pool, self._base[1])
        )

    def covariance(self, arms: Sequence[Arm]) -> NDArray[np.float64]:
        """(n, n) covariance of the qualities of these arms, from the residuals of training."""
        positions = [self._index[arm] for arm in arms]
        return np.asarray(self._covariance[np.ix_(positions, positions)])

    def estimates(
        self, vector: Vectors | None, query: Query, arms: Sequence[Arm], tradeoff: float
    ) -> tuple[Estimate, ...]:
        """One estimate for each eligible arm, best single-shot score first.

        Args:
            vector: (D,) embedding of the query; needed when ``needs_embedding``.
            query: what is asked; its length decides which models can read it.
            arms: allowed arms of the pool.
            tradeoff: λ.

        Raises:
            QueryError: no model's context window holds the query.
        """
        quality, tokens, std = (array.copy() for array in self._base)
        if self._view is not None:
            if vector is None:
                raise PredictorError("this predictor needs the query's embedding")
            predicted = self._view.predict(vector)
            quality[self._positions] = np.clip(predicted.quality, 0.0, 1.0)
            tokens[self._positions] = predicted.output_tokens
            std[self._positions] = predicted.quality_std
        made = [
            self._estimate(arm, sent, quality, tokens, std)
            for arm in arms
            if (sent := self._input_tokens(query, arm)) is not None
        ]
        if not made:
            raise QueryError(
                f"the query has about {input_tokens_prior(query.messages)} tokens, more than any model of pool "
                f"{self.pool.name!r} can read; shorten it or choose a pool with a longer context window"
            )
        order = rank(
            [one.quality for one in made],
            [one.cost_usd for one in made],
            tradeoff=tradeoff,
            reference_cost_usd=self.reference_cost_usd,
        )
        return tuple(made[position] for position in order)

    def _input_tokens(self, query: Query, arm: Arm) -> int | None:
        """About how long the prompt is, or ``None`` when it leaves the model no room to answer."""
        sent = input_tokens_prior(self.pool.messages(query, arm))
        room = self.pool.model(arm.model).context_window - sent
        return sent if room >= min(_LEAST_ROOM, arm.budget or _LEAST_ROOM) else None

    def _estimate(
        self, arm: Arm, sent: int, quality: NDArray[np.float64], tokens: NDArray[np.float64], std: NDArray[np.float64]
    ) -> Estimate:
        position = self._index[arm]
        expected = float(tokens[position])
        cost = self.pool.cost_usd(arm.model, Usage(sent, 0)) + expected * self.pool.prices(arm.model)[1] * 1e-6
        return Estimate(arm, float(quality[position]), float(std[position]), sent, expected, cost)


def _prior_arrays(
    pool: Pool, learned: set[ModelId]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Prior quality, output tokens and standard deviation of every arm, (A,) each."""
    quality = np.zeros(len(pool.arms))
    for position, arm in enumerate(pool.arms):
        prior = pool.prior_quality(arm)
        if prior is None and arm.model not in learned:
            raise PoolError(
                f"pool {pool.name!r}: model {arm.model!r} is known neither to the predictor nor by a `prior` curve; "
                "give it a prior in the pool file, or collect and train"
            )
        quality[position] = prior or 0.0
    tokens = np.array(
        [_PRIOR_UNLIMITED_TOKENS if arm.budget is None else _PRIOR_FILL * arm.budget for arm in pool.arms]
    )
    return quality, tokens, np.full(len(pool.arms), PRIOR_STD)


def _prior_reference(pool: Pool, tokens: NDArray[np.float64]) -> float:
    """The dearest arm's cost for a question of 100 tokens: the unit of cost of a pool without a predictor."""
    costs = [
        pool.cost_usd(arm.model, Usage(_USUAL_QUESTION, 0)) + float(count) * pool.prices(arm.model)[1] * 1e-6
        for arm, count in zip(pool.arms, tokens, strict=True)
    ]
    dearest = max(costs)
    return dearest if dearest > 0 else 1.0
