"""The single answers of a curve table as arrays: what each claims, and what can be seen of it.

Answers are read as the graph reads them (``curveroute.agent.verify.signals``): what makes no usable claim there makes
none here, and two answers of one query that agree there have one code here. Free text agrees by its spelling until it
is ``heard``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from curveroute.agent.bench.claims import free_texts, one_partition
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.answers import claim_of, echoes, extract_answer, query_kind
from curveroute.agent.verify.seen import log_odds
from curveroute.agent.verify.signals import read_form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from curveroute.agent.bench.columns import Columns
    from curveroute.agent.bench.words import Words
    from curveroute.agent.decide import Indices, Mask
    from curveroute.agent.verify.answers import QueryKind
    from curveroute.agent.verify.signals import Answered

    Codes = NDArray[np.int32]
    Singles = NDArray[np.float32]

Kind = TypeVar("Kind", bound=np.generic)

_SHORTEST_ECHO = 7  # characters: four words
_NOBODY = Arm(ModelId(""), None)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Single answers: n queries, A arms, up to S samples each.

    Attributes:
        quality: (n, A, S), NaN where there is no such sample.
        cost_usd: (n, A, S) USD, NaN likewise.
        answer: (n, A, S) codes of claims, equal where two answers of a query agree; -1 where none is made.
        said: (n, A, S) what each says, as a place in ``words``; -1 likewise.
        tokens: (n, A, S) output tokens, NaN likewise.
        cut: (n, A, S) whether the token limit ended it.
        malformed: (n, A, S) whether it has not the form that its query asks for.
        confidence: (n, A, S) log-odds of the tokens' mean probability, NaN where unknown.
        words: spelled answers in rising order; none where ``said`` tells claims apart and not texts.
        vectors: of free texts, by the text, as far as they were embedded.
    """

    quality: Singles
    cost_usd: Singles
    answer: Codes
    said: Codes
    tokens: Singles
    cut: Mask
    malformed: Mask
    confidence: Singles
    words: tuple[str, ...] = ()
    vectors: Mapping[str, Singles] = field(default_factory=dict)

    @classmethod
    def plain(cls, quality: Singles, cost_usd: Singles, answer: Codes) -> Self:
        """Whole, well-formed answers of which no more is known."""
        nothing, no = np.zeros_like(quality), np.zeros(quality.shape, dtype=np.bool_)
        return cls(quality, cost_usd, answer, answer, nothing, no, no, nothing)

    def rows(self, rows: Indices) -> Samples:
        """Some of the queries."""
        return self._with({name: getattr(self, name)[rows] for name in _ARRAYS})

    def arms(self, columns: Indices) -> Samples:
        """Some of the arms."""
        return self._with({name: getattr(self, name)[:, columns] for name in _ARRAYS})

    def free_texts(self) -> list[str]:
        """The free texts of queries that were answered in two or more: what ``heard`` wants the vectors of."""
        return free_texts(self.said.reshape(len(self.said), -1), self.words)

    def heard(self, vectors: Mapping[str, Singles]) -> Samples:
        """The same, where free text agrees by its meaning.

        Args:
            vectors: (dim,) of each of the ``free_texts``, by the embedder that will compare answers in runs.
        """
        if not vectors:
            return self
        said = self.said.reshape(len(self.said), -1)
        answer = one_partition(said, np.arange(len(said)), self.words, vectors).reshape(self.said.shape)
        return replace(self, answer=answer, vectors=vectors)

    def _with(self, arrays: dict[str, Any]) -> Samples:
        return replace(self, **arrays)


_ARRAYS = tuple(one.name for one in fields(Samples) if one.name not in {"words", "vectors"})


