from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import SettingError
from curveroute.agent.posterior import Belief, observe, truncate
from curveroute.agent.types import Arm, ModelId

ARMS = tuple(Arm(ModelId(model), budget) for model in ("a", "b") for budget in (16, 64, None))
verdicts = st.lists(
    st.tuples(st.integers(0, 5), st.floats(0, 1), st.sampled_from([0.0, 1e-6, 0.05, 0.25]), st.booleans()), max_size=8
)


@st.composite
def beliefs(draw: Any) -> Belief:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    factor = rng.normal(size=(6, draw(st.integers(1, 8)))) * draw(st.sampled_from([1e-4, 0.1, 0.4]))
    return Belief(rng.uniform(size=6), factor @ factor.T)


@given(beliefs(), verdicts)
def test_a_belief_stays_a_belief_whatever_is_seen(belief: Belief, seen: list[tuple[int, float, float, bool]]) -> None:
    largest = float(np.trace(belief.covariance))
    for index, value, noise, cut in seen:
        before = belief.std
        belief = truncate(belief, index, ARMS, value) if cut else observe(belief, index, value, noise=noise)
        assert ((belief.mean >= 0) & (belief.mean <= 1)).all()
        np.testing.assert_array_equal(belief.covariance, belief.covariance.T)
        assert np.linalg.eigvalsh(belief.covariance).min() >= -1e-9 * max(largest, 1e-3)
        assert (belief.std <= before + 1e-9).all()


@given(beliefs(), st.integers(0, 5), st.floats(0, 1))
def test_a_sure_verdict_is_what_is_believed_of_its_arm(belief: Belief, index: int, value: float) -> None:
    after = observe(belief, index, value)
    assert after.mean[index] == value
    assert after.std[index] == 0.0
    again = observe(after, (index + 1) % 6, 1.0)
    assert again.mean[index] == value


def test_conditioning_is_that_of_the_joint_normal() -> None:
    covariance = np.array([[0.2, 0.1, 0.0], [0.1, 0.3, 0.05], [0.0, 0.05, 0.1]])
    after = observe(Belief(np.array([0.5, 0.4, 0.6]), covariance), 0, 0.9, noise=0.05)
    gain = covariance[:, 0] / 0.25
    np.testing.assert_allclose(after.mean, [0.5 + 0.8 * 0.4, 0.4 + 0.4 * 0.4, 0.6])
    np.testing.assert_allclose(after.covariance, covariance - 0.25 * np.outer(gain, gain), atol=1e-15)


def test_noise_softens_a_verdict() -> None:
    belief = Belief(np.full(2, 0.5), np.array([[0.2, 0.1], [0.1, 0.2]]))
    sure, unsure = (observe(belief, 0, 0.0, noise=noise) for noise in (0.0, 0.2))
    assert sure.mean[0] < unsure.mean[0] < 0.5
    assert sure.mean[1] < unsure.mean[1] < 0.5


def test_a_verdict_on_a_certain_arm_moves_no_other() -> None:
    belief = Belief(np.array([0.5, 0.5]), np.diag([0.0, 0.2]))
    after = observe(belief, 0, 1.0)
    assert after.mean.tolist() == [1.0, 0.5]
    assert belief.mean.tolist() == [0.5, 0.5]


@given(beliefs(), st.integers(0, 5))
def test_truncation_speaks_of_the_budget_and_not_of_the_model(belief: Belief, index: int) -> None:
    after = truncate(belief, index, ARMS, 0.0)
    limit = ARMS[index].budget or np.inf
    for at, arm in enumerate(ARMS):
        if arm.model == ARMS[index].model and (arm.budget or np.inf) <= limit:
            assert after.mean[at] == 0.0
        else:
            assert after.mean[at] == belief.mean[at]
            assert after.std[at] == belief.std[at]


def test_a_truncated_arm_stays_truncated_when_its_model_proves_good() -> None:
    belief = Belief(np.full(6, 0.5), np.full((6, 6), 0.1) + 0.1 * np.eye(6))
    after = observe(truncate(belief, 1, ARMS, 0.0), 2, 1.0)
    assert after.mean[:3].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(("value", "noise"), [(1.5, 0.0), (float("nan"), 0.0), (0.5, -1.0), (0.5, float("nan"))])
def test_a_verdict_out_of_range_is_refused(value: float, noise: float) -> None:
    with pytest.raises(SettingError, match="verdict"):
        observe(Belief(np.full(2, 0.5), np.eye(2)), 0, value, noise=noise)
