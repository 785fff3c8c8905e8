"""Numbers as answers give them: one exact decimal, perhaps with a unit, and when two of them are one claim.

Whole numbers agree when they are equal, whatever their size. Others agree within a relative tolerance of 1e-6, or when
one is the other one rounded to three significant digits or more. A number without a unit agrees with the same number
in any unit; units of a kind are converted; "50%" agrees with "50", and with "0.5" because that is a proper share. "$5k"
is 5000 dollars, and "2x" is no number at all.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from curveroute.agent.verify.formula import CONSTANT, FUNCTION
from curveroute.agent.verify.units import MONEY_SCALES, PERCENT, SCALES, SPACED, Unit, alike, unit_of

RELATIVE_TOLERANCE = 1e-6
_ABSOLUTE_TOLERANCE = 1e-9
_RELATIVE, _ABSOLUTE = Fraction(1, 10**6), Fraction(1, 10**9)
_SIGNIFICANT = 3
_UNIT_WORDS = 8
_MAX_DIGITS = 30

NUMBER_BODY = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d)\.?)(?:e[-+]?\d{1,3})?"
NUMBER = re.compile(rf"(?<![\w.])(?=[-+]?\.?\d){NUMBER_BODY}(?![\w])", re.ASCII | re.IGNORECASE)
_SIGNS = "$€£¥₹"
_POWER = r"(?:[mck]m|m|in|ft)\^?[23]"
_LEADING_NUMBER = re.compile(
    rf"^(?:about|approximately|around|exactly|~|≈|[a-z]\s*=|=)?\s*(-?)\s*(?:us(?=\$))?([{_SIGNS}]?)\s*(?=[-+]?\.?\d)"
    rf"({NUMBER_BODY})(?:\s*({_POWER}|[%°]?\s*[a-z_μω][^\d]*|[%°])?|\s*([%°{_SIGNS}].{{0,12}}))$",
    re.ASCII | re.IGNORECASE,
)
_SCIENTIFIC = re.compile(
    r"(?<=\d)\s*(?:×|x|\*|\\times|\\cdot|·)\s*10\s*(?:\^|\*\*)\s*\{?\s*([-+]?\d{1,3})\s*\}?", re.ASCII
)
_MIXED = re.compile(r"^([-+]?)(\d{1,9})\s+(\d{1,9})\s*/\s*(\d{1,9})$", re.ASCII)
_FRACTION = re.compile(r"^(?:[a-z]\s*=\s*)?([-+]?\d{1,15})\s*/\s*(\d{1,15})$", re.ASCII)
_SYMBOLS = re.compile(r"[^\W\d_]+")
_VARIABLES = re.compile(r"[xyz]{2,3}")
_OPERATION = re.compile(r"\s*[-+*^=<>]\s*[^\W\d_]{1,2}$|\(")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([^\W\d_]+)", re.ASCII)
_COMPOUND = re.compile(
    r"^\d+(?:\.\d+)?\s*[^\W\d_]+(?:(?:\s*,\s*|\s+)?(?:and\s+)?\d+(?:\.\d+)?\s*[^\W\d_]+){1,3}$", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit; ``step`` is the place it was rounded to, 0 where it is exact."""

    value: Fraction
    unit: Unit | None = None
    step: Fraction = Fraction(0)


def close(x: float, y: float) -> bool:
    """Equality of two plain numbers within 1e-6; symmetric."""
    return math.isclose(x, y, rel_tol=RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE)


def agree(one: Quantity, other: Quantity) -> bool:
    """Whether two quantities are one claim, as the module says; symmetric, and not transitive."""
    if one.unit is None or other.unit is None:
        return _near(one, other) or _as_share(one, other) or _as_share(other, one)
    if not alike(one.unit, other.unit):
        return False
    if one.unit.kind == other.unit.kind and one.unit != other.unit:
        return _near(_converted(one, one.unit), _converted(other, other.unit))
    return _near(one, other)


def read_quantity(spelling: str) -> Quantity | None:
    """The quantity that a spelling of :func:`as_number` or :func:`as_fraction` is."""
    fraction = _FRACTION.match(spelling)
    if fraction and int(fraction[2]):
        return Quantity(Fraction(int(fraction[1]), int(fraction[2])))
    number, _, tail = spelling.partition(" ")
    if not NUMBER.fullmatch(number) or len(number) > _MAX_DIGITS or (tail and unit_of(tail) is None):
        return None
    plain = number.replace(",", "").rstrip(".")
    whole, _, decimals = plain.partition(".")
    significant = len((whole + decimals).lstrip("-+0"))
    exact = not decimals or significant < _SIGNIFICANT or "e" in plain.casefold()
    return Quantity(Fraction(plain), unit_of(tail), Fraction(0) if exact else Fraction(1, 10 ** len(decimals)))


