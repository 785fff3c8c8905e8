"""The estimator: recorded answers in, heads of every arm out.

It follows R2-Router (arXiv 2602.02823: one linear head per model and budget) with three mends. Heads are shrunk by what
they earn in routing, not by a fixed penalty (``shrink``). Tokens are learned, never taken from the nominal budget:
each arm has a head for ``log(1 + tokens)``, brought back to tokens by the ratio that makes the total right on queries
it had not seen (Duan's smearing). And the errors of all heads, with the covariance between arms, are kept, because a
verdict on one arm's answer says something of the others.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.decide import USD_PER_PRICE, Floats, Mask
from curveroute.agent.errors import PredictorError
from curveroute.agent.predictor.heads import CurveHeads, Predictions
from curveroute.agent.predictor.ridge import FEWEST_ROWS, RidgePath
from curveroute.agent.predictor.shrink import Outcomes, Shrinkage, blend, choose_shrinkage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.types import Arm

ALPHAS = (100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
RHOS = (0.25, 0.5, 0.75, 1.0)
TRADEOFFS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PRIOR_VARIANCE = 0.25  # one imagined answer of an arm we know nothing of, so that no head claims to be certain


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Checked training arrays of the m of n queries with an answer: (m, A), NaN where an arm was not asked."""

    asked: Mask  # (n,)
    x: Floats  # (m, D)
    quality: Floats
    tokens: Floats
    cost_usd: Floats

    @property
    def log_tokens(self) -> Floats:
        return np.asarray(np.log1p(self.tokens))


class Predictor:
    """Quality and output tokens of every arm, learned from recorded answers.

    Args:
        embedder: name of the embedder whose vectors it reads; it refuses others (``check_embedder``).
        alphas: ridge penalties to choose from, in units of the mean variance of a feature.
        rhos: shares of the arms' differences to choose from.
        tradeoffs: at which routing is judged when choosing.

    Attributes:
        heads_: the fitted ``CurveHeads``.
        shrinkage_: what was chosen and what it earned.
        metrics_: of each arm (``str(arm)``): queries, means of quality, tokens and cost, leave-one-out mean square
            error, and share of variance explained (``None`` where the quality never varies).
        data_hash_: of the table it was fitted on, as given.
        calibrator_: weights of the verdicts' calibrator, passed through unread; empty until given.
        loo_quality_: (n, A) leave-one-out quality of the training queries; after ``fit`` only, not stored.
    """

    heads_: CurveHeads
    shrinkage_: Shrinkage
    metrics_: dict[str, dict[str, float | None]]
    data_hash_: str
    calibrator_: dict[str, float]
    loo_quality_: Floats

    def __init__(
        self,
        *,
        embedder: str,
        alphas: Sequence[float] = ALPHAS,
        rhos: Sequence[float] = RHOS,
        tradeoffs: Sequence[float] = TRADEOFFS,
    ) -> None:
        self.embedder = embedder
        self.alphas = alphas
        self.rhos = rhos
        self.tradeoffs = tradeoffs

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
        table, known = _checked(x, quality, output_tokens, cost_usd, tuple(arms))
        count = len(known)
        path = RidgePath(table.x, np.hstack((table.quality, table.log_tokens)))
        most_tokens = _most_tokens(table, known)
        penalties, log_tokens = _token_fit(path, table, self.alphas)
        smear = _smear(table, log_tokens, most_tokens)
        expected = _expected_cost(table, np.expm1(np.minimum(log_tokens + smear, np.log1p(most_tokens))), output_price)
        dearest = float(np.nanmax(np.nanmean(table.cost_usd, axis=0)))
        reference = dearest if dearest > 0.0 else 1.0  # every arm is free: any unit will do
        outcomes = Outcomes(table.quality, table.cost_usd, expected, reference, tuple(self.tradeoffs))
        self.shrinkage_, predictions = choose_shrinkage(path, outcomes, self.alphas, self.rhos)
        weights, bias = _quality_rows(path, self.shrinkage_, np.nanmean(table.quality, axis=0))
        token_weights, token_bias = path.weights(np.concatenate((np.full(count, np.inf), penalties)))
        self.heads_ = CurveHeads(
            arms=known,
            weights=np.ascontiguousarray(np.vstack((weights, token_weights[count:])), dtype=np.float32),
            bias=np.concatenate((bias, token_bias[count:] + smear)).astype(np.float32),
            covariance=_error_covariance(table.quality - predictions),
            most_tokens=most_tokens,
            reference_cost_usd=reference,
        )
        self.metrics_ = _metrics(table, predictions, known)
        self.data_hash_, self.calibrator_ = data_hash, {}
        self.loo_quality_ = self.heads_.predict(x).quality  # has not seen queries without an answer either
        self.loo_quality_[table.asked] = predictions
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

    def with_calibrator(self, weights: Mapping[str, float]) -> Self:
        """The same predictor, carrying these calibrator weights."""
        carrying = copy(self)
        carrying.calibrator_ = dict(weights)
        return carrying


