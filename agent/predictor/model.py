"""The estimator: recorded answers in, heads of every arm out.

It follows R2-Router (arXiv 2602.02823: one linear head per model and budget) with four mends. Heads are shrunk by what
they earn in routing, not by a fixed penalty (``shrink``), and then calibrated (``rising``). Tokens are learned, never
taken from the nominal budget: each arm has a head for ``log(1 + tokens)``, brought back to tokens by the ratio that
makes the total right on queries it had not seen (Duan's smearing). And the errors of all heads, with the covariance
between arms, are kept, because a verdict on one arm's answer says something of the others.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.errors import PredictorError
from curveroute.agent.predictor.heads import FEWEST_TOKENS, CurveHeads, Predictions
from curveroute.agent.predictor.ridge import RidgePath
from curveroute.agent.predictor.rising import NO_MAP, fit_rising, rise
from curveroute.agent.predictor.shrink import Outcomes, Shrinkage, apart, choose_shrinkage, choose_unshrunk, left_out
from curveroute.agent.predictor.spread import spread_of
from curveroute.agent.predictor.squash import squash
from curveroute.agent.predictor.training import Training, checked, expected_cost, most_tokens_of, smear
from curveroute.agent.types import PredictorOrigin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats
    from curveroute.agent.looking.looking import Looking
    from curveroute.agent.predictor.lessons import Lessons
    from curveroute.agent.predictor.spread import Spread
    from curveroute.agent.types import Arm

ALPHAS = (100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
RHOS = (0.25, 0.5, 0.75, 1.0)
TRADEOFFS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PRIOR_VARIANCE = 0.25  # one imagined answer of an arm we know nothing of, so that no head claims to be certain


class Predictor:
    """Quality and output tokens of every arm, learned from recorded answers.

    Args:
        embedder: name of the embedder whose vectors it reads; it refuses others (``check_embedder``).
        alphas: ridge penalties to choose from, in units of the mean variance of a feature.
        rhos: shares of the arms' differences to choose from.
        tradeoffs: at which routing is judged when choosing.
        shrunk: believe heads as far as they earned; else wholly, under the penalty with the least squared error.
        calibrated: bend estimates so that they come true on average on queries not seen (``rising``).

    Attributes:
        heads_: the fitted ``CurveHeads``.
        shrinkage_: what was chosen and what it earned.
        metrics_: of each arm (``str(arm)``): queries, means of quality, tokens and cost, leave-one-out mean square
            error, and share of variance explained (``None`` where quality never varies); of an onboarded arm also its
            raw mean (``measured``) and how much of its own deviation is believed (``believed``).
        data_hash_: of the table it was fitted on, as given.
        looking_: what was learned of looking at answers; None until given.
        origin_: the folder that it was read from; an empty one for what was fitted or changed since.
        spread_: how the training queries lay; None in predictors that were written before it was kept.
        lessons_: what was learned from feedback since; None where nothing was.
        loo_quality_: (n, A) leave-one-out quality of the training queries; after ``fit`` only, not stored.
        loo_tokens_: (n, A) leave-one-out output tokens, likewise.
    """

    heads_: CurveHeads
    shrinkage_: Shrinkage
    metrics_: dict[str, dict[str, float | None]]
    data_hash_: str
    looking_: Looking | None
    origin_: PredictorOrigin
    spread_: Spread | None = None
    lessons_: Lessons | None = None
    loo_quality_: Floats
    loo_tokens_: Floats

    def __init__(
        self,
        *,
        embedder: str,
        alphas: Sequence[float] = ALPHAS,
        rhos: Sequence[float] = RHOS,
        tradeoffs: Sequence[float] = TRADEOFFS,
        shrunk: bool = True,
        calibrated: bool = True,
    ) -> None:
        self.embedder = embedder
        self.alphas = alphas
        self.rhos = rhos
        self.tradeoffs = tradeoffs
        self.shrunk = shrunk
        self.calibrated = calibrated

    def fit(
        self,
        x: ArrayLike,
        quality: ArrayLike,
        output_tokens: ArrayLike,
        *,
        cost_usd: ArrayLike,
        arms: Sequence[Arm],
        output_price: ArrayLike | None = None,
        data_hash: str = "",
    ) -> Self:
        """Fit all heads.

        Args:
            x: (n, D) embeddings of the queries.
            quality: (n, A) in [0, 1], the mean over samples; NaN where an arm was not asked.
            output_tokens: (n, A); read where ``quality`` is given.
            cost_usd: (n, A) USD of the whole call; read where ``quality`` is given.
            arms: the A arms.
            output_price: (A,) USD per million output tokens. With it, shrinkage is chosen with the costs that will be
                expected per query; without it, with each arm's mean cost.
            data_hash: of the table, kept with the predictor.

        Raises:
            PredictorError: arrays that do not fit together or hold values out of range, an arm given twice, or an arm
                with fewer than two answers.
        """
        table, known = checked(x, quality, output_tokens, cost_usd, tuple(arms))
        path = RidgePath(table.x, np.hstack((table.quality, table.log_tokens)))
        tokens = _fit_tokens(path, table, most_tokens_of(table, known), self.alphas)
        expected = expected_cost(table, tokens.left_out, output_price)
        outcomes = Outcomes(table.quality, table.cost_usd, expected, table.reference_cost_usd, tuple(self.tradeoffs))
        choose = choose_shrinkage if self.shrunk else choose_unshrunk
        self.shrinkage_ = choose(path, outcomes, self.alphas, self.rhos, table.judged)
        mean = np.nanmean(table.quality, axis=0)
        estimates = squash(left_out(path, mean, self.shrinkage_))
        rising = fit_rising(estimates, table.quality) if self.calibrated else NO_MAP
        predictions = rise(rising, estimates)
        weights, bias = _quality_rows(path, self.shrinkage_, mean)
        self.heads_ = CurveHeads(
            arms=known,
            weights=np.ascontiguousarray(np.vstack((weights, tokens.weights)), dtype=np.float32),
            bias=np.concatenate((bias, tokens.bias)).astype(np.float32),
            covariance=_error_covariance(table.quality - predictions),
            most_tokens=tokens.most,
            reference_cost_usd=table.reference_cost_usd,
            rising=rising,
        )
        self.metrics_ = _metrics(table, predictions, known)
        self.data_hash_, self.looking_, self.origin_ = data_hash, None, PredictorOrigin()
        self.spread_ = spread_of(*path.gram(), table.x.shape[0], self.shrinkage_.common_alpha)
        self.lessons_ = None
        fitted = self.heads_.predict(x)  # has not seen queries without an answer either
        self.loo_quality_, self.loo_tokens_ = fitted.quality, fitted.output_tokens
        self.loo_quality_[table.asked], self.loo_tokens_[table.asked] = predictions, tokens.left_out
        return self

    @property
    def arms_(self) -> tuple[Arm, ...]:
        """The arms with heads: the anchors of the curves."""
        return self.heads_.arms

    @property
    def reference_cost_usd_(self) -> float:
        """The dearest arm's mean cost on the training queries, in USD; 1 where every arm is free."""
        return self.heads_.reference_cost_usd

    def predict(self, x: ArrayLike) -> Predictions:
        """Predict all recorded arms for one embedding (D,) or for n of them (n, D).

        Raises:
            PredictorError: embeddings of another size.
        """
        return self.heads_.predict(x)

    def for_arms(self, arms: Sequence[Arm]) -> CurveHeads:
        """The heads of the arms of a pool, in the order given; see ``CurveHeads.for_arms``.

        Raises:
            PredictorError: an arm whose model has no heads.
        """
        return self.heads_.for_arms(arms)

    def check_embedder(self, name: str, dimension: int) -> None:
        """Refuse vectors of another embedder.

        Raises:
            PredictorError: the name or the number of dimensions differs from those of the training vectors.
        """
        if (name, dimension) != (self.embedder, self.heads_.dimension):
            raise PredictorError(
                f"the predictor reads {self.embedder!r} in {self.heads_.dimension} dimensions, and was given {name!r} "
                f"in {dimension}: choose the embedder {self.embedder!r}, or train again with {name!r}"
            )

    def with_looking(self, looking: Looking | None) -> Self:
        """The same predictor, carrying what was learned of looking."""
        carrying = copy(self)
        carrying.looking_, carrying.origin_ = looking, PredictorOrigin()
        return carrying


