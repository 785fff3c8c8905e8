"""Which columns of a wide file say what its queries are."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curveroute.agent.bench.imports.wide import estimated_tokens, numbers_of, texts_of
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pyarrow import Table

_TEXTS = ("query", "original_prompt", "prompt", "question", "input", "text")
_IDS = ("query_id", "prompts_id", "prompt_id", "sample_id", "question_id", "id")
_TASKS = ("task", "dataset", "eval_name", "dataset_name", "category", "subject", "key")
_INPUTS = ("input_tokens", "prompt_tokens", "input_token_count", "input_count")
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Named:
    """The columns, by their usual names; ``None`` where a file has none."""

    text: str
    id: str | None
    task: str | None
    input_tokens: str | None

    @property
    def texts(self) -> list[str]:
        """Those that are read as text."""
        return [name for name in (self.text, self.id, self.task) if name is not None]

    @property
    def numbers(self) -> list[str]:
        """Those that are read as numbers."""
        return [] if self.input_tokens is None else [self.input_tokens]


def named_in(source: str, header: Sequence[str]) -> Named:
    """Find the columns by name, whatever their case.

    Raises:
        TableError: no column looks like the query's text.
    """
    there = {name.lower(): name for name in reversed(header)}

    def first(names: Sequence[str]) -> str | None:
        return next((there[name] for name in names if name in there), None)

    text = first(_TEXTS)
    if text is None:
        raise TableError(f"{source} has no column with the query's text; call it one of: {', '.join(_TEXTS)}")
    return Named(text, first(_IDS), first(_TASKS), first(_INPUTS))


def queries_in(source: str, table: Table, named: Named) -> tuple[list[str], list[str], list[str]]:
    """Ids, texts and tasks.

    Without a column of ids, an id is made from the text's hash and, where a text comes again, its count. A column of
    tasks in which every row differs holds no tasks: the source's queries are then one task, ``all``.

    Raises:
        TableError: a row without an id.
    """
    texts = texts_of(table, named.text)
    ids = _made(texts) if named.id is None else texts_of(table, named.id)
    if "" in ids:
        raise TableError(f"{source}, row {ids.index('') + 1}, column {named.id}: empty; every query needs an id")
    tasks = [] if named.task is None else texts_of(table, named.task)
    if len(set(tasks)) in {0, len(texts)} and len(texts) > 1:
        tasks = []
    return ids, texts, [task or "all" for task in tasks] or ["all"] * len(texts)


def _made(texts: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    ids = []
    for text in texts:
        name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return ids


def input_tokens_in(source: str, table: Table, named: Named, texts: Sequence[str]) -> NDArray[np.float64]:
    """Input tokens of each query: as recorded, or a token for every four characters of its text.

    Raises:
        TableError: a recorded number that is no count of tokens.
    """
    estimated = estimated_tokens(texts)
    if named.input_tokens is None:
        return estimated
    recorded = numbers_of(table, named.input_tokens, "input_tokens", source)
    recorded[recorded != recorded] = estimated[recorded != recorded]  # noqa: PLR0124  (NaN: not recorded)
    return recorded
