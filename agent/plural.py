"""A number with its noun, as people say it. Pure."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 query``, ``1,204 queries``: the plural is the noun with an s where none is given."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def queries(number: int) -> str:
    """So many queries."""
    return counted(number, "query", "queries")
