"""What can be seen of one answer: is it whole, has it the form that was asked for, and what does it say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.types import Arm, Attempt, AttemptId, ModelId, Usage
from curveroute.agent.verify.answers import extract_answer, same
from curveroute.agent.verify.signals import Answered, read_answer, read_attempt

QUERY = "How many legs does a spider have?"
ANSWERS = ("8", "eight", "8.0", "6", "", "a spider")


def reading(text: str, model: str = "a", budget: int = 16, finish: Any = "stop", query: str = QUERY) -> Answered:
    return read_answer(Arm(ModelId(model), budget), text, extract_answer(text), finish, None, query)


def test_a_whole_answer_shows_nothing_but_what_it_says() -> None:
    one = reading("Answer: 8")
    assert (one.answer, one.truncated, one.malformed, one.refused, one.confidence) == ("8", False, False, False, None)


@pytest.mark.parametrize(
    ("text", "finish", "seen"),
    [
        ("Let me think", "length", {"truncated", "malformed"}),
        ("Answer: 8", "length", {"truncated"}),
        ("", "stop", {"malformed"}),
        (" \n ", "stop", {"malformed"}),
        ("Answer: many", "stop", {"malformed"}),
        ("I'm sorry, I cannot answer that.", "stop", {"malformed", "refused"}),
        ("Answer: 8", "content_filter", {"refused"}),
    ],
)
def test_each_fault_is_seen(text: str, finish: str, seen: set[str]) -> None:
    one = reading(text, finish=finish)
    assert {name for name in ("truncated", "malformed", "refused") if getattr(one, name)} == seen


def test_the_form_is_the_querys() -> None:
    assert not reading("Answer: 8").malformed
    assert reading("Answer: eight legs of hair", query="Is 8 even? yes or no").malformed


@pytest.mark.parametrize(
    "silent", ["", " \n", "I cannot answer that.", "Answer: How many legs does a spider have?", "Answer: unknown"]
)
def test_who_says_nothing_claims_nothing(silent: str) -> None:
    assert reading(silent).answer == ""


def test_a_filtered_answer_claims_nothing() -> None:
    assert reading("Answer: 8", finish="content_filter").answer == ""


@given(st.sampled_from(ANSWERS), st.sampled_from(ANSWERS))
def test_what_is_read_does_not_depend_on_who_said_it(left: str, right: str) -> None:
    a, b = reading(f"Answer: {left}", "a"), reading(f"Answer: {right}", "b", 64)
    assert (a.answer == b.answer) == (reading(f"Answer: {left}").answer == reading(f"Answer: {right}").answer)
    if a.answer and b.answer:
        assert same(a.answer, b.answer) == same(b.answer, a.answer)


@pytest.mark.parametrize("confidence", [None, 0.9])
def test_an_attempt_is_read_as_its_parts_are(confidence: float | None) -> None:
    arm = Arm(ModelId("a"), 16)
    attempt = Attempt(
        AttemptId("r.1.1"), "probe", arm, "Answer: 8", "8", Usage(), 0.0, "stop", 0.1, confidence=confidence
    )
    assert read_attempt(attempt, QUERY) == read_answer(arm, "Answer: 8", "8", "stop", confidence, QUERY)
    assert read_attempt(attempt, QUERY).confidence == confidence
