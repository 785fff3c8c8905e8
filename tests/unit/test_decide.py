from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.decide import LinearDecider, choose, choose_many, pareto, rank, score
from curveroute.agent.errors import RunError, SettingError

NAN = float("nan")

# Grids, so that scores that are equal on paper are told apart by rounding only where any choice is right.
qualities = st.integers(0, 20).map(lambda k: k / 20)
costs = st.integers(0, 50).map(lambda k: k / 1000)
tradeoffs = st.integers(0, 100).map(lambda k: k / 100)
pools = st.lists(st.tuples(qualities, costs), min_size=1, max_size=12)


def split(pool: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([q for q, _ in pool]), np.array([c for _, c in pool])


@given(pools, tradeoffs, tradeoffs)
def test_raising_the_tradeoff_never_picks_a_dearer_arm(pool: list[tuple[float, float]], one: float, two: float) -> None:
    quality, cost = split(pool)
    low, high = min(one, two), max(one, two)
    cheap = choose(quality, cost, tradeoff=high, reference_cost_usd=0.05)
    assert cost[cheap] <= cost[choose(quality, cost, tradeoff=low, reference_cost_usd=0.05)]


@given(pools)
def test_at_the_ends_the_best_and_the_cheapest_arm_win(pool: list[tuple[float, float]]) -> None:
    quality, cost = split(pool)
    best = choose(quality, cost, tradeoff=0, cost_unit="usd")
    assert quality[best] == quality.max()
    assert cost[best] == cost[quality == quality.max()].min()
    cheapest = choose(quality, cost, tradeoff=1, cost_unit="usd")
    assert cost[cheapest] == cost.min()
    assert quality[cheapest] == quality[cost == cost.min()].max()


@given(pools, tradeoffs, st.floats(1e-6, 1e3))
def test_pool_units_make_the_choice_independent_of_the_currency(
    pool: list[tuple[float, float]], tradeoff: float, scale: float
) -> None:
    quality, cost = split(pool)
    one = score(quality, cost, tradeoff=tradeoff, reference_cost_usd=0.05)
    other = score(quality, cost * scale, tradeoff=tradeoff, reference_cost_usd=0.05 * scale)
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@given(pools, tradeoffs)
def test_rank_starts_with_the_choice_and_never_rises(pool: list[tuple[float, float]], tradeoff: float) -> None:
    quality, cost = split(pool)
    order = rank(quality, cost, tradeoff=tradeoff, reference_cost_usd=0.05)
    scores = score(quality, cost, tradeoff=tradeoff, reference_cost_usd=0.05)
    assert order[0] == choose(quality, cost, tradeoff=tradeoff, reference_cost_usd=0.05)
    assert sorted(order.tolist()) == list(range(len(pool)))
    assert (np.diff(scores[order]) <= 0).all()


@given(pools, tradeoffs)
def test_the_best_score_is_always_on_the_pareto_front(pool: list[tuple[float, float]], tradeoff: float) -> None:
    quality, cost = split(pool)
    front = pareto(quality, cost)
    scores = score(quality, cost, tradeoff=tradeoff, cost_unit="usd")
    assert scores[front].max() == scores.max()
    assert (np.diff(cost[front]) > 0).all()
    assert (np.diff(quality[front]) > 0).all()
    for q, c in pool:
        assert any(quality[at] >= q and cost[at] <= c for at in front)


@given(
    st.lists(pools.filter(lambda pool: len(pool) >= 3).map(lambda pool: pool[:3]), min_size=1, max_size=6), tradeoffs
)
def test_many_choices_are_single_choices(rows: list[list[tuple[float, float]]], tradeoff: float) -> None:
    quality = np.array([[q for q, _ in row] for row in rows])
    cost = np.array([[c for _, c in row] for row in rows])
    many = choose_many(quality, cost, tradeoff=tradeoff, cost_unit="usd")
    assert many.tolist() == [
        choose(q, c, tradeoff=tradeoff, cost_unit="usd") for q, c in zip(quality, cost, strict=True)
    ]


def test_ties_go_to_the_cheaper_then_the_better_then_the_first_arm() -> None:
    assert choose([0.5, 0.5], [2.0, 1.0], tradeoff=0, cost_unit="usd") == 1
    assert choose([0.5, 0.9, 0.9], [0.0, 0.0, 0.0], tradeoff=1, cost_unit="usd") == 1
    assert choose([0.5, 0.5], [1.0, 1.0], tradeoff=0.5, cost_unit="usd") == 0


def test_qualities_are_clipped() -> None:
    assert choose([1.7, 1.0], [2.0, 1.0], tradeoff=0, cost_unit="usd") == 1
    assert score([-3.0], [0.0], tradeoff=0, cost_unit="usd") == 0.0


@pytest.mark.parametrize("tradeoff", [0.0, 0.3, 1.0])
def test_an_arm_without_an_estimate_is_never_chosen(tradeoff: float) -> None:
    quality, cost = [NAN, 0.1, 0.9, 0.9], [0.0, 0.2, NAN, np.inf]
    assert choose(quality, cost, tradeoff=tradeoff, cost_unit="usd") == 1
    assert rank(quality, cost, tradeoff=tradeoff, cost_unit="usd").tolist() == [1]
    assert pareto(quality, cost).tolist() == [1]
    assert choose_many([quality] * 2, cost, tradeoff=tradeoff, cost_unit="usd").tolist() == [1, 1]


def test_masked_arms_are_never_chosen() -> None:
    eligible = [False, True, True]
    assert choose([0.9, 0.5, 0.4], [0.0, 0.0, 0.0], tradeoff=0, cost_unit="usd", eligible=eligible) == 1
    assert pareto([0.9, 0.5, 0.4], [0.0, 0.0, 0.0], eligible).tolist() == [1]
    rows = choose_many([[0.9, 0.5], [0.9, 0.5]], [0, 0], tradeoff=0, cost_unit="usd", eligible=[[1, 1], [0, 1]])
    assert rows.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("quality", "eligible"), [([NAN, NAN], None), ([0.5, 0.5], [False, False]), ([NAN, 0.5], [True, False]), ([], None)]
)
def test_nothing_to_choose_is_an_error_that_says_so(quality: list[float], eligible: Any) -> None:
    cost = np.zeros(len(quality))
    with pytest.raises(RunError, match="can be chosen"):
        choose(quality, cost, tradeoff=0.5, cost_unit="usd", eligible=eligible)
    with pytest.raises(RunError, match="can be chosen"):
        choose_many([quality], cost, tradeoff=0.5, cost_unit="usd", eligible=eligible)
    assert rank(quality, cost, tradeoff=0.5, cost_unit="usd", eligible=eligible).size == 0


