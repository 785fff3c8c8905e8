"""The heads of a new model as mixes of the old ones: few numbers to learn, so that few answers suffice.

A score is what a head says before ``squash`` and the calibration; the new heads are fitted to plain quality like the
old ones were, and the predictor's one map comes after for all alike. Solving for a score that the map takes to the
measured mean would hand the newcomer an advantage that no old arm has (measured: worse routing on GSM8K)::

    score(new) = level + deviation of its like + ridge mix of (old deviation - mean old deviation)

An old arm's deviation is its score less its mean. *Its like* are the old arms of similar budget and mean quality: what
a model of that kind is expected to do with a query. The ridge mix is what the N answers say besides; penalties are
judged by leave-one-out error over all budgets of the model together, and all within one standard error of the best are
averaged, the infinite one among them; and of that, only the share is kept that the old arms' own deviations earned in
routing (``shrink``). The level is the measured mean, drawn towards what the old models have at that
budget by as much as luck may have moved it: nobody is routed to for fifty lucky answers (Efron and Morris 1975).
Where the old arms' answers to the same queries are known, the luck they had is taken out first (control variate).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.predictor.ridge import RidgePath
from curveroute.agent.predictor.shrink import apart
from curveroute.agent.predictor.training import smear

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats
    from curveroute.agent.predictor.heads import CurveHeads
    from curveroute.agent.predictor.training import Training
    from curveroute.agent.types import Arm

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # times the queries times the summed variance of the features
TOKEN_PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
NEAR = 1.0  # standard errors behind the best within which a penalty is as good
LIKE_QUALITY, LIKE_BUDGET = 0.1, 1.0  # widths: of mean quality, and of doublings of the budget
MODEL_VARIANCE = 1.0 / 12.0  # of one imagined old model's mean quality: anything from 0 to 1
LUCK_FLOOR = 1e-3  # variance that the others' luck needs before it says anything


@dataclass(frozen=True, eq=False)
class Veterans:
    """The K arms that are there.

    Attributes:
        heads: theirs.
        mean: (K,) quality on the queries they were fitted on, where deviations average to nothing.
    """

    heads: CurveHeads
    mean: Floats

    @cached_property
    def weights(self) -> Floats:
        """(2K, D) in double precision."""
        return np.asarray(self.heads.weights, dtype=np.float64)

    @cached_property
    def offset(self) -> Floats:
        """(2K,) intercepts of deviations in quality, then of log tokens."""
        return np.asarray(self.heads.bias - np.concatenate((self.mean, np.zeros_like(self.mean))), dtype=np.float64)

    def scores(self, x: Floats) -> tuple[Floats, Floats]:
        """(n, K) deviations in quality, and (n, K) log tokens."""
        both, count = x @ self.weights.T + self.offset, self.mean.size
        return np.asarray(both[:, :count]), np.asarray(both[:, count:])

    def budget_weights(self, arms: tuple[Arm, ...]) -> Floats:
        """(K, B) how near each budget is, columns summing to 1; unlimited is twice the largest there is."""
        finite = [arm.budget for arm in (*self.heads.arms, *arms) if arm.budget is not None]
        top = 2.0 * max(finite, default=1)
        old, new = (_doublings(group, top) for group in (self.heads.arms, arms))
        return _softmax(-0.5 * np.square((old[:, None] - new) / LIKE_BUDGET))

    def like(self, arms: tuple[Arm, ...], quality: Floats) -> Floats:
        """(K, B) how like each old arm is to new arms of these budgets and (B,) mean qualities; columns sum to 1."""
        apart_by = np.square((self.mean[:, None] - quality) / LIKE_QUALITY)
        nearness = np.log(np.maximum(self.budget_weights(arms), np.finfo(np.float64).tiny))
        return _softmax(nearness - 0.5 * apart_by)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """New heads: (B, D) weights and (B,) bias."""

    weights: Floats
    bias: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What was learned of a new model's quality.

    Attributes:
        rows: the heads of its scores.
        left_out: (N, B) scores of the N queries, each without having been seen.
        level: (B,) mean score over queries like those that the old heads were fitted on.
        believed: (B,) how much is kept of what sets each arm apart.
    """

    rows: Rows
    left_out: Floats
    level: Floats
    believed: Floats


