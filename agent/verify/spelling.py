"""One spelling per claim, so that two answers can be compared as values and not as strings.

"1,000.0", "$1000" and "1000 dollars" are one number; "(B)" and "B) Paris" are one option; two JSON texts are one
value. ``normalise`` is idempotent, ``same`` is symmetric, and nothing agrees with an empty answer or a refusal.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from fractions import Fraction

RELATIVE_TOLERANCE = 1e-6
JSON_LIMIT = 20_000
_ABSOLUTE_TOLERANCE = 1e-9
_UNIT_WORDS = 8
_MAX_DIGITS = 30
_MAX_ROUNDS = 8

FENCE = re.compile(r"```[\w+-]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_FRAC = re.compile(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_NUMBER_BODY = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d)\.?)(?:e[-+]?\d{1,3})?"
NUMBER = re.compile(rf"(?<![\w.])(?=[-+]?\.?\d){_NUMBER_BODY}(?![\w])", re.ASCII | re.IGNORECASE)
_LEADING_NUMBER = re.compile(
    rf"^(?:about|approximately|around|exactly|~|≈|[a-z]\s*=|=)?\s*(-?)\s*[$€£]?\s*(?=[-+]?\.?\d)({_NUMBER_BODY})"
    r"(?:\s*[%°]?\s*([^\W\d][^\d]*)?|\s*[%°$€£].{0,12})$",
    re.ASCII | re.IGNORECASE,
)
_FRACTION = re.compile(r"^(?:[a-z]\s*=\s*)?([-+]?\d{1,15})\s*/\s*(\d{1,15})$", re.ASCII)
_TIME = re.compile(r"^(\d{1,2}):(\d{2})(:\d{2})?\s*([ap])?\.?\s*(?:m\.?)?$", re.ASCII)
_OPTION = re.compile(r"^(?:option\s+|choice\s+)?\(?([a-j])(?:\)?|[).:](?:\s.*)?|\)[.:]?\s.*)$", re.DOTALL)
_SECOND_OPTION = re.compile(r"(?:\s|,)\(?[b-j][).:](?:\s|$)")
_ARTICLES = re.compile(r"^(?:(?:the|an|a)\s+)+(?=\S)")
_DROPPED = re.compile(r"[\"“”`*_#!?;:(){}\[\]\\$]|(?<!\d)\.|\.(?!\d)|['’]")
_COMMA = re.compile(r"\s*,[\s,]*")
_SMALL_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_SMALL = {word: str(value) for value, word in enumerate(_SMALL_NUMBERS)}
REFUSAL = re.compile(
    r"\b(?:i am|im) (?:so |very |really )?(?:sorry|unable|not (?:able|sure|certain))\b|^sorry\b"
    r"|\bi (?:cannot|cant|can not|could not|couldnt|do not know|dont know|wont|will not be able)\b|\bas an ai\b"
    r"|\b(?:cannot|cant) (?:answer|provide|determine|assist|help|be (?:determined|answered))\b"
    r"|\bnot enough information\b|^(?:n/a|idk|unknown|no answer|none given|no idea|answer|final answer|error|null)$"
)


def normalise(answer: str) -> str:
    """One spelling per claim: numbers, fractions, times, option letters, JSON values and short strings.

    ``""`` means that nothing is claimed. ``normalise(normalise(x)) == normalise(x)``.
    """
    current = answer
    for _ in range(_MAX_ROUNDS):
        following = _normalise_once(current)
        if following == current:
            break
        current = following
    return current


def same(a: str, b: str) -> bool:
    """Whether two answers agree, with a relative tolerance of 1e-6 on numbers. Nothing agrees with an empty answer."""
    left, right = normalise(a), normalise(b)
    if not left or not right or REFUSAL.search(left) or REFUSAL.search(right):
        return False
    if left == right:
        return True
    x, y = as_value(left), as_value(right)
    return x is not None and y is not None and close(x, y)


def close(x: float, y: float) -> bool:
    """Equality of two numbers as answers; symmetric."""
    return math.isclose(x, y, rel_tol=RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE)


def as_value(answer: str) -> float | None:
    """The number that an answer is, if it is one number or one fraction (with or without a unit)."""
    norm = normalise(answer)
    fraction = _FRACTION.match(norm)
    if fraction and int(fraction[2]):
        return int(fraction[1]) / int(fraction[2])
    value = float(norm) if NUMBER.fullmatch(norm) else math.inf
    return value if math.isfinite(value) else None


def numbers_in(text: str) -> list[float]:
    """Every number written in a text, in order."""
    values = [float(found.replace(",", "")) for found in NUMBER.findall(text) if len(found) <= _MAX_DIGITS]
    return [value for value in values if math.isfinite(value)]


def strip_marks(text: str) -> str:
    """The text without the markdown, LaTeX, quotes and full stop around it."""
    previous = None
    current = text.strip()
    while current != previous:
        previous = current
        current = (
            current.strip("*_` \t\n").removeprefix("\\(").removesuffix("\\)").removeprefix("\\[").removesuffix("\\]")
        )
        for mark in ("$$", "$", '"', "“", "”"):
            closed = current.endswith(mark) and len(current) > len(mark)
            if closed and (current.startswith(mark) or mark == "”"):
                current = current.removeprefix("“" if mark == "”" else mark).removesuffix(mark).strip()
        if current.endswith(".") and not current.endswith(".."):
            current = current[:-1]
    return current


def parse_json(text: str) -> object | None:
    """The object or array that a text holds (alone, in a fence, or inside prose), or ``None``."""
    fenced = [block.strip() for block in FENCE.findall(text) if block.strip()]
    for candidate in (text.strip(), *fenced[-1:]):
        found = embedded_json(candidate)
        if found is not None:
            return as_json(found)
    return None


def as_json(text: str) -> object | None:
    """The object or array that a text is, or ``None``; no other JSON value, and no NaN or infinity."""
    body = text.strip()
    if not body.startswith(("{", "[")) or len(body) > JSON_LIMIT:
        return None
    try:
        value: object = json.loads(body)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return value


def embedded_json(text: str) -> str | None:
    """The first JSON value that opens in the text: an object anywhere, an array only at the start."""
    start = 0 if text.startswith("[") else text.find("{")
    while 0 <= start < min(len(text), JSON_LIMIT):
        try:
            _, end = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        found = text[start:end]
        return found if found != "{}" and as_json(found) is not None else None
    return None


def _normalise_once(answer: str) -> str:
    value = as_json(answer)
    if value is not None:
        return json.dumps(_canonical(value), sort_keys=True, ensure_ascii=True)
    text = _FRAC.sub(r"\1/\2", unicodedata.normalize("NFKC", answer))
    text = strip_marks(text).casefold().replace("−", "-").replace("⁄", "/")
    exact = _as_fraction(text) or _as_time(text) or as_number(text)
    if exact is not None:
        return exact
    option = None if _SECOND_OPTION.search(text) else _OPTION.match(text)
    return option[1] if option else _plain(text)


def _plain(text: str) -> str:
    text = _DROPPED.sub("", re.sub(r"(?<=\w)-(?=[^\W\d])", " ", text))
    text = _COMMA.sub(", ", " ".join(text.split())).strip(" ,-")
    text = _ARTICLES.sub("", text)
    return _SMALL.get(text, text)


def _canonical(value: object) -> object:
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_fraction(text: str) -> str | None:
    match = _FRACTION.match(text)
    if not match or not int(match[2]):
        return None
    return str(Fraction(int(match[1]), int(match[2])))


def _as_time(text: str) -> str | None:
    match = _TIME.match(text)
    if not match:
        return None
    hour = int(match[1])
    if match[4]:
        hour = hour % 12 + (12 if match[4] == "p" else 0)
    return f"{hour:02d}:{match[2]}{match[3] or ''}"


def as_number(text: str) -> str | None:
    """The canonical decimal of a text that is one number, perhaps with a unit; no number is rounded."""
    match = _LEADING_NUMBER.match(text)
    if not match or (match[3] and len(match[3].split()) > _UNIT_WORDS):
        return None
    written = match[2].replace(",", "").lstrip("+")
    if len(written) > _MAX_DIGITS:
        return None
    exact = Fraction(written if written[-1] != "." else written[:-1])
    exact = -exact if match[1] else exact
    return _decimal(exact)


def _decimal(exact: Fraction) -> str | None:
    places = 0
    while exact.denominator != 1 and (exact * 10**places).denominator != 1:
        places += 1
    digits = str(abs(exact * 10**places).numerator).rjust(places + 1, "0")
    if len(digits) > _MAX_DIGITS:
        return None
    sign = "-" if exact < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