@dataclass(frozen=True, slots=True, eq=False)
class _Tokens:
    """The fitted heads of output tokens, and what they say of the training queries without having seen them."""

    weights: Floats  # (A, D)
    bias: Floats  # (A,)
    most: Floats  # (A,)
    left_out: Floats  # (m, A) tokens


def _fit_tokens(path: RidgePath, table: Training, most: Floats, alphas: Sequence[float]) -> _Tokens:
    """Penalties by generalised cross-validation, one per head: tokens rank nothing, so their error is what counts."""
    penalties, arms = path.gcv(alphas), most.size
    logs = path.loo(penalties, slice(arms, None))
    shift = smear(table, logs, most)
    weights, bias = path.weights(penalties)
    tokens = np.expm1(np.minimum(logs + shift, np.log1p(most)))
    return _Tokens(weights[arms:], bias[arms:] + shift, most, np.maximum(tokens, FEWEST_TOKENS))


def _quality_rows(path: RidgePath, choice: Shrinkage, mean: Floats) -> tuple[Floats, Floats]:
    """(A, D) coefficients and (A,) intercepts of the quality heads, put together as their predictions were."""
    arms = mean.size
    common_coef, common_intercept = path.weights(choice.common_alpha, arms)
    coef = choice.share * np.broadcast_to(common_coef.mean(axis=0)[:, None], common_coef.T.shape)
    intercept = mean + choice.share * (common_intercept - mean).mean()
    for alpha, kept in choice.kept.items():
        own_coef, own_intercept = path.weights(alpha, arms)
        coef = coef + kept * apart(own_coef.T)
        intercept = intercept + kept * apart(own_intercept - mean)
    return coef.T, intercept


