"""Units of measure, as far as answers need them: which two spellings are one unit, and how units of a kind convert.

"km", "kilometres" and "kilometer" are one unit; 12 km are 12000 m; kilometres and miles are one kind, kilometres and
euros are not. What is no unit ("apples") is no word of this table, and says nothing. Months and eras stand here too,
each a kind of its own, so that 4 July is not 4 June. Answers are read without case: MW and mW are one spelling, and
the commoner of the two is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_ABBREVIATIONS = frozenset("mgtslhjwvnackfp") | {"in", "us", "ma", "bar", "ad", "ce", "bc", "pa", "cal", *_MONTHS}
"""Words that are units only where no more words follow."""
SPACED = frozenset("vnackf")
"""Units only after a space: without one they are variables."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: its spelling, its kind, and how many of the kind's first unit it is."""

    name: str
    kind: str
    factor: Fraction


# kind → unit → (factor, other spellings). A unit of its own kind converts to nothing else.
_TABLE: dict[str, dict[str, tuple[str, str]]] = {
    "length": {
        "m": ("1", "metre metres meter meters"),
        "nm": ("1/1000000000", "nanometre nanometres nanometer nanometers"),
        "μm": ("1/1000000", "um micron microns micrometre micrometres micrometer micrometers"),
        "dm": ("1/10", "decimetre decimetres decimeter decimeters"),
        "ly": ("9460730472580800", "light_year light_years light-year light-years"),
        "mm": ("1/1000", "millimetre millimetres millimeter millimeters"),
        "cm": ("1/100", "centimetre centimetres centimeter centimeters"),
        "km": ("1000", "kms kilometre kilometres kilometer kilometers"),
        "in": ("254/10000", "inch inches"),
        "ft": ("3048/10000", "foot feet"),
        "yd": ("9144/10000", "yard yards"),
        "mi": ("1609344/1000", "mile miles"),
    },
    "mass": {
        "g": ("1", "gram grams gramme grammes"),
        "μg": ("1/1000000", "ug mcg microgram micrograms"),
        "mg": ("1/1000", "milligram milligrams"),
        "kg": ("1000", "kgs kilo kilos kilogram kilograms"),
        "t": ("1000000", "tonne tonnes"),
        "oz": ("28349523125/1000000000", "ounce ounces"),
        "lb": ("45359237/100000", "lbs pound_mass"),
    },
    "time": {
        "s": ("1", "sec secs second seconds"),
        "ns": ("1/1000000000", "nanosecond nanoseconds"),
        "μs": ("1/1000000", "us microsecond microseconds"),
        "ms": ("1/1000", "millisecond milliseconds"),
        "min": ("60", "mins minute minutes"),
        "h": ("3600", "hr hrs hour hours"),
        "day": ("86400", "days"),
        "week": ("604800", "weeks"),
    },
    "months": {
        "month": ("1", "months"),
        "year": ("12", "years yr yrs"),
        "decade": ("120", "decades"),
        "century": ("1200", "centuries"),
    },
    "volume": {
        "l": ("1", "litre litres liter liters"),
        "μl": ("1/1000000", "ul microlitre microlitres microliter microliters"),
        "cl": ("1/100", "centilitre centilitres centiliter centiliters"),
        "dl": ("1/10", "decilitre decilitres deciliter deciliters"),
        "ml": ("1/1000", "millilitre millilitres milliliter milliliters"),
        "cm3": ("1/1000", "cm^3 cubic_centimetres cubic_centimeters cubic_centimetre cubic_centimeter"),
        "m3": ("1000", "m^3 cubic_metres cubic_meters cubic_metre cubic_meter"),
        "gal": ("3785411784/1000000000", "gallon gallons"),
    },
    "area": {
        "m2": ("1", "m^2 sqm square_metres square_meters square_metre square_meter"),
        "cm2": ("1/10000", "cm^2 square_centimetres square_centimeters square_centimetre square_centimeter"),
        "km2": ("1000000", "km^2 square_kilometres square_kilometers square_kilometre square_kilometer"),
        "ha": ("10000", "hectare hectares"),
        "in2": ("64516/100000000", "in^2 square_inches square_inch"),
        "ft2": ("9290304/100000000", "ft^2 square_feet square_foot"),
    },
    "speed": {
        "m/s": ("1", "metres_per_second meters_per_second metre_per_second meter_per_second"),
        "km/h": ("10/36", "kmh kph km_per_hour kilometres_per_hour kilometers_per_hour kilometres_an_hour"),
        "mph": ("44704/100000", "mi/h miles_per_hour miles_an_hour"),
    },
    "energy": {
        "j": ("1", "joule joules"),
        "kj": ("1000", "kilojoule kilojoules"),
        "mj": ("1000000", "megajoule megajoules"),
        "wh": ("3600", "watt_hour watt_hours"),
        "kwh": ("3600000", "kilowatt_hour kilowatt_hours"),
        "mwh": ("3600000000", "megawatt_hour megawatt_hours"),
        "cal": ("4184/1000", ""),
        "kcal": ("4184", "kilocalorie kilocalories"),
    },
    "electronvolts": {
        "ev": ("1", "electronvolt electronvolts"),
        "kev": ("1000", ""),
        "mev": ("1000000", ""),
        "gev": ("1000000000", ""),
    },
    "calories": {"calorie": ("1", "calories")},  # small ones or large ones
    "power": {
        "w": ("1", "watt watts"),
        "kw": ("1000", "kilowatt kilowatts"),
        "mw": ("1000000", "megawatt megawatts"),
        "gw": ("1000000000", "gigawatt gigawatts"),
        "hp": ("7457/10", "horsepower"),
    },
    "voltage": {
        "v": ("1", "volt volts"),
        "mv": ("1/1000", "millivolt millivolts"),
        "kv": ("1000", "kilovolt kilovolts"),
    },
    "current": {"a": ("1", "amp amps ampere amperes"), "ma": ("1/1000", "milliamp milliamps milliampere milliamperes")},
    "resistance": {"ω": ("1", "ohm ohms"), "kω": ("1000", "kiloohm kiloohms kilohm kilohms")},
    "charge": {"coulomb": ("1", "coulombs")},
    "force": {"n": ("1", "newton newtons"), "kn": ("1000", "kilonewton kilonewtons")},
    "pressure": {
        "pa": ("1", "pascal pascals"),
        "hpa": ("100", "hectopascal hectopascals"),
        "kpa": ("1000", "kilopascal kilopascals"),
        "mpa": ("1000000", "megapascal megapascals"),
        "gpa": ("1000000000", "gigapascal gigapascals"),
        "bar": ("100000", ""),
        "mbar": ("100", "millibar millibars"),
        "atm": ("101325", "atmosphere atmospheres"),
        "psi": ("689476/100", ""),
        "mmhg": ("133322/1000", "torr"),
    },
    "frequency": {
        "hz": ("1", "hertz"),
        "khz": ("1000", "kilohertz"),
        "mhz": ("1000000", "megahertz"),
        "ghz": ("1000000000", "gigahertz"),
        "thz": ("1000000000000", "terahertz"),
    },
    "turning": {"rpm": ("1", "")},
    "data": {
        "byte": ("1", "bytes"),
        "bit": ("1/8", "bits"),
        "kb": ("1000", "kilobyte kilobytes"),
        "mb": ("1000000", "megabyte megabytes"),
        "gb": ("1000000000", "gigabyte gigabytes"),
        "tb": ("1000000000000", "terabyte terabytes"),
        "pb": ("1000000000000000", "petabyte petabytes"),
        "kib": ("1024", "kibibyte kibibytes"),
        "mib": ("1048576", "mebibyte mebibytes"),
        "gib": ("1073741824", "gibibyte gibibytes"),
    },
    "data rate": {"kbps": ("1", ""), "mbps": ("1000", ""), "gbps": ("1000000", "")},
    "amount": {"mol": ("1", "mole moles"), "mmol": ("1/1000", "millimole millimoles")},
    "kelvin": {"k": ("1", "kelvin kelvins")},
    "era before": {"bc": ("1", "b.c. bce b.c.e.")},
    "era": {"ad": ("1", "a.d. ce c.e.")},
    **{f"in {month}": {month: ("1", "")} for month in _MONTHS},
    "usd": {"usd": ("1", "$ us$ dollar dollars us_dollars"), "cent": ("1/100", "¢ cents")},
    "eur": {"eur": ("1", "€ euro euros")},
    "gbp": {"gbp": ("1", "£"), "penny": ("1/100", "pence pennies p")},
    "jpy": {"jpy": ("1", "¥ yen")},
    "inr": {"inr": ("1", "₹ rupee rupees")},
    "pounds": {"pound": ("1", "pounds")},  # money or weight: it agrees with both, see `alike`
    "share": {"%": ("1", "percent per_cent percents")},
    "celsius": {"°c": ("1", "c celsius degrees_celsius degree_celsius")},
    "fahrenheit": {"°f": ("1", "f fahrenheit degrees_fahrenheit degree_fahrenheit")},
    "angle": {"°": ("1", "deg degree degrees")},
    "radians": {"rad": ("1", "radian radians")},
}
PERCENT = "%"
_DEGREES = frozenset({"angle", "celsius", "fahrenheit"})
_POUNDS = frozenset({"pound", "gbp", "lb"})

