"""Learning from feedback: one row more is one row more, in any order, and never one row twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.errors import PredictorError
from curveroute.agent.predictor import CurveHeads, Predictor, lessons, load_predictor, save_predictor
from curveroute.agent.predictor.heads import shares_of
from curveroute.agent.predictor.lessons import Heard, Teacher, kinship, no_lessons
from curveroute.agent.predictor.onboard import onboard
from curveroute.agent.predictor.relearn import FEWEST_ROWS, Exam, relearn
from curveroute.agent.predictor.ridge import RidgePath
from curveroute.agent.predictor.spread import MOST_DIRECTIONS, flat_spread, spread_of
from curveroute.agent.predictor.weigh import BELIEFS, compared
from curveroute.agent.types import Arm, ModelId, RunId

if TYPE_CHECKING:
    from pathlib import Path

    from curveroute.agent.decide import Floats

ONE = (Arm(ModelId("m"), 64),)
ARMS = tuple(Arm(ModelId(model), budget) for model in ("small", "big") for budget in (16, 64, None))
WIDTH = 6
SEEDS = st.integers(0, 2**32 - 1)


def heads_of(weights: Floats, bias: Floats, arms: tuple[Arm, ...], covariance: Floats | None = None) -> CurveHeads:
    """Quality heads as given; tokens do not matter."""
    count = len(arms)
    return CurveHeads(
        arms=arms,
        weights=np.vstack((weights, np.zeros_like(weights))).astype(np.float32),
        bias=np.concatenate((bias, np.zeros(count))).astype(np.float32),
        covariance=0.2 * np.eye(count) if covariance is None else covariance,
        most_tokens=np.full(count, 64.0),
        reference_cost_usd=1.0,
    )


def heard_of(rng: np.random.Generator, count: int, arms: tuple[Arm, ...] = ARMS, name: str = "r") -> Heard:
    x = rng.normal(size=(count, WIDTH)).astype(np.float32)
    served = tuple(arms[at] for at in rng.integers(0, len(arms), count))
    return Heard(tuple(RunId(f"{name}{at}") for at in range(count)), served, x, rng.random(count))


def a_teacher(seed: int) -> tuple[Teacher, CurveHeads, Any]:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(len(ARMS), len(ARMS)))
    heads = heads_of(rng.normal(size=(len(ARMS), WIDTH)), rng.random(len(ARMS)), ARMS, root @ root.T / 9 + np.eye(6))
    spread = spread_of(*RidgePath(rng.normal(size=(40, WIDTH)), rng.random((40, 1))).gram(), 40, 30.0)
    return Teacher(heads, spread, no_lessons(WIDTH)), heads, spread


def gap(one: CurveHeads, other: CurveHeads) -> float:
    return max(float(np.abs(one.weights - other.weights).max()), float(np.abs(one.bias - other.bias).max()))


def joined(*parts: Heard) -> Heard:
    return Heard(
        tuple(run for part in parts for run in part.runs),
        tuple(arm for part in parts for arm in part.arms),
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


@settings(max_examples=25)
@given(SEEDS, st.integers(1, 30), st.sampled_from([1.0, 30.0, 1000.0]))
def test_learning_is_ridge_regression_on_old_and_new_rows_together(seed: int, count: int, alpha: float) -> None:
    """For one arm, fitted plainly: the heads are those of a refit with the new rows in the table."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(40, WIDTH)), rng.random((40, 1))
    path = RidgePath(x, y)
    weights, bias = path.weights(alpha)
    heads, new = heads_of(weights, bias, ONE), heard_of(rng, count, ONE)
    learned, _ = Teacher(heads, spread_of(*path.gram(), 40, alpha), no_lessons(WIDTH)).teach(new, 1.0)
    both = np.vstack((x, new.x))
    design = np.column_stack((np.ones(len(both)), both))
    penalty = np.diag([0.0, *[alpha * path.scale] * WIDTH])
    expected = np.linalg.solve(design.T @ design + penalty, design.T @ np.concatenate((y[:, 0], new.scores)))
    np.testing.assert_allclose(learned.bias[0], expected[0], atol=2e-5)
    np.testing.assert_allclose(learned.weights[0], expected[1:], atol=2e-5)


