"""RouterBench and tables of its shape: one wide row for each query, three columns for each model.

``MODEL`` is the score, ``MODEL|model_response`` the answer, ``MODEL|total_cost`` its cost in USD; every answer is an
unlimited one. Tokens are not recorded: output tokens are estimated as the answer's characters / 4, input tokens as the
prompt's, and the given cost is kept. RouterBench, arXiv 2403.12031.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.imports.choice import EVERYTHING, Choice, kept
from curveroute.agent.bench.imports.imported import Imported, Part, Roll, silent
from curveroute.agent.bench.imports.prices import PER_MILLION, require_prices
from curveroute.agent.bench.imports.queries import input_tokens_in, named_in, queries_in
from curveroute.agent.bench.imports.wide import (
    estimated_tokens,
    header_of,
    numbers_of,
    read_wide,
    refuse_twins_of,
    texts_of,
)
from curveroute.agent.bench.words import words_of
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pyarrow import Table

    from curveroute.agent.bench.imports.imported import Watch
    from curveroute.agent.bench.imports.prices import Prices

FORM = "routerbench"
_RESPONSE, _COST = "|model_response", "|total_cost"


def is_routerbench(header: Sequence[str]) -> bool:
    """Whether a file has a model's score and response side by side."""
    return bool(models_in(header))


def models_in(header: Sequence[str]) -> list[str]:
    """The models that have a score and a response."""
    return [name for name in header if f"{name}{_RESPONSE}" in header]


def read_file(path: Path, prices: Prices, choice: Choice = EVERYTHING, watch: Watch | None = None) -> Imported:
    """Import a wide file.

    Raises:
        TableError: a faulty file, or a model with neither a column of costs nor a price.
        MissingExtra: no pyarrow.
    """
    header = header_of(path)
    there = models_in(header)
    if not there:
        raise TableError(f"{path.name} has no columns MODEL and MODEL{_RESPONSE}; RouterBench has them for each model")
    models = kept("model", there, choice.models)
    require_prices([model for model in models if f"{model}{_COST}" not in header], prices)
    named = named_in(path.name, header)
    costs = [f"{model}{_COST}" for model in models if f"{model}{_COST}" in header]
    responses = [f"{model}{_RESPONSE}" for model in models]
    cells = [*named.texts, *responses], [*named.numbers, *models, *costs]
    refuse_twins_of(path.name, header, [*cells[0], *cells[1]])
    table = read_wide(path, texts=cells[0], numbers=cells[1], flags=models)
    ids, texts, tasks = queries_in(path.name, table, named)
    roll = Roll()
    places = roll.enter(path.name, ids, texts, tasks)
    inputs = input_tokens_in(path.name, table, named, texts)
    parts, said = [], []
    for done, model in enumerate(models, start=1):
        part, answers = _part(path.name, table, model, places, inputs, prices)
        parts.append(part)
        said += answers
        (watch or silent)(done, len(models), model)
    columns = roll.columns(parts, {"response": words_of(text or None for text in said)})
    return Imported(columns, FORM, tuple(_notes(named.input_tokens is None, len(models) * len(ids) - len(columns))))


def _notes(estimated: bool, left_out: int) -> list[str]:
    what = "input and output tokens are" if estimated else "output tokens are"
    notes = [f"{what} estimated as characters / 4"]
    return notes + ([f"{left_out:,} attempt(s) without a score or a cost left out"] if left_out else [])


def _part(
    source: str, table: Table, model: str, places: NDArray[np.int32], inputs: NDArray[np.float64], prices: Prices
) -> tuple[Part, list[str]]:
    answers = texts_of(table, f"{model}{_RESPONSE}")
    quality, outputs = numbers_of(table, model, "quality", source), estimated_tokens(answers)
    if f"{model}{_COST}" in table.column_names:
        cost = numbers_of(table, f"{model}{_COST}", "cost_usd", source)
    else:
        cost = PER_MILLION * (inputs * prices[model][0] + outputs * prices[model][1])
    rows = np.flatnonzero(~(np.isnan(quality) | np.isnan(cost)))
    unlimited, cut = np.full(len(rows), np.inf), np.zeros(len(rows), np.bool_)
    part = Part(model, places[rows], unlimited, quality[rows], cut, inputs[rows], outputs[rows], cost[rows])
    return part, [answers[row] for row in rows.tolist()]
