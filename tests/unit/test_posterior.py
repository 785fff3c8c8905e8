"""Beliefs about all arms after verdicts: the conditional mean of a joint normal, and what truncation says."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import SettingError
from curveroute.agent.posterior import Heard, believed
from curveroute.agent.types import Arm, ModelId

ARMS = tuple(Arm(ModelId(model), budget) for model in ("a", "b") for budget in (16, 64, None))
scores = st.floats(0, 1)
verdicts = st.lists(st.builds(Heard, st.integers(0, 5), scores, st.booleans()), max_size=8)


class Prior(NamedTuple):
    mean: Any
    covariance: Any


@st.composite
def priors(draw: Any) -> Prior:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    factor = rng.normal(size=(6, draw(st.integers(1, 8)))) * draw(st.sampled_from([1e-4, 0.1, 0.4]))
    return Prior(rng.uniform(size=6), factor @ factor.T)


@given(priors(), verdicts)
def test_a_belief_stays_a_quality_whatever_was_heard(prior: Prior, heard: list[Heard]) -> None:
    before = prior.mean.copy()
    after = believed(*prior, heard, ARMS)
    assert after.shape == (6,)
    assert ((after >= 0) & (after <= 1)).all()
    np.testing.assert_array_equal(prior.mean, before)


@given(priors(), verdicts, st.randoms(use_true_random=False))
def test_the_order_of_verdicts_does_not_matter(prior: Prior, heard: list[Heard], random: Any) -> None:
    shuffled = list(heard)
    random.shuffle(shuffled)
    np.testing.assert_allclose(believed(*prior, shuffled, ARMS), believed(*prior, heard, ARMS), atol=1e-4)


@given(priors())
def test_nothing_heard_changes_nothing(prior: Prior) -> None:
    np.testing.assert_array_equal(believed(*prior, [], ARMS), prior.mean)


@given(priors(), st.integers(0, 5), st.sampled_from([0.0, 1.0]))
def test_a_sure_verdict_is_what_is_believed_of_its_arm(prior: Prior, index: int, score: float) -> None:
    doubt = prior.covariance[index, index]
    after = believed(*prior, [Heard(index, score)], ARMS)
    assert after[index] == pytest.approx(score, abs=1e-6 / (doubt + 1e-6) + 1e-9)


def test_conditioning_is_that_of_the_joint_normal() -> None:
    covariance = np.array([[0.2, 0.1, 0.0], [0.1, 0.3, 0.05], [0.0, 0.05, 0.1]])
    mean = np.array([0.5, 0.4, 0.6])
    after = believed(mean, covariance, [Heard(0, 0.8)], ARMS[:3])
    np.testing.assert_allclose(after, mean + covariance[:, 0] * 0.3 / (0.2 + 0.16))
    both = believed(mean, covariance, [Heard(0, 0.8), Heard(1, 0.1)], ARMS[:3])
    gain = covariance[:, :2] @ np.linalg.inv(covariance[:2, :2] + np.diag([0.16, 0.09]))
    np.testing.assert_allclose(both, mean + gain @ np.array([0.3, -0.3]))


def test_an_unsure_verdict_says_less() -> None:
    mean, covariance = np.full(2, 0.5), np.array([[0.2, 0.1], [0.1, 0.2]])
    sure, unsure = (believed(mean, covariance, [Heard(0, score)], ARMS[:2]) for score in (0.0, 0.3))
    assert 0.5 - sure[0] > (0.3 / 0.5) ** -1 * (0.5 - unsure[0]) > 0.0
    assert sure[1] < unsure[1] < 0.5


def test_two_verdicts_on_one_arm_say_more_than_one() -> None:
    mean, covariance = np.full(2, 0.5), np.array([[0.2, 0.1], [0.1, 0.2]])
    once, twice = (believed(mean, covariance, [Heard(0, 0.9)] * count, ARMS[:2]) for count in (1, 2))
    assert 0.5 < once[0] < twice[0] < 0.9
    assert 0.5 < once[1] < twice[1]


def test_a_verdict_on_an_arm_that_is_certain_or_apart_moves_no_other() -> None:
    after = believed(np.array([0.5, 0.5, 0.5]), np.diag([0.0, 0.2, 0.2]), [Heard(0, 1.0), Heard(1, 1.0)], ARMS[:3])
    np.testing.assert_allclose(after, [0.5, 1.0, 0.5], atol=1e-5)


@given(priors(), st.integers(0, 5), scores)
def test_truncation_lowers_its_model_up_to_its_budget_and_nothing_else(prior: Prior, index: int, score: float) -> None:
    after = believed(*prior, [Heard(index, score, cut=True)], ARMS)
    limit = ARMS[index].budget or np.inf
    for at, arm in enumerate(ARMS):
        short = arm.model == ARMS[index].model and (arm.budget or np.inf) <= limit
        assert after[at] == (min(prior.mean[at], score) if short else prior.mean[at])


@given(priors(), verdicts)
def test_truncated_answers_only_ever_lower(prior: Prior, heard: list[Heard]) -> None:
    whole = believed(*prior, [one for one in heard if not one.cut], ARMS)
    assert (believed(*prior, heard, ARMS) <= whole).all()


def test_a_truncated_arm_stays_truncated_when_its_model_proves_good() -> None:
    covariance = np.full((6, 6), 0.1) + 0.1 * np.eye(6)
    after = believed(np.full(6, 0.5), covariance, [Heard(2, 1.0), Heard(1, 0.0, cut=True)], ARMS)
    assert after[:2].tolist() == [0.0, 0.0]
    assert after[2] > 0.99


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("score", [1.5, -0.1, float("nan"), float("inf")])
def test_a_verdict_out_of_range_is_refused(score: float, cut: bool) -> None:
    with pytest.raises(SettingError, match="verdict"):
        believed(np.full(6, 0.5), np.eye(6), [Heard(3, 0.5), Heard(0, score, cut)], ARMS)
