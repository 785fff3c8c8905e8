"""Whatever lines the scale has, flat ones included: it turns no order, changes no answer, and loosens no promise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.evals.calibrate import Answers, calibrate, one_of_each
from curveroute.agent.step import best_attempt
from curveroute.agent.types import Arm, Attempt, AttemptId, Estimate, ModelId, Usage
from curveroute.agent.verify.answers import extract_answer
from curveroute.agent.verify.hearing import CLEAR_WORD, hear_answers
from curveroute.agent.verify.jury import Jury
from curveroute.agent.verify.review import review
from curveroute.agent.verify.scale import Calibrator, Line

if TYPE_CHECKING:
    from curveroute.agent.verify.answers import QueryKind

TEXT = "What is the capital of Portugal?"
SAID = ("Answer: Lisbon", "It is Lisbon.", "Answer: Porto", "Answer: Faro", "I cannot answer that.", "")
FLAT = st.builds(Line, st.just(0.0), st.floats(-8.0, 8.0))
LINES = FLAT | st.builds(Line, st.floats(0.0, 5.0), st.floats(-8.0, 8.0))
ANSWERS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(SAID), st.sampled_from([0.0, 0.0, -60.0, -2.0, 1.5, 60.0])),
    min_size=1,
    max_size=5,
)


def answered(said: list[tuple[str, str, float]], scale: Calibrator) -> list[Attempt]:
    """The answers of a run with their verdicts; the third of each is a verifier's word."""
    quality = {"a": 0.2, "b": 0.5, "c": 0.5, "d": 0.9}
    attempts = [
        Attempt(
            AttemptId(f"r.{place}"), "probe", Arm(ModelId(model), 16), text, extract_answer(text), Usage(30, 10), 1e-5,
            "stop", 0.1,
        )
        for place, (model, text, _) in enumerate(said)
    ]  # fmt: skip
    estimates = {one.arm: Estimate(one.arm, quality[one.arm.model], 0.1, 30, 10.0, 1e-5) for one in attempts}
    words = {one.attempt_id: word for one, (_, _, word) in zip(attempts, said, strict=True)}
    hearing = hear_answers(TEXT, attempts, estimates, Jury.unfitted(), words)
    verdicts = review(TEXT, attempts, hearing, scale, {})
    return [replace(one, verdict=verdicts[one.attempt_id]) for one in attempts]


def jury(attempt: Attempt) -> float:
    assert attempt.verdict is not None
    return dict(attempt.verdict.signals)["jury"]


def score(attempt: Attempt) -> float:
    assert attempt.verdict is not None
    return attempt.verdict.score


@settings(max_examples=500, deadline=None)
@given(said=ANSWERS, line=LINES)
def test_the_scale_changes_neither_the_answer_given_nor_the_order_of_any(said: Any, line: Line) -> None:
    plain, scaled = answered(said, Calibrator.identity()), answered(said, Calibrator({}, line))
    given, kept = best_attempt(plain), best_attempt(scaled)
    assert given is not None
    assert kept is not None
    assert kept.attempt_id == given.attempt_id
    assert score(kept) == max(map(score, scaled)), "what the rule holds for the best is what is given"
    for one in scaled:
        assert score(one) == 0.0 if jury(one) == 0.0 else score(one) >= 0.0
        assert all(score(one) <= score(other) for other in scaled if jury(one) <= jury(other))


@settings(max_examples=500, deadline=None)
@given(said=ANSWERS, line=LINES)
def test_rivals_are_never_likelier_than_certain_together(said: Any, line: Line) -> None:
    """A flat line at 0.8 once made two contradictory answers right four times in five, each."""
    scaled = answered(said, Calibrator({}, line))
    claims = {str(one.answer): score(one) for one in scaled}
    assert math.fsum(claims.values()) <= 1.0 + 1e-6
    likely = [one for one in scaled if one.verdict is not None and one.verdict.score > 0.5]
    assert len({one.answer for one in likely}) <= 1


@settings(max_examples=200, deadline=None)
@given(said=ANSWERS, line=FLAT)
def test_on_a_flat_line_every_answer_that_stands_alone_scores_the_same(said: Any, line: Line) -> None:
    """However sure the jury is: that it is says nothing. In single precision it may say 1."""
    scale, expected = Calibrator({}, line), round(1.0 / (1.0 + math.exp(-line.intercept)), 9)
    claims = {one.answer for one in answered(said, scale) if jury(one) > 0.0}
    words = [word for _, _, word in said]
    rivals = len(claims) > 1 or (max(words) >= CLEAR_WORD and min(words) <= -CLEAR_WORD)
    for one in answered(said, scale):
        if not rivals and jury(one) > 0.0:
            assert score(one) == pytest.approx(expected, abs=1e-9)


def test_two_that_contradict_each_other_are_told_so_on_a_flat_line_too() -> None:
    first, second = answered(
        [("d", "Answer: Lisbon", 0.0), ("a", "Answer: Porto", 0.0)], Calibrator({}, Line(0.0, 1.4))
    )
    assert score(first) == pytest.approx(0.802, abs=1e-3)
    assert second.verdict is not None
    assert (second.verdict.reason, second.verdict.score < 0.2) == ("disagreement", True)


def stopped_at(queries: int, seed: int, kinds: tuple[QueryKind, ...]) -> Answers:
    """Numbers whose scores mislead and which are nearly always right; text whose scores are true."""
    random = np.random.default_rng(seed)
    number = np.array([kind == "number" for kind in kinds])
    told = 1.0 / (1.0 + np.exp(-random.normal(0.5, 1.5, queries)))
    right = np.where(number, random.random(queries) > 0.3 * told**2, random.random(queries) < told).astype(float)
    return Answers((0.3,), told[None], right[None], told[None], np.arange(queries), kinds)


@pytest.mark.parametrize("seed", range(6))
def test_a_promise_over_a_flat_line_takes_all_of_its_kind_or_none(seed: int) -> None:
    """And what it takes when it was made it takes of an answer alone: both sides are of one score, to the bit."""
    kinds: tuple[QueryKind, ...] = ("number", "text") * 600
    answers = stopped_at(1200, seed, kinds)
    scale = calibrate(answers, (0.05, 0.1, 0.2, 0.3), seed=seed).calibrator
    assert scale.lines["number"].slope == 0.0
    (stopped,) = one_of_each(answers, scale, np.random.default_rng(0))
    alone = [scale.scaled(told, kind) for told, kind in zip(answers.score[0].tolist(), kinds, strict=True)]
    made = [one for one in scale.promises if one.threshold is not None]
    assert made[-1].threshold <= alone[0], "nearly all of them are right"  # type: ignore[operator]
    for promise in made:
        taken = np.array(alone) >= promise.threshold
        assert (taken == (stopped.score >= promise.threshold)).all()
        assert taken[::2].all() or not taken[::2].any()
        assert np.mean(1.0 - answers.quality[0][taken]) <= promise.epsilon + 0.03
