"""R2-Bench: one wide table for each model, a score and a token count for each budget.

A file's stem is the model's name. Columns are ``{budget}_score`` and ``{budget}_count``, with ``unlimited_score`` and
``unlimited_count``; others, such as the ``_most`` ones, are derived and ignored. A column of scores without its counts,
or of counts without its scores, is refused; a single score or count that is not there is left out. Costs come from
prices. Where no column holds input tokens they are estimated as characters / 4.

R2-Router, arXiv 2602.02823. Its recordings ask for at most ``budget`` tokens and stop the model ten tokens later, so
an answer counts as truncated from ``budget + 10`` tokens on; an unlimited one never does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from curveroute.agent.bench.faults import why_not
from curveroute.agent.bench.imports.choice import EVERYTHING, Choice, kept
from curveroute.agent.bench.imports.imported import Imported, Part, Roll, silent
from curveroute.agent.bench.imports.prices import PER_MILLION, require_prices
from curveroute.agent.bench.imports.queries import input_tokens_in, named_in, queries_in
from curveroute.agent.bench.imports.wide import header_of, numbers_of, read_wide, refuse_twins_of
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pyarrow import Table

    from curveroute.agent.bench.imports.imported import Watch
    from curveroute.agent.bench.imports.prices import Prices

FORM = "r2-bench"
_SCORE = re.compile(r"(\d+|unlimited)_score")
_HALF = re.compile(r"(\d+|unlimited)_(score|count)")
_OTHER = {"score": "count", "count": "score"}
_GRACE_TOKENS = 10

Reader: TypeAlias = "Callable[[Sequence[str], Sequence[str]], Table]"
"""Reads columns of a wide table: those of texts, those of numbers."""


def is_r2_bench(header: Sequence[str]) -> bool:
    """Whether a file has a score and a count for some budget."""
    return bool(budgets_in(header))


def budgets_in(header: Sequence[str]) -> list[str]:
    """The budgets that have both columns, short ones first, ``unlimited`` last."""
    matches = [match[1] for name in header if (match := _SCORE.fullmatch(name))]
    both = [budget for budget in matches if f"{budget}_count" in header]
    return sorted(both, key=_tokens)


def _tokens(budget: str) -> float:
    return np.inf if budget == "unlimited" else float(budget)


def files_in(source: Path) -> dict[str, Path]:
    """The files of a folder that hold a model each, by the model's name; or the one file.

    Raises:
        TableError: a folder without one, or a file that cannot be read.
    """
    if source.is_file():
        return {source.stem: source}
    files = {path.stem: path for path in sorted(source.glob("*.csv")) if any(map(_HALF.fullmatch, header_of(path)))}
    if not files:
        raise TableError(
            f"{source} holds no CSV file with columns like 100_score and 100_count; R2-Bench has one for each model"
        )
    return files


def read_files(source: Path, prices: Prices, choice: Choice = EVERYTHING, watch: Watch | None = None) -> Imported:
    """Import a folder of CSV files, one for each model.

    Raises:
        TableError: a faulty file, queries that differ between files, or a model without a price.
        MissingExtra: no pyarrow.
    """
    tables = {
        model: (header_of(path), lambda texts, numbers, path=path: read_wide(path, texts=texts, numbers=numbers))
        for model, path in files_in(source).items()
    }
    return read_tables(tables, prices, choice, watch)


def read_tables(
    tables: Mapping[str, tuple[Sequence[str], Reader]],
    prices: Prices,
    choice: Choice = EVERYTHING,
    watch: Watch | None = None,
) -> Imported:
    """Import a header and a reader for each model; ``read_files`` tells what is raised."""
    models = kept("model", list(tables), choice.models)
    require_prices(models, prices)
    roll, parts, estimated, left_out = Roll(), [], False, 0
    for done, model in enumerate(models, start=1):
        header, read = tables[model]
        part, guessed, lost = _part(model, header, read, roll, prices[model])
        parts.append(part)
        estimated, left_out = estimated or guessed, left_out + lost
        (watch or silent)(done, len(models), model)
    notes = ["input tokens are estimated as characters / 4"] if estimated else []
    notes += [f"{left_out:,} attempt(s) without a score or a token count left out"] if left_out else []
    notes += _differences({model: tables[model][0] for model in models}, parts)
    return Imported(roll.columns(parts), FORM, tuple(notes))


def _part(
    model: str, header: Sequence[str], read: Reader, roll: Roll, price: tuple[float, float]
) -> tuple[Part, bool, int]:
    """The attempts of one model, whether their input tokens are estimated, and how many were left out."""
    source, budgets = f"{model}.csv", budgets_in(header)
    _refuse_halves(source, header)
    if not budgets:
        raise TableError(f"{source} has no columns like 100_score and 100_count; R2-Bench has them for each budget")
    _refuse_budgets(source, budgets)
    named = named_in(source, header)
    columns = [f"{budget}_{kind}" for budget in budgets for kind in ("score", "count")]
    refuse_twins_of(source, header, [*named.texts, *named.numbers, *columns])
    table = read(named.texts, [*named.numbers, *columns])
    ids, texts, tasks = queries_in(source, table, named)
    places = roll.enter(source, ids, texts, tasks)
    inputs = input_tokens_in(source, table, named, texts)
    quality = _matrix(source, table, budgets, "score", "quality")
    tokens = _matrix(source, table, budgets, "count", "output_tokens")
    whole = ~(np.isnan(quality) | np.isnan(tokens))
    limits = np.broadcast_to([_tokens(budget) for budget in budgets], quality.shape)[whole]
    query, used = np.broadcast_to(places[:, None], whole.shape)[whole], tokens[whole]
    asked = np.broadcast_to(inputs[:, None], whole.shape)[whole]
    cost = PER_MILLION * (asked * price[0] + used * price[1])
    part = Part(model, query, limits, quality[whole], used >= limits + _GRACE_TOKENS, asked, used, cost)
    return part, named.input_tokens is None, int(whole.size - whole.sum())


def _refuse_budgets(source: str, budgets: Sequence[str]) -> None:
    """Refuse budgets that no curve table holds, and two columns of one."""
    column_of: dict[float, str] = {}
    for budget in budgets:
        column, tokens = f"{budget}_score", _tokens(budget)
        if budget != "unlimited" and (why := why_not("budget", tokens)):
            raise TableError(f"{source}, column {column}: the budget {why}; remove the column or rename it")
        if column_of.setdefault(tokens, column) != column:
            raise TableError(f"{source}, column {column}: the same budget as {column_of[tokens]}; keep one of them")
        column_of[tokens] = column


def _refuse_halves(source: str, header: Sequence[str]) -> None:
    """Refuse a budget that has a score without a count, or a count without a score."""
    for match in filter(None, map(_HALF.fullmatch, header)):
        if (other := f"{match[1]}_{_OTHER[match[2]]}") not in header:
            raise TableError(
                f"{source}: {match[0]} is there and {other} is missing; rename the column that holds it, or remove "
                f"{match[0]}"
            )


def _differences(headers: Mapping[str, Sequence[str]], parts: Sequence[Part]) -> Iterator[str]:
    """Notes on budgets and queries that are not in every file."""
    budgets = {name: {_tokens(budget): budget for budget in budgets_in(header)} for name, header in headers.items()}
    every = {tokens: budget for some in budgets.values() for tokens, budget in some.items()}
    for name, some in budgets.items():
        lacking = [every[tokens] for tokens in sorted(every.keys() - some.keys())]
        if lacking:
            yield f"{name} lacks budget{'s' * (len(lacking) > 1)} {', '.join(lacking)}"
    asked = [set(part.query.tolist()) for part in parts]
    if partly := len(set.union(*asked) - set.intersection(*asked)):
        yield f"{partly:,} queries are not in every file" if partly > 1 else "1 query is not in every file"


def _matrix(source: str, table: Table, budgets: Sequence[str], kind: str, rule: str) -> NDArray[np.float64]:
    """(queries, budgets)."""
    return np.column_stack([numbers_of(table, f"{budget}_{kind}", rule, source) for budget in budgets])
