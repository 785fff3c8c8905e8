"""What a judge's replies say, and every way in which they say nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.types import Arm, Attempt, AttemptId, Message, ModelId, Query, Usage
from curveroute.agent.verify.judgement import (
    Judgement,
    comparison_ids,
    judge_words,
    judgement_of,
    read_comparison,
    read_judgement,
)

QUERY = Query((Message(role="user", content="What is the capital of Portugal?"),))
SHOWN = (QUERY.text, "It is **Lisbon**,\n on the Tagus.")


def reply(verdict: str, quote: str = "Lisbon", reason: str = "I looked.") -> str:
    return json.dumps({"quote": quote, "reason": reason, "verdict": verdict})


def call(text: str, name: str = "r.1.1.judge", **changes: Any) -> Attempt:
    given: dict[str, Any] = {"role": "judge", "finish_reason": "stop", "error": None, "answer": None} | changes
    return Attempt(
        AttemptId(name), arm=Arm(ModelId("big"), 16), text=text, usage=Usage(), cost_usd=0.0, latency_s=0.1, **given
    )


def answered(name: str, text: str) -> Attempt:
    return call(text, name, role="probe", answer=text)


ONE, TWO = answered("r.1.1", "Lisbon"), answered("r.1.2", "Porto")
FIRST, SECOND = comparison_ids(AttemptId("r.1.1.judge"), AttemptId("r.1.2"))


@pytest.mark.parametrize(
    "quote", ["Lisbon", " lisbon ", "“Lisbon”", "is Lisbon, on the  Tagus", "capital of\nPortugal", "`Lisbon`."]
)
def test_a_quote_may_differ_in_spaces_case_and_marks(quote: str) -> None:
    assert read_judgement(call(reply("wrong", quote)), SHOWN).word == -1.0


@pytest.mark.parametrize("quote", ["", " ", "...", '"', "Porto", "Lis", "isbon", "Lisbon on the Tagus River"])
def test_a_quote_of_nothing_or_of_what_is_nowhere_makes_the_word_count_nothing(quote: str) -> None:
    judgement = read_judgement(call(reply("right", quote)), SHOWN)
    assert judgement.word == 0.0
    assert "quotes" in judgement.reason


@given(st.text(max_size=60), st.text(max_size=200))
def test_any_quote_can_be_looked_for_in_any_text(quote: str, text: str) -> None:
    judgement = read_judgement(call(reply("right", quote)), (text,))
    assert judgement.word in {0.0, 1.0}


@given(
    st.lists(st.sampled_from(["Lisbon", "is", "the", "(capital)", "of", "a+b", "$5"]), min_size=1, max_size=8),
    st.data(),
)
def test_every_run_of_whole_words_is_evidence(words: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    assert read_judgement(call(reply("right", "  ".join(words[start:end]))), (" ".join(words),)).word == 1.0


@pytest.mark.parametrize("verdict", ["unsure", "cannot judge"])
def test_a_judge_that_cannot_judge_needs_no_quote_and_says_nothing(verdict: str) -> None:
    judgement = read_judgement(call(reply(verdict, "", "It needs a search.")), SHOWN)
    assert judgement == Judgement(0.0, f"judge: {verdict}: It needs a search.")


@pytest.mark.parametrize("text", ["Looks right to me.", reply("right")[:-9], "", "[1]"])
def test_prose_broken_and_cut_replies_say_nothing_and_why(text: str) -> None:
    assert read_judgement(call(text), SHOWN) == Judgement(0.0, "the judge's reply is not the JSON it was asked for")
    cut = read_judgement(call(text, finish_reason="length"), SHOWN)
    assert cut == Judgement(0.0, "the judge's reply was cut off")


WORDS = {"A": (1.0, -1.0), "B": (-1.0, 1.0), "both": (1.0, 1.0), "neither": (-1.0, -1.0)}
VERDICTS = st.sampled_from([*WORDS, "unsure", "cannot judge", "prose"])


@given(VERDICTS, VERDICTS)
def test_a_comparison_keeps_exactly_what_both_orders_say(first: str, second: str) -> None:
    judgement = read_comparison(call(reply(first), FIRST), call(reply(second), SECOND), ("Lisbon",))
    left, right = WORDS.get(first, (0.0, 0.0)), WORDS.get(second, (0.0, 0.0))[::-1]
    kept = tuple(one if one == other else 0.0 for one, other in zip(left, right, strict=True))
    assert (judgement.word, judgement.rival_word) == kept
    assert judgement.reason
    mirrored = read_comparison(call(reply(second), FIRST), call(reply(first), SECOND), ("Lisbon",))
    assert (mirrored.rival_word, mirrored.word) == kept


def test_a_comparison_asked_once_says_nothing() -> None:
    assert read_comparison(call(reply("A"), FIRST), None).word == 0.0
    assert judgement_of([call(reply("B"), SECOND)], QUERY, ONE, TWO).word == 0.0


def test_lost_requests_are_no_replies() -> None:
    lost = call("", f"{FIRST}.lost", error="lost")
    calls = [lost, call(reply("A"), FIRST), call(reply("B"), SECOND)]
    assert judgement_of(calls, QUERY, ONE, TWO).word == 1.0
    alone = [call("", "r.1.1.judge.lost", error="lost"), call(reply("wrong"))]
    assert judgement_of(alone, QUERY, ONE).word == -1.0
    assert judge_words(QUERY, [ONE, TWO, *calls], 0.5).keys() == {"r.1.1", "r.1.2"}


def test_the_words_of_a_run_are_read_from_its_calls() -> None:
    attempts = [ONE, TWO, call(reply("A"), FIRST), call(reply("B"), SECOND)]
    words = judge_words(QUERY, attempts, 0.5)
    moved = Judgement(1.0, "").log_odds(0.5)
    assert {name: log_odds for name, (log_odds, _) in words.items()} == {"r.1.1": moved, "r.1.2": -moved}
    assert "A (r.1.1) is right, B (r.1.2) is wrong" in words[AttemptId("r.1.2")][1]


def test_words_on_one_answer_do_not_add_up_and_contradictions_count_nothing() -> None:
    pair = [ONE, TWO, call(reply("A"), FIRST), call(reply("B"), SECOND)]
    agreed = judge_words(QUERY, [*pair, call(reply("right"))], 0.5)[ONE.attempt_id]
    assert agreed[0] == Judgement(1.0, "").log_odds(0.5)
    against = judge_words(QUERY, [*pair, call(reply("wrong"))], 0.5)[ONE.attempt_id]
    assert against[0] == 0.0
    assert "contradicts itself" in against[1]
    silent = judge_words(QUERY, [*pair, call("prose")], 0.5)[ONE.attempt_id]
    assert silent == judge_words(QUERY, pair, 0.5)[ONE.attempt_id]


def test_calls_about_unknown_attempts_and_other_roles_are_no_words() -> None:
    calls = [call(reply("right"), "r.9.9.judge"), call(reply("A"), FIRST), call("x", "r.0.planner", role="planner")]
    assert judge_words(QUERY, [ONE, *calls], 0.5) == {}
