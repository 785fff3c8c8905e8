"""The numbers: what a swept policy's points are worth. Pure arrays in, arrays out.

A policy is P points (mean cost per query in USD, mean quality). Every function works on the last axis and broadcasts
over the axes before it, so that the resamples of a bootstrap are one call. ``c*`` and ``q*`` are mean test cost and
mean test quality of the model that is best on the training queries, at its largest budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats, Indices

ROUND_OFF = 1e-6  # a share of c*, and of quality: replays are float32, and no point may fail by its own rounding
COMPLIANT = 1.1  # answers up to this multiple of their budget keep to it
_DEAREST_USD, _CHEAPEST_USD = 200.0, 0.0044  # RouterArena's range of USD per 1,000 queries
_ARENA_BETA = 0.1
_APGR_STEPS = 10


def best_within(cost: ArrayLike, quality: ArrayLike, limit: ArrayLike) -> Floats:
    """Quality of the best point with cost up to ``limit``.

    Args:
        cost: (…, P) USD.
        quality: (…, P).
        limit: (…) USD.

    Returns:
        (…), NaN where no point is as cheap.
    """
    bound = np.asarray(limit, dtype=np.float64)[..., None]
    held = np.where(np.asarray(cost) <= bound * (1.0 + ROUND_OFF), quality, -np.inf).max(axis=-1, initial=-np.inf)
    return np.asarray(np.where(np.isfinite(held), held, np.nan))


def gain_at_cost(cost: ArrayLike, quality: ArrayLike, share: float, c_star: ArrayLike, q_star: ArrayLike) -> Floats:
    """Quality of the best point with cost up to ``share`` of c*, minus q*; NaN where there is none."""
    return np.asarray(best_within(cost, quality, share * np.asarray(c_star, dtype=np.float64)) - np.asarray(q_star))


def qnc_ratio(cost: ArrayLike, quality: ArrayLike, c_star: ArrayLike, q_star: ArrayLike) -> Floats:
    """Cost of the cheapest point with quality of q* or more, divided by c*; infinite when it is never reached.

    NaN when c* is 0: a ratio to nothing is undefined.

    R2-Router (arXiv 2602.02823) calls the cost at which a router matches the best model quality-neutral cost.
    """
    reached = np.asarray(quality) >= np.asarray(q_star, dtype=np.float64)[..., None] - ROUND_OFF
    return np.asarray(np.where(reached, cost, np.inf).min(axis=-1, initial=np.inf) / _positive(c_star))


def audc_envelope(cost: ArrayLike, quality: ArrayLike, c_star: ArrayLike) -> Floats:
    """Area from 0 to c* under the best quality within each cost (0 before the first point), divided by c*.

    Args:
        cost: (…, P) USD, the constant arms chosen on training queries among them.
        quality: (…, P).
        c_star: (…) USD; 0 makes the area NaN.
    """
    scaled = np.asarray(cost, dtype=np.float64) / _positive(c_star)[..., None]
    order = np.argsort(scaled, axis=-1, kind="stable")
    x = np.minimum(np.take_along_axis(scaled, order, axis=-1), 1.0)
    best = np.maximum.accumulate(np.take_along_axis(np.asarray(quality, dtype=np.float64), order, axis=-1), axis=-1)
    widths = np.diff(x, axis=-1, append=1.0)
    return np.asarray((best * widths).sum(axis=-1))


def audc(cost: ArrayLike, quality: ArrayLike, lowest: ArrayLike, highest: ArrayLike) -> Floats:
    """The paper's AUDC: trapezoid of quality over cost scaled to [0, 1] by all policies' costs, no extension."""
    x = _scaled(cost, lowest, highest)
    order = np.argsort(x, axis=-1, kind="stable")
    return np.asarray(
        np.trapezoid(
            np.take_along_axis(np.asarray(quality, dtype=np.float64), order, axis=-1),
            np.take_along_axis(x, order, axis=-1),
            axis=-1,
        )
    )


def qnc(cost: ArrayLike, quality: ArrayLike, q_star: ArrayLike, lowest: ArrayLike, highest: ArrayLike) -> Floats:
    """The paper's QNC: scaled cost of the cheapest point with quality of q* or more, else 1."""
    reached = np.asarray(quality) >= np.asarray(q_star, dtype=np.float64)[..., None] - ROUND_OFF
    return np.asarray(np.where(reached, _scaled(cost, lowest, highest), 1.0).min(axis=-1, initial=1.0))


