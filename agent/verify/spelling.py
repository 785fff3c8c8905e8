"""One spelling per claim, so that two answers can be compared as values and not as strings.

"1,000.0", "$1000" and "1000 dollars" are one number; "(B)" and "B) Paris" are one option; two JSON texts are one
value; "yes" and "true" are one word. ``normalise`` and ``spell`` are idempotent, ``same`` is symmetric, and nothing
agrees with an empty answer, a refusal or boilerplate.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from curveroute.agent.verify.code_block import is_code, spell_code
from curveroute.agent.verify.formula import as_formula
from curveroute.agent.verify.quantity import (
    NUMBER,
    RELATIVE_TOLERANCE,
    agree,
    as_fraction,
    as_number,
    close,
    numbers_in,
    read_quantity,
)
from curveroute.agent.verify.refusal import says_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "FENCE", "JSON_LIMIT", "NUMBER", "RELATIVE_TOLERANCE", "as_json", "as_number", "as_value",
    "claims_nothing", "close", "embedded_json", "is_code", "is_value", "is_void", "normalise", "numbers_in",
    "parse_json", "same", "spell", "strip_marks",
]  # fmt: skip

JSON_LIMIT = 20_000
_ANSWER_KEYS = frozenset({"answer", "final_answer", "result", "response", "output"})
_MAX_ROUNDS = 8
_DEEPEST = 64

FENCE = re.compile(r"```[\w+-]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_FRAC = re.compile(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_TIME = re.compile(r"^(\d{1,2}):(\d{2})(:\d{2})?\s*([ap])?\.?\s*(?:m\.?)?$", re.ASCII)
_HOUR = re.compile(r"^(1[0-2]|0?[1-9])\s*([ap])\.?m\.?$", re.ASCII)
_OPTION = re.compile(r"^(?:option\s+|choice\s+)?\(?([a-j])(?:\)?|[).:](?:\s.*)?|\)[.:]?\s.*)$", re.DOTALL)
_SECOND_OPTION = re.compile(r"(?:\s|,)\(?[b-j][).:](?:\s|$)")
_ARTICLES = re.compile(r"^(?:the\s+(?=\S)|an?\s+(?=\w{2}))+")
_DROPPED = re.compile(r"(?<![a-z])#|[\"“”`*_!?;:(){}\[\]\\$]|(?<!\d)\.|\.(?!\d)|['’]")
_COMMA = re.compile(r"\s*,[\s,]*")
_NEGATIVE = re.compile(r"-\d")
_SMALL_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL = {word: str(value) for value, word in enumerate(_SMALL_NUMBERS)}
_SMALL |= {ten: str(10 * value) for value, ten in enumerate(_TENS, 2)}
_SMALL |= {
    f"{ten} {_SMALL_NUMBERS[one]}": str(10 * value + one) for value, ten in enumerate(_TENS, 2) for one in range(1, 10)
}
_LISTED = 3
_TRUTH = {"yes": True, "true": True, "no": False, "false": False}


def normalise(answer: str) -> str:
    """One spelling per claim: numbers (without their unit), fractions, times, option letters, JSON and short strings.

    ``""`` means that nothing is claimed. ``normalise(normalise(x)) == normalise(x)``.
    """
    return _settled(answer, lambda text: _spell_once(text, units=False))


@lru_cache(maxsize=1024)  # answers are compared in pairs
def spell(answer: str) -> str:
    """Like :func:`normalise`, but a number keeps its unit: "12 kilometres" is "12 km". What :func:`same` reads."""
    return _settled(answer, lambda text: _spell_once(text, units=True))


def same(a: str, b: str) -> bool:
    """Whether two answers agree; symmetric, and not transitive, because numbers have a tolerance and may lack a unit.

    Give answers as they were written or as :func:`spell` gives them: :func:`normalise` has dropped the unit. An answer
    that claims nothing agrees with nothing, itself included.
    """
    left, right = spell(a), spell(b)
    if _empty_words(left) or _empty_words(right):
        return False
    if left == right:
        return True
    if left in _TRUTH and right in _TRUTH:
        return _TRUTH[left] == _TRUTH[right]
    x, y = read_quantity(left), read_quantity(right)
    if x is not None and y is not None:
        return agree(x, y)
    one, other = as_json(left), as_json(right)
    return one is not None and other is not None and _equal(one, other)


def is_value(spelling: str) -> bool:
    """Whether a spelling is a number, a truth or JSON, so that another spelling of it may be the same."""
    return spelling in _TRUTH or read_quantity(spelling) is not None or as_json(spelling) is not None


def claims_nothing(answer: str) -> bool:
    """Whether an answer is empty, a refusal or boilerplate, which agrees with nothing."""
    return _empty_words(spell(answer))


def as_value(answer: str) -> float | None:
    """The number that an answer is, if it is one number or one fraction (with or without a unit)."""
    quantity = read_quantity(normalise(answer))
    try:
        return None if quantity is None else float(quantity.value)
    except OverflowError:
        return None


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
    return value if _shallow(value) else None


def _shallow(value: object) -> bool:
    """Whether a JSON value is nested no deeper than anything that an answer means."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return True
    return False


