"""Verifiers by name, from the entry points of installed packages: those shipped here and those of anyone else.

A package offers one in the group ``curveroute.verifiers``: either a verifier, or what makes one from an argument.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from curveroute.agent.errors import SettingError, SetupError
from curveroute.agent.verify.found import Verifier, checked_reliability

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUP = "curveroute.verifiers"


def verifiers_by_name(names: Sequence[str]) -> tuple[Verifier, ...]:
    """The verifiers of these names, in their order.

    Args:
        names: each ``NAME`` or ``NAME:ARGUMENT``, such as ``json-schema:person.json``.

    Raises:
        SettingError: an unknown name, one that two packages give, one whose package cannot be imported, an argument
            that it does not take, or something that is no verifier.
        MissingExtra: a verifier that needs a part that is not installed.
    """
    return tuple(_made(name) for name in names)


def known_verifiers() -> tuple[str, ...]:
    """The names that can be given, in alphabetical order."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def _made(given: str) -> Verifier:
    name, colon, argument = given.partition(":")
    offered = _loaded(_point(name))
    if isinstance(offered, Verifier) and not isinstance(offered, type):
        if colon:
            raise SettingError(f"verifier {name!r} takes no argument, and was given {argument!r}")
        return _checked(name, offered)
    if not callable(offered):
        raise SettingError(f"verifier {name!r} is a {type(offered).__name__}, which is no verifier; leave it out")
    try:
        made = offered(argument)
    except SetupError:
        raise
    except Exception as error:
        raise SettingError(
            f"verifier {name!r} cannot be made from {argument!r} ({type(error).__name__}: {error})"
        ) from error
    return _checked(name, made)


def _point(name: str) -> EntryPoint:
    points = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if not points:
        known = ", ".join(known_verifiers()) or "none is installed"
        raise SettingError(f"unknown verifier {name!r}; known are: {known}")
    if len(points) > 1:
        both = " and ".join(sorted(points))
        raise SettingError(f"verifier {name!r} is given twice, by {both}; uninstall one of the packages")
    return next(iter(points.values()))


def _loaded(point: EntryPoint) -> object:
    try:
        loaded: object = point.load()
    except Exception as error:
        package = "" if point.dist is None else f" of {point.dist.name}"
        raise SettingError(
            f"verifier {point.name!r}{package} cannot be imported from {point.value!r} "
            f"({type(error).__name__}: {error}); repair the package or leave the verifier out"
        ) from error
    return loaded


def _checked(name: str, made: object) -> Verifier:
    if not isinstance(made, Verifier) or not callable(made.check):
        kind = type(made).__name__
        raise SettingError(f"verifier {name!r} gives a {kind}, which is none: it needs name, reliability and check")
    checked_reliability(name, made.reliability)
    return made
