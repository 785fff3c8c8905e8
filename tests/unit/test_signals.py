"""What can be seen of an answer: each check says what it saw, and agreement is a matter between two."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.types import Arm, Attempt, AttemptId, ModelId, Usage
from curveroute.agent.verify.answers import extract_answer
from curveroute.agent.verify.signals import Answered, Signals, log_odds, read_answer, read_attempt, signals_of

QUERY = "How many legs does a spider have?"
ANSWERS = ("8", "eight", "8.0", "6", "", "a spider")


def reading(text: str, model: str = "a", budget: int = 16, finish: Any = "stop", query: str = QUERY) -> Answered:
    return read_answer(Arm(ModelId(model), budget), text, extract_answer(text), finish, None, query)


def beside(one: str, *others: tuple[str, str]) -> Signals:
    """Signals of model a's answer beside (model, text) of others."""
    return signals_of(reading(one), [reading(text, model, 64) for model, text in others], 0.5)


def test_a_whole_answer_shows_nothing_but_its_prior() -> None:
    assert signals_of(reading("Answer: 8"), [], 0.8) == Signals(prior=log_odds(0.8))


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
def test_each_fault_has_its_signal(text: str, finish: str, seen: set[str]) -> None:
    signals = signals_of(reading(text, finish=finish), [], 0.5)._asdict()
    flags = {name for name in ("truncated", "malformed", "refused") if signals[name]}
    assert flags == seen


def test_the_form_is_the_querys() -> None:
    assert not reading("Answer: 8").malformed
    assert reading("Answer: eight legs of hair", query="Is 8 even? yes or no").malformed


def test_agreement_tells_models_apart() -> None:
    assert beside("Answer: 8", ("b", "It has eight.\nAnswer: 8.0")).agree_other == 1
    assert beside("Answer: 8", ("a", "Answer: 8")).agree_same == 1
    assert beside("Answer: 8", ("b", "Answer: 6")).disagree_other == 1
    assert beside("Answer: 8", ("a", "Answer: 6")).disagree_same == 1
    mixed = beside("Answer: 8", ("b", "Answer: 8"), ("c", "Answer: 6"), ("a", "Answer: 6"))
    assert (mixed.agree_other, mixed.disagree_other, mixed.agree_same, mixed.disagree_same) == (1, 1, 0, 1)


@pytest.mark.parametrize("silent", ["", "I cannot answer that."])
def test_who_says_nothing_neither_agrees_nor_disagrees(silent: str) -> None:
    assert beside("Answer: 8", ("b", silent)) == beside("Answer: 8")
    assert beside(silent, ("b", "Answer: 8"), ("c", silent)) == beside(silent)


def test_a_cut_answer_is_no_witness() -> None:
    cut = reading("Answer: 6", "b", finish="length")
    assert signals_of(reading("Answer: 8"), [cut], 0.5) == beside("Answer: 8")


@given(st.sampled_from(ANSWERS), st.sampled_from(ANSWERS))
def test_agreement_is_symmetric(left: str, right: str) -> None:
    a, b = reading(f"Answer: {left}", "a"), reading(f"Answer: {right}", "b")
    assert signals_of(a, [b], 0.5)[4:8] == signals_of(b, [a], 0.5)[4:8]


@given(st.permutations(["8", "6", "8.0", ""]))
def test_the_order_of_the_others_does_not_matter(texts: list[str]) -> None:
    others = [("bcde"[place], f"Answer: {text}") for place, text in enumerate(sorted(texts))]
    shuffled = [others[sorted(texts).index(text)] for text in texts]
    assert beside("Answer: 8", *others) == beside("Answer: 8", *shuffled)


@given(st.floats(0, 1))
def test_log_odds_are_finite_and_odd(share: float) -> None:
    assert math.isfinite(log_odds(share))
    assert log_odds(share) == pytest.approx(-log_odds(1 - share))


def test_confidence_counts_where_the_server_gives_it() -> None:
    attempt = Attempt(
        AttemptId("r.1.1"), "probe", Arm(ModelId("a"), 16), "Answer: 8", "8", Usage(), 0.0, "stop", 0.1, confidence=0.9
    )
    assert signals_of(read_attempt(attempt, QUERY), [], 0.5).confidence == pytest.approx(math.log(9))
    assert signals_of(reading("Answer: 8"), [], 0.5).confidence == 0


def test_the_judges_word_goes_in_as_it_is() -> None:
    assert signals_of(reading("Answer: 8"), [], 0.5, -1.5).judged == -1.5