def is_void(value: object) -> bool:
    """Whether a JSON value is an object that gives no answer: an empty one, or one whose answer is null or empty."""
    return isinstance(value, dict) and value.keys() <= _ANSWER_KEYS and all(one in (None, "") for one in value.values())


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


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


def _settled(answer: str, once: Callable[[str], str]) -> str:
    current = answer
    for _ in range(_MAX_ROUNDS):
        following = once(current)
        if following == current:
            break
        current = following
    return current


def _spell_once(answer: str, *, units: bool) -> str:
    if is_code(answer):
        return spell_code(answer)
    value = as_json(answer)
    if value is not None:
        value = _canonical(value)
        if isinstance(value, list) and len(value) >= _LISTED and all(type(one) is int for one in value):
            return ", ".join(map(str, value))  # a list of numbers, whatever brackets it has; two may be an interval
        return json.dumps(value, sort_keys=True, ensure_ascii=True)
    text = _FRAC.sub(r"\1/\2", unicodedata.normalize("NFKC", _VULGAR.sub(" ", answer)))
    text = strip_marks(text).casefold().replace("−", "-").replace("⁄", "/")
    exact = as_fraction(text) or _as_time(text) or as_number(text, units=units)
    if exact is not None:
        return exact
    option = None if _SECOND_OPTION.search(text) else _OPTION.match(text)
    return option[1] if option else as_formula(text) or _plain(text)


def _empty_words(spelling: str) -> bool:
    if is_code(spelling):
        return False
    return says_nothing(spelling)


def _equal(one: object, other: object) -> bool:
    """Equality of JSON values; numbers within the tolerance, and a boolean is no number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) or isinstance(other, float):
        numbers = [x for x in (one, other) if isinstance(x, int | float) and not isinstance(x, bool)]
        return len(numbers) == 2 and _close_numbers(*numbers)  # noqa: PLR2004 - both of them
    return type(one) is type(other) and one == other


def _close_numbers(x: float, y: float) -> bool:
    try:
        return close(x, y)
    except OverflowError:  # a whole number beyond all floats is near none
        return False


def _plain(text: str) -> str:
    text = _DROPPED.sub("", re.sub(r"(?<=\w)-(?=[^\W\d])", " ", text))
    text = _COMMA.sub(", ", " ".join(text.split())).strip(" ,")
    text = text.rstrip(" ,-") if _NEGATIVE.match(text) else text.strip(" ,-")
    text = _ARTICLES.sub("", text)
    return _SMALL.get(text, text)


def _canonical(value: object) -> object:
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_time(text: str) -> str | None:
    whole = _HOUR.match(text)
    match = _TIME.match(f"{whole[1]}:00 {whole[2]}m" if whole else text)
    if not match:
        return None
    hour = int(match[1])
    if match[4]:
        hour = hour % 12 + (12 if match[4] == "p" else 0)
    return f"{hour:02d}:{match[2]}{match[3] or ''}"
