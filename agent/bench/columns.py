"""The curve table by columns, for tables of millions of rows: texts once, numbers as arrays.

``read_columns`` accepts what ``read_table`` accepts and refuses, besides, a query id that stands for two texts. Columns
that no curve table has are ignored; an optional column without a value counts as not there. A budget that is empty or
the word ``unlimited`` is unlimited.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from contextlib import ExitStack
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from curveroute.agent.bench.cells import KNOWN, Cells, Coded, read_cells
from curveroute.agent.bench.destination import is_stream, replacing
from curveroute.agent.bench.faults import findings, refuse_faults
from curveroute.agent.bench.table import (
    FINISHES,
    OPTIONAL,
    REAL,
    REQUIRED,
    WHOLE,
    Row,
    check_suffix,
    pyarrow,
)
from curveroute.agent.bench.words import Words, joint, ranks, words_of
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray
    from pyarrow import Array

    from curveroute.agent.bench.faults import Fault, Findings

_CHUNK = 50_000
_FEW = 3
_ROW_GROUP = 1 << 20
_DICTIONARY_BYTES = 1 << 28


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A curve table, one array or ``Words`` of as many rows for each column.

    Attributes:
        budget: output tokens; infinity is unlimited.
        quality: 0 to 1.
        truncated: the answer ended at its limit (``finish_reason`` is ``length``).
        input_tokens: whole numbers, as reals.
        output_tokens: whole numbers, as reals.
        optional: response, latency_s, prompt_style, confidence and judge, where there; NaN or -1 where null.
    """

    query_id: Words
    query: Words
    task: Words
    model: Words
    budget: NDArray[np.float64]
    sample: NDArray[np.int64]
    quality: NDArray[np.float64]
    answer: Words
    reference: Words
    truncated: NDArray[np.bool_]
    input_tokens: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    cost_usd: NDArray[np.float64]
    optional: Mapping[str, Words | NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.budget)

    def at(self, rows: NDArray[Any]) -> Columns:
        """The columns of those rows (a mask or row numbers), in that order."""
        names = [field.name for field in fields(self) if field.name != "optional"]
        optional = {name: _at(column, rows) for name, column in self.optional.items()}
        taken: dict[str, Any] = {name: _at(getattr(self, name), rows) for name in names}
        return Columns(**taken, optional=optional)


def _at(column: Words | NDArray[Any], rows: NDArray[Any]) -> Words | NDArray[Any]:
    return column.at(rows) if isinstance(column, Words) else column[rows]


def read_columns(path: Path) -> Columns:
    """Read and check a curve table.

    Raises:
        TableError: missing, unreadable, empty or with faults; the message names row and column of the first fault.
        MissingExtra: Parquet without pyarrow.
    """
    cells = read_cells(path)
    found = findings(cells)
    refuse_faults(cells.source, found)
    return columns_in(found)


def columns_in(found: Findings) -> Columns:
    """The columns of a table in which no fault was found."""
    columns = cast("dict[str, Any]", dict(found.columns))
    finish = columns.pop("finish_reason")
    optional = {name: columns.pop(name) for name in (*OPTIONAL, "judge") if name in columns}
    return Columns(
        **columns
        | {
            "budget": np.where(np.isnan(columns["budget"]), np.inf, columns["budget"]),
            "sample": columns["sample"].astype(np.int64),
            "truncated": np.array([value == "length" for value in finish.values])[finish.codes],
        },
        optional={name: column for name, column in optional.items() if _has_values(column)},
    )


def refuse_unsound(source: str, columns: Columns) -> None:
    """Refuse columns of ``source`` that, once written, would not be read again.

    Raises:
        TableError: they have a fault; the message holds the first ones, each with its query and model.
    """
    cells = {
        name: Coded(column.codes, column.values) if isinstance(column, Words) else column.astype(np.float64)
        for name, column in _written(columns).items()
    }
    found = findings(Cells(source, cells, (), len(columns)))
    if found.count:
        told = "; ".join(_told(columns, fault) for fault in found.faults(_FEW))
        more = f" (and {found.count - _FEW} more)" if found.count > _FEW else ""
        raise TableError(f"{source} makes no sound table: {told}{more}; nothing is written")


