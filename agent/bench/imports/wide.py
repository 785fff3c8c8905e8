"""Wide tables as other projects publish them: one row for each query, several columns for each model or budget.

Columns are read as text or as numbers because the importer says so, never by guessing: a prompt that looks like a
number or a date stays a prompt.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from curveroute.agent.bench.faults import outside, why_not
from curveroute.agent.bench.table import pyarrow, records_in
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray
    from pyarrow import Table

_PICKLED = b"\x80"
_BLOCK_BYTES = 1 << 26
_CHARS_PER_TOKEN = 4
_FLAGS = {"true": 1.0, "false": 0.0}


def header_of(path: Path) -> list[str]:
    """The column names of a Parquet, CSV or JSONL file (of its first object), by its suffix.

    Raises:
        TableError: unreadable, or a pickle: those are never opened, since opening one runs what it holds.
    """
    refuse_pickle(path)
    try:
        return _header(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"cannot read {path}: {error}; give a Parquet, CSV or JSONL file") from error


def refuse_pickle(path: Path) -> None:
    """Refuse a pickled file, by its name or its first byte.

    Raises:
        TableError: it is one, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            pickled = file.read(1) == _PICKLED
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}; give a file that is there") from error
    if pickled or path.suffix in {".pkl", ".pickle"}:
        raise TableError(
            f"{path.name} is a pickle, and opening one runs whatever code it holds, so curveroute never does; turn it "
            "into Parquet where you trust it: pandas.read_pickle(FILE).to_parquet(OUT)"
        )


def _header(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        pa = pyarrow()
        try:
            return list(pa.parquet.read_schema(path).names)
        except pa.ArrowException as error:
            raise TableError(f"{path.name} is not a readable Parquet file: {error}") from error
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next((row for row in csv.reader(file) if row), [])
    if path.suffix == ".jsonl":
        return list(next(records_in(path), {}))
    raise TableError(f"{path.name}: a source is a Parquet, CSV or JSONL file, a folder, or hf:OWNER/NAME")


def refuse_twins_of(source: str, header: Sequence[str], used: Sequence[str]) -> None:
    """Refuse a column of those in use that the header has twice, or that is used as two things.

    Raises:
        TableError: there is one; the message names it.
    """
    for name in used:
        if header.count(name) > 1:
            raise TableError(f"{source}, column {name}: {header.count(name)} columns of this name; rename all but one")
    for name in used:
        if used.count(name) > 1:
            raise TableError(f"{source}, column {name}: stands for two things, a model's cell among them; rename it")


def read_wide(path: Path, *, texts: Sequence[str], numbers: Sequence[str], flags: Sequence[str] = ()) -> Table:
    """Those columns of a wide file: texts as strings, numbers as doubles; in ``flags`` true and false are 1 and 0.

    Raises:
        TableError: unreadable, without rows, or with a number that is none.
        MissingExtra: no pyarrow.
    """
    pa = pyarrow()
    schema = pa.schema([(name, pa.string()) for name in texts] + [(name, pa.float64()) for name in numbers])
    try:
        try:
            table = _READERS[path.suffix](pa, path, schema)
        except pa.ArrowException:  # it names neither row nor column
            table = _read_each(pa, path, schema, flags)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path.name} is not readable as the columns it names: {_one_line(error)}") from error
    if not table.num_rows:
        raise TableError(f"{path.name} has no rows")
    return table


def _read_csv(_: ModuleType, path: Path, schema: Any, *, blanks: bool = False) -> Table:  # noqa: ANN401  (no types)
    from pyarrow import csv as arrow_csv

    return arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=schema.names, column_types=schema, strings_can_be_null=blanks
        ),
    )


def _read_parquet(pa: ModuleType, path: Path, schema: Any) -> Table:  # noqa: ANN401
    return as_wide(pa.parquet.read_table(path, columns=schema.names), schema)


def _read_jsonl(pa: ModuleType, path: Path, schema: Any) -> Table:  # noqa: ANN401
    rows = [{name: _plain(record.get(name), schema, name) for name in schema.names} for record in records_in(path)]
    return pa.Table.from_pylist(rows, schema=schema)


def _plain(value: object, schema: Any, name: str) -> object:  # noqa: ANN401
    text = str(schema.field(name).type) == "string"
    return value if not text or value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_wide(table: Table, schema: Any) -> Table:  # noqa: ANN401
    """The columns of ``schema`` in its types."""
    return table.select(schema.names).cast(schema, safe=False)


def _read_each(pa: ModuleType, path: Path, schema: Any, flags: Sequence[str]) -> Table:  # noqa: ANN401
    """As the readers do, but cell by cell, so that the first one that is no number can be named."""
    texts = [field for field in schema if field.type == pa.string()]
    numbers = [field.name for field in schema if field.type != pa.string()]
    table = _READERS[path.suffix](pa, path, pa.schema(texts))
    for name, cells in zip(numbers, _cells(pa, path, numbers), strict=True):
        parsed = [
            _number(cell, f"{path.name}, row {row}, column {name}", flag=name in flags)
            for row, cell in enumerate(cells, start=1)
        ]
        table = table.append_column(name, pa.array(parsed, pa.float64()))
    return table


def _cells(pa: ModuleType, path: Path, names: Sequence[str]) -> list[list[object]]:
    """Columns as plain values; a CSV's are texts, or nothing where it is empty."""
    if path.suffix == ".jsonl":
        records = list(records_in(path))
        return [[record.get(name) for record in records] for name in names]
    if path.suffix == ".parquet":
        table = pa.parquet.read_table(path, columns=list(names))
    else:
        table = _read_csv(pa, path, pa.schema([(name, pa.string()) for name in names]), blanks=True)
    return [table.column(name).to_pylist() for name in names]


def _number(cell: object, where: str, *, flag: bool) -> float | None:
    if cell is None or cell == "":
        return None
    word = cell.strip() if isinstance(cell, str) else cell
    if flag and isinstance(word, str) and word.lower() in _FLAGS:
        return _FLAGS[word.lower()]
    try:
        if isinstance(word, int | float) or (isinstance(word, str) and word.isascii() and "_" not in word):
            return float(word)
    except (ValueError, OverflowError):
        pass
    raise TableError(f"{where}: {_one_line(repr(cell))} is not a number")


_READERS: Mapping[str, Callable[[ModuleType, Path, Any], Table]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
}


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]


def texts_of(table: Table, name: str) -> list[str]:
    """A column of texts; null is the empty text."""
    return ["" if text is None else text for text in table.column(name).to_pylist()]


def numbers_of(table: Table, name: str, rule: str, source: str) -> NDArray[np.float64]:
    """A column of numbers by the rules of a curve table's column ``rule``; NaN where empty.

    Raises:
        TableError: a number that a curve table could not hold; the message names the file, row and column.
    """
    numbers = np.asarray(table.column(name).to_numpy(), np.float64)
    for row in np.flatnonzero(outside(rule, numbers) & ~np.isnan(numbers))[:1]:
        raise TableError(f"{source}, row {row + 1}, column {name}: {why_not(rule, float(numbers[row]))}")
    return numbers


def estimated_tokens(texts: Sequence[str]) -> NDArray[np.float64]:
    """About how many tokens each text has: a token for every four characters, and at least one."""
    return np.array([max(-(-len(text) // _CHARS_PER_TOKEN), 1) for text in texts], np.float64)
