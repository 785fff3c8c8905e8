"""Budgets from recorded full answers: what each answer would have been, cut after that many tokens.

An answer that fits a budget is the same under it. One that does not fit is right never, says nothing, ends by
``length``, used the whole budget, and cost less by the output tokens it was not allowed. What was recorded under an
asked budget stays as it was recorded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.imports.prices import PER_MILLION, require_prices
from curveroute.agent.bench.words import Words, joint, ranks, repeats
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from curveroute.agent.bench.columns import Columns
    from curveroute.agent.bench.imports.prices import Prices

_CLOSE = 1e-9
_DIGITS = 9
_OF_THE_ANSWER = ("response", "confidence", "judge", "latency_s")


def expand(columns: Columns, budgets: Sequence[int], prices: Prices | None = None) -> Columns:
    """The table with every full answer under each budget, too.

    Args:
        columns: a table with unlimited rows.
        budgets: output tokens, 1 or more each.
        prices: USD per million tokens; of models that are not there the output price is inferred from the table, where
            cost is exactly linear in its tokens.

    Raises:
        TableError: no unlimited row, a budget below 1, or a price that cannot be inferred or does not fit.
    """
    limits = np.array([*sorted(set(budgets)), np.inf])
    if limits[0] < 1:
        raise TableError(f"a budget of {limits[0]:g} output tokens; give whole numbers from 1, such as 64,256")
    full = np.flatnonzero(np.isinf(columns.budget))
    if not len(full):
        raise TableError("the table has no unlimited answers to cut; --budgets needs rows whose budget is empty")
    recorded = np.flatnonzero(np.isfinite(columns.budget))
    rows = np.concatenate([recorded, np.repeat(full, len(limits))])
    asked = np.concatenate([columns.budget[recorded], np.tile(limits, len(full))])
    fresh = np.concatenate([np.zeros(len(recorded), np.bool_), np.ones(len(rows) - len(recorded), np.bool_)])
    kept = _unrecorded(columns, rows, asked)
    return _cut(columns.at(rows[kept]), asked[kept], fresh[kept], prices or {}, columns)


def _unrecorded(columns: Columns, rows: NDArray[np.int64], budget: NDArray[np.float64]) -> NDArray[np.bool_]:
    """All but what repeats an earlier row."""
    key = joint(columns.query_id.codes[rows], columns.model.codes[rows], ranks(budget), ranks(columns.sample[rows]))
    kept = np.ones(len(rows), np.bool_)
    kept[repeats(key)[0]] = False
    return kept


def _cut(
    table: Columns, budget: NDArray[np.float64], fresh: NDArray[np.bool_], prices: Prices, whole: Columns
) -> Columns:
    cut = fresh & (table.output_tokens > budget)
    over = np.where(cut, table.output_tokens - np.where(cut, budget, 0), 0)
    names = table.model.values
    models = [names[code] for code in np.unique(table.model.codes[cut])]
    output_prices = _output_prices(models, whole, prices)
    price = np.array([output_prices.get(name, 0.0) for name in names])[table.model.codes]
    cost = table.cost_usd - over * price * PER_MILLION
    for row in np.flatnonzero(cost < -_CLOSE * table.cost_usd)[:1]:
        name = names[table.model.codes[row]]
        raise TableError(
            f"the output price {price[row]:g} of {name!r} is more than its answers cost; correct the prices"
        )
    return replace(
        table,
        budget=budget,
        quality=np.where(cut, 0.0, table.quality),
        answer=_blank(table.answer, cut),
        truncated=table.truncated | cut,
        output_tokens=np.where(cut, budget, table.output_tokens),
        cost_usd=np.maximum(cost, 0.0),
        optional={name: _cut_optional(name, column, cut) for name, column in table.optional.items()},
    )


def _blank(words: Words, rows: NDArray[np.bool_]) -> Words:
    return Words(np.where(rows, -1, words.codes).astype(np.int32), words.values)


def _cut_optional(
    name: str, column: Words | NDArray[np.float64], cut: NDArray[np.bool_]
) -> Words | NDArray[np.float64]:
    """Of an answer that was cut, neither its text is known nor what was measured of it."""
    if name not in _OF_THE_ANSWER:
        return column
    return _blank(column, cut) if isinstance(column, Words) else np.where(cut, np.nan, column)


def _output_prices(models: Sequence[str], table: Columns, given: Prices) -> Mapping[str, float]:
    prices = {model: given[model][1] for model in models if model in given}
    for model in models:
        if model not in prices and (found := _inferred(table, model)) is not None:
            prices[model] = found
    try:
        require_prices(models, {model: (0.0, price) for model, price in prices.items()})
    except TableError as error:
        raise TableError(f"{error} (costs in the table are not exactly linear in its tokens)") from None
    return prices


def _inferred(table: Columns, model: str) -> float | None:
    """The output price that explains a model's costs exactly, by least squares on its tokens; or ``None``."""
    rows = np.flatnonzero(table.model.codes == table.model.values.index(model))
    tokens = np.column_stack([table.input_tokens[rows], table.output_tokens[rows]])
    cost = table.cost_usd[rows] / PER_MILLION
    found, _, rank, _ = np.linalg.lstsq(tokens, cost, rcond=None)
    found = np.round(found, _DIGITS)
    exact = np.abs(tokens @ found - cost).max() <= _CLOSE * max(float(cost.max()), 1.0)
    return float(found[1]) if exact and rank == tokens.shape[1] and (found >= 0).all() else None