@settings(max_examples=25)
@given(SEEDS, st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from(BELIEFS))
def test_any_number_of_steps_in_any_order_learns_the_same(seed: int, sizes: list[int], belief: float) -> None:
    teacher, heads, spread = a_teacher(seed)
    parts = [heard_of(np.random.default_rng((seed, at)), size, name=f"{at}-") for at, size in enumerate(sizes)]
    at_once, _ = teacher.teach(joined(*parts), belief)
    step, kept = heads, no_lessons(WIDTH)
    for part in reversed(parts):
        step, kept = Teacher(step, spread, kept).teach(part, belief)
    assert gap(step, at_once) < 1e-4
    assert kept.runs == {run for part in parts for run in part.runs}


@settings(max_examples=25)
@given(SEEDS)
def test_a_step_with_another_belief_is_as_if_it_had_been_that_all_along(seed: int) -> None:
    teacher, _, spread = a_teacher(seed)
    rng = np.random.default_rng(seed)
    first, second = heard_of(rng, 8, name="a"), heard_of(rng, 5, name="b")
    step, kept = teacher.teach(first, 10.0)
    step, _ = Teacher(step, spread, kept).teach(second, 0.3)
    assert gap(step, teacher.teach(joined(first, second), 0.3)[0]) < 1e-4


@settings(max_examples=25)
@given(SEEDS)
def test_what_was_learned_is_not_learned_twice_and_corrections_are_made(seed: int) -> None:
    teacher, _, spread = a_teacher(seed)
    rows = heard_of(np.random.default_rng(seed), 12)
    learned, kept = teacher.teach(rows, 1.0)
    again, still = Teacher(learned, spread, kept).teach(rows, 1.0)
    assert gap(again, learned) < 1e-5
    assert still.heard.runs == kept.heard.runs
    other = replace(rows, scores=1.0 - rows.scores)
    corrected, _ = Teacher(learned, spread, kept).teach(other, 1.0)
    assert gap(corrected, teacher.teach(other, 1.0)[0]) < 1e-4


def test_rows_that_are_let_go_of_stay_in_the_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, _, spread = a_teacher(1)
    rows = heard_of(np.random.default_rng(2), 30)
    whole, _ = teacher.teach(rows, 1.0)
    monkeypatch.setattr(lessons, "MOST_ROWS", 10)
    learned, kept = teacher.teach(rows, 1.0)
    assert gap(learned, whole) == 0.0
    assert (kept.heard.runs, kept.older) == (rows.runs[20:], rows.runs[:20])
    nothing, same = Teacher(learned, spread, kept).teach(rows, 1.0)
    assert gap(nothing, learned) < 1e-5
    assert len(same.runs) == 30


def test_an_arm_between_two_budgets_teaches_both() -> None:
    between = Arm(ModelId("small"), 40)
    np.testing.assert_allclose(shares_of(ARMS, [between]), [[0.5, 0.5, 0, 0, 0, 0]])
    teacher, heads, _ = a_teacher(3)
    row = Heard((RunId("r"),), (between,), np.ones((1, WIDTH), dtype=np.float32), np.array([1.0]))
    before = float(teacher.now(row)[0])
    learned, _ = teacher.teach(row, 0.1)
    after = learned.for_arms([between])
    score = float(row.x[0] @ after.weights[0] + after.bias[0])
    assert abs(score - 1.0) < abs(before - 1.0)
    assert np.array_equal(learned.weights[len(ARMS) :], heads.weights[len(ARMS) :])  # tokens are not scored


@settings(max_examples=25)
@given(SEEDS)
def test_a_lesson_is_mostly_of_the_query_and_all_of_it_of_the_arm_itself(seed: int) -> None:
    _, heads, _ = a_teacher(seed)
    kin = kinship(heads)
    np.testing.assert_allclose(np.diagonal(kin), 1.0)
    assert (kin >= 0.5 - 1e-9).all()
    assert np.linalg.eigvalsh(kin).min() > -1e-9


