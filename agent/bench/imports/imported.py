"""What an import gives, and how queries of several files become one table's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from curveroute.agent.bench.columns import Columns
from curveroute.agent.bench.words import Words, compact, words_of
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

Watch: TypeAlias = "Callable[[int, int, str], None]"
"""Told how many of how many parts are read, and the name of the last."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A table and what its reader should know of it.

    Attributes:
        notes: one sentence each: what was estimated, what was left out.
    """

    columns: Columns
    form: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Attempts of one model: arrays of one length.

    Attributes:
        query: places in the ``Roll``.
        truncated: whether the answer ended at its limit.
    """

    model: str
    query: NDArray[np.int32]
    budget: NDArray[np.float64]
    quality: NDArray[np.float64]
    truncated: NDArray[np.bool_]
    input_tokens: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    cost_usd: NDArray[np.float64]


@dataclass(slots=True)
class Roll:
    """The queries of an import, each id once, with one text and one task."""

    _place: dict[str, int] = field(default_factory=dict)
    _texts: list[str] = field(default_factory=list)
    _tasks: list[str] = field(default_factory=list)

    def enter(self, source: str, ids: Sequence[str], texts: Sequence[str], tasks: Sequence[str]) -> NDArray[np.int32]:
        """The places of a file's queries.

        Raises:
            TableError: an id twice in the file, or one that stands for another text or task elsewhere.
        """
        if len(set(ids)) < len(ids):
            _refuse_twice(source, ids)
        places = [self._place.setdefault(one, len(self._place)) for one in ids]
        for row, (place, text, task) in enumerate(zip(places, texts, tasks, strict=True), start=1):
            if place == len(self._texts):
                self._texts.append(text)
                self._tasks.append(task)
            elif (self._texts[place], self._tasks[place]) != (text, task):
                raise TableError(
                    f"{source}, row {row}: query {ids[row - 1]!r} has another text or task in another file; give every "
                    "query one id in all files"
                )
        return np.array(places, np.int32)

    def columns(self, parts: Sequence[Part], optional: Mapping[str, Words] | None = None) -> Columns:
        """One table of all parts, in their order.

        Raises:
            TableError: no part has an attempt.
        """
        query = np.concatenate([part.query for part in parts])
        if not len(query):
            raise TableError("the source holds no attempt with both a score and a token count")
        texts, tasks = words_of(self._texts), words_of(self._tasks)
        models = words_of(part.model for part in parts)
        nothing = Words(np.full(len(query), -1, np.int32), ())
        return Columns(
            query_id=compact(query, tuple(self._place)),
            query=compact(texts.codes[query], texts.values),
            task=compact(tasks.codes[query], tasks.values),
            model=compact(np.repeat(models.codes, [len(part.query) for part in parts]), models.values),
            budget=np.concatenate([part.budget for part in parts]),
            sample=np.zeros(len(query), np.int64),
            quality=np.concatenate([part.quality for part in parts]),
            answer=nothing,
            reference=nothing,
            truncated=np.concatenate([part.truncated for part in parts]),
            input_tokens=np.concatenate([part.input_tokens for part in parts]),
            output_tokens=np.concatenate([part.output_tokens for part in parts]),
            cost_usd=np.concatenate([part.cost_usd for part in parts]),
            optional=optional or {},
        )


def _refuse_twice(source: str, ids: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for row, one in enumerate(ids, start=1):
        if one in seen:
            raise TableError(f"{source}, row {row}: query {one!r} is also in row {seen[one]}; keep one of them")
        seen[one] = row


def silent(_done: int, _total: int, _name: str) -> None:
    """A watch that nobody looks at."""
