"""How much of the heads to believe, decided by what routing on them would have earned.

A head that predicts well may still route badly: the argmax over many noisy estimates picks the luckiest error, and a
better Brier score often routes worse. So a prediction is split in two. What all arms share on a query, its difficulty,
changes no ranking and is kept as well as it predicts. What sets one arm apart from the others decides the ranking, and
only as much of it is kept as earned something on queries it had not seen::

    quality(arm) = mean(arm) + share * difficulty + average over settings of rho * (deviation(arm) - mean deviation)

What is earned is the realised ``(1 - t) * quality - t * cost / reference`` of the chosen arms, averaged over tradeoffs
``t`` (the score of arXiv 2602.02823), with leave-one-out predictions. A setting is a penalty and a share ``rho``. All
settings within half a standard error of the best are averaged, which no single lucky one can lead astray, and the
average is dropped for flat heads where it earns less than the best constant arms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.predictor.squash import squash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.decide import Floats, Indices, Mask
    from curveroute.agent.predictor.ridge import RidgePath

SHARES = (1.0, 0.5, 0.25, 0.0)
NEAR = 0.5  # standard errors behind the best within which a setting is as good
FLAT = (np.inf, 0.0)


@dataclass(frozen=True, slots=True)
class Shrinkage:
    """What was kept of the heads, and what it earned.

    Attributes:
        settings: (penalty, share rho) pairs, averaged with equal weight; what sets an arm apart under each penalty.
        common_alpha: penalty of what all arms share.
        share: share of that which is kept; below 1 only where it made routing worse.
        gain: leave-one-out utility per query over the best constant arms; negative only where the expected costs
            mislead even flat heads.
        gain_se: its standard error.
    """

    settings: tuple[tuple[float, float], ...]
    common_alpha: float
    share: float
    gain: float = 0.0
    gain_se: float = 0.0

    @property
    def rho(self) -> float:
        """Share of the arms' differences that is kept, over all settings; 0 routes like constant arms."""
        return float(np.mean([rho for _, rho in self.settings]))

    @property
    def kept(self) -> dict[float, float]:
        """How much of each penalty's deviations is kept."""
        kept: dict[float, float] = {}
        for alpha, rho in self.settings:
            if rho > 0.0:
                kept[alpha] = kept.get(alpha, 0.0) + rho / len(self.settings)
        return kept


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What was recorded, and what a policy would have expected to pay.

    Attributes:
        quality: (n, A) in [0, 1], NaN where an arm was not asked.
        cost_usd: (n, A) USD that each answer cost.
        expected_cost_usd: (n, A) USD that was to be expected before asking.
        reference_cost_usd: the unit of cost.
        tradeoffs: at which routing is judged.
    """

    quality: Floats
    cost_usd: Floats
    expected_cost_usd: Floats
    reference_cost_usd: float
    tradeoffs: tuple[float, ...]

    @property
    def observed(self) -> Mask:
        """(n, A) whether the arm was asked."""
        return ~np.isnan(self.quality)

    def take(self, rows: Indices) -> Outcomes:
        """Some of the queries."""
        return replace(
            self,
            quality=self.quality[rows],
            cost_usd=self.cost_usd[rows],
            expected_cost_usd=self.expected_cost_usd[rows],
        )

    def utility(self, quality: Floats, expected_cost_usd: Floats) -> Floats:
        """Utility of routing on (n, A) or (A,) estimates, per query (n,), averaged over the tradeoffs.

        It chooses as ``choose_many`` does, except that equal scores go to the arm that is cheaper on average.
        """
        rows, shape = np.arange(self.quality.shape[0]), self.quality.shape
        order = np.argsort(np.broadcast_to(expected_cost_usd, shape).mean(axis=0), kind="stable")
        worth = squash(np.broadcast_to(quality, shape)[:, order])
        price = np.broadcast_to(expected_cost_usd, shape)[:, order] / self.reference_cost_usd
        closed = ~self.observed[:, order]
        total, gaps = np.zeros(rows.size), bool(closed.any())
        for tradeoff in self.tradeoffs:
            scores = worth * (1.0 - tradeoff)
            scores -= price * tradeoff
            if gaps:
                scores[closed] = -np.inf
            chosen = order[scores.argmax(axis=1)]
            cost = self.cost_usd[rows, chosen] / self.reference_cost_usd
            total += (1.0 - tradeoff) * self.quality[rows, chosen] - tradeoff * cost
        return total / len(self.tradeoffs)

    def constant_utility(self) -> Floats:
        """(n,) utility of always taking the arm that is best on average, for each tradeoff."""
        return self.utility(np.nanmean(self.quality, axis=0), np.nanmean(self.cost_usd, axis=0))


def apart(deviation: Floats) -> Floats:
    """What sets each arm apart: (…, A) deviations less what all arms share."""
    return np.asarray(deviation - deviation.mean(axis=-1, keepdims=True))


def choose_shrinkage(
    path: RidgePath, outcomes: Outcomes, alphas: Sequence[float], rhos: Sequence[float], rows: Indices
) -> Shrinkage:
    """Choose penalties and shrinkage by leave-one-out routing gain.

    Args:
        path: ridge fits whose first A heads are the arms' qualities.
        outcomes: of the n training queries.
        alphas: penalties to try.
        rhos: shares to try; 0 is always tried.
        rows: the queries to judge by.
    """
    search = _Search(path, outcomes.take(rows), rows)
    common_alpha = min((*alphas, np.inf), key=search.common_error)
    grid = [FLAT, *((alpha, rho) for alpha in alphas for rho in rhos if rho > 0.0)]
    gains = [search.gains(Shrinkage((one,), common_alpha, 1.0)) for one in grid]
    top = max(gains, key=lambda one: float(one.mean()))
    near = tuple(one for one, gain in zip(grid, gains, strict=True) if _is_near(top - gain))
    final, earned = search.floor(Shrinkage(near, common_alpha, 1.0))
    return replace(final, gain=float(earned.mean()), gain_se=float(earned.std() / np.sqrt(earned.size)))


def choose_unshrunk(
    path: RidgePath, outcomes: Outcomes, alphas: Sequence[float], _rhos: Sequence[float], rows: Indices
) -> Shrinkage:
    """Heads as they are, under the penalty with the least leave-one-out error; arguments as ``choose_shrinkage``."""
    arms = outcomes.quality.shape[1]

    def error(alpha: float) -> float:
        return float(np.nanmean(np.square(outcomes.quality[rows] - path.loo(alpha, arms, rows))))

    alpha = min(alphas, key=error)
    return Shrinkage(((alpha, 1.0),), alpha, 1.0)


def left_out(path: RidgePath, mean: Floats, choice: Shrinkage, rows: Indices | None = None) -> Floats:
    """(n, A) leave-one-out scores under a choice, before ``squash``.

    Args:
        path: ridge fits whose first A heads are the arms' qualities.
        mean: (A,) of each arm.
        choice: what to keep.
        rows: only these queries; all when not given.
    """
    return _Deviations(path, mean.size, rows).score(mean, choice)


class _Deviations:
    """What the heads add to their mean, both without the row: the mean's own luck cancels."""

    def __init__(self, path: RidgePath, arms: int, rows: Indices | None) -> None:
        self._path, self._arms, self._rows = path, arms, rows
        self._baseline = path.loo(np.inf, arms, rows)
        self._common: dict[float, Floats] = {}
        self._last: tuple[float, Floats] = (np.inf, np.zeros_like(self._baseline))

    def of(self, alpha: float) -> Floats:
        """(n, A); one penalty at a time is kept: a grid of these would not fit in memory."""
        if alpha != self._last[0]:
            self._last = (alpha, self._path.loo(alpha, self._arms, self._rows) - self._baseline)
        return self._last[1]

    def common(self, alpha: float) -> Floats:
        """(n, 1) what all arms share."""
        if alpha not in self._common:
            self._common[alpha] = np.asarray(self.of(alpha).mean(axis=1, keepdims=True))
        return self._common[alpha]

    def score(self, mean: Floats, choice: Shrinkage) -> Floats:
        """(n, A) before ``squash``."""
        total = mean + choice.share * self.common(choice.common_alpha)
        for alpha, kept in choice.kept.items():
            total = total + kept * apart(self.of(alpha))
        return np.asarray(np.broadcast_to(total, self._baseline.shape))


