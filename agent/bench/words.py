"""Texts as codes: a column of words, and keys over several columns of codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_LARGEST_KEY = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """A text column, each distinct text once: row r reads ``values[codes[r]]``.

    Attributes:
        codes: (rows,), -1 where null.
    """

    codes: NDArray[np.int32]
    values: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def texts(self) -> list[str | None]:
        """The text of every row."""
        values = (*self.values, None)
        return [values[code] for code in self.codes.tolist()]

    def at(self, rows: NDArray[Any]) -> Words:
        """The words of those rows (a mask or row numbers), without the texts that none of them has."""
        return compact(self.codes[rows], self.values)


def words_of(texts: Iterable[str | None]) -> Words:
    """Words of texts, in the order of their first rows."""
    place: dict[str | None, int] = {None: -1}
    codes = np.fromiter((place.setdefault(text, len(place) - 1) for text in texts), np.int32)
    return Words(codes, tuple(text for text in place if text is not None))


def compact(codes: NDArray[np.integer[Any]], values: tuple[str, ...]) -> Words:
    """Words without the texts that no row has; codes below 0 are null."""
    codes = np.maximum(codes, -1)
    used = np.bincount(codes + 1, minlength=len(values) + 1)[1:] > 0
    if used.all():
        return Words(codes.astype(np.int32), values)
    fresh = np.append(np.where(used, np.cumsum(used) - 1, -1), -1).astype(np.int32)
    return Words(fresh[codes], tuple(text for text, use in zip(values, used.tolist(), strict=True) if use))


def ranks(values: NDArray[Any]) -> NDArray[np.int64]:
    """The place of each value among the distinct values, sorted; NaN comes last."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def joint(*columns: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """One number for each row, the same in two rows only where all columns are.

    Args:
        columns: (rows,) each, at least one row; spans of at most the number of rows keep the result exact.
    """
    key = np.zeros(len(columns[0]), np.int64)
    for codes in columns:
        lowest = int(codes.min())
        span = int(codes.max()) - lowest + 1
        if (int(key.max()) + 1) * span > _LARGEST_KEY:
            key = ranks(key)
        key = key * span + (codes.astype(np.int64) - lowest)
    return key


def repeats(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows whose key an earlier row has, and the first row that has it."""
    ordered = np.sort(keys)
    if not (ordered[1:] == ordered[:-1]).any():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    rows = np.flatnonzero(first[inverse] != np.arange(len(keys)))
    return rows, first[inverse][rows]
