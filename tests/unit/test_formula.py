"""Formulas, units and suffixes: what contradicts each other never agrees, and what only looks different does."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.verify.answers import claims_nothing, extract_answer, normalise, same, spell
from curveroute.agent.verify.formula import as_formula
from curveroute.agent.verify.units import UNITS, alike

CONTRADICTING = [
    ("-x", "x"), ("-sin(x)", "sin(x)"), ("-cos x", "cos x"), ("-π/2", "π/2"), ("-√2", "√2"), ("-ln(2)", "ln(2)"),
    (r"-\pi", r"\pi"), ("-a", "A"), ("-2x", "2x"), ("-(x+1)", "-x+1"), ("2(x+1)", "2x+1"), ("-3 + i", "3 + i"),
    ("5 nm", "5 km"), ("5 MB", "5 GB"), ("5 MHz", "5 GHz"), ("5 kPa", "5 Pa"), ("5 MW", "5 kW"), ("10 N", "10 kg"),
    ("5 volts", "5 amps"), ("5 µm", "5 mm"), ("5 light years", "5 years"), ("5 mA", "5 A"), ("100 K", "100 °C"),
    ("3 pm", "3 am"), ("12:30 am", "12:30 pm"), ("44 BC", "44 AD"), ("4 July", "4 June"), ("3 BCE", "3 CE"),
    ("2x", "2y"), ("2x", "2"), ("2y", "2"), ("3x+y", "3x-y"), ("3i", "3"), ("2π", "2"), ("2 sin x", "2 cos x"),
    ("$5k", "$5"), ("$5m", "$5"), ("$5k", "$5m"), ("[0, 1)", "(0, 1]"), ("[0, 1]", "(0, 1)"), ("!p", "p"),
    ("2**3", "23"), ("2*3", "23"), ("x*y", "xy"), ("a b", "b"), ("an x", "x"), ("C#", "C"), ("x > 5", "x < 5"),
    ("p | q", "p & q"), ("f(x)", "fx"), ("1/(2x)", "1/2x"), ("twenty-one", "22"), ("[1, 2, 3]", "1, 2, 4"),
    ("12 dollars", "12 euros"), ("12 km", "12 m"), ("5%", "$5"), ("5", "-5"), ("1/2", "-1/2"),
]  # fmt: skip
ALIKE = [
    ("5 pm", "17:00"), ("5 p.m.", "5:00 PM"), ("12 am", "00:00"), ("twenty-one", "21"), ("ninety nine", "99"),
    ("[1, 2, 3]", "1, 2, 3"), ("[-1, 2, 3]", "-1,2,3"), ("12", "12 apples"), ("12 dollars", "12 apples"), ("12", "$12"),
    ("$5k", "5000 dollars"), ("$1.5bn", "1,500,000,000"), ("5k", "5000"), ("3x+y", "3x + y"), ("sin(x)", "sin x"),
    (r"\frac{\pi}{2}", "π/2"), ("√2", r"\sqrt{2}"), (r"-\frac{\pi}{2}", "-π/2"), ("2 × 3", "2*3"),
    (r"2 \times 3", "2 × 3"), ("x^{2}", "x^2"), ("(x+1)", "x+1"), ("25 °C", "25 C"), ("1000 kB", "1 MB"),
    ("2 Ω", "2 ohms"), ("5 µs", "0.005 ms"),
    ("3 times", "3"), ("72 Mb/h", "72"), ("12 apples a day", "12"), ("5th", "5"), ("9.8 m/s", "9.8"), ("44 BC", "44"),
    ("- Paris", "Paris"), ("the Nile", "Nile"), ("a dog", "dog"), ("5!", "5"), ("Mother-in-law", "mother in law"),
]  # fmt: skip
NAMES = sorted({unit.name for unit in UNITS.values()})


@pytest.mark.parametrize(("one", "other"), CONTRADICTING)
def test_what_contradicts_each_other_never_agrees(one: str, other: str) -> None:
    assert not same(one, other)
    assert not same(other, one)
    assert not same(spell(one), spell(other))
    said = [extract_answer(f"Answer: {text}") or "" for text in (one, other)]
    assert not same(*said)


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_only_looks_different_agrees(one: str, other: str) -> None:
    assert same(one, other)
    assert same(other, one)


@pytest.mark.parametrize("text", sorted({text for pair in CONTRADICTING + ALIKE for text in pair}))
def test_each_agrees_with_itself_and_has_one_spelling(text: str) -> None:
    assert same(text, text)
    assert spell(spell(text)) == spell(text)
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_units_of_one_number_agree(name: str) -> None:
    one = UNITS[name]
    for other in map(UNITS.__getitem__, NAMES):
        equal = one.factor == other.factor if one.kind == other.kind else alike(one, other)
        assert same(f"5 {name}", f"5 {other.name}") == equal, other
    assert same(f"5 {name}", "5")


@pytest.mark.parametrize(("one", "other"), list(combinations(("2x", "2y", "2z", "2i", "2π", "2 log x", "2k", "2"), 2)))
def test_no_two_symbols_after_a_number_agree(one: str, other: str) -> None:
    assert not same(one, other)


ATOMS = st.one_of(st.integers(0, 12).map(str), st.sampled_from(["x", "y", "2x", "3y", "π"]))


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, st.sampled_from(["+", "-", "*", " + ", " - ", "×"]), inner)
    return st.one_of(
        pairs.map("".join),
        pairs.map(lambda pair: f"({''.join(pair)})"),
        inner.map(lambda one: f"-({one})"),
        inner.map(lambda one: f"2*({one})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]})/({pair[1]})"),
    )


FORMULAS = st.recursive(ATOMS, _joined, max_leaves=6)


def _value(formula: str) -> float | None:
    written = formula.replace("×", "*").replace("2x", "(2*x)").replace("3y", "(3*y)").replace("π", "pi")
    try:
        return float(eval(written, {"x": 1.37, "y": 0.61, "pi": math.pi}))  # noqa: S307 - written by the test itself
    except ZeroDivisionError:
        return None


@given(FORMULAS, FORMULAS)
def test_formulas_that_agree_have_one_value(one: str, other: str) -> None:
    if same(one, other):
        left, right = _value(one), _value(other)
        assert (left is None) == (right is None)
        assert left is None or right is None or math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)


@given(FORMULAS)
def test_spaces_say_nothing_in_a_formula_and_a_sign_before_it_does(formula: str) -> None:
    assert same(formula, formula) != claims_nothing(formula)
    assert same(formula, f" {formula.replace(' ', '')} ")
    if _value(formula) not in {0.0, None}:
        assert not same(formula, f"-({formula})")


@given(st.text(alphabet="xy12+-*/^()[]{}\\ π√,.!sincoab", max_size=14))
def test_a_formula_has_one_spelling(text: str) -> None:
    assert spell(spell(text)) == spell(text)
    assert same(text, text) != claims_nothing(text)


@pytest.mark.parametrize(
    "text", ["Paris", "New York - the city", "mother-in-law", "a, b", "5 apples", "", "The + sign"]
)
def test_words_are_no_formula(text: str) -> None:
    assert as_formula(text.casefold()) is None