class _Search:
    """Gains of one training set, each penalty's deviations computed once."""

    def __init__(self, path: RidgePath, outcomes: Outcomes, rows: Indices) -> None:
        self._outcomes = outcomes
        self._mean: Floats = np.nanmean(outcomes.quality, axis=0)
        self._deviations = _Deviations(path, outcomes.quality.shape[1], rows)
        self._constant = outcomes.constant_utility()

    def common_error(self, alpha: float) -> float:
        error = self._outcomes.quality - self._mean - self._deviations.common(alpha)
        return float(np.nanmean(np.square(error)))

    def gains(self, choice: Shrinkage) -> Floats:
        """(n,) utility over the best constant arms."""
        score = self._deviations.score(self._mean, choice)
        utility = self._outcomes.utility(score, self._outcomes.expected_cost_usd)
        return np.asarray(utility - self._constant)

    def floor(self, choice: Shrinkage) -> tuple[Shrinkage, Floats]:
        """The choice if it earns what constant arms earn, else flat heads, and flatter ones until they do."""
        flat = [replace(choice, settings=(FLAT,), share=share) for share in SHARES]
        least = min(0.0, float(self.gains(flat[-1]).mean()))
        for candidate in (choice, *flat):
            gains = self.gains(candidate)
            if gains.mean() >= least:
                return candidate, gains
        return flat[-1], self.gains(flat[-1])


def _is_near(behind: Floats) -> bool:
    """Whether a setting is so little (paired) behind the best that luck may have put it there."""
    return bool(behind.mean() <= NEAR * behind.std() / np.sqrt(behind.size))
