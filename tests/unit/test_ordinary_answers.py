"""Answers as models give them, in bold, after a greeting or under a heading, and what they claim."""

from __future__ import annotations

import pytest

from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.answers import claim_of, extract_answer, looks_refused, marked_answer, query_kind, same
from curveroute.agent.verify.code_block import python_in
from curveroute.agent.verify.signals import Answered, read_form

PRIME = "Is 17 a prime number?"
UNSURE = "Which is it?\nA. one\nB. two\nC. three\nD. Cannot be determined"


def read(query: str, text: str) -> Answered:
    kind = query_kind(query)
    return read_form(Arm(ModelId("a"), 64), text, claim_of(text, kind), "stop", None, kind)


@pytest.mark.parametrize(
    ("query", "text", "claim"),
    [
        ("Name three fruits.", "Here are three fruits:\n\n1. Fig\n2. Kiwi\n3. Lime", "Fig, Kiwi, Lime"),
        ("Who are the tenors?", "The tenors are:\n- Pavarotti\n- Domingo", "Pavarotti, Domingo"),
        ("List the primary colors, comma-separated.", "The colors are:\n1. Red\n2. Yellow", "Red, Yellow"),
        (PRIME, "**Yes**, 17 is prime because nothing divides it.", "Yes"),
        (PRIME, "**No**, 17 is not prime.", "No"),
        (PRIME, "**Yes.** 17 is prime", "Yes"),
        ("What is the capital of France?", "Hello! The capital of France is Paris. How can I help further?", "Paris"),
        ("What is the capital of Australia?", "Good question! Canberra is the capital of Australia.", "Canberra"),
        ("Solve for x: x^2 = 4", "x = 2 or x = -2", "x = 2 or x = -2"),
        ("What is frozen water called?", "Frozen water is called ice.\nReasoning:\n1. It froze\n2. It is cold",
         "Frozen water is called ice"),
    ],
)  # fmt: skip
def test_what_a_person_would_read_is_claimed(query: str, text: str, claim: str) -> None:
    found = read(query, text)
    assert claim_of(text, query_kind(query)) == claim
    assert found.answer
    assert not found.malformed
    assert not found.refused


def test_long_items_are_claimed_together() -> None:
    ours = "1. **Keep a schedule**: go to bed early each day\n2. **Avoid coffee**: it keeps you up"
    theirs = "1. **Dim the lights**: an hour before bed\n2. **Read**: a book, and no screen"
    claims = [claim_of(text, "text") for text in (ours, theirs)]
    assert claims == [ours, theirs]
    assert not same(ours, theirs)


def test_steps_that_derive_claim_what_they_come_to() -> None:
    steps = "1. There are 3 cars\n2. Each has 20 seats\n3. 3 * 20 = 60"
    assert claim_of(steps, "number") == claim_of(steps, "text") == "60"


@pytest.mark.parametrize(
    "text", ["D. Cannot be determined", "**D. Not enough information**", "(D) Cannot be determined"]
)
def test_an_option_is_no_refusal_whatever_it_says(text: str) -> None:
    found = read(UNSURE, text)
    assert (found.answer, found.refused, found.malformed) == ("d", False, False)


@pytest.mark.parametrize("text", [r"\boxed{4\pi}", r"5\sqrt{2}", "3π"])
def test_an_exact_result_is_a_number(text: str) -> None:
    assert not read("Calculate the area of a circle of radius 2.", text).malformed


def test_a_letter_may_apologise() -> None:
    assert not looks_refused("Dear John,\n\nI am sorry, but I cannot attend the party. Love, Ann")


@pytest.mark.parametrize(
    "text",
    ["#" * 100_000, "#### " * 20_000, "`" * 100_000, "*" * 100_000 + ".\nx y", "``` " * 25_000, "answer: " * 12_000],
)
def test_a_model_that_stutters_holds_nothing_up(text: str) -> None:
    """Each of these took seconds to minutes where a pattern began anew at every letter."""
    for reads in (extract_answer, claim_of, marked_answer, looks_refused, python_in):
        reads(text)
