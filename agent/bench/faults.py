"""What is wrong with a curve table: every fault with its row and column, by the rules of ``table.value_of``.

Cells are checked a column at a time: each distinct value once, arrays of numbers by their bounds. ``read_columns`` and
``curveroute table check`` both ask here, so what one accepts the other does too.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from curveroute.agent.bench.cells import ABSENT, KNOWN, Coded
from curveroute.agent.bench.table import NULLABLE, REAL, REQUIRED, WHOLE, bounds_of, value_of
from curveroute.agent.bench.words import Words, compact, joint, ranks, repeats
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from curveroute.agent.bench.cells import Cell, Cells

Settled: TypeAlias = "Words | NDArray[np.float64]"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        row: counted from 1, as read; without a CSV file's header; ``None`` where the whole column is at fault.
        column: ``None`` where the whole file is at fault.
        why: what is wrong, and what to do where that does not say itself.
    """

    row: int | None
    column: str | None
    why: str

    def __str__(self) -> str:
        if self.column is None:
            return self.why
        where = f"column {self.column}" if self.row is None else f"row {self.row}, column {self.column}"
        return f"{where}: {self.why}"


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Faults of one kind in one column: row numbers from 0, and what is said of each when it is shown."""

    column: str
    rows: NDArray[np.int64]
    why: Callable[[int], str]


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """A table's columns as checked, and what is wrong with them.

    Attributes:
        columns: each known column that is there, numbers (NaN for null) or words; faulty cells are null.
        whole: faults of no single row: required columns that are not there, or fields that no comma separates.
    """

    rows: int
    columns: Mapping[str, Settled]
    whole: tuple[Fault, ...]
    parts: tuple[_Part, ...]

    @property
    def count(self) -> int:
        """How many faults there are."""
        return len(self.whole) + sum(len(part.rows) for part in self.parts)

    def faults(self, limit: int | None = None) -> Iterator[Fault]:
        """The first ``limit`` faults: those of no single row, then row by row."""
        left = self.count if limit is None else limit
        yield from self.whole[:left]
        rows = np.concatenate([np.empty(0, np.int64), *(part.rows for part in self.parts)])
        kinds = np.repeat(np.arange(len(self.parts)), [len(part.rows) for part in self.parts])
        for place in np.lexsort((kinds, rows))[: max(left - len(self.whole), 0)]:
            part, row = self.parts[kinds[place]], int(rows[place])
            yield Fault(row + 1, part.column, part.why(row))


_EXACT = 2.0**53
_NAMED = {"\t": "tabs"}
_MISSING = "missing; every curve table has it"


def findings(cells: Cells) -> Findings:
    """Check every cell, that no attempt is recorded twice, and that a query id stands for one text."""
    settled: dict[str, Settled] = {}
    parts: list[_Part] = []
    for name in (name for name in KNOWN if name in cells.columns):
        settled[name], part = _settle(name, cells.columns[name])
        parts.append(part)
    parts += [*_recorded_twice(settled, parts), *_two_texts(settled)]
    return Findings(cells.rows, settled, tuple(_of_no_row(cells)), tuple(part for part in parts if len(part.rows)))


def _of_no_row(cells: Cells) -> Iterator[Fault]:
    if cells.separator:
        separator = _NAMED.get(cells.separator, repr(cells.separator))
        yield Fault(None, None, f"the file seems to be separated by {separator}; separate its fields with commas")
        return
    there = {name.lower(): name for name in cells.extra}
    for name in (name for name in REQUIRED if name not in cells.columns):
        close = difflib.get_close_matches(name, there, n=1)
        hint = f" (did you mean the column {there[close[0]]!r}?)" if close else ""
        yield Fault(None, name, _MISSING + hint)


def refuse_faults(source: str, found: Findings) -> None:
    """Refuse a table that is not sound.

    Raises:
        TableError: it is not; the message holds the first fault, and how many more there are.
    """
    for fault in found.faults(1):
        more = f" (and {found.count - 1} more; `curveroute table check FILE` lists them)" if found.count > 1 else ""
        raise TableError(f"{source}, {fault}{more}")


def _settle(name: str, cell: Cell) -> tuple[Settled, _Part]:
    if not isinstance(cell, Coded):
        return _settle_array(name, cell)
    judged = _judge_each(name, cell)
    bad = np.array([bool(why) for _, why in judged])
    rows = np.flatnonzero(bad[cell.codes - ABSENT]) if bad.any() else np.empty(0, np.int64)
    part = _Part(name, rows, lambda row: judged[int(cell.codes[row]) - ABSENT][1])
    values = [value for value, _ in judged]
    if name in WHOLE or name in REAL:
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        return numbers[cell.codes - ABSENT], part
    return _words(cast("list[str | None]", values), cell), part


def _settle_array(name: str, numbers: NDArray[np.float64]) -> tuple[Settled, _Part]:
    bad = outside(name, numbers)
    part = _Part(name, np.flatnonzero(bad), lambda row: why_not(name, float(numbers[row])))
    return np.where(bad, np.nan, numbers) if bad.any() else numbers, part


def outside(name: str, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which numbers a column of a curve table cannot hold; NaN stands for an empty cell."""
    lowest, highest = bounds_of(name)
    bad = ~((numbers >= lowest) & (numbers <= highest)) | np.isinf(numbers)
    if name in WHOLE:
        bad |= numbers != np.floor(numbers)
    return bad & ~np.isnan(numbers) if name in NULLABLE else bad


