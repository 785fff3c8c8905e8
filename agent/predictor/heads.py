"""What a trained predictor does for a query: one matrix product.

The heads of an arm are two rows, quality and log output tokens. A pool may offer budgets that were never recorded:
between two recorded budgets of a model the curve is a straight line (the interpolation of R2-Router, arXiv
2602.02823), and since heads are linear, so is the head of the budget in between. ``for_arms`` computes such rows once,
and prediction stays one product. Outside the recorded budgets the nearest one answers.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.errors import PredictorError
from curveroute.agent.predictor.rising import NO_MAP, rise
from curveroute.agent.predictor.squash import squash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats, Indices, Singles
    from curveroute.agent.types import Arm, ModelId

FEWEST_TOKENS = 1.0  # every answer has at least its end


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the heads expect of A arms.

    Attributes:
        quality: (A,) or (n, A), in [0, 1].
        quality_std: (A,), the root mean square error of the heads on queries they had not seen.
        output_tokens: (A,) or (n, A), at least 1.
    """

    quality: Floats
    quality_std: Floats
    output_tokens: Floats


@dataclass(frozen=True, eq=False)
class CurveHeads:
    """Linear heads of A arms over D dimensions. Safe to share between threads.

    Attributes:
        arms: the A arms, in the order of every array.
        weights: (2A, D) rows of quality, then rows of log(1 + output tokens).
        bias: (2A,).
        covariance: (A, A) of the heads' errors on queries they had not seen, positive semidefinite.
        most_tokens: (A,) output tokens that an answer of the arm cannot exceed.
        reference_cost_usd: the pool's unit of cost: the dearest arm's mean cost on the training queries.
        rising: (2, K) knots of the calibration of quality, see ``rising``.
    """

    arms: tuple[Arm, ...]
    weights: Singles
    bias: Singles
    covariance: Floats
    most_tokens: Floats
    reference_cost_usd: float
    rising: Floats = field(default_factory=NO_MAP.copy)

    @property
    def dimension(self) -> int:
        """Dimensions of the embeddings it reads."""
        return int(self.weights.shape[1])

    @cached_property
    def quality_std(self) -> Floats:
        """(A,) root mean square error of each quality head."""
        return np.asarray(np.sqrt(np.diagonal(self.covariance)))

    @cached_property
    def _log_most_tokens(self) -> Singles:
        return np.log1p(self.most_tokens).astype(np.float32)

    def predict(self, x: ArrayLike) -> Predictions:
        """Predict all arms for one embedding (D,) or for n of them (n, D).

        Raises:
            PredictorError: embeddings of another size.
        """
        rows: Singles = np.asarray(x, dtype=np.float32)
        if rows.ndim not in {1, 2} or rows.shape[-1] != self.dimension:
            raise PredictorError(
                f"embeddings of shape {rows.shape} do not fit a predictor of {self.dimension} dimensions: "
                "embed with the embedder it was trained with, or train again"
            )
        raw = rows @ self.weights.T
        raw += self.bias
        arms = len(self.arms)
        quality = rise(self.rising, squash(raw[..., :arms].astype(np.float64)))
        tokens = np.expm1(np.minimum(raw[..., arms:], self._log_most_tokens)).astype(np.float64)
        np.clip(tokens, FEWEST_TOKENS, np.maximum(self.most_tokens, FEWEST_TOKENS), out=tokens)
        return Predictions(quality, self.quality_std, tokens)

    def for_arms(self, arms: Sequence[Arm]) -> CurveHeads:
        """The heads of other arms of the same models, in the order given.

        A budget between two recorded ones mixes their heads linearly; one outside takes the nearest; ``None``
        (unlimited) takes the unlimited head where there is one, else that of the largest budget.

        Raises:
            PredictorError: an arm whose model has no heads.
        """
        wanted = tuple(arms)
        curves = _curves(self.arms)
        places = [_place(arm, curves) for arm in wanted]
        low = np.array([place[0] for place in places], dtype=np.intp)
        high = np.array([place[1] for place in places], dtype=np.intp)
        share = np.array([place[2] for place in places], dtype=np.float64)
        rows = np.concatenate((low, low + len(self.arms))), np.concatenate((high, high + len(self.arms)))
        shares = np.concatenate((share, share)).astype(np.float32)
        return CurveHeads(
            arms=wanted,
            weights=np.ascontiguousarray(_mix(self.weights, *rows, shares[:, None])),
            bias=np.ascontiguousarray(_mix(self.bias, *rows, shares)),
            covariance=_mixed_covariance(self.covariance, low, high, share),
            most_tokens=self._mixed_ceiling(wanted, low, high, share),
            reference_cost_usd=self.reference_cost_usd,
            rising=self.rising,
        )

    def _mixed_ceiling(self, arms: tuple[Arm, ...], low: Indices, high: Indices, share: Floats) -> Floats:
        """Between anchors the ceiling is mixed; an arm below its model's smallest budget is cut at its own."""
        ceiling = self.most_tokens[low] * (1.0 - share) + self.most_tokens[high] * share
        for index, arm in enumerate(arms):
            anchor = self.arms[int(low[index])].budget
            if arm.budget is not None and (anchor is None or arm.budget < anchor):
                ceiling[index] = min(float(ceiling[index]), float(arm.budget))
        return np.asarray(ceiling)