@settings(max_examples=25)
@given(SEEDS, st.integers(2, 200))
def test_a_spread_is_the_precision_of_the_heads(seed: int, rows: int) -> None:
    """Exact below 64 dimensions; the mean of the rest above."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH)) * np.arange(1, WIDTH + 1)
    path = RidgePath(x, rng.random((rows, 1)))
    spread = spread_of(*path.gram(), rows, 7.0)
    apart = rng.normal(size=(3, WIDTH))
    centred = x - x.mean(axis=0)
    precision = centred.T @ centred + 7.0 * path.scale * np.eye(WIDTH)
    np.testing.assert_allclose(spread.eased(apart), np.linalg.solve(precision, apart.T).T, rtol=2e-3, atol=1e-6)


def test_a_wide_spread_keeps_its_trace() -> None:
    x = np.random.default_rng(0).normal(size=(300, 100))
    centre, directions, spectrum = RidgePath(x, np.zeros((300, 1))).gram()
    spread = spread_of(centre, directions, spectrum, 300, 1.0)
    assert spread.directions.shape == (MOST_DIRECTIONS, 100)
    assert spread.spectrum.sum() + spread.rest * 36 == pytest.approx(spectrum.sum())


# The whole predictor.


def answers(rng: np.random.Generator, count: int, hard: float = 0.0) -> tuple[Floats, Floats]:
    """Queries, and how good six arms are at them; ``hard`` queries lie elsewhere and few arms can do them."""
    x = rng.normal(size=(count, 12))
    x[:, 11] = 2.0 * hard
    chance = 0.7 + 0.15 * x[:, :1] - 0.4 * hard + 0.05 * np.arange(6)
    return x, (rng.random((count, 6)) < chance).astype(np.float64)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    rng = np.random.default_rng(0)
    x, quality = answers(rng, 400)
    tokens = np.full(quality.shape, 9.0)
    cost = np.broadcast_to([0.1, 0.2, 0.3, 1.0, 2.0, 3.0], quality.shape)
    return Predictor(embedder="e").fit(x, quality, tokens, cost_usd=cost, arms=ARMS)


@pytest.fixture(scope="module")
def learned(predictor: Predictor) -> Predictor:
    came = relearn(predictor, feedback(200), np.arange(200))
    assert came.objection == ""
    return came.predictor


def feedback(count: int, seed: int = 1, hard: float = 1.0) -> Heard:
    rng = np.random.default_rng(seed)
    x, quality = answers(rng, count, hard)
    served = rng.integers(0, 6, count)
    runs = tuple(RunId(f"{seed}-{at}") for at in range(count))
    return Heard(runs, tuple(ARMS[at] for at in served), x.astype(np.float32), quality[np.arange(count), served])


def brier(predictor: Predictor, hard: float) -> float:
    x, quality = answers(np.random.default_rng(99), 2000, hard)
    return float(np.square(predictor.predict(x).quality - quality).mean())


def test_feedback_on_another_kind_of_query_makes_it_better_there_and_hardly_worse_elsewhere(
    predictor: Predictor,
) -> None:
    came = relearn(predictor, feedback(300), np.arange(300))
    assert came.objection == ""
    assert came.weighed.heads.brier[1] < came.weighed.heads.brier[0]
    assert brier(came.predictor, 1.0) < brier(predictor, 1.0) - 0.05
    assert brier(came.predictor, 0.0) < brier(predictor, 0.0) + 0.01


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["uniform", "coin", "shuffled"])
def test_scores_that_go_with_nothing_are_refused(predictor: Predictor, seed: int, kind: str) -> None:
    heard, rng = feedback(300, seed, hard=0.0), np.random.default_rng(seed)
    scores = {
        "uniform": rng.random(300),
        "coin": (rng.random(300) < 0.5).astype(np.float64),
        "shuffled": rng.permutation(heard.scores),
    }
    came = relearn(predictor, replace(heard, scores=scores[kind]), np.arange(300))
    assert came.objection
    assert came.predictor is predictor


def test_what_is_known_already_teaches_nothing(predictor: Predictor) -> None:
    heard = feedback(100)
    known = (predictor.predict(heard.x).quality * shares_of(ARMS, heard.arms)).sum(axis=1)
    came = relearn(predictor, replace(heard, scores=known), np.arange(100))
    assert "more than luck" in came.objection
    assert came.predictor is predictor


def test_a_table_on_which_the_error_rises_is_an_objection_unless_it_is_tolerated(predictor: Predictor) -> None:
    rng = np.random.default_rng(5)
    x, _ = answers(rng, 500, hard=1.0)
    exam = Exam(x, np.ones((500, 6)))  # there all are right, whatever the feedback says
    came = relearn(predictor, feedback(300), np.arange(300), exam=exam)
    assert "on the table" in came.objection
    assert came.exam is not None
    assert came.exam.brier[1] > came.exam.brier[0]
    assert relearn(predictor, feedback(300), np.arange(300), exam=replace(exam, tolerance=9.0)).objection == ""


def test_the_same_feedback_is_not_learned_twice(learned: Predictor) -> None:
    first, more = feedback(200, 1), feedback(200, 2)
    with pytest.raises(PredictorError, match=f"0 runs with feedback to learn from, and {FEWEST_ROWS}"):
        relearn(learned, first, np.arange(200))
    came = relearn(learned, joined(first, more), np.arange(400))
    assert came.weighed.heads.rows == 200  # judged on what it had not seen
    assert came.corrected == 0


def test_queries_of_the_same_text_are_not_judged_by_themselves(predictor: Predictor) -> None:
    """One query, said to be bad a hundred times: nothing can be predicted without it."""
    one = feedback(1)
    many = Heard(
        tuple(RunId(f"r{at}") for at in range(100)), one.arms * 100, np.repeat(one.x, 100, axis=0), np.zeros(100)
    )
    assert relearn(predictor, many, np.zeros(100, dtype=np.intp)).objection
    with pytest.raises(PredictorError, match="dimensions"):
        relearn(predictor, replace(many, x=many.x[:, :5]), np.arange(100))


def test_what_it_learned_is_read_back_bit_for_bit(learned: Predictor, tmp_path: Path) -> None:
    back = load_predictor(save_predictor(learned, tmp_path / "p"))
    assert gap(back.heads_, learned.heads_) == 0.0
    assert back.lessons_ is not None
    assert learned.lessons_ is not None
    assert (back.lessons_.heard.runs, back.lessons_.belief) == (learned.lessons_.heard.runs, learned.lessons_.belief)
    more = joined(feedback(200), feedback(200, 2))
    again, same = (relearn(one, more, np.arange(400)).predictor for one in (back, learned))
    assert gap(again.heads_, same.heads_) == 0.0


def test_a_predictor_of_before_learns_as_if_its_queries_lay_evenly(predictor: Predictor, tmp_path: Path) -> None:
    from copy import copy

    old = copy(predictor)
    old.spread_ = None
    back = load_predictor(save_predictor(old, tmp_path / "p"))
    assert back.spread_ is None
    came = relearn(back, feedback(300), np.arange(300))
    assert came.objection == ""
    assert came.predictor.spread_ is not None
    assert brier(came.predictor, 1.0) < brier(predictor, 1.0) - 0.05
    assert flat_spread(np.zeros((3, 2)), 9.0).penalty > 0.0


def test_a_model_joins_a_predictor_that_has_learned(learned: Predictor) -> None:
    x, quality = answers(np.random.default_rng(7), 100)
    tokens = np.full((100, 2), 9.0)
    arms = [Arm(ModelId("new"), budget) for budget in (16, 64)]
    both = onboard(learned, x, quality[:, :2], tokens, cost_usd=tokens, arms=arms)
    assert np.array_equal(both.predict(x).quality[:, :6], learned.predict(x).quality)
    with pytest.raises(PredictorError, match="0 runs"):
        relearn(both, feedback(200), np.arange(200))
    assert relearn(both, joined(feedback(200), feedback(200, 2)), np.arange(400)).weighed.heads.rows == 200


def test_two_predictions_are_compared_by_queries_and_not_by_rows() -> None:
    scores, first, second = np.tile([0.0, 1.0], 50), np.full(100, 0.5), np.tile([0.4, 0.55], 50)
    apart = compared(first, second, scores, np.arange(100))
    together = compared(first, second, scores, np.arange(100) % 2)
    assert apart.gain == together.gain == pytest.approx(0.06875)
    assert together.gain_se > 5 * apart.gain_se
    assert apart.better
    assert not apart.worse()
    assert compared(second, first, scores, np.arange(100)).worse()


@pytest.mark.parametrize("damage", ["runs", "arms", "belief", "tensor", "spread"])
def test_damaged_lessons_are_refused(learned: Predictor, damage: str) -> None:
    from curveroute.agent.predictor import keep_lessons

    document: Any = keep_lessons.lessons_document(learned.lessons_)
    tensors = keep_lessons.lessons_tensors(learned.spread_, learned.lessons_)
    spread: Any = keep_lessons.spread_document(learned.spread_)
    if damage == "runs":
        document["runs"].pop()
    elif damage == "arms":
        document["arms"][0] = {"model": 3}
    elif damage == "belief":
        document["belief"] = 0
    elif damage == "tensor":
        tensors["lessons_residual"] = tensors["lessons_residual"] * np.nan
    else:
        spread["penalty"] = -1.0

    def read() -> None:
        keep_lessons.read_lessons(document, tensors, 12)
        keep_lessons.read_spread(spread, tensors, 12)

    with pytest.raises(PredictorError):
        read()