def samples_of(columns: Columns, query: Indices, arm: Indices, shape: tuple[int, int]) -> Samples:
    """The samples of a table whose rows belong to these queries and arms, (rows,) each."""
    number = _numbers(columns, query * shape[1] + arm)
    place = query, arm, number
    full = (*shape, int(number.max()) + 1)
    code, words, malformed = _said(columns)
    said = np.full(full, -1, dtype=np.int32)
    said[place] = code
    flat = said.reshape(shape[0], -1)
    confidence = columns.optional.get("confidence")

    def spread(values: NDArray[np.generic], empty: NDArray[Kind]) -> NDArray[Kind]:
        empty[place] = values
        return empty

    sure = np.full(len(columns), np.nan) if not isinstance(confidence, np.ndarray) else _sure(confidence)
    none = np.full(full, np.nan, dtype=np.float32)
    no = np.zeros(full, dtype=np.bool_)
    return Samples(
        quality=spread(columns.quality, none.copy()),
        cost_usd=spread(columns.cost_usd, none.copy()),
        answer=one_partition(flat, np.arange(shape[0]), words, {}).reshape(full),
        said=said,
        tokens=spread(columns.output_tokens, none.copy()),
        cut=spread(columns.truncated, no.copy()),
        malformed=spread(malformed, no),
        confidence=spread(sure, none.copy()),
        words=words,
    )


def _numbers(columns: Columns, cell: Indices) -> Indices:
    """(rows,) which of its cell's samples each row is."""
    order = np.lexsort((columns.sample, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    lengths = np.diff(np.append(starts, cell.size))
    number = np.empty(cell.size, dtype=np.intp)
    number[order] = np.arange(cell.size) - np.repeat(starts, lengths)
    return number


def _sure(confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(confidence), np.nan, log_odds(np.nan_to_num(confidence, nan=0.5)))


def _said(columns: Columns) -> tuple[Codes, tuple[str, ...], Mask]:
    """(rows,) what each answer says, the words it may say, and whether each is malformed; each is read once."""
    response = columns.optional.get("response")
    texts = response if response is not None and not isinstance(response, np.ndarray) else None
    kinds = [query_kind(text) for text in columns.query.values]
    names = tuple(dict.fromkeys(kinds))
    kind = np.array([names.index(one) for one in kinds], dtype=np.int64)
    kind_of = np.where(columns.query.codes >= 0, kind[columns.query.codes], 0)
    said_in = columns.answer.codes if texts is None else texts.codes
    keys = np.stack((kind_of, columns.answer.codes, said_in, columns.truncated), axis=1)
    different, inverse = np.unique(keys, axis=0, return_inverse=True)
    read: list[tuple[str | None, Answered]] = []
    for form, answer, text, cut in different.tolist():
        whole = None if texts is None else _word(texts, text)
        whole = _word(columns.answer, answer) if whole is None else whole
        read.append(_read(whole or "", names[form], cut=bool(cut), answered=answer >= 0))
    words = tuple(sorted({one.answer for _, one in read} - {""}))
    place = {word: code for code, word in enumerate(words)}
    codes = np.array([place.get(one.answer, -1) for _, one in read], dtype=np.int32)[inverse.ravel()]
    malformed = np.array([one.malformed for _, one in read], dtype=np.bool_)[inverse.ravel()]
    codes[_echoed(columns, inverse.ravel(), [answer for answer, _ in read], codes)] = -1
    return codes, words, malformed


def _word(words: Words, code: int) -> str | None:
    return words.values[code] if code >= 0 else None


def _read(whole: str, kind: QueryKind, *, cut: bool, answered: bool) -> tuple[str | None, Answered]:
    """The answer in a text, as it was written, and what is seen of it at a query of that kind.

    A text of which it was recorded that it gives no answer claims nothing by being prose.
    """
    answer = claim_of(whole, kind) if answered else extract_answer(whole, kind)
    return answer, read_form(_NOBODY, whole, answer, "length" if cut else "stop", None, kind)


def _echoed(columns: Columns, read: Indices, answers: Sequence[str | None], codes: Codes) -> Mask:
    """(rows,) whether an answer only says its own query again.

    Args:
        columns: the table.
        read: (rows,) which of the answers each row gave.
        answers: as they were written.
        codes: (rows,) what each claims, -1 for nothing.
    """
    long = np.array([answer is not None and len(answer) >= _SHORTEST_ECHO for answer in answers], dtype=np.bool_)
    rows = np.flatnonzero(long[read] & (codes >= 0) & (columns.query.codes >= 0))
    pairs, place = np.unique(np.stack((columns.query.codes[rows], read[rows]), axis=1), axis=0, return_inverse=True)
    again = [echoes(columns.query.values[query], answers[answer] or "") for query, answer in pairs.tolist()]
    found = np.zeros(len(read), dtype=np.bool_)
    found[rows] = np.array(again, dtype=np.bool_)[place.ravel()]
    return found
