"""The verifier json-schema: a misfit is all but certainly wrong, a fit says little, and a bad schema is an error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import MissingExtra, SettingError
from curveroute.agent.verify.found import log_odds
from curveroute.agent.verify.schema import FITS, JsonSchemaVerifier, json_schema

if TYPE_CHECKING:
    from pathlib import Path

    from curveroute.agent.types import JsonValue

PERSON: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}

pytest.importorskip("jsonschema_rs")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ada", "age": 36}',
        'Here it is:\n```json\n{"age": 36, "name": "Ada"}\n```',
        'So {"name": "A", "age": 1}.',
    ],
)
def test_a_fit_says_little(text: str) -> None:
    found = JsonSchemaVerifier(PERSON).check("q", text, None)
    assert found.probability == FITS
    assert 0 < log_odds(FITS, 1.0) < 0.3


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ('{"name": "Ada"}', '"age" is a required property'),
        ('{"name": "Ada", "age": "old"}', "at age: "),
        ("[1]", "[1] is not of type"),
        ("She is 36.", ""),
        ("", ""),
        ('{"name": NaN, "age": 1}', ""),
    ],
)
def test_a_misfit_is_all_but_certainly_wrong_and_says_where(text: str, evidence: str) -> None:
    found = JsonSchemaVerifier(PERSON).check("q", text, None)
    assert found.probability == 0.0
    assert log_odds(0.0, 1.0) < -4
    assert evidence in found.evidence


def test_the_answer_is_read_before_the_text_around_it() -> None:
    text = 'For example {"name": 1}. Answer: {"name": "Ada", "age": 36}'
    assert JsonSchemaVerifier(PERSON).check("q", text, '{"name": "Ada", "age": 36}').probability == FITS


def test_a_schema_may_ask_for_a_plain_value() -> None:
    verifier = JsonSchemaVerifier({"type": "integer", "minimum": 5})
    assert verifier.check("q", "Answer: 7", "7").probability == FITS
    assert verifier.check("q", "Answer: 3", "3").probability == 0.0


@given(st.text(max_size=80))
def test_every_text_can_be_checked(text: str) -> None:
    assert JsonSchemaVerifier(PERSON).check(text, text, text).probability in {0.0, FITS}


def test_the_schema_comes_from_a_file_or_stands_there(tmp_path: Path) -> None:
    file = tmp_path / "person.json"
    file.write_text(json.dumps(PERSON))
    for argument in (str(file), json.dumps(PERSON)):
        assert json_schema(argument).check("q", '{"name": "Ada", "age": 36}', None).probability == FITS


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("", "needs a schema"),
        ("nowhere.json", "cannot read 'nowhere.json'"),
        ("{", "holds no JSON"),
        ('{"type": 5}', "no valid JSON schema"),
        ('{"$ref": "https://schemas.example/person.json"}', "nothing is fetched"),
        ('{"$ref": "#/nowhere"}', "no valid JSON schema"),
    ],
)
def test_a_bad_schema_is_an_error_before_anything_is_spent(argument: str, problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        json_schema(argument)


def test_a_file_with_no_object_is_no_schema(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(SettingError, match="holds no JSON object"):
        json_schema(str(tmp_path / "list.json"))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(MissingExtra, match=r'pip install "curveroute\[schema\]"'):
        JsonSchemaVerifier(PERSON)
