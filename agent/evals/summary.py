"""The seeds' outcomes as one JSON object: means, standard deviations, comparisons, and all that makes them repeatable.

Invariant: no NaN and no infinity in it. What is undefined or never reached on some seed has a ``null`` mean, says how
many seeds ``reached`` a value, and what those came to (``mean_reached``).
"""

from __future__ import annotations

import math
import platform
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.evals.bootstrap import RESAMPLES, over_seeds
from curveroute.agent.evals.breakdown import added, model_curves, prices
from curveroute.agent.evals.measure import SHARES
from curveroute.agent.evals.metrics import best_within
from curveroute.agent.settings import installed_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats
    from curveroute.agent.evals.calibration import Reliability
    from curveroute.agent.evals.outcome import PolicyOutcome, SeedOutcome, TaskSum
    from curveroute.agent.evals.subject import Subject
    from curveroute.agent.types import JsonObject, JsonValue

_PLAIN = ("audc_envelope", "audc", "qnc_ratio", "qnc", "peak", "peak_cost_ratio", "aiq", "apgr", "cpt_0.5", "cpt_0.8")
_HONEST = ("tradeoff", "quality", "cost_usd", "quality_gain", "cost_ratio", "router_arena", "regret")
_ALWAYS_REACHED = ("qnc_ratio",)
_CURVE_COSTS = 64


def summary(subject: Subject, outcomes: Sequence[SeedOutcome], made_with: JsonObject) -> JsonObject:
    """Everything about one table.

    Args:
        subject: what was evaluated.
        outcomes: one a seed, at least one.
        made_with: options that a repetition needs (command, policies, embedder, test fraction).
    """
    tested = subject.grid if subject.test is None else subject.test
    names = list(dict.fromkeys(name for one in outcomes for name in one.policies))
    return {
        "table": subject.name,
        "data_sha256": subject.sha256,
        "train_table": subject.train_name,
        "train_sha256": subject.train_sha256,
        "queries": len(subject.grid) + (0 if subject.test is None else len(subject.test)),
        "arms": len(subject.grid.arms),
        "seeds": len(outcomes),
        "resamples": RESAMPLES,
        "splits": [_split(one) for one in outcomes],
        "best_single": _best(outcomes),
        "policies": {name: _policy([one.policies[name] for one in outcomes if name in one.policies]) for name in names},
        "paired": _paired(outcomes, fixed=subject.test is not None),
        "tasks": {task: _task(one) for task, one in added([one.best_tasks for one in outcomes]).items()},
        "models": model_curves(tested),
        "prices_usd_per_million": prices(subject.grid),
        "cost_range_usd": _cost_range(tested),
        "notes": list(_notes(subject, outcomes)),
        "made_with": made_with | {"versions": _versions()},
    }


def _split(one: SeedOutcome) -> JsonObject:
    return {
        "seed": one.seed,
        "train": one.train,
        "test": one.test,
        "best_single": str(one.best),
        "q_star": _number(one.q_star),
        "c_star": _number(one.c_star),
        "cost_range_usd": [_number(cost) for cost in one.cost_range],
    }


def _best(outcomes: Sequence[SeedOutcome]) -> JsonObject:
    (most, _), *_ = Counter(one.best for one in outcomes).most_common()
    return {
        "model": str(most.model),
        "budget": most.budget,
        "quality": _number(float(np.mean([one.q_star for one in outcomes]))),
        "cost_usd": _number(float(np.mean([one.c_star for one in outcomes]))),
    }


def _policy(parts: Sequence[PolicyOutcome]) -> JsonObject:
    def over(name: str) -> JsonObject:
        return _spread([part.metrics.get(name, math.nan) for part in parts], always=name in _ALWAYS_REACHED)

    there = {name for part in parts for name in part.metrics}
    return {
        **{name: over(name) for name in _PLAIN if name in there},
        "gain_at_cost": {_share(share): over(f"gain_at_cost_{share:g}") for share in SHARES},
        "honest_point": {name: over(f"honest_{name}") for name in _HONEST},
        "intervals": {name: _bounds([part.intervals[name] for part in parts]) for name in parts[0].intervals},
        "curve": _curve([part.curve for part in parts]),
        "calibration": {
            "chosen": _calibration([part.chosen for part in parts]),
            "all_arms": _calibration([part.all_arms for part in parts]),
        },
        "tasks": {task: _task(one) for task, one in added([part.tasks for part in parts]).items()},
    }


def _spread(values: Sequence[float], *, always: bool = False) -> JsonObject:
    """Mean and standard deviation over seeds (null of one seed); all null where it is undefined on every seed."""
    there = [value for value in values if math.isfinite(value)]
    whole = len(there) == len(values)
    found: JsonObject = {
        "mean": float(np.mean(values)) if whole else None,
        "std": float(np.std(values, ddof=1)) if whole and len(values) > 1 else None,
    }
    if always or not whole:
        undefined = all(math.isnan(value) for value in values)
        found |= {
            "reached": None if undefined else len(there),
            "mean_reached": float(np.mean(there)) if there else None,
        }
    return found


