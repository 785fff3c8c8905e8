"""The single-shot rule: which arm to take on predictions alone.

``score = (1 - tradeoff) * quality - tradeoff * cost / unit`` and the best score wins. This is the rule of R2-Router
(arXiv 2602.02823, the joint choice of model and output budget); ``cost_unit="usd"`` is the paper's own, where the unit
is one dollar, and ``"pool"`` divides by the pool's reference cost, so that a tradeoff of 0.5 means something.

Two promises hold for every function here. An arm without an estimate (a NaN quality, a NaN or infinite cost) is never
chosen; and equal scores are settled by price, then by quality, then by position, so that luck never decides.
Qualities are in [0, 1] and are clipped to it; costs are USD per call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curveroute.agent.errors import RunError, SettingError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from curveroute.agent.types import CostUnit

Floats: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]

USD_PER_PRICE = 1e-6  # prices are USD per million tokens
BATCH_ROWS = 4096  # rows multiplied at a time: few large products wait less for each other's threads than many small
SCORE_ROWS = 256  # rows scored at a time: 256 x 187 doubles stay in a core's cache


def check_tradeoff(tradeoff: float) -> float:
    """Return ``tradeoff`` if it lies in [0, 1].

    Raises:
        SettingError: it does not, or is NaN.
    """
    if not 0.0 <= tradeoff <= 1.0:
        raise SettingError(f"tradeoff is {tradeoff}, outside 0 (quality only) to 1 (cost only): give a number between")
    return float(tradeoff)


def unit_usd(cost_unit: CostUnit, reference_cost_usd: float | None) -> float:
    """The dollars that weigh as much as one whole unit of quality.

    Args:
        cost_unit: ``"usd"`` for the paper's rule, ``"pool"`` for units of the pool.
        reference_cost_usd: the dearest arm's mean cost on the training queries; needed for ``"pool"``.

    Raises:
        SettingError: an unknown unit, or ``"pool"`` without a positive, finite reference cost.
    """
    if cost_unit == "usd":
        return 1.0
    if cost_unit != "pool":
        raise SettingError(f'cost_unit is {cost_unit!r}: use "pool" or "usd"')
    if reference_cost_usd is None or not 0.0 < reference_cost_usd < np.inf:
        raise SettingError(
            f'reference_cost_usd is {reference_cost_usd}, but cost_unit="pool" divides by it: '
            'give the dearest arm\'s mean cost in USD, or use cost_unit="usd"'
        )
    return float(reference_cost_usd)


def score(
    quality: ArrayLike,
    cost_usd: ArrayLike,
    *,
    tradeoff: float,
    cost_unit: CostUnit = "pool",
    reference_cost_usd: float | None = None,
) -> Floats:
    """Score arms by ``(1 - tradeoff) * clip(quality, 0, 1) - tradeoff * cost / unit`` (arXiv 2602.02823).

    Args:
        quality: expected quality, (A,) or (n, A); NaN stays NaN.
        cost_usd: expected cost per call in USD, a shape that broadcasts with ``quality``.
        tradeoff: 0 = quality only, 1 = cost only.
        cost_unit: ``"pool"`` divides by ``reference_cost_usd``, ``"usd"`` by one dollar.
        reference_cost_usd: the pool's reference cost.

    Returns:
        The scores, in the broadcast shape.

    Raises:
        SettingError: a tradeoff outside [0, 1], or a unit without its reference cost.
    """
    weight = check_tradeoff(tradeoff)
    quality_weight, cost_weight = 1.0 - weight, weight / unit_usd(cost_unit, reference_cost_usd)
    clipped = np.clip(np.asarray(quality, dtype=np.float64), 0.0, 1.0)
    cost = np.asarray(cost_usd, dtype=np.float64)
    if cost_weight == 0.0:  # 0 * inf would warn; an infinite cost must still never win
        return np.asarray(clipped * quality_weight + np.where(np.isfinite(cost), 0.0, np.nan))
    return np.asarray(clipped * quality_weight - cost * cost_weight)


def best(scores: ArrayLike, cost_usd: ArrayLike, quality: ArrayLike, eligible: ArrayLike | None = None) -> int:
    """Index of the highest score; equal scores go to the cheaper arm, then the better one, then the lower index.

    Args:
        scores: (A,); an arm with a NaN or negatively infinite score cannot be chosen.
        cost_usd: (A,) USD.
        quality: (A,).
        eligible: (A,) booleans, all true when not given.

    Raises:
        RunError: no arm can be chosen.
    """
    values = _choosable(np.asarray(scores, dtype=np.float64), eligible)
    if values.size == 0 or (top := values.max()) == -np.inf:
        raise RunError(_nothing_to_choose(values, eligible))
    tied = np.flatnonzero(values == top)
    if tied.size == 1:
        return int(tied[0])
    cost, worth = np.asarray(cost_usd, dtype=np.float64)[tied], np.asarray(quality, dtype=np.float64)[tied]
    return int(tied[np.lexsort((tied, -worth, cost))[0]])


def choose(
    quality: ArrayLike,
    cost_usd: ArrayLike,
    *,
    tradeoff: float,
    cost_unit: CostUnit = "pool",
    reference_cost_usd: float | None = None,
    eligible: ArrayLike | None = None,
) -> int:
    """Choose one arm for one query: the highest ``score``, ties as in ``best``.

    Args:
        quality: (A,) expected quality.
        cost_usd: (A,) expected cost in USD.
        tradeoff: as in ``score``.
        cost_unit: as in ``score``.
        reference_cost_usd: as in ``score``.
        eligible: (A,) booleans, all true when not given.

    Returns:
        The arm's index.

    Raises:
        SettingError: as ``score``.
        RunError: no arm is eligible and has an estimate.
    """
    scores = score(quality, cost_usd, tradeoff=tradeoff, cost_unit=cost_unit, reference_cost_usd=reference_cost_usd)
    return best(scores, cost_usd, quality, eligible)


def choose_many(
    quality: ArrayLike,
    cost_usd: ArrayLike,
    *,
    tradeoff: float,
    cost_unit: CostUnit = "pool",
    reference_cost_usd: float | None = None,
    eligible: ArrayLike | None = None,
) -> Indices:
    """Choose one arm for each of n queries; ``choose``, row by row.

    Args:
        quality: (n, A).
        cost_usd: (n, A) or (A,) USD.
        tradeoff: as in ``score``.
        cost_unit: as in ``score``.
        reference_cost_usd: as in ``score``.
        eligible: (n, A) or (A,) booleans, all true when not given.

    Returns:
        (n,) indices of arms.

    Raises:
        SettingError: as ``score``.
        RunError: a row without an arm that is eligible and has an estimate.
    """
    scores = score(quality, cost_usd, tradeoff=tradeoff, cost_unit=cost_unit, reference_cost_usd=reference_cost_usd)
    return _best_of_rows(_choosable(scores, eligible), cost_usd, quality)


def rank(
    quality: ArrayLike,
    cost_usd: ArrayLike,
    *,
    tradeoff: float,
    cost_unit: CostUnit = "pool",
    reference_cost_usd: float | None = None,
    eligible: ArrayLike | None = None,
) -> Indices:
    """Order the arms of one query, best first; its head is what ``choose`` takes.

    Arguments and errors are those of ``choose``, except that nothing to choose gives an empty order.

    Returns:
        (k,) indices of the arms that can be chosen.
    """
    scores = score(quality, cost_usd, tradeoff=tradeoff, cost_unit=cost_unit, reference_cost_usd=reference_cost_usd)
    values = _choosable(scores, eligible)
    worth, cost = np.broadcast_arrays(np.asarray(quality, dtype=np.float64), np.asarray(cost_usd, dtype=np.float64))
    order = np.lexsort((-worth, cost, -values))
    return np.asarray(order[values[order] > -np.inf], dtype=np.intp)


def pareto(quality: ArrayLike, cost_usd: ArrayLike, eligible: ArrayLike | None = None) -> Indices:
    """The arms that no other arm beats in quality at no higher cost.

    Args:
        quality: (A,); NaN is never on the front.
        cost_usd: (A,) USD.
        eligible: (A,) booleans, all true when not given.

    Returns:
        Their indices, by rising cost and rising quality; of equal arms only the first.
    """
    worth, cost = np.asarray(quality, dtype=np.float64), np.asarray(cost_usd, dtype=np.float64)
    values = _choosable(np.where(np.isfinite(cost), worth, np.nan), eligible)
    order = np.lexsort((-values, cost))
    order = order[values[order] > -np.inf]
    before = np.maximum.accumulate(np.concatenate(([-np.inf], values[order])))[:-1]
    return np.asarray(order[values[order] > before], dtype=np.intp)


class LinearDecider:
    """The whole single-shot rule as one matrix product: linear heads and prices in, an arm out.

    It does in one product what the reference code does with one regressor per head (arXiv 2602.02823, released ridge
    heads). Safe to share between threads: it keeps no scratch memory.

    Args:
        coef: (A + T, D) heads: one for the quality of each arm, then one for the output tokens of each arm whose
            ``tokens`` is NaN, in the order of the arms.
        intercept: (A + T,).
        input_price: (A,) USD per million input tokens.
        output_price: (A,) USD per million output tokens.
        tokens: (A,) output tokens to charge; NaN where a head predicts them (negative predictions charge nothing).
        cost_unit: as in ``score``.
        reference_cost_usd: as in ``score``.

    Raises:
        SettingError: shapes that do not fit together, or a unit without its reference cost.
    """

    def __init__(
        self,
        coef: ArrayLike,
        intercept: ArrayLike,
        *,
        input_price: ArrayLike,
        output_price: ArrayLike,
        tokens: ArrayLike,
        cost_unit: CostUnit = "pool",
        reference_cost_usd: float | None = None,
    ) -> None:
        nominal = np.array(tokens, dtype=np.float64)
        self.arms = int(nominal.size)
        self._weights: Singles = np.ascontiguousarray(coef, dtype=np.float32)
        self._bias: Singles = np.ascontiguousarray(intercept, dtype=np.float32)
        self._input_usd = np.array(input_price, dtype=np.float64) * USD_PER_PRICE
        self._output_usd = np.array(output_price, dtype=np.float64) * USD_PER_PRICE
        self._predicted = np.flatnonzero(np.isnan(nominal))
        self._nominal_usd = np.where(np.isnan(nominal), 0.0, nominal) * self._output_usd
        self._unit = unit_usd(cost_unit, reference_cost_usd)
        self._check_shapes()

    def decide(self, embedding: ArrayLike, *, input_tokens: float, tradeoff: float) -> int:
        """Choose the arm for one query.

        Args:
            embedding: (D,).
            input_tokens: tokens of the prompt.
            tradeoff: 0 = quality only, 1 = cost only.

        Raises:
            SettingError: a tradeoff outside [0, 1], or an embedding of another size.
            RunError: the embedding holds NaN, so that no arm has an estimate.
        """
        weight = check_tradeoff(tradeoff)
        raw = self._weights @ self._embedding(embedding, 1)
        raw += self._bias
        scores, quality, cost = self._scores(raw, input_tokens, weight)
        return best(scores, cost, quality)

    def decide_many(self, embeddings: ArrayLike, *, input_tokens: ArrayLike, tradeoff: float) -> Indices:
        """Choose the arm for each of n queries.

        Args:
            embeddings: (n, D).
            input_tokens: (n,) or a scalar.
            tradeoff: 0 = quality only, 1 = cost only.

        Returns:
            (n,) indices of arms.

        Raises:
            SettingError, RunError: as ``decide``.
        """
        weight = check_tradeoff(tradeoff)
        rows = self._embedding(embeddings, 2)
        prompts = np.broadcast_to(np.asarray(input_tokens, dtype=np.float64), rows.shape[:1])
        chosen = np.empty(rows.shape[0], dtype=np.intp)
        for start in range(0, rows.shape[0], BATCH_ROWS):
            raw = rows[start : start + BATCH_ROWS] @ self._weights.T
            raw += self._bias
            for offset in range(0, raw.shape[0], SCORE_ROWS):
                part = slice(start + offset, min(start + offset + SCORE_ROWS, start + raw.shape[0]))
                scores, quality, cost = self._scores(raw[offset : offset + SCORE_ROWS], prompts[part, None], weight)
                chosen[part] = _best_of_rows(_choosable(scores, None), cost, quality)
        return chosen

    def _scores(self, raw: Singles, input_tokens: float | Floats, weight: float) -> tuple[Floats, Floats, Floats]:
        quality = np.clip(raw[..., : self.arms], 0.0, 1.0).astype(np.float64)
        cost = np.asarray(input_tokens * self._input_usd + self._nominal_usd)
        if self._predicted.size:
            predicted = np.maximum(raw[..., self.arms :], 0.0)
            cost[..., self._predicted] += predicted * self._output_usd[self._predicted]
        scores = quality * (1.0 - weight)
        scores -= cost * (weight / self._unit)
        return scores, quality, cost

    def _embedding(self, values: ArrayLike, dimensions: int) -> Singles:
        array = np.asarray(values, dtype=np.float32)
        if array.ndim != dimensions or array.shape[-1] != self._weights.shape[1]:
            raise SettingError(
                f"an embedding of shape {array.shape} does not fit heads of {self._weights.shape[1]} dimensions: "
                "embed with the embedder that the heads were fitted with"
            )
        return array

    def _check_shapes(self) -> None:
        heads = (self.arms + int(self._predicted.size),)
        shapes = (self._weights.shape[:1], self._bias.shape, self._input_usd.shape, self._output_usd.shape)
        if self._weights.ndim != 2 or shapes != (heads, heads, (self.arms,), (self.arms,)):  # noqa: PLR2004
            raise SettingError(
                f"heads {self._weights.shape}, intercepts {self._bias.shape}, prices {self._input_usd.shape} and "
                f"{self._output_usd.shape} do not fit {self.arms} arms, {self._predicted.size} of them with predicted "
                "tokens: give one head per arm, then one per NaN in tokens"
            )


def _choosable(scores: Floats, eligible: ArrayLike | None) -> Floats:
    """Scores with -inf wherever an arm may not be chosen."""
    allowed = ~np.isnan(scores)
    if eligible is not None:
        allowed = allowed & np.asarray(eligible, dtype=np.bool_)
    return np.where(allowed, scores, -np.inf)


def _best_of_rows(values: Floats, cost_usd: ArrayLike, quality: ArrayLike) -> Indices:
    """``best`` for each row of (n, A) choosable scores; only rows with ties, or nothing to choose, are seen singly."""
    rows, arms = values.shape
    if rows == 0:
        return np.empty(0, dtype=np.intp)
    if arms == 0:
        raise RunError(_nothing_to_choose(values, None))
    chosen: Indices = values.argmax(axis=1)
    ties = (values == values[np.arange(rows), chosen][:, None]).sum(axis=1) > 1
    if ties.any() or not np.isfinite(values[np.arange(rows), chosen]).all():
        cost = np.broadcast_to(np.asarray(cost_usd, dtype=np.float64), values.shape)
        worth = np.broadcast_to(np.asarray(quality, dtype=np.float64), values.shape)
        for row in np.flatnonzero(ties | (values[np.arange(rows), chosen] == -np.inf)):
            chosen[row] = best(values[row], cost[row], worth[row])
    return chosen


def _nothing_to_choose(values: Floats, eligible: ArrayLike | None) -> str:
    masked = 0 if eligible is None else int(np.size(eligible) - np.count_nonzero(eligible))
    return (
        f"none of {values.shape[-1]} arms can be chosen: {masked} are not eligible, the rest have no finite estimate; "
        "widen the allow list, raise the cap, or train the predictor for these arms"
    )