def as_number(text: str, *, units: bool = False) -> str | None:
    """The canonical decimal of a text that is one number, perhaps with a unit; no number is rounded.

    Args:
        text: casefolded.
        units: keep the unit, in its short spelling.
    """
    text = _SCIENTIFIC.sub(r"e\1", text)
    match = _LEADING_NUMBER.match(text)
    if not match:
        return _compound(text, units=units)
    tail = match[2] or match[4] or match[5] or ""
    written = match[3].replace(",", "").lstrip("+")
    if len(tail.split()) > _UNIT_WORDS or len(written) > _MAX_DIGITS:
        return None
    glued = bool(tail) and text[match.end(3) : match.end(3) + 1] == tail[0]
    if _is_symbolic(tail, glued=glued) and not match[2]:
        return None
    if (glued and tail == "k") or (match[2] and (match[4] or "") in MONEY_SCALES):
        scale, tail = 10 ** MONEY_SCALES[match[4]], match[2]
        value = Fraction(written) * scale * (-1 if match[1] else 1)
        return _spelled(value, unit_of(tail) if units and tail else None)
    exact = Fraction(written if written[-1] != "." else written[:-1])
    scale, tail = _scale(tail) if not match[2] else (_scale(match[4] or "")[0], tail)
    return _spelled(-exact * scale if match[1] else exact * scale, unit_of(tail) if units else None)


def as_fraction(text: str) -> str | None:
    """The reduced fraction that a text is: "2/4" and "1 1/2" are "1/2" and "3/2"."""
    mixed = _MIXED.match(text)
    if mixed and int(mixed[4]):
        value = int(mixed[2]) + Fraction(int(mixed[3]), int(mixed[4]))
        return str(-value if mixed[1] == "-" else value)
    match = _FRACTION.match(text)
    return str(Fraction(int(match[1]), int(match[2]))) if match and int(match[2]) else None


def numbers_in(text: str) -> list[float]:
    """Every number written in a text, in order."""
    values = [float(found.replace(",", "")) for found in NUMBER.findall(text) if len(found) <= _MAX_DIGITS]
    return [value for value in values if math.isfinite(value)]


def _is_symbolic(tail: str, *, glued: bool) -> bool:
    """Whether what follows a number makes a formula of it: "2x", "3x + y", "2 sin x", "2π", and no unit."""
    word = _SYMBOLS.match(tail)
    if word is None:
        return False
    rest = tail[word.end() :]
    named = CONSTANT.fullmatch(word[0]) or FUNCTION.fullmatch(word[0]) or (glued and FUNCTION.match(word[0]))
    if named or _OPERATION.match(rest):
        return unit_of(tail) is None
    if len(word[0]) == 1 and rest.startswith("/"):
        return unit_of(word[0]) is None
    lone = len(word[0]) == 1 and not rest.strip()
    if lone and word[0] != "k":
        return unit_of(word[0]) is None or (glued and word[0] in SPACED)
    return glued and _VARIABLES.fullmatch(tail) is not None


def _scale(tail: str) -> tuple[int, str]:
    """The factor that the words after a number begin with ("million"), and the words after it."""
    word, _, rest = tail.strip().partition(" ")
    power = SCALES.get(word)
    return (1, tail) if power is None else (10**power, rest.removeprefix("of "))


def _compound(text: str, *, units: bool) -> str | None:
    """The sum of "2 hours and 35 minutes" in its smallest unit."""
    if not _COMPOUND.match(text):
        return None
    parts = [(Fraction(number), unit_of(word)) for number, word in _PART.findall(text)]
    found = [unit for _, unit in parts if unit is not None]
    falling = all(before.factor > after.factor for before, after in pairwise(found))
    if len(found) != len(parts) or len({unit.kind for unit in found}) != 1 or not falling:
        return None
    total = sum((number * unit.factor for number, unit in parts if unit is not None), Fraction(0))
    return _spelled(total / found[-1].factor, found[-1] if units else None)


def _spelled(value: Fraction, unit: Unit | None) -> str | None:
    decimal = _decimal(value)
    return decimal if decimal is None or unit is None else f"{decimal} {unit.name}"


def _decimal(exact: Fraction) -> str | None:
    places = 0
    while (exact * 10**places).denominator != 1:
        places += 1
        if places > _MAX_DIGITS:
            return None
    digits = str(abs(exact * 10**places).numerator).rjust(places + 1, "0")
    if len(digits) > _MAX_DIGITS:
        return None
    sign = "-" if exact < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def _near(one: Quantity, other: Quantity) -> bool:
    x, y = one.value, other.value
    if x == y:
        return True
    if x.denominator == y.denominator == 1:
        return False
    slack = max(_RELATIVE * max(abs(x), abs(y)), _ABSOLUTE, one.step / 2, other.step / 2)
    return abs(x - y) <= slack


def _as_share(percent: Quantity, bare: Quantity) -> bool:
    """Whether a percentage and a bare proper share are one: "50%" and "0.5"; 1 is not read as 100%."""
    if percent.unit is None or percent.unit.name != PERCENT or bare.unit is not None or not 0 < bare.value < 1:
        return False
    return _near(percent, Quantity(bare.value * 100, None, bare.step * 100))


def _converted(one: Quantity, unit: Unit) -> Quantity:
    return Quantity(one.value * unit.factor, None, one.step * unit.factor)
