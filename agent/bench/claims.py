"""Which recorded answers of a query make one claim: grouped as a run groups its answers, free text by its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from curveroute.agent.verify.free_text import LONG_WORDS, is_free_text, near_texts
from curveroute.agent.verify.linkage import is_torn, linked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from curveroute.agent.decide import Indices, Mask
    from curveroute.agent.verify.seen import Singles

    Codes = NDArray[np.int32]

MOST_COMPARED = 16  # different answers to one query that are compared in pairs, where all arms are


class Claims(NamedTuple):
    """Claims of n rows of K answers; see ``Seen`` for the words.

    Attributes:
        claim: (n, K) equal where two answers of a row agree, -1 where none is made.
        torn: (n,) rows in which agreeing is no equivalence; there it is the texts that ``claim`` tells apart.
        near: how near two of those texts are.
    """

    claim: Indices
    torn: Mask
    near: dict[tuple[int, int], float]


def claims_of(said: Codes, query: Indices, words: Sequence[str], vectors: Mapping[str, Singles]) -> Claims:
    """The claims that answers make, whichever of a row's are asked.

    Args:
        said: (n, K) what each answer says, as a place in ``words``; -1 for nothing.
        query: (n,) which query a row belongs to; answers of different queries are not compared.
        words: spelled answers, in rising order; none where codes are claims already.
        vectors: of free text, by the text; others agree by their spelling alone.
    """
    claim, torn = said.astype(np.intp), np.zeros(len(said), dtype=np.bool_)
    near: dict[tuple[int, int], float] = {}
    for rows, codes in _queries(said, query) if words else ():
        found = _near(codes, words, vectors)
        first = linked(codes, found)
        if is_torn(first, found):
            torn[rows] = True
            near |= found
        elif found:
            claim[rows] = _instead(claim[rows], first)
    return Claims(claim, torn, near)


def one_partition(said: Codes, query: Indices, words: Sequence[str], vectors: Mapping[str, Singles]) -> Codes:
    """(n, K) codes in which answers of one query that agree have the lower one; all of a query are heard together.

    Of very many different answers to one query only those that are spelled alike do.
    """
    claim = said.copy()
    for rows, codes in _queries(said, query) if words else ():
        if len(codes) <= MOST_COMPARED:
            claim[rows] = _instead(said[rows], linked(codes, _near(codes, words, vectors)))
    return claim


def free_texts(said: Codes, words: Sequence[str]) -> list[str]:
    """The free texts that meet another one in a row of (n, K) answers: those that have to be embedded."""
    long = {code for code, word in enumerate(words) if len(word.split()) >= LONG_WORDS and is_free_text(word)}
    met = [codes for row in said.tolist() if len(codes := long & set(row)) > 1] if long else []
    return [words[code] for code in sorted(set().union(*met))]


def _queries(said: Codes, query: Indices) -> Iterator[tuple[Indices, list[int]]]:
    """The rows of every query with two or more different answers, and these in rising order."""
    order = np.argsort(query, kind="stable")
    bounds = np.flatnonzero(np.diff(query[order], prepend=-1, append=-1))
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        rows = order[start:stop]
        codes = np.unique(said[rows])
        codes = codes[codes >= 0]
        if codes.size > 1:
            yield rows, codes.tolist()


def _near(codes: Sequence[int], words: Sequence[str], vectors: Mapping[str, Singles]) -> dict[tuple[int, int], float]:
    place = {words[code]: code for code in codes}
    found = near_texts(list(place), vectors)
    return {(place[one], place[other]): strength for (one, other), strength in found.items()}


def _instead(codes: NDArray[np.integer], first: Mapping[int, int]) -> NDArray[np.integer]:
    known = np.array(sorted(first), dtype=codes.dtype)
    into = np.array([first[one] for one in known.tolist()], dtype=codes.dtype)
    return np.where(codes >= 0, into[np.searchsorted(known, np.maximum(codes, known[0]))], codes)
