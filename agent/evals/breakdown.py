"""Where the quality and the money go: by task for a policy, by budget for a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.evals.metrics import compliance
from curveroute.agent.evals.outcome import TaskSum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.types import JsonObject, JsonValue

_NORMAL_95 = 1.96
_PER_MILLION = 1e6


def by_task(tasks: Sequence[str], quality: ArrayLike, cost_usd: ArrayLike) -> dict[str, TaskSum]:
    """Sums of each task's queries, tasks in order of name; a query without an answer is not there.

    Args:
        tasks: of n queries.
        quality: (n,).
        cost_usd: (n,) USD.
    """
    worth, cost = np.asarray(quality, dtype=np.float64), np.asarray(cost_usd, dtype=np.float64)
    names, place = np.unique(np.array(tasks, dtype=object).astype(str), return_inverse=True)
    there = np.isfinite(worth) & np.isfinite(cost)
    count, gained, spent = (
        np.bincount(place[there], weights=weights, minlength=names.size)
        for weights in (np.ones(int(there.sum())), worth[there], cost[there])
    )
    return {
        str(name): TaskSum(int(count[row]), float(gained[row]), float(spent[row])) for row, name in enumerate(names)
    }


def added(parts: Sequence[Mapping[str, TaskSum]]) -> dict[str, TaskSum]:
    """The seeds' sums together, tasks in order of name."""
    total: dict[str, TaskSum] = {}
    for part in parts:
        for task, one in part.items():
            total[task] = total[task] + one if task in total else one
    return dict(sorted(total.items()))


def model_curves(grid: Grid) -> JsonObject:
    """Each model's quality against its budget over all queries, with a 95 % band (normal, over queries).

    ``compliance`` is the share of answers within 1.1 times the budget (of the mean over samples, where there are many).
    """
    curves: dict[str, list[JsonValue]] = {}
    order = sorted(range(len(grid.arms)), key=lambda column: grid.arms[column].budget or np.inf)
    for column in order:
        curves.setdefault(str(grid.arms[column].model), []).append(_point(grid, column))
    return {model: curves[model] for model in sorted(curves)}


def _point(grid: Grid, column: int) -> JsonObject:
    there = np.isfinite(grid.quality[:, column])
    quality, budget = grid.quality[there, column], grid.arms[column].budget
    spread = float(quality.std(ddof=1)) if quality.size > 1 else 0.0
    half = _NORMAL_95 * spread / np.sqrt(quality.size)
    mean = float(quality.mean())
    return {
        "budget": budget,
        "queries": int(quality.size),
        "quality": mean,
        "low": float(max(mean - half, 0.0)),
        "high": float(min(mean + half, 1.0)),
        "cost_usd": float(grid.cost_usd[there, column].mean()),
        "output_tokens": float(grid.output_tokens[there, column].mean()),
        "compliance": None if budget is None else float(compliance(grid.output_tokens[there, column], budget)),
    }


def prices(grid: Grid) -> JsonObject:
    """USD per million input and output tokens of each model, as the recorded costs tell."""
    return {
        str(arm.model): [float(price) * _PER_MILLION for price in grid.prices[column]]
        for column, arm in enumerate(grid.arms)
    }
