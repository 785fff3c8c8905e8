"""The curve table: recorded attempts as tidy rows, one per (query, model, budget, sample).

The same rows as Parquet, CSV or JSONL. Writing is atomic; reading checks every row and names the row and column of the
first fault. Tables too large for a list of rows are read by columns (``columns.py``), by the same rules.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast

from curveroute.agent.bench.destination import beside, replacing
from curveroute.agent.errors import MissingExtra, TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

SUFFIXES = (".parquet", ".csv", ".jsonl")


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded attempt.

    Attributes:
        budget: output tokens; ``None`` is unlimited.
        quality: 0 to 1, from the task's grader.
        response: the answer as the model wrote it; ``answer`` is what was extracted from it.
        confidence: geometric mean of the tokens' probabilities, where the server gave them.
    """

    query_id: str
    query: str
    task: str
    model: str
    budget: int | None
    sample: int
    quality: float
    answer: str | None
    reference: str | None
    finish_reason: Literal["stop", "length"]
    input_tokens: int
    output_tokens: int
    cost_usd: float
    response: str | None = None
    latency_s: float | None = None
    prompt_style: str | None = None
    confidence: float | None = None


REQUIRED = tuple(field.name for field in fields(Row))[:13]
OPTIONAL = tuple(field.name for field in fields(Row))[13:]
NULLABLE = frozenset({"budget", "answer", "reference", "judge", *OPTIONAL})  # rows leave the judge out, columns keep it
WHOLE = frozenset({"budget", "sample", "input_tokens", "output_tokens"})
REAL = frozenset({"quality", "cost_usd", "latency_s", "confidence"})
SHARES = frozenset({"quality", "confidence"})
FINISHES = ("stop", "length")
_LARGEST = 10**12
_DEAREST_USD = 1e9
_LONGEST_FIELD = 2**31 - 1


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write ``rows`` to ``path`` in the format its suffix names; the old file stays until the new one is whole.

    Raises:
        TableError: another suffix, or the folder cannot be written.
        MissingExtra: Parquet without pyarrow.
    """
    check_suffix(path)
    records = [asdict(row) for row in rows]
    with replacing(path) as fresh:
        _WRITERS[path.suffix](fresh, records)


def check_writable(path: Path) -> None:
    """Refuse, before anything is collected, a path that no table could be written to.

    Raises:
        TableError: another suffix, or the folder cannot be written.
        MissingExtra: Parquet without pyarrow.
    """
    check_suffix(path)
    if path.suffix == ".parquet":
        pyarrow()
    with beside(path) as fresh:
        fresh.touch()


def read_table(path: Path) -> list[Row]:
    """Read and check a curve table; columns beyond the known ones are ignored.

    Raises:
        TableError: missing, unreadable, empty, or with a faulty row; the message names row and column.
        MissingExtra: Parquet without pyarrow.
    """
    check_suffix(path)
    if not path.is_file():
        raise TableError(f"no table at {path}; give the path of a {', '.join(SUFFIXES)} file")
    records = _read(path)
    rows = [_row(record, f"{path.name}, row {number}") for number, record in enumerate(records, start=1)]
    if not rows:
        raise TableError(f"{path.name} has no rows; collect some first")
    _refuse_repeats(path.name, rows)
    return rows


def data_hash(rows: Iterable[Row]) -> str:
    """SHA-256 of what was measured, whatever the file's format and order."""
    lines = sorted(
        f"{row.query_id}\t{row.query}\t{row.model}\t{row.budget}\t{row.sample}\t{float(row.quality)!r}"
        f"\t{row.output_tokens}"
        for row in rows
    )
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def row_of(record: Mapping[str, object]) -> Row:
    """A checked row from any mapping, such as a record of the ledger; other finish reasons count as ``stop``.

    Raises:
        TableError: a value out of range; the message names query and column.
    """
    finish = "length" if record.get("finish_reason") == "length" else "stop"
    return _row({**record, "finish_reason": finish}, f"answer to {record.get('query_id')!r}")


def check_suffix(path: Path) -> None:
    """Refuse a path that does not say which format it is.

    Raises:
        TableError: a suffix other than .parquet, .csv and .jsonl.
    """
    if path.suffix not in SUFFIXES:
        raise TableError(f"{path.name}: a curve table ends in {', '.join(SUFFIXES)}, not {path.suffix or 'nothing'!r}")


def value_of(name: str, value: object) -> str | int | float | None:
    """What a cell of column ``name`` stands for; empty cells are ``None``, or "" in the column ``query``.

    The word ``unlimited`` as a budget is ``None`` too.

    Raises:
        TableError: not a value of that column; the message says why, not where.
    """
    if value is None or value == "" or value != value:  # noqa: PLR0124  (other tools write an absent number as NaN)
        if name in NULLABLE or name == "query":
            return None if name in NULLABLE else ""
        raise TableError("empty; every row needs a value there")
    if name == "budget" and value == "unlimited":
        return None
    if name in WHOLE or name in REAL:
        return _number(name, value)
    if name == "finish_reason" and value not in FINISHES:
        raise TableError(f"{value!r} is neither 'stop' nor 'length'")
    if isinstance(value, list | tuple | dict):
        raise TableError(f"{value!r} is not text")
    return str(value)