def quality_of(old: Veterans, table: Training, arms: tuple[Arm, ...], others: Floats, rho: float) -> Learned:
    """Heads of the quality scores.

    Args:
        old: the arms that are there.
        table: N queries without gaps.
        arms: the B new arms.
        others: (N, K) quality of the old arms on the same queries, NaN where not known.
        rho: share of the old arms' differences that was kept.
    """
    deviations, _ = old.scores(table.x)
    like = old.like(arms, table.quality.mean(axis=0))
    expected = deviations @ like
    target = _without_luck(table.quality - expected, (others - deviations - old.mean), like)
    mix = _averaged(RidgePath(apart(deviations), target), target, deviations.size, rho)
    shift = _level(old, arms, mix.left_out - target, mix.level)
    share = like + apart(mix.coef).T  # a mix of deviations less their mean is a mix of deviations whose shares sum to 0
    count = old.mean.size
    level = mix.level + shift
    bias = share.T @ old.offset[:count] + level
    return Learned(Rows(share.T @ old.weights[:count], bias), expected + mix.left_out + shift, level, mix.believed)


def tokens_of(old: Veterans, table: Training, arms: tuple[Arm, ...], most: Floats) -> Rows:
    """Heads of log(1 + output tokens), brought back to tokens by the ratio that makes their total right.

    Args:
        old: the arms that are there.
        table: N queries without gaps.
        arms: the B new arms.
        most: (B,) tokens that no answer exceeds.
    """
    _, logs = old.scores(table.x)
    like = old.budget_weights(arms)
    expected = (logs - logs.mean(axis=0)) @ like
    path = RidgePath(logs, table.log_tokens - expected)
    penalties = path.gcv([one * logs.size for one in TOKEN_PENALTIES])
    left_out = path.loo(penalties) + expected
    coef, level = path.weights(penalties)
    shift = smear(table, left_out, most)
    share, count = like + coef.T, old.mean.size
    bias = share.T @ old.offset[count:] + level - logs.mean(axis=0) @ like + shift
    return Rows(share.T @ old.weights[count:], bias)


@dataclass(frozen=True, slots=True, eq=False)
class _Mix:
    """An average of ridge fits: (B, K) coefficients, (B,) levels, (N, B) left-out fits, (B,) shares believed."""

    coef: Floats
    level: Floats
    left_out: Floats
    believed: Floats


def _averaged(path: RidgePath, target: Floats, unit: int, rho: float) -> _Mix:
    """The average of all penalties nearly as good as the best, and ``rho`` of that beside the mean."""
    penalties = [np.inf, *(one * unit for one in PENALTIES)]
    left = [path.loo(penalty) for penalty in penalties]
    errors = [np.square(one - target).mean(axis=1) for one in left]
    best = min(errors, key=lambda error: float(error.mean()))
    near = [at for at, error in enumerate(errors) if _is_near(error - best)]
    kept = np.zeros(len(penalties))
    kept[near] = rho / len(near)
    kept[0] += 1.0 - rho
    fits = [path.weights(penalty) for penalty in penalties]
    coef = np.tensordot(kept, [one for one, _ in fits], axes=1)
    loosest = np.linalg.norm(fits[1][0], axis=1)
    return _Mix(
        coef=coef,
        level=np.tensordot(kept, [one for _, one in fits], axes=1),
        left_out=np.tensordot(kept, left, axes=1),
        believed=np.divide(np.linalg.norm(coef, axis=1), loosest, out=np.zeros_like(loosest), where=loosest > 0.0),
    )


def _is_near(behind: Floats) -> bool:
    """Whether a penalty is so little (paired) behind the best that luck may have put it there."""
    return bool(behind.mean() <= NEAR * behind.std() / np.sqrt(behind.size))


def _without_luck(target: Floats, residuals: Floats, like: Floats) -> Floats:
    """Targets less what goes along with the residuals of the old arms, which average to nothing over all queries."""
    luck = np.where(np.isnan(residuals), 0.0, residuals) @ like
    varied = luck - luck.mean(axis=0)
    size = np.square(varied).sum(axis=0) + LUCK_FLOOR * luck.shape[0]
    return np.asarray(target - luck * (varied * target).sum(axis=0) / size)


def _level(old: Veterans, arms: tuple[Arm, ...], error: Floats, level: Floats) -> Floats:
    """(B,) how far to draw the measured levels towards the old models' at such budgets."""
    near = old.budget_weights(arms)
    usual = old.mean @ near
    spread = np.maximum(np.square(old.mean) @ near - np.square(usual), 0.0)
    models = len({arm.model for arm in old.heads.arms})
    spread = (models * spread + MODEL_VARIANCE) / (models + 1)
    luck = np.square(error).mean(axis=0) / error.shape[0]
    return np.asarray(luck / (luck + spread) * (usual - level))


def _doublings(arms: tuple[Arm, ...], top: float) -> Floats:
    return np.log2([top if arm.budget is None else float(arm.budget) for arm in arms])


def _softmax(logs: Floats) -> Floats:
    weights = np.exp(logs - logs.max(axis=0))
    return np.asarray(weights / weights.sum(axis=0))
