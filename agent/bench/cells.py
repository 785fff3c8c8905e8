"""The cells of a curve table by column, as they are in the file: read, not yet checked.

A column of numbers is an array; any other column holds each distinct value once and a code for every row, because texts
repeat: a query comes once for each arm. Nothing here refuses a value; ``faults.py`` does.
"""

from __future__ import annotations

import csv
import itertools
from array import array
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from curveroute.agent.bench.table import (
    OPTIONAL,
    REAL,
    REQUIRED,
    SUFFIXES,
    WHOLE,
    check_suffix,
    pyarrow,
    records_in,
    refuse_twins,
)
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

    from numpy.typing import NDArray
    from pyarrow import ChunkedArray

KNOWN = (*REQUIRED, *OPTIONAL, "judge")
EMPTY, ABSENT = -1, -2
_CHUNK = 20_000
_SEPARATORS = (";", "\t", "|")
_FEW = 2


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A column of any values: ``values[codes]``.

    Attributes:
        codes: (rows,), ``EMPTY`` (-1) for null, ``ABSENT`` (-2) for a JSON object without the key.
        values: the distinct values, as the format's reader gives them.
    """

    codes: NDArray[np.int32]
    values: tuple[object, ...]


Cell: TypeAlias = "Coded | NDArray[np.float64]"


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A table as it is in the file.

    Attributes:
        source: the file's name, for messages.
        columns: the known columns that are there; arrays (NaN for null) or ``Coded``.
        extra: names of columns that no curve table has; they are ignored.
        rows: how many.
        separator: what separates a CSV file's fields where that is no comma; its columns are then not read.
    """

    source: str
    columns: Mapping[str, Cell]
    extra: tuple[str, ...]
    rows: int
    separator: str = ""


def read_cells(path: Path) -> Cells:
    """Read the known columns of a curve table.

    Raises:
        TableError: missing, without rows, or not what its suffix says.
        MissingExtra: Parquet without pyarrow.
    """
    _refuse_unknown_name(path)
    check_suffix(path)
    if not path.is_file():
        raise TableError(f"no table at {path}; give the path of a {', '.join(SUFFIXES)} file")
    cells = _separated(path) or (_read_parquet(path) if path.suffix == ".parquet" else _read_records(path))
    if not cells.rows:
        raise TableError(f"{path.name} has no rows; collect some first")
    return cells


def _refuse_unknown_name(path: Path) -> None:
    if not path.suffix and path.name == str(path) and not path.exists():
        folder = resources.files("curveroute.pools") / "tables"
        shipped = sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".parquet"))
        raise TableError(
            f"{path}: a curve table ends in {', '.join(SUFFIXES)}, or is a shipped one: {', '.join(shipped)}"
        )


def _separated(path: Path) -> Cells | None:
    """A CSV file whose header names columns of a curve table only when split at something else than commas."""
    if path.suffix != ".csv" or _named_by(path, ",") >= _FEW:
        return None
    for separator in _SEPARATORS:
        if _named_by(path, separator) >= _FEW:
            return Cells(path.name, {}, (), sum(1 for _ in _fields(path, separator)) - 1, separator)
    return None


def _named_by(path: Path, separator: str) -> int:
    return len(set(next(_fields(path, separator), [])) & set(KNOWN))


def _fields(path: Path, separator: str) -> Iterator[list[str]]:
    """The lines of a CSV file that are not empty, until one cannot be read."""
    with suppress(OSError, UnicodeDecodeError, csv.Error), path.open(encoding="utf-8-sig", newline="") as file:
        yield from filter(None, csv.reader(file, delimiter=separator))


class Coder:
    """Gives each distinct value of a column a code, in the order of their first rows."""

    def __init__(self) -> None:
        self._seen: dict[object, int] = {}
        self._codes = array("i")
        self._values: list[object] = []

    def extend(self, values: Iterable[object]) -> None:
        """Append rows; ``None`` is null and ``...`` is a key that is not there."""
        self._codes.extend(map(self._code, values))

    def coded(self) -> Coded:
        """All rows so far."""
        return Coded(np.array(self._codes, np.int32), tuple(self._values))

    def _code(self, value: object) -> int:
        # 1, 1.0 and True are equal, but not the same text.
        key = value if value.__class__ is str else (value.__class__, _hashable(value))
        found = self._seen.get(key)
        if found is None:
            found = EMPTY if value is None else ABSENT if value is ... else len(self._values)
            self._seen[key] = found
            if found >= 0:
                self._values.append(value)
        return found


def _hashable(value: object) -> object:
    return repr(value) if isinstance(value, list | dict) else value


def _read_records(path: Path) -> Cells:
    coders: dict[str, Coder] = {}
    extra: dict[str, None] = {}
    rows = 0
    for chunk in _chunks(records_in(path)):
        names = dict.fromkeys(itertools.chain.from_iterable(chunk))
        extra.update(dict.fromkeys(name for name in names if name not in KNOWN))
        for name in (*coders, *(name for name in names if name in KNOWN and name not in coders)):
            if name not in coders:
                coders[name] = Coder()
                coders[name].extend(itertools.repeat(..., rows))
            coders[name].extend([record.get(name, ...) for record in chunk])
        rows += len(chunk)
    return Cells(path.name, {name: coder.coded() for name, coder in coders.items()}, tuple(extra), rows)


def _chunks(records: Iterator[Mapping[str, object]]) -> Iterator[list[Mapping[str, object]]]:
    while chunk := list(itertools.islice(records, _CHUNK)):
        yield chunk


def _read_parquet(path: Path) -> Cells:
    pa = pyarrow()
    try:
        with pa.parquet.ParquetFile(
            path, read_dictionary=[*_texts(pa, path)], page_checksum_verification=True, pre_buffer=False
        ) as file:
            names = file.schema_arrow.names
            refuse_twins(path.name, names)
            known = [name for name in KNOWN if name in names]
            # One column at a time: the peak is then one column's, not the table's.
            columns = {name: _cell(pa, name, file.read(columns=[name]).column(0)) for name in known}
            extra = tuple(name for name in names if name not in KNOWN)
            return Cells(path.name, columns, extra, file.metadata.num_rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path.name} is not a readable Parquet file: {error}") from error


def _texts(pa: ModuleType, path: Path) -> Iterator[str]:
    for field in pa.parquet.read_schema(path):
        if field.name in KNOWN and (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
            yield field.name


def _cell(pa: ModuleType, name: str, column: ChunkedArray) -> Cell:
    if name in WHOLE or name in REAL:
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return _numbers(pa, column)
    return _coded(pa, column)


def _numbers(pa: ModuleType, column: ChunkedArray) -> NDArray[np.float64]:
    cast_column = column.cast(pa.float64(), safe=False)
    return np.concatenate([np.empty(0), *(chunk.to_numpy(zero_copy_only=False) for chunk in cast_column.chunks)])


def _coded(pa: ModuleType, column: ChunkedArray) -> Coded:
    if not pa.types.is_dictionary(column.type):
        if pa.types.is_nested(column.type) or pa.types.is_null(column.type):
            coder = Coder()
            coder.extend(column.to_pylist())
            return coder.coded()
        column = column.dictionary_encode()
    column = column.unify_dictionaries()
    codes = [
        np.asarray(chunk.indices.cast(pa.int32()).fill_null(EMPTY).to_numpy(zero_copy_only=False), np.int32)
        for chunk in column.chunks
    ]
    values = cast("list[object]", column.chunk(0).dictionary.to_pylist()) if column.num_chunks else []
    return Coded(np.concatenate([np.empty(0, np.int32), *codes]), tuple(values))