def peak(cost: ArrayLike, quality: ArrayLike) -> tuple[Floats, Floats]:
    """The best quality of all points, and the lowest cost at which it is reached.

    Args:
        cost: (…, P) USD.
        quality: (…, P).
    """
    best = np.asarray(quality, dtype=np.float64).max(axis=-1)
    there = np.asarray(quality) >= best[..., None] - ROUND_OFF
    return best, np.asarray(np.where(there, cost, np.inf).min(axis=-1))


def honest_point(cost: ArrayLike, quality: ArrayLike, target: ArrayLike) -> Indices:
    """The point to run at, chosen on training queries: the cheapest of at least the target's quality.

    Args:
        cost: (…, P) USD on training queries, each routed as if it had not been seen.
        quality: (…, P) on the same.
        target: (…) quality of the best single model on them.

    Returns:
        (…) places; where none reaches the target, that of the highest quality, and of these the cheapest.
    """
    worth = np.asarray(quality, dtype=np.float64)
    goal = np.minimum(np.asarray(target, dtype=np.float64), worth.max(axis=-1))
    return np.asarray(np.where(worth >= goal[..., None] - ROUND_OFF, cost, np.inf).argmin(axis=-1))


def regret(cost: ArrayLike, quality: ArrayLike, oracle_cost: ArrayLike, oracle_quality: ArrayLike) -> Floats:
    """How much better the oracle is at the cost of each point; NaN where the oracle has no point as cheap.

    Args:
        cost: (…, P) USD.
        quality: (…, P).
        oracle_cost: (…, O) USD of the curve oracle.
        oracle_quality: (…, O).
    """
    rivals = np.asarray(oracle_cost)[..., None, :], np.asarray(oracle_quality)[..., None, :]
    return np.asarray(best_within(*rivals, cost) - np.asarray(quality))


def router_arena(accuracy: ArrayLike, cost_usd: ArrayLike) -> Floats:
    """RouterArena's score (arXiv 2510.00202): accuracy and log cost joined by a weighted harmonic mean, in [0, 1].

    Args:
        accuracy: (…) in [0, 1].
        cost_usd: (…) mean USD per query; held to the arena's 0.0044 to 200 USD per 1,000 queries.
    """
    good = np.asarray(accuracy, dtype=np.float64)
    thousand = np.clip(1000.0 * np.asarray(cost_usd, dtype=np.float64), _CHEAPEST_USD, _DEAREST_USD)
    thrift = np.log2(_DEAREST_USD / thousand) / np.log2(_DEAREST_USD / _CHEAPEST_USD)
    joined = _ARENA_BETA * good + thrift
    return np.asarray((1.0 + _ARENA_BETA) * good * thrift / np.where(joined > 0.0, joined, 1.0))


def aiq(cost: ArrayLike, quality: ArrayLike) -> Floats:
    """RouterBench's AIQ (arXiv 2403.12031): mean height of the non-decreasing convex hull over its own cost range.

    Args:
        cost: (…, P) USD.
        quality: (…, P).

    Returns:
        (…); where all points cost the same, the best quality.
    """
    costs, worth = np.broadcast_arrays(np.asarray(cost, dtype=np.float64), np.asarray(quality, dtype=np.float64))
    rows = zip(costs.reshape(-1, costs.shape[-1]), worth.reshape(-1, costs.shape[-1]), strict=True)
    return np.array([_hull_height(*row) for row in rows]).reshape(costs.shape[:-1])


