"""The single answers of a curve table as arrays: what each claims, and what can be seen of it.

Answers are read as the graph reads them (``curveroute.agent.verify.signals``): what makes no usable claim there makes
none here, and two answers of one query that agree there have one code here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import combinations
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.answers import extract_answer, query_kind, same
from curveroute.agent.verify.seen import log_odds
from curveroute.agent.verify.signals import read_answer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curveroute.agent.bench.columns import Columns
    from curveroute.agent.bench.words import Words
    from curveroute.agent.decide import Indices, Mask

    Codes = NDArray[np.int32]
    Singles = NDArray[np.float32]

Kind = TypeVar("Kind", bound=np.generic)

MOST_COMPARED = 16  # different answers to one query that are compared in pairs
_NOBODY = Arm(ModelId(""), None)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Single answers: n queries, A arms, up to S samples each.

    Attributes:
        quality: (n, A, S), NaN where there is no such sample.
        cost_usd: (n, A, S) USD, NaN likewise.
        answer: (n, A, S) codes of claims, equal where two answers of a query agree; -1 where none is made.
        tokens: (n, A, S) output tokens, NaN likewise.
        cut: (n, A, S) whether the token limit ended it.
        malformed: (n, A, S) whether it has not the form that its query asks for.
        confidence: (n, A, S) log-odds of the tokens' mean probability, 0 where unknown.
    """

    quality: Singles
    cost_usd: Singles
    answer: Codes
    tokens: Singles
    cut: Mask
    malformed: Mask
    confidence: Singles

    @classmethod
    def plain(cls, quality: Singles, cost_usd: Singles, answer: Codes) -> Self:
        """Whole, well-formed answers of which no more is known."""
        nothing, no = np.zeros_like(quality), np.zeros(quality.shape, dtype=np.bool_)
        return cls(quality, cost_usd, answer, nothing, no, no, nothing)

    def rows(self, rows: Indices) -> Samples:
        """Some of the queries."""
        return Samples(*(getattr(self, field.name)[rows] for field in fields(self)))

    def arms(self, columns: Indices) -> Samples:
        """Some of the arms."""
        return Samples(*(getattr(self, field.name)[:, columns] for field in fields(self)))


def samples_of(columns: Columns, query: Indices, arm: Indices, shape: tuple[int, int]) -> Samples:
    """The samples of a table whose rows belong to these queries and arms, (rows,) each."""
    number = _numbers(columns, query * shape[1] + arm)
    place = query, arm, number
    full = (*shape, int(number.max()) + 1)
    claim, malformed = _claims(columns, query)
    confidence = columns.optional.get("confidence")

    def spread(values: NDArray[np.generic], empty: NDArray[Kind]) -> NDArray[Kind]:
        empty[place] = values
        return empty

    sure = np.zeros(len(columns)) if not isinstance(confidence, np.ndarray) else _sure(confidence)
    none = np.full(full, np.nan, dtype=np.float32)
    no = np.zeros(full, dtype=np.bool_)
    return Samples(
        quality=spread(columns.quality, none.copy()),
        cost_usd=spread(columns.cost_usd, none.copy()),
        answer=spread(claim, np.full(full, -1, dtype=np.int32)),
        tokens=spread(columns.output_tokens, none),
        cut=spread(columns.truncated, no.copy()),
        malformed=spread(malformed, no),
        confidence=spread(sure, np.zeros(full, dtype=np.float32)),
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
    return np.where(np.isnan(confidence), 0.0, log_odds(np.nan_to_num(confidence, nan=0.5)))


def _claims(columns: Columns, query: Indices) -> tuple[Codes, Mask]:
    """(rows,) codes of claims, and whether each answer is malformed; every different answer is read once."""
    response = columns.optional.get("response")
    texts = response if response is not None and not isinstance(response, np.ndarray) else None
    kinds = [query_kind(text) for text in columns.query.values]
    names = tuple(dict.fromkeys(kinds))
    kind = np.array([names.index(one) for one in kinds], dtype=np.int64)
    kind_of = np.where(columns.query.codes >= 0, kind[columns.query.codes], 0)
    example = {name: columns.query.values[kinds.index(name)] for name in names}
    said_in = columns.answer.codes if texts is None else texts.codes
    keys = np.stack((kind_of, columns.answer.codes, said_in, columns.truncated), axis=1)
    different, inverse = np.unique(keys, axis=0, return_inverse=True)
    seen: dict[str, int] = {}
    codes = np.empty(len(different), dtype=np.int32)
    malformed = np.empty(len(different), dtype=np.bool_)
    for place, (form, answer, text, cut) in enumerate(different.tolist()):
        whole = None if texts is None else _word(texts, text)
        said, bad = _read(_word(columns.answer, answer), whole, example[names[form]], cut=bool(cut))
        codes[place] = seen.setdefault(said, len(seen)) if said else -1
        malformed[place] = bad
    inverse = inverse.ravel()
    return _agreed(codes[inverse], query, tuple(seen)), malformed[inverse]


def _word(words: Words, code: int) -> str | None:
    return words.values[code] if code >= 0 else None


def _read(answer: str | None, text: str | None, example: str, *, cut: bool) -> tuple[str, bool]:
    """The claim of an answer (empty when it makes none) to a query of the same kind as ``example``."""
    whole = text if text is not None else answer or ""
    one = read_answer(_NOBODY, whole, extract_answer(whole), "length" if cut else "stop", None, example)
    return one.answer, one.malformed


def _agreed(codes: Codes, query: Indices, words: tuple[str, ...]) -> Codes:
    """Codes in which answers of one query that agree, though they are written differently, have the lower one."""
    pairs = np.unique(np.stack((query[codes >= 0], codes[codes >= 0]), axis=1), axis=0)
    bounds = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1, append=-1))
    alike: dict[tuple[int, int], bool] = {}
    merged: dict[tuple[int, int], int] = {}
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if not 1 < stop - start <= MOST_COMPARED:
            continue
        for one, other in combinations(pairs[start:stop, 1].tolist(), 2):
            if (one, other) not in alike:
                alike[one, other] = same(*sorted((words[one], words[other])))
            if alike[one, other]:
                merged.setdefault((int(pairs[start, 0]), other), merged.get((int(pairs[start, 0]), one), one))
    if not merged:
        return codes
    whole = codes.copy()
    key = query.astype(np.int64) * len(words) + codes
    for (row, code), instead in merged.items():
        whole[(key == row * len(words) + code) & (codes >= 0)] = instead
    return whole
