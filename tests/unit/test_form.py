"""The form of an answer: what fits is spelled in one way, what does not is at fault in words, whatever comes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import QueryError
from curveroute.agent.types import Arm, Attempt, AttemptId, Form, ModelId, Tool, Toolbox, ToolCall, Usage
from curveroute.agent.verify.form import calls_fault, check_form, in_form, spelled_calls
from curveroute.agent.verify.signals import read_attempt

PERSON: Any = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
NUMBERS: Any = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a"]}
ADD = Tool("add", "Add.", NUMBERS)
NOW = Tool("now", "The time.", {"type": "object", "properties": {}})
BOX = Toolbox((ADD, NOW))


CIRCLE: dict[str, Any] = {}
CIRCLE["a"] = CIRCLE


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels):
        inner = {"a": inner}
    return inner


def of_one(name: str = "add", description: str = "", **parameters: Any) -> Form:
    return Form(toolbox=Toolbox((Tool(name, description, {"type": "object", **parameters}),)))


def call(name: str = "add", arguments: str = '{"a": 1}', call_id: str = "c") -> ToolCall:
    return ToolCall(call_id=call_id, name=name, arguments=arguments)


def attempt(text: str = "", *calls: ToolCall, **changes: Any) -> Attempt:
    given: dict[str, Any] = {"finish_reason": "stop", "answer": text or None} | changes
    return Attempt(
        AttemptId("a"), "probe", Arm(ModelId("m"), 16), text, usage=Usage(), cost_usd=0.0, latency_s=0.0,
        tool_calls=calls, **given,
    )  # fmt: skip


def test_an_answer_in_plain_words_stays_as_it_is() -> None:
    said = attempt("Lisbon")
    assert in_form(Form(), said) is said
    assert in_form(Form(toolbox=BOX), said) is said, "tools may be called, and need not be"


def test_a_failed_call_has_no_form() -> None:
    failed = attempt(error="no answer")
    assert in_form(Form(schema=PERSON), failed) is failed


@pytest.mark.parametrize(
    ("calls", "box", "fault"),
    [
        ([call()], BOX, ""),
        ([call("now", "")], BOX, ""),
        ([call(), call("now", "{}")], BOX, ""),
        ([call("sub")], BOX, "it calls 'sub', which is none of the tools (add, now)"),
        ([call(arguments="{a: 1}")], BOX, "its arguments of 'add' are no JSON object"),
        ([call(arguments="[1]")], BOX, "its arguments of 'add' are no JSON object"),
        ([call(arguments='{"a": NaN}')], BOX, "its arguments of 'add' are no JSON object"),
        ([call(arguments='{"a": "x"}')], BOX, "its arguments of 'add' do not fit: at a: "),
        ([call(arguments="{}")], BOX, "its arguments of 'add' do not fit: "),
        ([call(), call("sub")], BOX, "it calls 'sub'"),
        ([], Toolbox((ADD,), "required"), "it calls no tool, and one must be called"),
        ([call("now", "{}")], Toolbox((ADD, NOW), "add"), "it calls 'now', and 'add' must be called"),
        ([call()], Toolbox((ADD,), "none"), "it calls a tool, and none may be called"),
        ([call(), call()], Toolbox((ADD,), parallel=False), "it makes 2 calls at once, and may make one"),
        ([call()], None, "it calls a tool, and none may be called"),
    ],
)
def test_what_is_wrong_with_calls_is_said(calls: list[ToolCall], box: Toolbox | None, fault: str) -> None:
    found = calls_fault(box, calls)
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_calls_become_the_claim_and_faulty_ones_claim_nothing() -> None:
    sound = in_form(Form(toolbox=BOX), attempt("", call()))
    assert (sound.shape, sound.fault) == ("calls", "")
    read = read_attempt(sound, "How many?")
    assert (read.answer, read.malformed) == ('[{"arguments": {"a": 1}, "name": "add"}]', False)
    faulty = read_attempt(in_form(Form(toolbox=BOX), attempt("", call("sub"))), "How many?")
    assert (faulty.answer, faulty.malformed) == ("", True)
    assert "none of the tools" in faulty.fault


def test_words_where_a_call_must_be_are_at_fault() -> None:
    read = read_attempt(in_form(Form(toolbox=Toolbox((ADD,), "required")), attempt("It is 2.")), "1 + 1?")
    assert (read.answer, read.malformed) == ("", True)


@given(st.permutations(["a", "b", "c"]), st.sampled_from([None, 1, 4]))
def test_the_same_wishes_are_spelled_alike_in_any_order_and_spacing(order: list[str], indent: int | None) -> None:
    box = Tool("add", "", {"type": "object"})
    calls = [call(arguments=json.dumps({name: 1, "z": 2}, indent=indent), call_id=name) for name in order]
    plain = [call(arguments=json.dumps({"z": 2, name: 1})) for name in "abc"]
    assert calls_fault(Toolbox((box,)), calls) == ""
    assert spelled_calls(calls) == spelled_calls(plain)


@pytest.mark.parametrize("text", ['{"age": 7}', ' {"age":7.0}\n', '```json\n{"age": 7}\n```'])
def test_json_that_fits_is_sound_with_or_without_a_fence(text: str) -> None:
    read = in_form(Form(schema=PERSON), attempt(text))
    assert (read.shape, read.fault) == ("json", "")
    assert json.loads(read.answer or "") == {"age": 7}
    assert not read_attempt(read, "How many years?").malformed


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("seven", "it is no JSON"),
        ('Sure: {"age": 7}', "it is no JSON"),
        ('{"age": "x"}', "at age"),
        ("{}", "does not fit"),
        ("[" * 100_000, "it is no JSON"),
        ('{"age": 7', "it is no JSON"),
    ],
)
def test_json_that_does_not_fit_claims_nothing(text: str, fault: str) -> None:
    read = in_form(Form(schema=PERSON), attempt(text))
    assert fault in read.fault
    assert read_attempt(read, "How many years?").answer == ""


def test_a_cut_off_form_is_truncated_and_not_malformed() -> None:
    cut = read_attempt(in_form(Form(schema=PERSON), attempt('{"age": ', finish_reason="length")), "?")
    assert (cut.truncated, cut.malformed) == (True, False)


@given(st.text())
def test_no_text_a_model_writes_breaks_the_check(text: str) -> None:
    read = in_form(Form(schema=PERSON), attempt(text))
    assert bool(read.fault) != bool(read.answer)
    assert calls_fault(BOX, [call(text, text)])


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (Form(schema={"type": "wizard"}), "the answer's schema is no valid JSON schema"),
        (Form(schema={"$ref": "https://schemas.example/x"}), "nothing is fetched"),
        (Form(toolbox=Toolbox((Tool("add", "", {"type": 3}),))), "the parameters of tool 'add' is no valid"),
        (Form(toolbox=Toolbox((ADD, ADD))), "tools need names of their own; repeated or empty: add"),
        (Form(toolbox=Toolbox((Tool("", "", {}),))), "an empty one"),
        (Form(toolbox=Toolbox((ADD,), "sub")), "tool_choice is 'sub'; give auto, none, required, or one of the tools"),
        (Form(toolbox=Toolbox(())), "the list of tools is empty"),
        (Form(max_tokens=0), "max_tokens is 0; give at least 1"),
        (Form(max_tokens=10**5000), "max_tokens is .*; give at least 1"),
        (Form(stop=("",)), "a stop text is ''; give"),
        (Form(stop=(7,)), "a stop text is 7; give"),  # type: ignore[arg-type]
        (Form(stop=("a\ud800",)), "half a character .* in a stop text; give valid Unicode"),
        (Form(schema={"type": "object", "title": "\ud800"}), "half a character .* in the answer's schema"),
        (Form(schema={"maximum": math.nan}), "NaN or an infinite number in the answer's schema; JSON has neither"),
        (of_one("add\ud800"), r"half a character .* in the name of tool 'add\\ud800'"),
        (of_one(description="\ud800"), "half a character .* in the description of tool 'add'; give valid Unicode"),
        (of_one(properties={"\ud800": {}}), "half a character .* in the parameters of tool 'add'"),
        (of_one(properties={"a": {"default": math.inf}}), "NaN or an infinite number in the parameters of tool 'add'"),
        (of_one(enum={1}), "what JSON has no word for .* in the parameters of tool 'add'; give texts"),
        (of_one(properties=nested(5000)), "a depth beyond all reading in the parameters"),
        (of_one(properties=CIRCLE), "a circle in the parameters of tool 'add'; name its parts"),
    ],
)
def test_what_no_answer_could_satisfy_is_refused(form: Form, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        check_form(form)


def test_what_can_be_satisfied_is_not_refused() -> None:
    for form in (Form(), Form(schema=PERSON, stop=("x",)), Form(toolbox=BOX), Form(toolbox=Toolbox((ADD,), "add"))):
        check_form(form)