def apgr(share: ArrayLike, quality: ArrayLike, weak: ArrayLike, strong: ArrayLike) -> Floats:
    """RouteLLM's APGR (arXiv 2406.18665): performance gap recovered, averaged over shares 0.1, 0.2, … 1.

    Args:
        share: (…, P) of the way from always-weak to always-strong, in calls (or in cost, when only that is known).
        quality: (…, P).
        weak: (…) quality of the weak model alone.
        strong: (…) quality of the strong model alone; equal to ``weak``, nothing can be recovered: NaN.
    """
    low = np.asarray(weak, dtype=np.float64)
    shares = np.arange(1, _APGR_STEPS + 1) / _APGR_STEPS
    joined = np.concatenate((np.zeros((*low.shape, 1)), share), axis=-1), np.concatenate((low[..., None], quality), -1)
    within = best_within(joined[0][..., None, :], joined[1][..., None, :], np.broadcast_to(shares, (*low.shape, 10)))
    return np.asarray((within.mean(axis=-1) - low) / _gap(weak, strong))


def cpt(share: ArrayLike, quality: ArrayLike, weak: ArrayLike, strong: ArrayLike, recovered: float) -> Floats:
    """RouteLLM's CPT(p): the smallest share that recovers ``recovered`` of the gap; infinite when none does.

    Args:
        share: (…, P), as for :func:`apgr`.
        quality: (…, P).
        weak: (…) quality of the weak model alone.
        strong: (…) quality of the strong model alone.
        recovered: of the gap, in [0, 1].
    """
    goal = np.asarray(weak, dtype=np.float64) + recovered * _gap(weak, strong)
    reached = np.asarray(quality) >= goal[..., None] - ROUND_OFF
    least = np.where(reached, share, np.inf).min(axis=-1, initial=np.inf)
    return np.asarray(np.where(np.isnan(goal), np.nan, least))


def compliance(output_tokens: ArrayLike, budget: ArrayLike) -> Floats:
    """Share of answers within 1.1 times their budget, over the last axis; answers that are NaN are not there.

    Args:
        output_tokens: (…, n), NaN where nothing was asked.
        budget: (…) tokens.
    """
    tokens = np.asarray(output_tokens, dtype=np.float64)
    kept = (tokens <= COMPLIANT * np.asarray(budget, dtype=np.float64)[..., None]).sum(axis=-1)
    there = np.isfinite(tokens).sum(axis=-1)
    return np.asarray(np.where(there > 0, kept / np.maximum(there, 1), np.nan))


def _positive(c_star: ArrayLike) -> Floats:
    value = np.asarray(c_star, dtype=np.float64)
    return np.asarray(np.where(value > 0.0, value, np.nan))


def _gap(weak: ArrayLike, strong: ArrayLike) -> Floats:
    gap = np.asarray(strong, dtype=np.float64) - np.asarray(weak, dtype=np.float64)
    return np.asarray(np.where(gap > 0.0, gap, np.nan))


def _hull_height(cost: Floats, quality: Floats) -> float:
    """Of one set of points: area under the upper hull of those that are worth their cost, by the hull's width."""
    hull: list[tuple[float, float]] = []
    for x, y in sorted(zip(cost.tolist(), quality.tolist(), strict=True), key=lambda point: (point[0], -point[1])):
        if hull and y <= hull[-1][1]:
            continue
        while len(hull) > 1 and _below(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    hull.append((float(cost.max()), hull[-1][1]))
    x, y = np.array(hull).T
    return float(np.trapezoid(y, x) / (x[-1] - x[0])) if x[-1] > x[0] else float(y[-1])


def _below(first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]) -> bool:
    """Whether the middle point lies on or under the line from the first to the last."""
    rise = (middle[1] - first[1]) * (last[0] - first[0])
    return rise <= (last[1] - first[1]) * (middle[0] - first[0])


def _scaled(cost: ArrayLike, lowest: ArrayLike, highest: ArrayLike) -> Floats:
    low, high = np.asarray(lowest, dtype=np.float64)[..., None], np.asarray(highest, dtype=np.float64)[..., None]
    return np.asarray((np.asarray(cost, dtype=np.float64) - low) / np.where(high > low, high - low, 1.0))
