"""Verifiers by name: entry points of packages, and a clear error for everything that can be wrong with one."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import Any

import pytest

from curveroute.agent.errors import MissingExtra, SettingError
from curveroute.agent.verify import named
from curveroute.agent.verify.found import CallableVerifier, Verifier
from curveroute.agent.verify.named import GROUP, known_verifiers, verifiers_by_name
from curveroute.agent.verify.schema import JsonSchemaVerifier
from curveroute.agent.verify.unit_tests import UnitTestsVerifier

SHIPPED = {
    "json-schema": "curveroute.agent.verify.schema:json_schema",
    "unit-tests": "curveroute.agent.verify.unit_tests:unit_tests",
}
READY = CallableVerifier(lambda query, text, answer: True, "ready")


def needing(argument: str) -> Verifier:
    raise MissingExtra(f"a verifier of {argument}", "schema")


def failing(argument: str) -> Verifier:
    raise LookupError(argument)


class Shaped:
    name, reliability, check = "shaped", 2.0, READY.check


OFFERED: dict[str, Any] = {
    "ready": READY,
    "made": lambda argument: CallableVerifier(READY.function, f"made of {argument}"),
    "number": 7,
    "none": lambda argument: None,
    "needing": needing,
    "failing": failing,
    "shaped": Shaped(),
}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("somebodys_verifiers")
    module.__dict__.update(OFFERED)
    monkeypatch.setitem(sys.modules, "somebodys_verifiers", module)
    values = {**SHIPPED, **{name: f"somebodys_verifiers:{name}" for name in OFFERED}}
    values |= {"gone": "no_such_module:x", "empty": "somebodys_verifiers:nothing"}
    points = [EntryPoint(name, value, GROUP) for name, value in values.items()]
    points += [EntryPoint("twice", f"somebodys_verifiers:{name}", GROUP) for name in ("ready", "made")]
    monkeypatch.setattr(named, "entry_points", lambda **chosen: EntryPoints(points).select(**chosen))


def test_verifiers_come_in_the_order_of_their_names() -> None:
    found = verifiers_by_name(["made:a:b", "ready", "made"])
    assert [one.name for one in found] == ["made of a:b", "ready", "made of "]


def test_what_is_shipped_is_found_and_takes_its_argument(tmp_path: Any) -> None:
    pytest.importorskip("jsonschema_rs")
    (tmp_path / "t.py").write_text("assert True")
    schema, tests = verifiers_by_name(['json-schema:{"type": "object"}', f"unit-tests:{tmp_path / 't.py'}"])
    assert isinstance(schema, JsonSchemaVerifier)
    assert isinstance(tests, UnitTestsVerifier)
    assert (schema.name, tests.name) == tuple(SHIPPED)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nobody", r"unknown verifier 'nobody'; known are: empty, failing, gone, json-schema"),
        ("", "unknown verifier ''"),
        ("gone", r"'gone' cannot be imported from 'no_such_module:x' \(ModuleNotFoundError"),
        ("empty", r"'empty' cannot be imported .*AttributeError"),
        ("number", "'number' is a int, which is no verifier"),
        ("none", "'none' gives a NoneType, which is none: it needs name, reliability and check"),
        ("failing:x", r"'failing' cannot be made from 'x' \(LookupError"),
        ("ready:x", "'ready' takes no argument, and was given 'x'"),
        ("shaped", "'shaped' has reliability 2.0"),
        ("twice", "'twice' is given twice"),
        ("json-schema", "'json-schema' needs a schema"),
    ],
)
def test_what_is_wrong_with_a_verifier_is_named(name: str, problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        verifiers_by_name([name])


def test_a_missing_extra_is_passed_on() -> None:
    with pytest.raises(MissingExtra):
        verifiers_by_name(["needing"])


def test_the_known_names_are_listed_once_each() -> None:
    assert known_verifiers() == tuple(sorted({*SHIPPED, *OFFERED, "gone", "empty", "twice"}))
