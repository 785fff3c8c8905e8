"""Which models and tasks of a source are wanted."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.bench.columns import Columns
    from curveroute.agent.bench.words import Words

_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Choice:
    """Names as asked for; one that begins with ``-`` is left out. Without any name to keep, the others stay."""

    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()


EVERYTHING = Choice()


def kept(kind: str, there: Sequence[str], asked: Sequence[str]) -> list[str]:
    """The names of ``there`` that are wanted, in their order; a name that is there wins over its reading as ``-name``.

    Raises:
        TableError: a name that is not there, or nothing left.
    """
    wanted = [name for name in asked if name in there]
    unwanted = [name[1:] for name in asked if name not in there and name.startswith("-")]
    for name in asked:
        if name not in there and not (name.startswith("-") and name[1:] in there):
            raise TableError(_unknown(kind, there, name.removeprefix("-")))
    left = [name for name in there if (not wanted or name in wanted) and name not in unwanted]
    if not left:
        raise TableError(f"no {kind} is left by {', '.join(asked)}; the source has: {_named(there)}")
    return left


def chosen(columns: Columns, choice: Choice) -> Columns:
    """The rows of the wanted models and tasks.

    Raises:
        TableError: a model or task that is not there, or no row left.
    """
    rows = _rows("model", columns.model, choice.models) & _rows("task", columns.task, choice.tasks)
    if not rows.any():
        raise TableError("no row is left: none of the chosen models has a row of the chosen tasks")
    return columns if rows.all() else columns.at(rows)


def _rows(kind: str, words: Words, asked: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if not asked:
        return np.ones(len(words), np.bool_)
    left = set(kept(kind, words.values, asked))
    return np.array([name in left for name in words.values])[words.codes]


def _unknown(kind: str, there: Sequence[str], name: str) -> str:
    close = difflib.get_close_matches(name, there, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    return f"no {kind} {name!r} in the source{hint}; it has: {_named(there)}"


def _named(there: Sequence[str]) -> str:
    more = len(there) - _MOST_NAMED
    return ", ".join(there[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
