"""How much of the heads to believe, decided by what routing on them would have earned.

A head that predicts well may still route badly: the argmax over many noisy estimates picks the luckiest error, and a
better Brier score often routes worse. So a prediction is split in two. What all arms share on a query, its difficulty,
changes no ranking and is kept as well as it predicts. What sets one arm apart from the others decides the ranking, and
only the share ``rho`` of it is kept that earned something on queries it had not seen::

    quality(arm) = mean(arm) + share * difficulty + rho * (deviation(arm) - mean deviation)

What is earned is the realised ``(1 - t) * quality - t * cost / reference`` of the chosen arms, averaged over tradeoffs
``t`` (the score of arXiv 2602.02823), with leave-one-out predictions. Among settings within one standard error of the
best the most shrunk one is taken, and none that earns less than the best constant arms: then the heads stay flat.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.decide import Floats, Mask
    from curveroute.agent.predictor.ridge import RidgePath

SHARES = (1.0, 0.5, 0.25, 0.0)


@dataclass(frozen=True, slots=True)
class Shrinkage:
    """What was kept of the heads, and what it earned.

    Attributes:
        alpha: penalty of what sets an arm apart.
        rho: share of it that is kept; 0 routes like constant arms.
        common_alpha: penalty of what all arms share.
        share: share of that which is kept, 1 unless clipping at 0 or 1 made it change rankings for the worse.
        gain: leave-one-out utility per query over the best constant arms; negative only where the expected costs
            mislead even flat heads.
        gain_se: its standard error.
    """

    alpha: float
    rho: float
    common_alpha: float
    share: float
    gain: float = 0.0
    gain_se: float = 0.0


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

    def utility(self, quality: Floats, expected_cost_usd: Floats) -> Floats:
        """Utility of routing on (n, A) or (A,) estimates, per query (n,), averaged over the tradeoffs.

        It chooses as ``choose_many`` does, except that equal scores go to the arm that is cheaper on average.
        """
        rows, shape = np.arange(self.quality.shape[0]), self.quality.shape
        order = np.argsort(np.broadcast_to(expected_cost_usd, shape).mean(axis=0), kind="stable")
        worth = np.clip(np.broadcast_to(quality, shape)[:, order], 0.0, 1.0)
        price = np.broadcast_to(expected_cost_usd, shape)[:, order] / self.reference_cost_usd
        closed = ~self.observed[:, order]
        total, gaps = np.zeros(rows.size), bool(closed.any())
        for tradeoff in self.tradeoffs:
            scores = (1.0 - tradeoff) * worth
            scores -= tradeoff * price
            if gaps:
                scores[closed] = -np.inf
            chosen = order[scores.argmax(axis=1)]
            cost = self.cost_usd[rows, chosen] / self.reference_cost_usd
            total += (1.0 - tradeoff) * self.quality[rows, chosen] - tradeoff * cost
        return total / len(self.tradeoffs)

    def constant_utility(self) -> Floats:
        """(n,) utility of always taking the arm that is best on average, for each tradeoff."""
        return self.utility(np.nanmean(self.quality, axis=0), np.nanmean(self.cost_usd, axis=0))


def blend(mean: Floats, common: Floats, deviation: Floats, shrinkage: Shrinkage) -> Floats:
    """Put a prediction (or, with a zero mean, coefficients) together again.

    Args:
        mean: (A,) of each arm, broadcast over the last axis of ``deviation``.
        common: (..., 1) what all arms share.
        deviation: (..., A) what each arm's head adds to its mean.
        shrinkage: what to keep.

    Returns:
        (..., A).
    """
    apart = deviation - deviation.mean(axis=-1, keepdims=True)
    return np.asarray(mean + shrinkage.share * common + shrinkage.rho * apart)


def choose_shrinkage(
    path: RidgePath, outcomes: Outcomes, alphas: Sequence[float], rhos: Sequence[float]
) -> tuple[Shrinkage, Floats]:
    """Choose penalty and shrinkage by leave-one-out routing gain.

    Args:
        path: ridge fits whose first A heads are the arms' qualities.
        outcomes: of the n training queries.
        alphas: penalties to try.
        rhos: shares to try; 0 is always tried.

    Returns:
        The choice, and the (n, A) leave-one-out predictions under it, clipped to [0, 1].
    """
    search = _Search(path, outcomes)
    common_alpha = min((*alphas, np.inf), key=search.common_error)
    grid = [(alpha, rho) for alpha in alphas for rho in rhos if rho > 0.0]
    tried = [Shrinkage(alpha, rho, common_alpha, 1.0) for alpha, rho in [(np.inf, 0.0), *grid]]
    final, gains = search.floor(_most_shrunk([(one, search.gains(one), search.spread(one)) for one in tried]))
    error = float(gains.std() / np.sqrt(gains.size))
    predictions = np.clip(search.predict(final), 0.0, 1.0)
    return replace(final, gain=float(gains.mean()), gain_se=error), predictions


class _Search:
    """Leave-one-out predictions and gains of one training set, each penalty's deviations computed once."""

    def __init__(self, path: RidgePath, outcomes: Outcomes) -> None:
        self._path, self._outcomes = path, outcomes
        self._arms = outcomes.quality.shape[1]
        self._mean: Floats = np.nanmean(outcomes.quality, axis=0)
        self._baseline = path.loo(np.inf, self._arms)
        self._constant = outcomes.constant_utility()
        self._common: dict[float, Floats] = {}
        self._last: tuple[float, Floats] = (np.inf, np.zeros_like(self._baseline))

    def deviation(self, alpha: float) -> Floats:
        """(n, A) what the heads add to their mean, both without the row: the mean's own luck cancels."""
        if alpha != self._last[0]:  # one at a time: a grid of these would not fit in memory
            self._last = (alpha, self._path.loo(alpha, self._arms) - self._baseline)
        return self._last[1]

    def common(self, alpha: float) -> Floats:
        """(n, 1) what all arms share."""
        if alpha not in self._common:
            self._common[alpha] = np.asarray(self.deviation(alpha).mean(axis=1, keepdims=True))
        return self._common[alpha]

    def common_error(self, alpha: float) -> float:
        error = self._outcomes.quality - self._mean - self.common(alpha)
        return float(np.nanmean(np.square(error)))

    def spread(self, choice: Shrinkage) -> float:
        """How far the choice moves arms apart: the lower, the more shrunk."""
        deviation = self.deviation(choice.alpha)
        return choice.rho * float((deviation - deviation.mean(axis=1, keepdims=True)).std())

    def predict(self, choice: Shrinkage) -> Floats:
        return blend(self._mean, self.common(choice.common_alpha), self.deviation(choice.alpha), choice)

    def gains(self, choice: Shrinkage) -> Floats:
        """(n,) utility over the best constant arms."""
        utility = self._outcomes.utility(self.predict(choice), self._outcomes.expected_cost_usd)
        return np.asarray(utility - self._constant)

    def floor(self, choice: Shrinkage) -> tuple[Shrinkage, Floats]:
        """The choice if it earns what constant arms earn, else flat heads, and flatter ones until they do."""
        flat = [replace(choice, alpha=np.inf, rho=0.0, share=share) for share in SHARES]
        least = min(0.0, float(self.gains(flat[-1]).mean()))
        for candidate in (choice, *flat):
            gains = self.gains(candidate)
            if gains.mean() >= least:
                return candidate, gains
        return flat[-1], self.gains(flat[-1])


def _most_shrunk(tried: list[tuple[Shrinkage, Floats, float]]) -> Shrinkage:
    """The setting with the least spread within one standard error (paired) of the best."""
    top = max((gains for _, gains, _ in tried), key=lambda gains: float(gains.mean()))
    near = [(spread, index) for index, (_, gains, spread) in enumerate(tried) if _within_one_error(top - gains)]
    return tried[min(near)[1]][0]


def _within_one_error(behind: Floats) -> bool:
    return bool(behind.mean() <= behind.std() / np.sqrt(behind.size))
