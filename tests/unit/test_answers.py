"""Answers: what a text claims, and when two claims are one."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.verify.answers import (
    as_value,
    claims_nothing,
    extract_answer,
    looks_refused,
    normalise,
    query_kind,
    same,
    well_formed,
)
from curveroute.agent.verify.spelling import parse_json

PIECES = [
    "the", "a", "A.", "(b)", "5", "-", "1,000", ".5", "$", "%", "{", "}", "[1, 2]", '{"a": 1}', "1/2", "16:45", "pm",
    ",", "Answer:", "**", "\\boxed{", "\\frac{1}{2}", "```", "\n", "is", "=", "'", "°", "½", "²", "ẞ", "one", "e",
    "x", ".", "…",
]  # fmt: skip
ANSWERS = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=7).map(" ".join),
                    st.lists(st.sampled_from(PIECES), max_size=7).map("".join))  # fmt: skip
NUMBERS = st.one_of(st.integers(-(10**12), 10**12), st.decimals(-(10**6), 10**6, places=4).map(float))


@given(ANSWERS)
def test_normalise_is_idempotent(answer: str) -> None:
    once = normalise(answer)
    assert normalise(once) == once


@given(ANSWERS, ANSWERS)
def test_agreement_is_symmetric(a: str, b: str) -> None:
    assert same(a, b) == same(b, a)


@given(ANSWERS)
def test_an_answer_agrees_with_itself_exactly_when_it_claims_something(answer: str) -> None:
    assert same(answer, answer) != claims_nothing(answer)


@given(ANSWERS)
def test_nothing_agrees_with_an_empty_answer(answer: str) -> None:
    assert not same(answer, "")
    assert not same(" .", answer)


@given(ANSWERS)
def test_extraction_never_fails_and_never_gives_an_empty_answer(text: str) -> None:
    answer = extract_answer(text)
    assert answer is None or answer.strip()


@given(ANSWERS)
def test_every_kind_can_be_asked_of_every_text(text: str) -> None:
    assert well_formed(text, extract_answer(text), query_kind(text)) in {True, False}


@given(NUMBERS)
def test_a_number_agrees_with_its_other_spellings(value: float) -> None:
    plain = f"{value:f}" if isinstance(value, float) else str(value)
    for spelling in (f"{value:,}" if isinstance(value, int) else plain, f"**{plain}**.", f"{plain} metres"):
        assert same(plain, spelling), spelling


@given(NUMBERS)
def test_a_marked_number_survives_extraction(value: float) -> None:
    plain = f"{value:f}" if isinstance(value, float) else str(value)
    for text in (f"Answer: {plain}", f"We add 2 and 2.\nThe answer is **{plain}**.", f"So $\\boxed{{{plain}}}$."):
        answer = extract_answer(text)
        assert answer is not None
        found = as_value(answer)
        assert found is not None
        assert math.isclose(found, float(plain), rel_tol=1e-9, abs_tol=1e-9)


@given(st.dictionaries(st.text(max_size=4), st.one_of(st.integers(), st.text(max_size=5), st.booleans()), min_size=1))
def test_json_agrees_by_value(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert same(json.dumps(value), json.dumps(backwards, indent=2))
    assert parse_json(f"Here it is:\n```json\n{json.dumps(value)}\n```") == value


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Answer: **1,000.0**", "1,000.0"),
        ("The answer is B because of the rule. And so on.", "B"),
        ("First I thought the answer is 5.\nBut no: the final answer is 7.", "7"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("#### 42", "42"),
        ("**Answer:** St. Louis.", "St. Louis"),
        ("Answer:", None),
        ("Answer: 12\n\nAnswer:", "12"),
        ("<think>Answer: 3</think>Answer: 4", "4"),
        ("Paris", "Paris"),
        ("The capital of France is Paris.", "Paris"),
        ("Paris is the capital of France.", "Paris"),
        ("There are 7 days in a week.", "7 days in a week"),
        ("The sum of 3 and 4 is 7.", "7"),
        ("Step 1: 3 + 4 = 7\nSo the total is 14 apples.\nLet me know if you need more!", "14 apples"),
        ('Answer:\n\n```json\n{"a": 1}\n```', '{"a": 1}'),
        ('Here it is {"a": [1, 2]} as you asked.', '{"a": [1, 2]}'),
        ("thank you", "thank you"),
        ("The capital of Portugal is **Lisbon**. It has been the capital since 1255.", "Lisbon"),
        ("Lisbon, Portugal.\n\nLisbon is the largest city in Portugal and", "Lisbon, Portugal"),
        ("Yes, this plant is a flower.", "Yes"),
        ("No.\n\nNot all animals are cats.", "No"),
        ("Answer: Yes, it does.", "Yes"),
        ("Answer: True, city, present", "True, city, present"),
        ("Portugal's capital is Lisbon.", "Lisbon"),
        ("The vowels of the English alphabet, without the letter y, in order are: a, e, i, o, u.", "a, e, i, o, u"),
        ("Then we add:\n\\[ 1 + 90 = 91 \\]\n\\[", "91"),
        ("No fish can sing", "No fish can sing"),
        ("The film ends at 20:55.", "20:55"),
        ("So, Tom has 12 apples now.", "12"),
        ("Total cost: $22", "$22"),
        ("The Second World War ended in 1945.", "1945"),
        ("- red\n- white\n- blue", "red, white, blue"),
        ("Sure! Here it is:\n\nThe capital is Lisbon, as far as I can tell.", "Lisbon, as far as I can tell"),
        ("The capital is Nairobi.\n\nThe answer is:\n\nThe answer is:\n\nThe answer is:", "Nairobi"),
        ("", None),
        (" \n ", None),
    ],
)
def test_the_last_claim_is_the_answer(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


def test_a_long_text_without_number_or_claim_has_no_answer() -> None:
    line = "It depends on many things that we would have to look at one after the other before we could say more"
    assert extract_answer(f"{line}\n{line}") is None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1,000.0", "1000"),
        ("150 minutes", "150"),
        ("$5", "5 dollars"),
        ("1/2", "0.5"),
        ("2/4", "\\frac{1}{2}"),
        ("(B)", "b"),
        ("B) Paris", "B."),
        ("4:45 pm", "16:45"),
        ("the Nile", "Nile."),
        ("mother-in-law", "Mother in law"),
        ("seven", "7"),
        ("apple,banana , Cherry", "apple, banana, cherry"),
        ("0.3333333333", "1/3"),
        ("−3", "-3"),
        ("x = 5", "5"),
    ],
)
def test_two_spellings_of_one_claim_agree(a: str, b: str) -> None:
    assert same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [("5", "6"), ("B", "C"), ("Paris", "Rome"), ("1/2", "1/3"), ("16:45", "4:45"), ("-3", "3"), ("1000", "1000.1"),
     ("A) hen, B) fox", "A"),
     ("1e999", "2e999"),
     ("N/A", "N/A"), ("I don't know", "I don't know."), ("I'm sorry, I can't.", "I'm sorry, I can't."), ("", "")],
)  # fmt: skip
def test_different_claims_and_no_claims_disagree(a: str, b: str) -> None:
    assert not same(a, b)


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't help with that.", "As an AI language model, I have no opinion.", "I do not know.", "N/A",
     "There is not enough information to tell.", "I’m unable to answer that."],
)  # fmt: skip
def test_refusals_are_seen(text: str) -> None:
    assert looks_refused(text)


@pytest.mark.parametrize(
    "text", ["Paris", "I am Batman", "Sorry for the slip. Answer: 7", "no", "Na", "none", "Not A but B"]
)
def test_answers_are_no_refusals(text: str) -> None:
    assert not looks_refused(text)


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("Which is a fruit?\nA) stone\nB) apple\nC) iron\nD) sand", "choice"),
        ("How many legs has a cat?", "number"),
        ("What is 3 + 4?", "number"),
        ("Calculate 12 - 5.", "number"),
        ("2, 4, 6, ?", "number"),
        ("A train leaves at 14:10 and arrives at 16:45. How many minutes does the trip take?", "number"),
        ("Give name and age as JSON.", "json"),
        ("Is the sky blue?", "yesno"),
        ("Does it follow? Answer yes or no.", "yesno"),
        ("Sort these words: pear, fig", "list"),
        ("Name the colours of the flag, separated by commas.", "list"),
        ("Who wrote Hamlet?", "text"),
        ("When does it end? Use the form HH:MM.", "text"),
        ("", "text"),
    ],
)
def test_the_wording_tells_the_kind(query: str, kind: str) -> None:
    assert query_kind(query) == kind


@pytest.mark.parametrize(
    ("answer", "kind", "good"),
    [("B", "choice", True), ("Paris", "choice", False), ("12 km", "number", True), ("many", "number", False),
     ('{"a": 1}', "json", True), ("a: 1", "json", False), ("Yes.", "yesno", True), ("maybe", "yesno", False),
     ("a, b", "list", True), ("a", "list", False), ("anything", "text", True), (None, "text", False)],
)  # fmt: skip
def test_form_is_judged_by_kind(answer: str | None, kind: str, good: bool) -> None:
    assert well_formed(answer or "", answer, kind) is good  # type: ignore[arg-type]


@pytest.mark.parametrize("piece", ["answer is ", "1,", "A) ", '{"a": ', "\\boxed{", "The fox, A) x. ", "**", '"'])
def test_a_hostile_text_takes_linear_time(piece: str) -> None:
    text = piece * 5_000
    started = time.perf_counter()
    well_formed(text, extract_answer(text), query_kind(text))
    assert time.perf_counter() - started < 5.0
