"""The form of answer that a query's wording asks for. Pure."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

QueryKind: TypeAlias = Literal["choice", "number", "json", "yesno", "list", "text", "prose"]

_QUERY_WINDOW = 1500
_ORDER = r"(?:\A|[.?!:,;\n]\s*|\b(?:you|please|and|then)\s+)(?:please\s+|briefly\s+)?"  # where an imperative begins
_FEW_WORDS = r"[^.?!\n]*\b(?:one|two|three|four|five|[1-5]) words?\b"
_ASKS: tuple[tuple[QueryKind, re.Pattern[str]], ...] = (
    ("choice", re.compile(r"(?:^|\s)\(?A[).:]\s.*?(?:^|\s)\(?B[).:]\s", re.DOTALL)),
    (
        "text",
        re.compile(
            r"\b(?:write|implement|create|give me|complete)\b[^.?!\n]{0,60}\b(?:functions?|programs?|scripts?|class"
            r"|methods?|query|regex|code|python|java|javascript)\b",
            re.IGNORECASE,
        ),
    ),
    (
        "prose",
        re.compile(
            rf"{_ORDER}(?!{_FEW_WORDS})(?:(?:explain|describe|summari[sz]e|discuss|paraphrase|elaborate|outline|argue)\b"
            r"|(?:write|draft|compose|tell)\b[^.?!\n]{0,40}\b(?:poem|haiku|song|essay|story|joke|e-?mail|letter(?! of)"
            r"|message|note|paragraph|summary|article|review|speech|report|description|explanation)\b)"
            r"|(?:\A|[.?!:\n])\s*(?:why\b|how (?:do|does|did|can|could|should)\b)",
            re.IGNORECASE,
        ),
    ),
    ("json", re.compile(r"\bjson\b", re.IGNORECASE)),
    (
        "yesno",
        re.compile(
            r"\b(?:yes or no|yes/no|true or false|(?:return|answer) true\b.*\bfalse)\b", re.IGNORECASE | re.DOTALL
        ),
    ),
    ("text", re.compile(r"\b(?:HH:MM|YYYY-MM-DD)\b")),
    ("number", re.compile(r"\b(?:how (?:many|much|long|old|far|tall|heavy|fast)|count how)\b", re.IGNORECASE)),
    (
        "list",
        re.compile(
            r"\b(?:comma[- ]separated|separated? .{0,20}\bcommas?|^list |sort (?:the|these|them)|alphabetical order"
            r"|(?:ascending|descending) order|as a list|reverse (?:the order of )?this list)\b",
            re.IGNORECASE,
        ),
    ),
    (
        "number",
        re.compile(
            r"\b(?:calculate|compute|(?:what|which|the|larger|smaller|find) (?:is the )?(?:number|value)\b(?! of)"
            r"|value of|solve for|of these numbers"
            r"|(?:sum|product|difference|average|mean|square root|remainder) (?:of|when)"
            r"|greatest common|least common|percent|(?:in )?what year|multiplication|arithmetic problem|the probability"
            r"|next number|(?:what|at what) (?:temperature|speed|price|area|volume|angle)"
            r"|what is (?:its|the) (?:[a-z]+ ){0,3}(?:speed|price|area|volume|angle|perimeter|measure))\b"
            r"|\bwhat is [-(]?\d[\d.,]*\s*[-+*/×÷^]|\d+\s*[-+*/×÷]\s*\d+\s*=|(?:-?\d+,\s*){3,}(?:\?|_|\.\.)",
            re.IGNORECASE,
        ),
    ),
    (
        "yesno",
        re.compile(
            r"\A\s*(?:is|are|was|were|do|does|did|can|could|has|have|will|would|should)\b(?![^?]*\sor\s)[^\n]*\?\s*\Z",
            re.IGNORECASE,
        ),
    ),
)


def query_kind(text: str) -> QueryKind:
    """The form of answer that a query's wording asks for; ``"text"`` when it asks for none in particular."""
    seen = text if len(text) <= 2 * _QUERY_WINDOW else f"{text[:_QUERY_WINDOW]}\n{text[-_QUERY_WINDOW:]}"
    return next((kind for kind, asks in _ASKS if asks.search(seen)), "text")