def _told(columns: Columns, fault: Fault) -> str:
    row = (fault.row or 1) - 1
    query, model = (column.at(np.array([row])).texts()[0] for column in (columns.query_id, columns.model))
    return f"{fault} (query {query!r}, model {model!r})"


def _has_values(column: Words | NDArray[np.float64]) -> bool:
    return bool(column.values) if isinstance(column, Words) else not bool(np.isnan(column).all())


def columns_of(rows: Sequence[Row]) -> Columns:
    """The rows of a table in memory, by columns; they are not checked again."""
    texts = {name: words_of(getattr(row, name) for row in rows) for name in _TEXTS}
    numbers = {
        name: np.array([np.nan if (value := getattr(row, name)) is None else value for row in rows], np.float64)
        for name in (*REQUIRED, *OPTIONAL)
        if name in WHOLE or name in REAL
    }
    settled: dict[str, Any] = texts | numbers
    optional = {name: column for name in OPTIONAL if _has_values(column := settled.pop(name))}
    settled["budget"] = np.where(np.isnan(numbers["budget"]), np.inf, numbers["budget"])
    settled["sample"] = np.array([row.sample for row in rows], np.int64)
    truncated = np.array([row.finish_reason == "length" for row in rows], np.bool_)
    return Columns(**settled, truncated=truncated, optional=optional)


def rows_of(columns: Columns) -> list[Row]:
    """The rows one by one, for what looks at single answers."""
    order = _order(columns)
    rows: list[Row] = []
    for record in _records(columns):
        values: dict[str, Any] = dict(zip(order, record, strict=True))
        values.pop("judge", None)
        rows.append(Row(**values))
    return rows


_TEXTS = tuple(name for name in (*REQUIRED, *OPTIONAL) if name not in WHOLE | REAL | {"finish_reason"})


def write_columns(path: Path, columns: Columns) -> None:
    """Write a table in the format its suffix names; the old file stays until the new one is whole.

    Raises:
        TableError: another suffix, or the folder cannot be written.
        MissingExtra: Parquet without pyarrow.
    """
    write_together({path: columns})


def write_together(tables: Mapping[Path, Columns]) -> None:
    """Write some tables as :func:`write_columns` does; no old file gives way before all new ones are whole.

    Raises:
        TableError: another suffix, or a folder that cannot be written.
        MissingExtra: Parquet without pyarrow.
    """
    for path in tables:
        check_suffix(path)
    with ExitStack() as stack:
        for path in sorted(
            tables, key=is_stream
        ):  # left in reverse: a pipe that breaks breaks before files are replaced
            fresh = stack.enter_context(replacing(path))
            _FORMATS[path.suffix](fresh, tables[path])


def _written(columns: Columns) -> dict[str, Words | NDArray[Any]]:
    """The columns as they stand in a file: NaN is null, and the finish reason is a word."""
    named = {name: getattr(columns, name) for name in REQUIRED if name != "finish_reason"}
    named["budget"] = np.where(np.isinf(columns.budget), np.nan, columns.budget)
    named["finish_reason"] = Words(columns.truncated.astype(np.int32), FINISHES)
    return {name: named[name] if name in named else columns.optional[name] for name in _order(columns)}


def _order(columns: Columns) -> list[str]:
    return [name for name in KNOWN if name in REQUIRED or name in columns.optional]


def _write_parquet(path: Path, columns: Columns) -> None:
    pa = pyarrow()
    arrays = {name: _arrow(pa, name, column) for name, column in _written(columns).items()}
    pa.parquet.write_table(
        pa.table(arrays),
        path,
        compression="zstd",
        compression_level=9,
        write_page_checksum=True,
        store_schema=False,  # plain strings for every reader, not Arrow's dictionaries
        row_group_size=_ROW_GROUP,
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
    )


def _arrow(pa: ModuleType, name: str, column: Words | NDArray[Any]) -> Array:
    if isinstance(column, Words):
        codes = pa.array(column.codes, mask=column.codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(column.values, pa.string()))
    array = pa.array(column, from_pandas=True)
    return array.cast(pa.int64()) if name in WHOLE else array


def _write_csv(path: Path, columns: Columns) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_order(columns))
        writer.writerows(_records(columns))


def _write_jsonl(path: Path, columns: Columns) -> None:
    names = _order(columns)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(
            json.dumps(dict(zip(names, record, strict=True)), ensure_ascii=False) + "\n" for record in _records(columns)
        )


