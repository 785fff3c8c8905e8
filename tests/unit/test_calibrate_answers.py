"""Answers that runs stop at: the score that goes with each, and which part of the table may see it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curveroute.agent.errors import TableError
from curveroute.agent.evals.calibrate import EPSILONS, TRADEOFFS, Answers, calibrate, fewest_queries, one_of_each
from curveroute.agent.looking.course import BASE, Course
from curveroute.agent.looking.recorded import Recorded, Slot
from curveroute.agent.looking.replay import Replayer
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.jury import Jury, given
from curveroute.agent.verify.scale import Calibrator
from curveroute.agent.verify.seen import Seen
from curveroute.cli import build_parser

SLOTS = (Slot(Arm(ModelId("a"), 16)), Slot(Arm(ModelId("b"), None)))


def recorded(n: int) -> Recorded:
    random = np.random.default_rng(0)
    nothing = np.zeros((n, 2), dtype=np.float32)
    seen = Seen(
        claim=random.integers(-1, 3, (n, 2)), asked=np.ones((n, 2), dtype=np.bool_), model=np.tile([0, 1], (n, 1)),
        prior=random.normal(size=(n, 2)).astype(np.float32), length=nothing, cut=nothing, malformed=nothing,
        confidence=nothing, chance=np.full(n, 3.0, dtype=np.float32), models=(ModelId("a"), ModelId("b")),
    )  # fmt: skip
    return Recorded(SLOTS, seen, nothing, np.ones((n, 2)), np.ones((n, 2)), np.arange(n))


def test_the_score_is_what_the_jury_thought_of_the_answer_given_when_the_run_stopped() -> None:
    weights = np.zeros((4, BASE + 2, 3), dtype=np.float32)
    weights[0, 0, 1] = 1.0
    weights[1, 1, 0], weights[1, 0, 2] = 1.0, 0.6  # the second one is asked below 0.6
    weights[3, 1, 0] = 1.0
    rows, jury = recorded(200), Jury.unfitted()
    walk = Replayer(jury, rows, 1.0).follow(Course(SLOTS, 1e-9, weights))
    assert {1, 3} == set(walk.state.tolist())
    for state, columns in ((1, [0]), (3, [0, 1])):
        there = np.flatnonzero(walk.state == state)
        seen = rows.columns(columns).rows(there).seen
        odds, number = jury.probabilities(seen)
        answer = given(odds, number, seen)
        claim = number[np.arange(there.size), answer]
        expected = np.where(claim >= 0, odds[np.arange(there.size), claim], 0.0)
        assert walk.score[there] == pytest.approx(expected, abs=1e-6)
        assert (walk.answer[there] == answer).all()


def some_answers(queries: int, samples: int = 1) -> Answers:
    random = np.random.default_rng(1)
    score = random.beta(2.0, 0.7, (2, queries * samples))
    right = (random.random(score.shape) < score).astype(float)
    return Answers((0.1, 0.5), score, right, score, np.repeat(np.arange(queries), samples), ("text",) * queries)


def test_repeated_samples_are_no_further_queries() -> None:
    answers = some_answers(100, samples=5)
    found = calibrate(answers)
    assert found.parts == (25, 50, 25)
    assert {one.tested for one in found.calibrator.promises} == {50}
    each = one_of_each(answers, Calibrator.identity(), np.random.default_rng(0))
    assert [len(one) for one in each] == [100, 100]


@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.1, 0.3])
def test_the_fewest_queries_are_just_enough_where_nothing_is_wrong(epsilon: float) -> None:
    def promised(queries: int) -> bool:
        right = np.ones((1, queries))
        all_right = Answers((0.1,), 0.9 * right, right, right, np.arange(queries), ("text",) * queries)
        return calibrate(all_right, [epsilon]).calibrator.promises[0].threshold is not None

    fewest = fewest_queries(epsilon, 0.1)
    assert all(promised(queries) for queries in range(fewest, fewest + 9))
    assert not promised(fewest - 1)


def test_a_refused_table_is_told_what_a_scale_takes_and_what_a_promise_takes() -> None:
    with pytest.raises(TableError, match="needs 20 or more to fit a scale, and 60 or more to promise an error"):
        calibrate(some_answers(19))
    with pytest.raises(TableError, match=r"and 89 or more to promise an error of 0\.05"):
        calibrate(some_answers(19), [0.01, 0.05])


def test_thresholds_do_not_depend_on_the_answers_that_they_are_measured_on() -> None:
    answers = some_answers(400)
    before = calibrate(answers, seed=2)
    measured = np.random.default_rng(2).permutation(400)[300:]
    quality = answers.quality.copy()
    quality[:, measured] = 1.0 - quality[:, measured]
    after = calibrate(replace(answers, quality=quality), seed=2)
    thresholds = [[one.threshold for one in found.calibrator.promises] for found in (before, after)]
    assert thresholds[0] == thresholds[1]
    assert any(one is not None for one in thresholds[0])
    assert before.calibrator.lines == after.calibrator.lines


def test_next_to_no_queries_are_refused() -> None:
    with pytest.raises(TableError, match="19 different queries"):
        calibrate(some_answers(19))


def test_the_command_promises_by_default_what_the_function_does() -> None:
    options = build_parser(["calibrate"]).parse_args(["calibrate", "table.parquet", "--predictor", "folder"])
    assert (options.epsilon, options.tradeoff) == (EPSILONS, TRADEOFFS)