def why_not(name: str, number: float) -> str:
    """What is wrong with a number in a column; nothing where it is sound."""
    return _judge(name, _shown(number))[1]


def _shown(number: float) -> float:
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def _judge_each(name: str, cell: Coded) -> list[tuple[str | float | None, str]]:
    """What each distinct value stands for and what is wrong with it, at ``code - ABSENT``; nothing for unused ones."""
    used = np.bincount(cell.codes - ABSENT, minlength=len(cell.values) - ABSENT) > 0
    absent = (None, _MISSING if name in REQUIRED else "")
    empty = _judge(name, None) if used[1] else (None, "")
    rest = [
        _judge(name, value) if use else (None, "") for value, use in zip(cell.values, used[2:].tolist(), strict=True)
    ]
    return [absent if used[0] else (None, ""), empty, *rest]


def _judge(name: str, value: object) -> tuple[str | float | None, str]:
    try:
        return value_of(name, value), ""
    except TableError as error:
        return None, str(error)


def _words(values: list[str | None], cell: Coded) -> Words:
    place: dict[str | None, int] = {None: -1}
    codes = np.array([place.setdefault(value, len(place) - 1) for value in values], np.int32)
    return compact(codes[cell.codes - ABSENT], tuple(text for text in place if text is not None))


def _recorded_twice(settled: Mapping[str, Settled], parts: list[_Part]) -> Iterator[_Part]:
    names = ("query_id", "model", "budget", "sample")
    if any(name not in settled for name in names):
        return
    query, model, budget, sample = (settled[name] for name in names)
    keys = joint(_codes(query), _codes(model), _codes(budget), _codes(sample))
    sound = np.ones(len(keys), np.bool_)
    for part in parts:
        if part.column in names:
            sound[part.rows] = False
    number = np.flatnonzero(sound)
    rows, firsts = repeats(keys[sound])
    first_of = dict(zip(number[rows].tolist(), number[firsts].tolist(), strict=True))

    def why(row: int) -> str:
        who = tuple(_shown_cell(settled[name], row) for name in names)
        return f"repeats row {first_of[row] + 1}: {who}; remove one of them, or number the samples"

    yield _Part("sample", number[rows], why)


def _codes(column: Settled) -> NDArray[np.integer]:
    return column.codes if isinstance(column, Words) else ranks(column)


def _shown_cell(column: Settled, row: int) -> str | float | None:
    if isinstance(column, Words):
        return column.values[int(column.codes[row])]
    return None if np.isnan(column[row]) else _shown(float(column[row]))


def _two_texts(settled: Mapping[str, Settled]) -> Iterator[_Part]:
    ids, texts = settled.get("query_id"), settled.get("query")
    if not isinstance(ids, Words) or not isinstance(texts, Words):
        return
    first = np.zeros(len(ids.values) + 1, np.int64)
    first[ids.codes[::-1]] = np.arange(len(ids))[::-1]  # of equal places the last one assigned stays: the first row
    other = (texts.codes != texts.codes[first[ids.codes]]) & (ids.codes >= 0) & (texts.codes >= 0)

    def why(row: int) -> str:
        code = int(ids.codes[row])
        return f"query_id {ids.values[code]!r} has another text in row {first[code] + 1}; give each text its own id"

    yield _Part("query", np.flatnonzero(other), why)