def _records(columns: Columns) -> Iterator[tuple[object, ...]]:
    """Rows of plain Python values, made a piece at a time."""
    written = _written(columns)
    for start in range(0, len(columns), _CHUNK):
        part = slice(start, start + _CHUNK)
        yield from zip(*(_plain(name, column, part) for name, column in written.items()), strict=True)


def _plain(name: str, column: Words | NDArray[Any], part: slice) -> list[Any]:
    if isinstance(column, Words):
        return Words(column.codes[part], column.values).texts()
    kind: Callable[[Any], Any] = int if name in WHOLE else float
    return [kind(value) if value == value else None for value in column[part].tolist()]  # noqa: PLR0124


_FORMATS: Mapping[str, Callable[[Path, Columns], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}


def columns_hash(columns: Columns) -> str:
    """SHA-256 of what was measured: ``table.data_hash`` of the same rows.

    The hash is of one line for each row, sorted. A line is a query (its id and text) and what follows, an ending.
    Distinct queries and distinct endings are sorted on their own, and rows by the two ranks; only where one query
    begins as another one does, so that its rows may come between the other's, are whole lines sorted.
    """
    digest = hashlib.sha256()
    for number, block in enumerate(_blocks(*_lines(columns))):
        digest.update(b"\n" + block if number else block)
    return digest.hexdigest()


def _lines(columns: Columns) -> tuple[list[str], NDArray[np.int64], list[str], NDArray[np.int64]]:
    """Distinct beginnings and endings, and the number of each row's."""
    ids, texts = columns.query_id, columns.query
    firsts, beginning = _distinct(joint(ids.codes, texts.codes))
    beginnings = [f"{ids.values[ids.codes[row]]}\t{texts.values[texts.codes[row]]}" for row in firsts]
    bits = ranks(columns.quality.view(np.int64))
    keys = (columns.model.codes, ranks(columns.budget), ranks(columns.sample), bits, ranks(columns.output_tokens))
    firsts, ending = _distinct(joint(*keys))
    return beginnings, beginning, [_ending(columns, row) for row in firsts.tolist()], ending


def _ending(columns: Columns, row: int) -> str:
    budget = None if np.isinf(columns.budget[row]) else int(columns.budget[row])
    model = columns.model.values[columns.model.codes[row]]
    sample, quality, tokens = columns.sample[row], float(columns.quality[row]), int(columns.output_tokens[row])
    return f"\t{model}\t{budget}\t{sample}\t{quality!r}\t{tokens}"


def _distinct(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A row of each distinct key, and the number of each row's key."""
    _, firsts, numbers = np.unique(keys, return_index=True, return_inverse=True)
    return firsts, numbers


def _blocks(
    beginnings: list[str], beginning: NDArray[np.int64], endings: list[str], ending: NDArray[np.int64]
) -> Iterator[bytes]:
    """The sorted lines, one or more queries at a time."""
    order = sorted(range(len(beginnings)), key=beginnings.__getitem__)
    rank = np.argsort(np.argsort(np.array(endings, object), kind="stable"), kind="stable")
    rows = np.lexsort((rank[ending], np.argsort(order)[beginning]))
    after = [_encoded(text) for text in endings]
    bounds = np.searchsorted(np.argsort(order)[beginning][rows], np.arange(len(order) + 1))
    for start, stop in _alike([beginnings[place] for place in order]):
        heads = [_encoded(beginnings[place]) for place in order[start:stop]]
        tails = [
            [after[one] for one in ending[rows[bounds[place] : bounds[place + 1]]].tolist()]
            for place in range(start, stop)
        ]
        if len(heads) == 1:
            yield heads[0] + (b"\n" + heads[0]).join(tails[0])
        else:
            pairs = zip(heads, tails, strict=True)
            yield b"\n".join(
                sorted(itertools.chain.from_iterable((head + one for one in some) for head, some in pairs))
            )


def _alike(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Sorted texts in runs whose later ones begin with the first."""
    start = 0
    for place in range(1, len(texts) + 1):
        if place == len(texts) or not texts[place].startswith(texts[start]):
            yield start, place
            start = place


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


__all__ = [
    "Columns",
    "Words",
    "columns_hash",
    "columns_in",
    "columns_of",
    "read_columns",
    "refuse_unsound",
    "write_columns",
    "write_together",
]