def _bounds(bounds: Sequence[tuple[float, float]]) -> JsonValue:
    return [_number(float(np.mean([pair[side] for pair in bounds]))) for side in (0, 1)]


def _curve(curves: Sequence[Floats]) -> list[JsonValue]:
    """[tradeoff, cost, quality] of each point, the mean over seeds.

    Where the seeds' sweeps differ in length (points chosen by data), the mean of their envelopes at 64 costs.
    """
    if len({len(curve) for curve in curves}) == 1:
        rows = np.mean(curves, axis=0)
    else:
        first, last = max(curve[:, 1].min() for curve in curves), max(curve[:, 1].max() for curve in curves)
        costs = np.geomspace(first, last, _CURVE_COSTS) if first > 0 else np.linspace(first, last, _CURVE_COSTS)
        best = np.mean([best_within(curve[None, :, 1], curve[None, :, 2], costs) for curve in curves], axis=0)
        rows = np.column_stack((np.full(_CURVE_COSTS, np.nan), costs, best))
    return [[_number(float(value)) for value in row] for row in rows]


def _calibration(parts: Sequence[Reliability | None]) -> JsonObject | None:
    there = [part for part in parts if part is not None]
    if not there:
        return None
    whole = there[0]
    for part in there[1:]:
        whole = whole + part
    filled = [place for place, count in enumerate(whole.count) if count > 0]
    bins: list[JsonValue] = [
        [float(whole.estimated[b] / whole.count[b]), float(whole.observed[b] / whole.count[b]), int(whole.count[b])]
        for b in filled
    ]
    # within each seed, then averaged: errors of different splits must not cancel
    error = float(np.mean([part.error for part in there]))
    return {"ece": _number(error), "brier": _number(whole.brier), "bins": bins}


def _paired(outcomes: Sequence[SeedOutcome], *, fixed: bool) -> list[JsonValue]:
    fewest = min(one.test for one in outcomes)
    every = sorted((one for outcome in outcomes for one in outcome.paired), key=lambda one: (one.a, one.b, one.metric))
    order = {(one.a, one.b, one.metric): place for place, one in enumerate(outcomes[0].paired)}
    found = [
        over_seeds(list(group), test_queries=fewest, fixed=fixed)
        for _, group in groupby(every, key=lambda one: (one.a, one.b, one.metric))
    ]
    found.sort(key=lambda one: order.get((one.a, one.b, one.metric), len(order)))
    return [
        {
            "a": one.a,
            "b": one.b,
            "metric": one.metric,
            "difference": _number(one.difference),
            "low": _number(one.low),
            "high": _number(one.high),
            "wins": one.wins,
            "losses": one.losses,
            "seeds": one.seeds,
            "test_queries": one.test_queries,
            "fixed": one.fixed,
            "outcome": one.outcome,
        }
        for one in found
    ]


def _task(one: TaskSum) -> JsonObject:
    count = one.queries or math.nan
    return {
        "queries": one.queries,
        "quality": _number(one.quality / count),
        "cost_usd": _number(one.cost_usd / count),
    }


def _cost_range(grid: Grid) -> list[JsonValue]:
    """Mean cost of the cheapest and of the dearest arm, USD."""
    costs = np.nanmean(grid.cost_usd, axis=0)
    return [_number(float(costs.min())), _number(float(costs.max()))]


def _notes(subject: Subject, outcomes: Sequence[SeedOutcome]) -> Iterable[str]:
    """Each note once, with the seeds it holds for when not for all."""
    seeds: dict[str, list[int]] = {}
    for one in outcomes:
        for note in one.notes:
            seeds.setdefault(note, []).append(one.seed)
    yield from subject.notes
    if subject.test is not None and len(outcomes) > 1:
        yield (
            "a fixed split: its seeds only reseed the policies, so standard deviations say nothing of the data; a win "
            "needs every seed"
        )
    for note, where in seeds.items():
        few = "" if len(where) == len(outcomes) else f" (seed {', '.join(map(str, where))})"
        yield f"{note}{few}"
    if free := [one.seed for one in outcomes if not one.c_star > 0]:
        few = "" if len(free) == len(outcomes) else f" (seed {', '.join(map(str, free))})"
        yield f"the best single model costs nothing: ratios to its cost are undefined{few}"


def _versions() -> JsonObject:
    return {"curveroute": installed_version(), "python": platform.python_version(), "numpy": np.__version__}


def _share(share: float) -> str:
    return f"{share:.1f}" if share in {0.1, 0.2, 0.5, 1.0} else f"{share:g}"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