UNITS: Mapping[str, Unit] = MappingProxyType(
    {
        spelling.replace("_", " "): Unit(name, kind, Fraction(factor))
        for kind, units in _TABLE.items()
        for name, (factor, others) in units.items()
        for spelling in (name, *others.split())
    }
)
SCALES: Mapping[str, int] = MappingProxyType(
    {"hundred": 2, "thousand": 3, "million": 6, "mn": 6, "billion": 9, "bn": 9, "trillion": 12}
)
MONEY_SCALES: Mapping[str, int] = MappingProxyType({"k": 3, "m": 6, "b": 9, "t": 12})
_LONGEST_FIRST = sorted(UNITS, key=len, reverse=True)
UNIT = re.compile(rf"(?:{'|'.join(map(re.escape, _LONGEST_FIRST))})(?![\w/^])")


def unit_of(tail: str) -> Unit | None:
    """The unit that the words after a number begin with, or ``None``.

    Args:
        tail: casefolded; "in" and abbreviations of one letter must be all of it.
    """
    text = tail.strip()
    found = UNIT.match(text)
    if found is None:
        return None
    followed = bool(text[found.end() :].strip(" ."))
    return None if followed and found[0] in _ABBREVIATIONS else UNITS[found[0]]


def alike(one: Unit, other: Unit) -> bool:
    """Whether numbers with these units can be compared: one kind, or one is as vague as "degrees"; symmetric."""
    if one.kind == other.kind:
        return True
    kinds, names = {one.kind, other.kind}, {one.name, other.name}
    return (kinds <= _DEGREES and "angle" in kinds) or (names <= _POUNDS and "pound" in names)
