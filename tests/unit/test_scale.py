"""The scale of verdicts: probabilities that come true, in an order that never turns."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import PredictorError
from curveroute.agent.verify.answers import QueryKind
from curveroute.agent.verify.conformal import Measured, Promise
from curveroute.agent.verify.scale import EDGE, Calibrator, Line, fit_calibrator, reliability_of

KINDS: tuple[QueryKind, ...] = get_args(QueryKind)
LINES = st.builds(Line, st.floats(0.0, 5.0), st.floats(-5.0, 5.0), st.integers(0, 9))
CALIBRATORS = st.builds(Calibrator, st.dictionaries(st.sampled_from(KINDS), LINES), LINES)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def examples(queries: int, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and answers that are right as often as another line says."""
    random = np.random.default_rng(seed)
    odds = random.normal(0.5, 1.5, queries)
    return sigmoid(odds), (random.random(queries) < sigmoid(slope * odds + intercept)).astype(float)


@given(calibrator=CALIBRATORS, kind=st.sampled_from(KINDS), scores=st.lists(st.floats(0.0, 1.0), min_size=2))
def test_the_order_of_scores_never_turns(calibrator: Calibrator, kind: QueryKind, scores: list[float]) -> None:
    scaled = [calibrator.scaled(score, kind) for score in sorted(scores)]
    assert scaled == sorted(scaled)
    assert all(0.0 <= one <= 1.0 for one in scaled)


@given(calibrator=CALIBRATORS, kind=st.sampled_from(KINDS), score=st.floats(0.0, 1.0))
def test_one_score_and_many_are_scaled_alike(calibrator: Calibrator, kind: QueryKind, score: float) -> None:
    """To the last bit: a threshold is read off many scores, and each answer of a run is held against it alone."""
    many = calibrator.scaled_many(np.array([[score, np.nan]] * 3), [kind, kind])
    assert many.shape == (3, 2)
    assert (many[:, 0] == calibrator.scaled(score, kind)).all()
    assert np.isnan(many[:, 1]).all()


def test_the_identity_changes_nothing() -> None:
    assert [Calibrator.identity().scaled(score, "text") for score in (0.0, 1e-9, 0.3, 1.0)] == [0.0, 1e-9, 0.3, 1.0]


def test_what_claims_nothing_stays_at_nothing() -> None:
    calibrator = Calibrator({}, Line(0.1, 3.0))
    assert calibrator.scaled(0.0, "list") == 0.0
    assert calibrator.scaled(EDGE / 10.0, "list") == calibrator.scaled(EDGE, "list")


def test_a_jury_without_a_doubt_is_believed_no_further_than_the_line_goes() -> None:
    """In single precision a sure jury says 1; where its sureness means nothing, that means nothing either."""
    assert Calibrator({}, Line(0.0, -1.0)).scaled(1.0, "text") == Calibrator({}, Line(0.0, -1.0)).scaled(0.3, "text")
    assert Calibrator({}, Line(0.5, 0.0)).scaled(1.0, "text") == pytest.approx(0.99, abs=1e-3)
    assert Calibrator.identity().scaled(1.0, "text") == 1.0


def test_each_kind_gets_the_line_that_its_answers_lie_on() -> None:
    sure, doubtful = examples(4000, 2.0, 1.0), examples(4000, 0.5, -1.0, seed=1)
    scores, right = np.concatenate((sure[0], doubtful[0])), np.concatenate((sure[1], doubtful[1]))
    kinds: list[QueryKind] = ["number"] * 4000 + ["choice"] * 4000
    fit = fit_calibrator(scores, right, kinds, np.arange(8000))
    number, choice = fit.calibrator.lines["number"], fit.calibrator.lines["choice"]
    assert (number.slope, number.intercept) == pytest.approx((2.0, 1.0), abs=0.25)
    assert (choice.slope, choice.intercept) == pytest.approx((0.5, -1.0), abs=0.15)
    assert (number.answers, choice.answers) == (4000, 4000)
    assert np.mean((fit.left_out - right) ** 2) < np.mean((scores - right) ** 2)


def test_few_answers_of_a_kind_keep_near_the_common_line() -> None:
    many, few = examples(3000, 2.0, 1.0), examples(10, 2.0, 1.0, seed=5)
    kinds: list[QueryKind] = ["number"] * 3000 + ["json"] * 10
    scores = np.concatenate((many[0], few[0]))
    right = np.concatenate((many[1], 1.0 - np.round(few[0])))  # all of the few are on the wrong side
    calibrator = fit_calibrator(scores, right, kinds, np.arange(3010)).calibrator
    common = calibrator.common
    assert (common.slope, common.intercept) == pytest.approx((2.0, 1.0), abs=0.3)
    assert calibrator.scaled(0.8, "yesno") == pytest.approx(
        1.0 / (1.0 + math.exp(-common.slope * math.log(4.0) - common.intercept))
    )
    own = calibrator.lines["json"]
    assert own.is_identity or 0.5 < own.slope < common.slope


def test_a_kind_whose_scores_are_already_right_is_left_alone() -> None:
    left = 0
    for seed in range(20):
        scores, right = examples(150, 1.0, 0.0, seed)
        left += fit_calibrator(scores, right, ["text"] * 150, np.arange(150)).calibrator.lines["text"].is_identity
    assert left >= 15