@pytest.mark.parametrize("tradeoff", [-0.1, 1.1, NAN, np.inf])
def test_a_tradeoff_outside_its_range_is_refused(tradeoff: float) -> None:
    with pytest.raises(SettingError, match="tradeoff"):
        score([0.5], [1.0], tradeoff=tradeoff, cost_unit="usd")


@pytest.mark.parametrize("reference", [None, 0.0, -1.0, NAN, np.inf])
def test_pool_units_need_a_reference_cost(reference: float | None) -> None:
    with pytest.raises(SettingError, match="reference_cost_usd"):
        choose([0.5], [1.0], tradeoff=0.5, reference_cost_usd=reference)


def test_an_unknown_cost_unit_is_refused() -> None:
    unknown: Any = "eur"
    with pytest.raises(SettingError, match="eur"):
        score([0.5], [1.0], tradeoff=0.5, cost_unit=unknown)


def decider(**changes: Any) -> LinearDecider:
    given: dict[str, Any] = {
        "coef": [[1.0, 0.0], [0.0, 1.0], [100.0, 0.0]],
        "intercept": [0.0, 0.0, 10.0],
        "input_price": [1.0, 1.0],
        "output_price": [1.0, 2.0],
        "tokens": [10, NAN],
        "cost_unit": "usd",
    }
    return LinearDecider(**{**given, **changes})


def test_a_linear_decider_charges_predicted_tokens() -> None:
    cheap_second = [-1.0, 0.2]  # the token head predicts -90 tokens: nothing is charged
    assert decider().decide(cheap_second, input_tokens=5, tradeoff=1.0) == 1
    assert decider().decide([0.3, 0.2], input_tokens=5, tradeoff=1.0) == 0


def test_a_linear_decider_takes_an_empty_batch() -> None:
    assert decider().decide_many(np.empty((0, 2)), input_tokens=1, tradeoff=0.5).size == 0


def test_a_linear_decider_refuses_what_does_not_fit() -> None:
    with pytest.raises(SettingError, match="one head per arm"):
        decider(intercept=[0.0, 0.0])
    with pytest.raises(SettingError, match="one head per arm"):
        decider(tokens=[10, 20])
    with pytest.raises(SettingError, match="dimensions"):
        decider().decide([1.0, 2.0, 3.0], input_tokens=1, tradeoff=0.5)
    with pytest.raises(SettingError, match="dimensions"):
        decider().decide_many([1.0, 2.0], input_tokens=1, tradeoff=0.5)
    with pytest.raises(RunError, match="can be chosen"):
        decider().decide([NAN, NAN], input_tokens=1, tradeoff=0.5)
