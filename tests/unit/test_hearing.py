"""A hearing: all answers of a run beside each other, and the words of judge and verifiers on them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.types import Arm, Attempt, AttemptId, Estimate, ModelId, Usage
from curveroute.agent.verify.answers import extract_answer
from curveroute.agent.verify.chance import agreement_chance
from curveroute.agent.verify.hearing import Hearing, hear_answers
from curveroute.agent.verify.jury import Jury

TEXT = "What is the capital of Portugal?"
PROPERTY = settings(max_examples=40, deadline=None)


def said(name: str, text: str, **changes: Any) -> Attempt:
    """An answer of that model, named for it."""
    arm = Arm(ModelId(name.partition("#")[0]), 64)
    attempt = Attempt(AttemptId(name), "probe", arm, text, extract_answer(text), Usage(30, 10), 1e-5, "stop", 0.1)
    return replace(attempt, **changes)


def heard(*attempts: Attempt, quality: float = 0.5, text: str = TEXT, groups: Any = None, **words: float) -> Hearing:
    """The words are said of the answers with these names."""
    estimates = {one.arm: Estimate(one.arm, quality, 0.1, 30, 10.0, 1e-5) for one in attempts}
    moved = {AttemptId(name): word for name, word in words.items()}
    found = hear_answers(text, attempts, estimates, Jury.unfitted(), moved, groups)
    assert found is not None
    return found


LISBON, AGAIN, PORTO = said("a", "Answer: Lisbon"), said("b", "It is Lisbon."), said("c", "Answer: Porto")
REFUSED = said("d", "I cannot answer that.")


def test_failed_calls_are_not_heard_and_of_nothing_there_is_no_hearing() -> None:
    broken = said("d", "", error="down")
    assert hear_answers(TEXT, [broken], {}, Jury.unfitted(), {}) is None
    assert hear_answers(TEXT, [], {}, Jury.unfitted(), {}) is None
    hearing = heard(broken, LISBON)
    assert [one.attempt_id for one in hearing.attempts] == ["a"]
    assert hearing.score(0) == heard(LISBON).score(0)


def test_answers_that_agree_make_one_claim() -> None:
    hearing = heard(LISBON, AGAIN, PORTO, REFUSED)
    assert hearing.number[0].tolist() == [0, 0, 1, -1]
    assert hearing.score(0) == hearing.score(1) > hearing.score(2) > hearing.score(3) == 0.0
    assert hearing.given.attempt_id in {"a", "b"}


@PROPERTY
@given(st.permutations([LISBON, AGAIN, PORTO, REFUSED]))
def test_the_order_of_the_answers_does_not_matter(attempts: list[Attempt]) -> None:
    def scored(hearing: Hearing) -> dict[str, float]:
        return {one.attempt_id: hearing.score(place) for place, one in enumerate(hearing.attempts)}

    assert scored(heard(*attempts)) == pytest.approx(scored(heard(LISBON, AGAIN, PORTO, REFUSED)), abs=1e-6)


def test_an_arm_without_an_estimate_is_neither_likely_nor_unlikely() -> None:
    hearing = hear_answers(TEXT, [LISBON], {}, Jury.unfitted(), {})
    assert hearing is not None
    assert hearing.score(0) == pytest.approx(0.5)
    assert hearing.seen.length.tolist() == [[0.0]]


def test_what_is_seen_of_an_answer_goes_in() -> None:
    long = replace(LISBON, usage=Usage(30, 400), finish_reason="length", confidence=0.9)
    seen = heard(long, said("d", "")).seen
    assert seen.length[0, 0] == 2.0
    assert seen.cut[0].tolist() == [1.0, 0.0]
    assert seen.malformed[0].tolist() == [0.0, 1.0]
    assert seen.confidence[0].tolist() == pytest.approx([math.log(9), math.nan], nan_ok=True)
    assert seen.chance.tolist() == pytest.approx([agreement_chance(TEXT)])


def test_two_answers_of_one_model_are_one_voice() -> None:
    twice, both = heard(LISBON, said("a#2", "Answer: Lisbon")), heard(LISBON, AGAIN)
    assert twice.seen.model.tolist() == [[0, 0]]
    assert both.seen.model.tolist() == [[0, 1]]
    assert heard(LISBON).score(0) < twice.score(0) < both.score(0)


class TestWords:
    @PROPERTY
    @given(st.floats(-4, 4), st.floats(0.1, 0.9))
    def test_a_word_moves_the_log_odds_of_an_only_answer_by_itself(self, word: float, quality: float) -> None:
        before, after = (heard(LISBON, quality=quality, a=said).score(0) for said in (0.0, word))
        odds = math.log(after / (1 - after)) - math.log(before / (1 - before))
        assert odds == pytest.approx(word, abs=1e-3)

    @PROPERTY
    @given(st.floats(0.01, 4), st.sampled_from("abc"))
    def test_a_word_for_a_claim_is_one_against_all_others(self, word: float, name: str) -> None:
        attempts = (LISBON, AGAIN, PORTO, REFUSED)
        before, praised, blamed = (heard(*attempts, **{name: one}) for one in (0.0, word, -word))
        for place in range(3):
            own = place in {"a": (0, 1), "b": (0, 1), "c": (2,)}[name]
            assert (praised.score(place) > before.score(place)) == own
            assert (blamed.score(place) < before.score(place)) == own
        np.testing.assert_allclose(praised.odds.sum(), 1.0, rtol=1e-5)

    def test_words_on_answers_that_agree_count_once_and_may_cancel(self) -> None:
        once, twice = heard(LISBON, AGAIN, a=1.0), heard(LISBON, AGAIN, a=1.0, b=1.0)
        assert twice.score(0) == twice.score(1) == once.score(0) == once.score(1) > heard(LISBON, AGAIN).score(0)
        assert heard(LISBON, AGAIN, a=0.9, b=-0.9).score(0) == pytest.approx(heard(LISBON, AGAIN).score(0), abs=1e-6)

    @PROPERTY
    @given(st.floats(1.1, 6.0), st.floats(1.1, 6.0), st.permutations("abcd"), st.integers(1, 3))
    def test_a_clear_word_for_one_and_against_another_makes_them_rivals(
        self, praise: float, blame: float, names: list[str], wrong: int
    ) -> None:
        """Whatever they claim: tests run an answer, and who agrees with whom has only read it.

        Three that agree are worth log-odds of 2: against words of 1 for and 1 against it would be a tie.
        """
        attempts = [said(name, "Answer: Lisbon") for name in sorted(names)]
        right, failed = names[0], names[1 : 1 + wrong]
        hearing = heard(*attempts, **{right: praise}, **dict.fromkeys(failed, -blame))
        assert hearing.given.attempt_id == right
        scores = {one.attempt_id: hearing.score(place) for place, one in enumerate(hearing.attempts)}
        assert all(scores[AttemptId(name)] < scores[AttemptId(right)] for name in failed)
        np.testing.assert_allclose(hearing.odds.sum(), 1.0, rtol=1e-5)

    @PROPERTY
    @given(st.floats(-4, 4), st.floats(-4, 4), st.floats(0.1, 0.9))
    def test_of_one_claim_the_answer_that_was_spoken_for_most_is_given(self, a: float, b: float, sure: float) -> None:
        assert heard(LISBON, AGAIN, quality=sure, a=a, b=b).given.attempt_id == ("b" if b > a else "a")

    def test_words_that_set_answers_apart_leave_the_silent_with_the_praised(self) -> None:
        hearing = heard(LISBON, AGAIN, said("c", "Lisbon"), a=3.0, b=-3.0)
        assert hearing.number[0].tolist() == [0, 1, 0]

    def test_a_verifier_that_says_the_same_of_every_answer_sets_no_claim_apart(self) -> None:
        before = heard(LISBON, AGAIN, PORTO)
        for word in (2.0, -2.0):
            after = heard(LISBON, AGAIN, PORTO, a=word, b=word, c=word)
            assert after.score(0) / after.score(2) == pytest.approx(before.score(0) / before.score(2), rel=1e-4)

    def test_a_word_on_who_claims_nothing_changes_nothing(self) -> None:
        np.testing.assert_allclose(heard(LISBON, REFUSED, d=3.0).odds, heard(LISBON, REFUSED).odds, atol=1e-7)

    def test_a_word_may_change_which_answer_is_given(self) -> None:
        assert heard(LISBON, AGAIN, PORTO).given.attempt_id in {"a", "b"}
        assert heard(LISBON, AGAIN, PORTO, c=5.0).given.attempt_id == "c"

    @pytest.mark.parametrize("word", [-50.0, 50.0, -1e4, 1e4])
    def test_the_surest_word_leaves_a_probability(self, word: float) -> None:
        hearing = heard(LISBON, AGAIN, PORTO, a=word, c=-word)
        assert np.isfinite(hearing.odds).all()
        assert 0.0 <= hearing.score(0) <= 1.0


class TestGroups:
    """Claims told from outside: answers in free text, grouped by what they mean."""

    TEXTS = ("The sea is blue since water absorbs red light.", "Water takes red light away.", "It mirrors the sky.")

    def test_they_stand_in_the_place_of_spelling(self) -> None:
        attempts = [said(name, text) for name, text in zip("abc", self.TEXTS, strict=True)]
        apart, together = heard(*attempts), heard(*attempts, groups=(4, 4, 7))
        assert apart.number[0].tolist() == [0, 1, 2]
        assert together.number[0].tolist() == [0, 0, 1]
        assert together.score(0) > apart.score(0)

    def test_no_group_is_no_claim(self) -> None:
        hearing = heard(LISBON, AGAIN, groups=(None, 0))
        assert hearing.number[0].tolist() == [-1, 0]
        assert hearing.score(0) == 0.0
        assert hearing.given.attempt_id == "b"


@pytest.mark.parametrize(
    ("text", "chance"),
    [
        ("Is 8 even? Answer yes or no.", 0.2),
        ("How many legs does a spider have?", 3.0),
        ("Which one?\nA. a\nB. b\nC. c\nD. d\nAnswer with the letter.", math.log(3)),
    ],
)
def test_a_chance_agreement_is_rarer_the_more_wrong_answers_there_are(text: str, chance: float) -> None:
    assert agreement_chance(text) == pytest.approx(chance)