def test_scores_that_mislead_are_flattened_and_never_turned_round() -> None:
    scores, right = examples(2000, -1.5, 0.4)
    line = fit_calibrator(scores, right, ["list"] * 2000, np.arange(2000)).calibrator.lines["list"]
    assert line.slope == 0.0
    assert 1.0 / (1.0 + math.exp(-line.intercept)) == pytest.approx(right.mean(), abs=0.02)


def test_a_query_counts_once_however_often_it_was_answered() -> None:
    scores, right = examples(500, 2.0, 1.0)
    once = fit_calibrator(scores, right, ["text"] * 500, np.arange(500)).calibrator
    thrice = fit_calibrator(
        np.tile(scores, 3), np.tile(right, 3), ["text"] * 1500, np.tile(np.arange(500), 3)
    ).calibrator
    assert thrice.lines["text"].slope == pytest.approx(once.lines["text"].slope)
    assert thrice.lines["text"].answers == 500


def test_answers_are_left_out_together_with_their_query() -> None:
    """Copies of one query would betray their answer to one another if they stood in different folds."""
    scores, right = np.full(60, 0.5), np.repeat(np.random.default_rng(0).integers(0, 2, 6), 10).astype(float)
    fit = fit_calibrator(scores, right, ["text"] * 60, np.repeat(np.arange(6), 10))
    assert np.mean((fit.left_out - right) ** 2) >= 0.25 - 1e-9


@pytest.mark.parametrize("scores", [[], [np.nan, 0.0], [0.7]])
def test_next_to_nothing_leaves_scores_as_they_are(scores: list[float]) -> None:
    n = len(scores)
    fit = fit_calibrator(np.array(scores), np.ones(n), ["text"] * n, np.arange(n))
    assert fit.calibrator.scaled(0.4, "text") == 0.4
    assert fit.calibrator.promises == ()


def test_reliability_is_the_share_of_the_prior_s_error_that_looking_takes_away() -> None:
    right = np.array([1.0, 0.0, 1.0, np.nan])
    assert reliability_of(right, right, np.full(4, 0.5)) == 1.0
    assert reliability_of(np.full(4, 0.5), right, np.full(4, 0.5)) == 0.0
    assert reliability_of(1.0 - right, right, np.full(4, 0.5)) == 0.0


def promise(tradeoff: float, epsilon: float, threshold: float | None) -> Promise:
    measured = None if threshold is None else Measured(100, 50, 0.01, 0.0, 0.05)
    return Promise(tradeoff, epsilon, 0.1, threshold, "" if threshold else "too few", 200, measured)


def test_the_laxest_promise_within_the_error_is_found_and_the_stricter_of_two_tradeoffs() -> None:
    made = (
        promise(0.1, 0.05, 0.9), promise(0.1, 0.1, 0.7), promise(0.1, 0.2, 0.5),
        promise(0.5, 0.05, None), promise(0.5, 0.1, 0.8), promise(0.5, 0.2, 0.4),
    )  # fmt: skip
    calibrator = Calibrator({}, promises=made)
    assert calibrator.promise(0.15, 0.1) is made[1]
    assert calibrator.promise(0.15, 0.3) is made[4]
    assert calibrator.promise(0.2, 0.3) is made[2]
    assert calibrator.promise(0.05, 0.5) is None
    assert calibrator.promise(0.05, 0.3) is None
    assert calibrator.promise(0.2, 0.6) is None
    assert calibrator.promise(0.01, 0.1) is None
    assert Calibrator.identity().promise(0.5, 0.3) is None


@given(calibrator=CALIBRATORS, reliability=st.none() | st.floats(0.0, 1.0))
def test_a_calibrator_is_stored_and_read_back(calibrator: Calibrator, reliability: float | None) -> None:
    whole = Calibrator(calibrator.lines, calibrator.common, reliability, (promise(0.1, 0.05, 0.9),))
    assert Calibrator.from_json(whole.to_json()) == whole


@pytest.mark.parametrize(
    "stored",
    [
        None,
        {},
        {"lines": {}, "common": None, "promises": []},
        {"lines": {"poem": {}}, "common": {"slope": 1, "intercept": 0, "answers": 0}, "promises": []},
        {"lines": {}, "common": {"slope": -1.0, "intercept": 0, "answers": 0}, "promises": []},
        {"lines": {}, "common": {"slope": float("nan"), "intercept": 0, "answers": 0}, "promises": []},
        {"lines": {}, "common": {"slope": 1.0, "intercept": 0, "answers": 0.5}, "promises": []},
        {"lines": {}, "common": {"slope": 1, "intercept": 0, "answers": 0}, "promises": [3]},
        {"lines": {}, "common": {"slope": 1, "intercept": 0, "answers": 0}, "promises": [], "reliability": 7},
    ],
)
def test_a_damaged_calibrator_is_refused(stored: object) -> None:
    with pytest.raises(PredictorError, match=r"damaged: .*calibrate it again"):
        Calibrator.from_json(stored)  # type: ignore[arg-type]