def bounds_of(name: str) -> tuple[float, float]:
    """The lowest and the highest number of a column; infinity itself is never a value."""
    highest = 1.0 if name in SHARES else _LARGEST if name in WHOLE else _DEAREST_USD if name == "cost_usd" else math.inf
    return float(name == "budget"), float(highest)


def records_in(path: Path) -> Iterator[Mapping[str, object]]:
    """The rows of a CSV or JSONL file as they are, one at a time.

    Raises:
        TableError: it is not a readable file of that format.
    """
    try:
        yield from _RECORDS[path.suffix](path)
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}") from error


def _row(record: Mapping[str, object], where: str) -> Row:
    missing = [name for name in REQUIRED if name not in record]
    if missing:
        raise TableError(f"{where}: missing column(s) {', '.join(missing)}")
    values = {name: _value(name, record.get(name), where) for name in (*REQUIRED, *OPTIONAL)}
    return Row(**cast("dict[str, Any]", values))


def _value(name: str, value: object, where: str) -> str | int | float | None:
    try:
        return value_of(name, value)
    except TableError as error:
        raise TableError(f"{where}, column {name}: {error}") from None


def _number(name: str, value: object) -> int | float:
    try:
        found = float(cast("float", value))
    except (TypeError, ValueError, OverflowError):
        raise TableError(f"{value!r} is not a number") from None
    lowest, highest = bounds_of(name)
    if not (math.isfinite(found) and lowest <= found <= highest):
        bounds = "between 0 and 1" if name in SHARES else f"a finite number from {lowest:g}"
        bounds += f" to {highest:.0e}" if name not in SHARES and found > highest else ""
        raise TableError(f"{value!r} is not {bounds}")
    if name not in WHOLE:
        return found
    if found != int(found):
        raise TableError(f"{value!r} is not a whole number")
    return int(found)


def _refuse_repeats(source: str, rows: Sequence[Row]) -> None:
    seen: dict[tuple[str, str, int | None, int], int] = {}
    for number, row in enumerate(rows, start=1):
        key = (row.query_id, row.model, row.budget, row.sample)
        if key in seen:
            raise TableError(f"{source}, row {number} repeats row {seen[key]}: {key}; remove one of them")
        seen[key] = number


def _read(path: Path) -> list[Mapping[str, object]]:
    return list(records_in(path)) if path.suffix in _RECORDS else list(_read_parquet(path))


def pyarrow() -> ModuleType:
    """The library that reads and writes Parquet.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("reading and writing Parquet tables", "bench") from error
    return cast("ModuleType", pyarrow)


def _write_parquet(path: Path, records: list[dict[str, Any]]) -> None:
    pa = pyarrow()
    kinds = {
        name: pa.int64() if name in WHOLE else pa.float64() if name in REAL else pa.string()
        for name in (*REQUIRED, *OPTIONAL)
    }
    table = pa.Table.from_pylist(records, schema=pa.schema(list(kinds.items())))
    pa.parquet.write_table(table, path, compression="zstd", compression_level=15, write_page_checksum=True)


def _read_parquet(path: Path) -> list[dict[str, object]]:
    pa = pyarrow()
    try:
        table = pa.parquet.read_table(path, page_checksum_verification=True)
        return cast("list[dict[str, object]]", table.to_pylist())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path.name} is not a readable Parquet file: {error}") from error


def _write_csv(path: Path, records: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[*REQUIRED, *OPTIONAL])
        writer.writeheader()
        writer.writerows(records)


def _csv_records(path: Path) -> Iterator[dict[str, object]]:
    csv.field_size_limit(_LONGEST_FIELD)  # a long response is no fault
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = next((row for row in rows if row), [])
            refuse_twins(path.name, header)
            blank = [None] * len(header)
            for number, row in enumerate(filter(None, rows), start=1):
                if len(row) > len(header):
                    raise TableError(
                        f"{path.name}, row {number}: more fields than the header names; quote fields with commas"
                    )
                yield dict(zip(header, [*row, *blank], strict=False))
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path.name} is not a readable CSV file: {error}") from error


def refuse_twins(source: str, header: Sequence[str]) -> None:
    """Refuse a header that gives two columns one name.

    Raises:
        TableError: it does.
    """
    twins = [name for name, count in Counter(header).items() if count > 1]
    if twins:
        raise TableError(
            f"{source}: {len(header)} columns, of which several are called {twins[0]!r}; rename all but one"
        )


def _write_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _jsonl_records(path: Path) -> Iterator[dict[str, object]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise TableError(f"{path.name}, line {number}: not a JSON object")
                    yield record
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise TableError(f"{path.name} is not readable as JSON lines: line {number}: {error}") from error


_WRITERS = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_jsonl}
_RECORDS: Mapping[str, Callable[[Path], Iterator[dict[str, object]]]] = {".csv": _csv_records, ".jsonl": _jsonl_records}
