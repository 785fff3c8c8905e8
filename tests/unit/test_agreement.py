"""Agreement of short answers: numbers with units and a tolerance, words of truth, JSON by value, and never nothing."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curveroute.agent.verify.answers import claims_nothing, echoes, normalise, same, spell
from curveroute.agent.verify.quantity import agree, read_quantity
from curveroute.agent.verify.units import UNITS, alike

PIECES = [
    "12",
    "0.5",
    "-3",
    "1,000",
    "1/2",
    "1½",
    "3.14159",
    "50",
    "million",
    "×10^3",
    "km",
    "kilometres",
    "miles",
    "%",
    "percent",
    "$",
    "€",
    "£",
    "dollars",
    "m²",
    "°C",
    "degrees",
    "2 hours",
    "and",
    "35 minutes",
    "in",
    "total",
    "apples",
    "per hour",
    "yes",
    "true",
    "B)",
    "e5",
    ".",
    "us$",
    "us",
    "µs",
    "Ω",
    "5k",
    "2x",
    "pm",
    "BC",
    "July",
    "nm",
    "pounds",
]
ANSWERS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=5).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
    st.text(max_size=20),
)
DECIMALS = st.decimals(-(10**6), 10**6, places=5)
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=4)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


@given(ANSWERS)
def test_a_spelling_is_idempotent_with_and_without_its_unit(answer: str) -> None:
    for once in (spell, normalise):
        assert once(once(answer)) == once(answer)
    assert normalise(spell(answer)) == normalise(answer)


@given(ANSWERS, ANSWERS)
def test_agreement_is_symmetric_and_reads_spellings_as_it_reads_answers(a: str, b: str) -> None:
    assert same(a, b) == same(b, a) == same(spell(a), spell(b))


@given(ANSWERS)
def test_an_answer_agrees_with_itself_exactly_when_it_claims_something(answer: str) -> None:
    assert same(answer, answer) == (not claims_nothing(answer))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("12 km", "12 kilometres"),
        ("12 km", "12"),
        ("12 km", "12000 m"),
        ("12 km.", "12KM"),
        ("12 m²", "12 m^2"),
        ("60 km/h", "60 kilometers per hour"),
        ("1 ft", "12 inches"),
        ("20 °C", "20 degrees Celsius"),
        ("20 degrees", "20°C"),
        ("2 hours and 35 minutes", "155 minutes"),
        ("2h 35min", "155"),
        ("2 hours", "120 min"),
        ("3.14159", "3.1416"),
        ("0.333", "1/3"),
        ("66.7%", "2/3"),
        ("1 1/2", "1.5"),
        ("1½", "3/2"),
        ("7 days in a week", "1 week"),
        ("50%", "0.5"),
        ("50 percent", "50%"),
        ("50%", "50"),
        ("50%", "1/2"),
        ("$5", "5 dollars"),
        ("€5", "5 euros"),
        ("£5", "5 pounds"),
        ("5 lb", "5 pounds"),
        ("US$1.5 million", "$1,500,000"),
        ("1.2 × 10^3", "1200"),
        ("yes", "True"),
        ("No.", "false"),
        ("YES!", "yes"),
        ("(c)", "C."),
        ("14 in total", "14 apples"),
        ("1,000", "1000"),
        ('{"a": 0.30000000000000004, "b": [1]}', '{"b": [1.0], "a": 0.3}'),
    ],
)
def test_two_spellings_of_one_claim_agree(a: str, b: str) -> None:
    assert same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("12 km", "12 miles"),
        ("12 km", "12 kg"),
        ("12 m2", "12 m"),
        ("$5", "€5"),
        ("5 lb", "£5"),
        ("20°C", "20°F"),
        ("100%", "1"),
        ("0.5%", "50"),
        ("50%", "50 km"),
        ("5 million", "5 billion"),
        ("5 million", "5"),
        ("12345678", "12345679"),
        ("1945", "1946"),
        ("3.14", "3.15"),
        ("0.3", "1/3"),
        ("2 hours", "2 minutes"),
        ("yes", "no"),
        ("true", "no"),
        ("yes", "1"),
        ('{"a": true}', '{"a": 1}'),
        ('{"a": "1"}', '{"a": 1}'),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"a": 1}', '{"a": 1, "b": null}'),
        ("A", "1"),
        ("1e999", "0.5"),
    ],
)
def test_two_claims_do_not_agree(a: str, b: str) -> None:
    assert not same(a, b)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        ".",
        "As an AI language model, I cannot say.",
        "I hope this helps!",
        "Let me know if you need more.",
        "Here is the answer",
        "Sure, here is the solution:",
        "Sure!",
        "It depends.",
        "[Your answer here]",
        "TODO",
        "NaN",
        "I'm sorry, but I can't help with that.",
        "Feel free to ask.",
        "Is there anything else?",
        "N/A",
        "see above",
    ],
)
def test_empty_answers_refusals_and_boilerplate_agree_with_nothing(text: str) -> None:
    assert claims_nothing(text)
    assert not same(text, text)
    assert not same(text, "7")


@pytest.mark.parametrize(
    "text", ["7", "Paris", "none", "thank you", "here", "The answer lies in hope", "see", "0", "false"]
)
def test_short_answers_are_no_boilerplate(text: str) -> None:
    assert same(text, text)


@given(st.integers(-(10**15), 10**15), st.integers(-3, 3))
def test_whole_numbers_agree_only_when_they_are_equal(number: int, change: int) -> None:
    assert same(str(number), str(number + change)) == (change == 0)


@given(DECIMALS, st.integers(1, 4))
def test_a_decimal_agrees_with_itself_rounded_to_three_digits_or_more(value: Decimal, places: int) -> None:
    rounded = round(value, places)
    plain = f"{rounded:f}".rstrip("0")
    digits = plain.replace(".", "").replace("-", "").lstrip("0")
    assume(not plain.endswith(".") and len(digits) >= 3)
    assert same(f"{value:f}", plain)


@given(DECIMALS, DECIMALS)
def test_far_numbers_never_agree(x: Decimal, y: Decimal) -> None:
    assume(abs(x - y) > max(abs(x), abs(y), Decimal(1)) / 100)
    assert not same(f"{x:f}", f"{y:f}")


@given(st.integers(1, 10**6), st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)))
def test_a_number_keeps_its_unit_and_units_of_other_kinds_differ(number: int, one: str, other: str) -> None:
    left, right = read_quantity(f"{number} {one}"), read_quantity(f"{number} {other}")
    assert left is not None
    assert right is not None
    assert left.unit == UNITS[one]
    assert agree(left, right) == agree(right, left)
    assert alike(UNITS[one], UNITS[other]) or not agree(left, right)
    assert (UNITS[one] != UNITS[other]) or agree(left, right)


@given(JSON)
def test_json_agrees_with_itself_in_any_order_and_not_when_a_value_changes(value: object) -> None:
    document = {"first": value, "second": [1, "x"]}
    other = {"second": [1, "x"], "first": value}
    assert same(json.dumps(document), json.dumps(other, indent=1))
    assert not same(json.dumps(document), json.dumps({**document, "second": [1, "y"]}))


@pytest.mark.parametrize("depth", [60, 450, 600, 900, 5000])
@pytest.mark.parametrize("ends", [("[", "]"), ('{"a":', "}")])
def test_json_of_any_depth_can_be_compared(depth: int, ends: tuple[str, str]) -> None:
    text = ends[0] * depth + "1" + ends[1] * depth
    assert same(text, text)


@pytest.mark.parametrize(
    ("query", "answer", "again"),
    [
        ("What is the capital of Portugal?", "What is the capital of Portugal?", True),
        ("What is the capital of Portugal?", "the capital of Portugal is", False),
        ("What is the capital of Portugal?", "capital of Portugal", False),
        ("Tell me: what is the capital of Portugal?", "What is the capital of Portugal", True),
        ("Sort these words: pear, fig, apple, kiwi", "pear, fig, apple, kiwi", False),
        ("Paris", "Paris", False),
        ("Say this again: the quick brown fox", "The quick brown fox", False),
        ("", "", False),
    ],
)
def test_the_question_repeated_back_is_seen(query: str, answer: str, again: bool) -> None:
    assert echoes(query, answer) is again
