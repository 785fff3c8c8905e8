"""A curve table at a glance: its arms with their means, and what a reader should know that is no fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.columns import columns_hash
from curveroute.agent.bench.words import Words, joint, ranks
from curveroute.agent.types import Arm, ModelId

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from curveroute.agent.bench.columns import Columns

_MOST_NAMED = 8
_OVER = 1.1


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm's rows: the queries it was asked, and means over rows."""

    arm: Arm
    rows: int
    queries: int
    quality: float
    output_tokens: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A table's size and arms: models in the order of their first rows, budgets from short to unlimited.

    Attributes:
        samples: the most attempts of one arm on one query.
        data_hash: SHA-256 of what was measured, whatever the file's format and order.
    """

    rows: int
    queries: int
    samples: int
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    arms: tuple[ArmSummary, ...]
    data_hash: str


def summarize(columns: Columns) -> Summary:
    """Count and average a table."""
    budgets, budget = np.unique(columns.budget, return_inverse=True)
    arm = columns.model.codes.astype(np.int64) * len(budgets) + budget
    asked, attempts = np.unique(joint(columns.query_id.codes, arm), return_index=True, return_counts=True)[1:]
    rows = np.bincount(arm)
    queries = np.bincount(arm[asked], minlength=len(rows))
    means = [
        np.bincount(arm, values) / np.maximum(rows, 1)
        for values in (columns.quality, columns.output_tokens, columns.cost_usd)
    ]
    arms = [
        ArmSummary(
            _arm(columns.model, budgets, int(one)), int(rows[one]), int(queries[one]), *(float(m[one]) for m in means)
        )
        for one in np.flatnonzero(rows)
    ]
    return Summary(
        rows=len(columns),
        queries=len(columns.query_id.values),
        samples=int(attempts.max()),
        tasks=columns.task.values,
        models=columns.model.values,
        arms=tuple(arms),
        data_hash=columns_hash(columns),
    )


def _arm(model: Words, budgets: NDArray[np.float64], number: int) -> Arm:
    budget = budgets[number % len(budgets)]
    return Arm(ModelId(model.values[number // len(budgets)]), None if np.isinf(budget) else int(budget))


def notes_on(columns: Columns, extra: Sequence[str] = ()) -> Iterator[str]:
    """What is no fault and yet worth knowing.

    That is: ignored columns, arms not asked everywhere, texts under several ids, answers longer than their budget.

    Args:
        columns: a sound table.
        extra: columns of the file that no curve table has.
    """
    if extra:
        yield f"ignored column(s), which no curve table has: {_some(extra)}"
    yield from _gaps(columns)
    twice = len(columns.query_id.values) - len(columns.query.values)
    if twice > 0:
        yield f"{twice:,} more query ids than query texts: splits by id may put one text on both sides"
    if over := int((columns.output_tokens > _OVER * columns.budget).sum()):
        yield f"{over:,} row{'s' * (over > 1)} used more than {_OVER} times their budget"


def _gaps(columns: Columns) -> Iterator[str]:
    pairs = np.unique(joint(columns.query_id.codes, columns.model.codes, ranks(columns.budget)), return_index=True)[1]
    budgets = np.unique(joint(columns.model.codes, ranks(columns.budget)), return_index=True)[1]
    there = np.bincount(columns.model.codes[pairs])
    wanted = np.bincount(columns.model.codes[budgets]) * len(columns.query_id.values)
    for model in np.flatnonzero(there < wanted):
        name, missing = columns.model.values[model], int(wanted[model] - there[model])
        yield f"model {name!r} is not recorded on {missing:,} of {wanted[model]:,} (query, budget) pairs"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