def shares_of(known: tuple[Arm, ...], arms: Sequence[Arm]) -> Floats:
    """(n, A) how much of each of A known arms' heads each of n arms' head is; rows sum to 1.

    Raises:
        PredictorError: an arm whose model has no heads.
    """
    curves, shares = _curves(known), np.zeros((len(arms), len(known)))
    for row, arm in enumerate(arms):
        low, high, share = _place(arm, curves)
        shares[row, low] += 1.0 - share
        shares[row, high] += share
    return shares


def _curves(arms: tuple[Arm, ...]) -> dict[ModelId, list[tuple[float, int]]]:
    """Of each model, its recorded budgets (unlimited as infinity) and where their heads are, by rising budget."""
    curves: dict[ModelId, list[tuple[float, int]]] = {}
    for index, arm in enumerate(arms):
        curves.setdefault(arm.model, []).append((_length(arm), index))
    return {model: sorted(points) for model, points in curves.items()}


def _length(arm: Arm) -> float:
    return np.inf if arm.budget is None else float(arm.budget)


def _place(arm: Arm, curves: dict[ModelId, list[tuple[float, int]]]) -> tuple[int, int, float]:
    """The heads on either side of an arm, and the share of the higher one."""
    if arm.model not in curves:
        raise PredictorError(
            f"the predictor does not know model {str(arm.model)!r}; it knows {', '.join(sorted(curves))}: "
            "train it on answers of that model, onboard the model, or take the model out of the pool"
        )
    points, wanted = curves[arm.model], _length(arm)
    at = bisect_left(points, (wanted, -1))
    if at == len(points):
        return points[-1][1], points[-1][1], 0.0
    budget, head = points[at]
    below = points[at - 1][0] if at else None
    if budget == wanted or below is None:
        return head, head, 0.0
    lower = points[at - 1][1]
    if budget == np.inf:  # no line leads to infinity: the largest recorded budget is the nearest
        return lower, lower, 0.0
    return lower, head, (wanted - below) / (budget - below)


def _mix(rows: Singles, low: Indices, high: Indices, share: Singles) -> Singles:
    return np.asarray(rows[low] * (np.float32(1.0) - share) + rows[high] * share)


def _mixed_covariance(covariance: Floats, low: Indices, high: Indices, share: Floats) -> Floats:
    """Covariance of mixed heads.

    Errors of two budgets do not average out for the budget in between, whose answer has luck of its own: its variance
    is mixed like its quality. That only adds to the diagonal, so the matrix stays positive semidefinite.
    """
    mixed = covariance[low] * (1.0 - share)[:, None] + covariance[high] * share[:, None]
    result = mixed[:, low] * (1.0 - share) + mixed[:, high] * share
    variance = np.diagonal(covariance)
    np.fill_diagonal(result, variance[low] * (1.0 - share) + variance[high] * share)
    return np.asarray(result)