def _checked(
    x: ArrayLike, quality: ArrayLike, tokens: ArrayLike, cost_usd: ArrayLike, arms: tuple[Arm, ...]
) -> tuple[_Table, tuple[Arm, ...]]:
    features: Floats = np.asarray(x, dtype=np.float64)
    values = [np.asarray(one, dtype=np.float64) for one in (quality, tokens, cost_usd)]
    expected = (features.shape[0], len(arms))
    if features.ndim != 2 or any(one.shape != expected for one in values):  # noqa: PLR2004
        shapes = ", ".join(str(one.shape) for one in values)
        raise PredictorError(
            f"embeddings {features.shape} with quality, tokens and cost {shapes} do not fit {len(arms)} arms: "
            "give one row per query and one column per arm"
        )
    if len(set(arms)) != len(arms):
        raise PredictorError("an arm was given twice: average its samples into one column")
    observed = ~np.isnan(values[0])
    values = [np.where(observed, one, np.nan) for one in values]
    _check_ranges(features, values, observed)
    for arm, answers in zip(arms, observed.sum(axis=0), strict=True):
        if answers < FEWEST_ROWS:
            raise PredictorError(f"{arm} has {answers} answers and needs {FEWEST_ROWS}: collect more, or leave it out")
    asked: Mask = np.asarray(observed.any(axis=1))
    return _Table(asked, features[asked], *(one[asked] for one in values)), arms


def _check_ranges(x: Floats, values: list[Floats], observed: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    if not observed.any():
        raise PredictorError("there is no answer to learn from: collect some, or check the join of table and queries")
    if not np.isfinite(x).all():
        raise PredictorError("an embedding holds NaN or infinity: embed the queries again")
    for name, column, top in zip(("quality", "output_tokens", "cost_usd"), values, (1.0, np.inf, np.inf), strict=True):
        seen = column[observed]
        if not (np.isfinite(seen).all() and seen.min() >= 0.0 and seen.max() <= top):
            raise PredictorError(f"{name} goes from {seen.min()} to {seen.max()}, outside 0 to {top}: mend the table")


def _most_tokens(table: _Table, arms: tuple[Arm, ...]) -> Floats:
    """(A,) the budget where it was kept, else the longest answer seen: a recorded budget may have been advice only."""
    longest = np.nanmax(table.tokens, axis=0)
    budgets = np.array([0.0 if arm.budget is None else float(arm.budget) for arm in arms])
    return np.asarray(np.maximum(longest, budgets))


def _token_fit(path: RidgePath, table: _Table, alphas: Sequence[float]) -> tuple[Floats, Floats]:
    """Each arm's penalty with the least leave-one-out error in log tokens (A,), and those predictions (n, A)."""
    arms = table.tokens.shape[1]
    target = table.log_tokens
    penalties, errors, best = np.full(arms, np.inf), np.full(arms, np.inf), np.empty_like(target)
    for alpha in (np.inf, *alphas):
        predictions = path.loo(alpha)[:, arms:]
        error = np.nanmean(np.square(target - predictions), axis=0)
        better = error < errors
        penalties[better], errors[better] = alpha, error[better]
        best[:, better] = predictions[:, better]
    return penalties, best


def _smear(table: _Table, log_tokens: Floats, most_tokens: Floats) -> Floats:
    """(A,) log of the ratio between the answers' length and what their predicted logs say (Duan 1983, as a ratio)."""
    predicted = np.exp(np.clip(log_tokens, 0.0, np.log1p(most_tokens)))
    predicted = np.where(np.isnan(table.tokens), np.nan, predicted)
    return np.asarray(np.log(np.nanmean(table.tokens + 1.0, axis=0) / np.nanmean(predicted, axis=0)))


def _expected_cost(table: _Table, tokens: Floats, output_price: ArrayLike | None) -> Floats:
    """(n, A) USD to be expected before asking: the prompt's price, which is known, and the predicted tokens'."""
    means = np.broadcast_to(np.nanmean(table.cost_usd, axis=0), table.cost_usd.shape)
    if output_price is None:
        return means
    price = np.asarray(output_price, dtype=np.float64) * USD_PER_PRICE
    known = table.cost_usd + (tokens - table.tokens) * price
    return np.where(np.isnan(known), means, np.maximum(known, 0.0))


def _quality_rows(path: RidgePath, shrinkage: Shrinkage, mean: Floats) -> tuple[Floats, Floats]:
    """(A, D) coefficients and (A,) intercepts of the quality heads, put together as their predictions were."""
    arms = mean.size
    coef, intercept = (part[:arms] for part in path.weights(shrinkage.alpha))
    common_coef, common_intercept = (part[:arms] for part in path.weights(shrinkage.common_alpha))
    common = common_coef.mean(axis=0)[:, None]
    offset = np.atleast_1d((common_intercept - mean).mean())
    return blend(np.zeros(arms), common, coef.T, shrinkage).T, blend(mean, offset, intercept - mean, shrinkage)


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


def _metrics(table: _Table, predictions: Floats, arms: tuple[Arm, ...]) -> dict[str, dict[str, float | None]]:
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
