"""Values given on the command line, refused before anything is done with them."""

from __future__ import annotations

import math

from curveroute.agent.errors import SettingError


def at_least(name: str, value: int, lowest: int) -> None:
    """Refuse a whole number below ``lowest``.

    Raises:
        SettingError: it is below.
    """
    if value < lowest:
        raise SettingError(f"--{name.replace('_', '-')} is {value}; give {lowest} or more")


def at_most(name: str, value: int, highest: int) -> None:
    """Refuse a whole number above ``highest``.

    Raises:
        SettingError: it is above.
    """
    if value > highest:
        raise SettingError(f"--{name.replace('_', '-')} is {value}; give {highest} or less")


def share(name: str, value: float) -> None:
    """Refuse a number outside [0, 1].

    Raises:
        SettingError: it is outside, or not a number.
    """
    if not 0 <= value <= 1:
        raise SettingError(f"--{name} is {value:g}; give a number from 0 to 1")


def open_share(name: str, value: float) -> None:
    """Refuse a number that is not between 0 and 1.

    Raises:
        SettingError: it is one of them, outside, or not a number.
    """
    if not 0 < value < 1:
        raise SettingError(f"--{name} is {value:g}; give a number between 0 and 1")


def amount(name: str, value: float) -> None:
    """Refuse what is no finite number of USD from 0 on.

    Raises:
        SettingError: it is negative or not a number.
    """
    if not (math.isfinite(value) and value >= 0):
        raise SettingError(f"--{name} is {value:g}; give a number of USD, 0 or more")


def positive_or_none(name: str, value: float | None) -> None:
    """Refuse a cap that is not a positive, finite number of USD.

    Raises:
        SettingError: it is zero, negative or not a number.
    """
    if value is not None and not (math.isfinite(value) and value > 0):
        raise SettingError(f"--{name} is {value:g}; give a positive number of USD, or leave it out for no cap")
