"""One policy's replay becomes numbers: its metrics, its operating point, its curve."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.evals.metrics import (
    aiq,
    apgr,
    audc,
    audc_envelope,
    cpt,
    gain_at_cost,
    honest_point,
    peak,
    qnc,
    qnc_ratio,
    regret,
    router_arena,
)
from curveroute.agent.evals.policy import Replay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Indices

SHARES = (0.1, 0.2, 0.35, 0.5, 1.0)
_RECOVERED = (0.5, 0.8)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Means of a replay: (P,) tradeoffs, costs in USD and qualities."""

    tradeoffs: Floats
    cost: Floats
    quality: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """What all policies of one split are measured by.

    Attributes:
        c_star: mean test cost of the best single model, USD.
        q_star: its mean test quality.
        trained_q_star: its mean training quality.
        constants: the constant arms that join every policy's points.
        cost_range: lowest and highest cost of any point of any policy, USD.
        oracle: points of the curve oracle, joined by the constants; None when it was not replayed.
        ends: cost and quality of the weak and the strong model, NaN when one of them was not asked everything; None
            unless there are two models.
    """

    c_star: float
    q_star: float
    trained_q_star: float
    constants: Points
    cost_range: tuple[float, float]
    oracle: Points | None = None
    ends: tuple[tuple[float, float], tuple[float, float]] | None = None


def points_of(replay: Replay) -> Points:
    """Means over the queries that were answered; points without any are left out."""
    cost, quality = _means(replay.cost_usd), _means(replay.quality)
    there = np.isfinite(cost) & np.isfinite(quality)
    return Points(np.asarray(replay.tradeoffs, dtype=np.float64)[there], cost[there], quality[there])


def joined(points: Points, constants: Points) -> Points:
    """Both together: anyone may always use a fixed arm."""
    return Points(
        np.concatenate((points.tradeoffs, constants.tradeoffs)),
        np.concatenate((points.cost, constants.cost)),
        np.concatenate((points.quality, constants.quality)),
    )


def single(grid: Grid, column: int) -> Replay:
    """Always the same arm: a replay of one point, in the precision of every replay."""
    cost, quality = (values[:, column][None].astype(np.float32) for values in (grid.cost_usd, grid.quality))
    return Replay(np.array([np.nan]), cost, quality)


def answered(replay: Replay, grid: Grid) -> Replay:
    """A replay without gaps, so that all policies' means are over the same queries.

    Where a policy chose what was never recorded, nobody knows what would have come: its quality counts as 0, and its
    cost, unless it is given, as that of the dearest recorded answer to that query, or of the dearest arm's mean if that
    is more. A gap is never cheap and never good, so it flatters no policy.

    Args:
        replay: P points over n queries.
        grid: the n queries; each has a recorded answer.
    """
    gap, unpaid = ~np.isfinite(replay.quality), ~np.isfinite(replay.cost_usd)
    if not gap.any() and not unpaid.any():
        return replay
    recorded = np.isfinite(grid.cost_usd)
    arms = np.where(recorded, grid.cost_usd, 0.0).sum(axis=0) / np.maximum(recorded.sum(axis=0), 1)
    dearest = np.maximum(np.where(recorded, grid.cost_usd, 0.0).max(axis=1), arms.max()).astype(np.float32)
    return replace(
        replay,
        cost_usd=np.where(unpaid, dearest, replay.cost_usd),
        quality=np.where(gap, np.float32(0.0), replay.quality),
    )


def among(replay: Replay, queries: Indices) -> Replay:
    """The same points over some of the queries."""
    guess = None if replay.estimate is None else replay.estimate[:, queries]
    return Replay(replay.tradeoffs, replay.cost_usd[:, queries], replay.quality[:, queries], guess)


def operating_row(training: Replay, test: Replay, target: float) -> int:
    """The test replay's point at the tradeoff that was chosen on the training queries.

    Points correspond by place when the sweeps are equally long, else by the nearest tradeoff.
    """
    cost, quality = _means(training.cost_usd), _means(training.quality)
    chosen = int(honest_point(np.where(np.isfinite(cost), cost, np.inf), np.nan_to_num(quality), target))
    if training.tradeoffs.size == test.tradeoffs.size:
        return chosen
    apart = np.abs(np.asarray(test.tradeoffs) - training.tradeoffs[chosen])
    return min(chosen, apart.size - 1) if np.isnan(apart).all() else int(np.nanargmin(apart))


def measure(points: Points, yard: Yardstick) -> dict[str, float]:
    """Every metric of the policy's points (METRICS); with the constants joined where it says so."""
    full = joined(points, yard.constants)
    best, best_cost = peak(points.cost, points.quality)
    gains = {
        f"gain_at_cost_{share:g}": gain_at_cost(full.cost, full.quality, share, yard.c_star, yard.q_star)
        for share in SHARES
    }
    found = {
        "audc_envelope": audc_envelope(full.cost, full.quality, yard.c_star),
        **gains,
        "qnc_ratio": qnc_ratio(points.cost, points.quality, yard.c_star, yard.q_star),
        "audc": audc(points.cost, points.quality, *yard.cost_range),
        "qnc": qnc(points.cost, points.quality, yard.q_star, *yard.cost_range),
        "peak": best,
        "peak_cost_ratio": best_cost / (yard.c_star or np.nan),
        "aiq": aiq(points.cost, points.quality),
        **_two_model_metrics(points, yard),
    }
    return {name: float(value) for name, value in found.items()}


def measure_point(replay: Replay, row: int, yard: Yardstick) -> dict[str, float]:
    """The honest point: what the policy costs and gains at the tradeoff chosen on the training queries."""
    cost, quality = (float(_means(values[row][None])[0]) for values in (replay.cost_usd, replay.quality))
    rival = yard.oracle
    return {
        "honest_tradeoff": float(replay.tradeoffs[row]),
        "honest_quality": quality,
        "honest_cost_usd": cost,
        "honest_quality_gain": quality - yard.q_star,
        "honest_cost_ratio": cost / (yard.c_star or np.nan),
        "honest_router_arena": float(router_arena(quality, cost)),
        "honest_regret": np.nan if rival is None else float(regret([cost], [quality], rival.cost, rival.quality)[0]),
    }


def _two_model_metrics(points: Points, yard: Yardstick) -> dict[str, Floats]:
    """APGR and CPT over the share of the way in cost, which is all that a replay tells of its calls."""
    if yard.ends is None:
        return {}
    (low, weak), (high, strong) = yard.ends
    share = (points.cost - low) / (high - low or np.nan)
    recovered = {f"cpt_{p:g}": cpt(share, points.quality, weak, strong, p) for p in _RECOVERED}
    return {"apgr": apgr(share, points.quality, weak, strong), **recovered}


def _means(values: NDArray[np.float32]) -> Floats:
    there = np.isfinite(values)
    total = np.where(there, values, 0.0).sum(axis=1, dtype=np.float64)
    count = there.sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