def _error_covariance(errors: Floats) -> Floats:
    """(A, A) positive semidefinite covariance of (n, A) errors with gaps, shrunk towards independent arms."""
    seen = ~np.isnan(errors)
    filled = np.where(seen, errors, 0.0)
    pairs = seen.astype(np.float64).T @ seen
    arms = errors.shape[1]
    covariance = filled.T @ filled / (pairs + arms)  # A imagined answers without any common error
    variance = (np.square(filled).sum(axis=0) + PRIOR_VARIANCE) / (np.diagonal(pairs) + 1.0)
    np.fill_diagonal(covariance, variance)
    values, vectors = np.linalg.eigh(covariance)
    result = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return np.asarray((result + result.T) / 2.0)


def _metrics(table: Training, predictions: Floats, arms: tuple[Arm, ...]) -> dict[str, dict[str, float | None]]:
    error = np.nanmean(np.square(table.quality - predictions), axis=0)
    variance = np.nanvar(table.quality, axis=0)
    return {
        str(arm): {
            "queries": float(np.count_nonzero(~np.isnan(table.quality[:, at]))),
            "quality": float(np.nanmean(table.quality[:, at])),
            "output_tokens": float(np.nanmean(table.tokens[:, at])),
            "cost_usd": float(np.nanmean(table.cost_usd[:, at])),
            "loo_mse": float(error[at]),
            "explained": float(1.0 - error[at] / variance[at]) if variance[at] > 0.0 else None,
        }
        for at, arm in enumerate(arms)
    }
