"""Metrics: known cases by hand, and what must hold whatever the points are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curveroute.agent.evals.calibration import reliability
from curveroute.agent.evals.metrics import (
    aiq,
    apgr,
    audc,
    audc_envelope,
    best_within,
    compliance,
    cpt,
    gain_at_cost,
    honest_point,
    peak,
    qnc,
    qnc_ratio,
    regret,
    router_arena,
)

COST, QUALITY = np.array([4.0, 1.0, 2.0]), np.array([0.8, 0.4, 0.7])
shares = st.floats(0.0, 1.0, width=32)


@st.composite
def points(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(1, 8))
    cost = draw(arrays(np.float64, count, elements=st.floats(2.0**-10, 2.0**10, width=32)))
    return cost, draw(arrays(np.float64, count, elements=shares))


def test_gain_is_that_of_the_best_point_within_the_cost() -> None:
    assert gain_at_cost(COST, QUALITY, 0.5, 4.0, 0.8) == pytest.approx(-0.1)
    assert gain_at_cost(COST, QUALITY, 1.0, 4.0, 0.75) == pytest.approx(0.05)
    assert np.isnan(gain_at_cost(COST, QUALITY, 0.1, 4.0, 0.8))


def test_the_best_single_model_is_within_its_own_cost_although_replays_are_rounded() -> None:
    cost = np.float32(6.1593129e-4)
    assert gain_at_cost([float(cost)], [0.75], 1.0, 6.1593129e-4, 0.75) == 0.0
    assert qnc_ratio([1.0], [float(np.float32(0.7559312))], 1.0, 0.7559312) == 1.0


def test_the_envelope_is_flat_between_points_and_zero_before_them() -> None:
    assert audc_envelope(COST, QUALITY, 4.0) == pytest.approx((0.4 * 1 + 0.7 * 2) / 4)
    assert audc_envelope(COST, QUALITY, 8.0) == pytest.approx((0.4 * 1 + 0.7 * 2 + 0.8 * 4) / 8)
    assert audc_envelope([2.0], [0.9], 1.0) == 0.0


def test_qnc_ratio_is_the_cheapest_point_as_good_or_never() -> None:
    assert qnc_ratio(COST, QUALITY, 4.0, 0.7) == 0.5
    assert qnc_ratio(COST, QUALITY, 4.0, 0.9) == np.inf


def test_the_papers_audc_is_a_trapezoid_over_scaled_cost() -> None:
    assert audc(COST, QUALITY, 0.0, 4.0) == pytest.approx(0.25 * 0.55 + 0.5 * 0.75)
    assert audc([1.0], [0.9], 0.0, 4.0) == 0.0


def test_the_papers_qnc_is_a_scaled_cost_or_one() -> None:
    assert qnc(COST, QUALITY, 0.7, 0.0, 4.0) == 0.5
    assert qnc(COST, QUALITY, 0.7, 1.0, 4.0) == pytest.approx(1 / 3)
    assert qnc(COST, QUALITY, 0.9, 0.0, 4.0) == 1.0


def test_the_peak_is_told_at_its_lowest_cost() -> None:
    best, cost = peak([3.0, 2.0, 1.0], [0.8, 0.8, 0.1])
    assert (best, cost) == (0.8, 2.0)


def test_the_honest_point_is_the_cheapest_that_reaches_the_target_or_else_the_best() -> None:
    assert honest_point(COST, QUALITY, 0.65) == 2
    assert honest_point(COST, QUALITY, 0.75) == 0
    assert honest_point(COST, QUALITY, 0.99) == 0


def test_regret_is_what_the_oracle_gains_at_the_same_cost() -> None:
    assert regret(COST, QUALITY, [1.5, 4.0], [0.9, 1.0]) == pytest.approx([0.2, np.nan, 0.2], nan_ok=True)


def test_router_arena_joins_accuracy_and_log_cost() -> None:
    thrift = (np.log2(200) - np.log2(1.0)) / (np.log2(200) - np.log2(0.0044))
    assert router_arena(0.8, 1e-3) == pytest.approx(1.1 * 0.8 * thrift / (0.1 * 0.8 + thrift))
    assert router_arena([0.7, 0.7, 0.0], [4.4e-6, 0.0, 1.0]) == pytest.approx([1.1 * 0.7 / 1.07] * 2 + [0.0])


def test_aiq_is_the_mean_height_of_the_hull() -> None:
    assert aiq([0.0, 1.0, 2.0], [0.0, 0.2, 1.0]) == pytest.approx(0.5)
    assert aiq([0.0, 1.0, 2.0], [0.0, 0.8, 1.0]) == pytest.approx((0.4 + 0.9) / 2)
    assert aiq([0.0, 1.0, 2.0], [0.5, 0.8, 0.1]) == pytest.approx((0.65 + 0.8) / 2)
    assert aiq([1.0], [0.3]) == pytest.approx(0.3)


def test_apgr_of_random_mixing_is_about_a_half_and_of_an_oracle_one() -> None:
    share = np.linspace(0.0, 1.0, 11)
    assert apgr(share, 0.4 + 0.4 * share, 0.4, 0.8) == pytest.approx(0.55)
    assert apgr([0.05], [0.8], 0.4, 0.8) == pytest.approx(1.0)
    assert apgr([1.0], [0.8], 0.4, 0.8) == pytest.approx(0.1)
    assert np.isnan(apgr([1.0], [0.8], 0.8, 0.8))


def test_cpt_is_the_smallest_share_that_recovers_enough() -> None:
    share, quality = np.array([0.0, 0.3, 1.0]), np.array([0.4, 0.65, 0.8])
    assert cpt(share, quality, 0.4, 0.8, 0.5) == 0.3
    assert cpt(share, quality, 0.4, 0.8, 0.8) == 1.0
    assert cpt(share, quality * 0.9, 0.4, 0.8, 1.0) == np.inf


def test_compliance_allows_a_tenth_beyond_the_budget() -> None:
    assert compliance([100.0, 110.0, 111.0, np.nan], 100) == pytest.approx(2 / 3)
    assert np.isnan(compliance([np.nan], 100))


def test_a_ratio_to_nothing_is_undefined() -> None:
    assert np.isnan(audc_envelope([0.0, 0.0], [0.5, 0.6], 0.0))
    assert np.isnan(qnc_ratio([0.0], [0.6], 0.0, 0.5))
    assert gain_at_cost([0.0], [0.6], 1.0, 0.0, 0.5) == pytest.approx(0.1)


def test_calibration_by_hand() -> None:
    found = reliability([0.11, 0.19, 0.95, np.nan], [0.0, 1.0, 1.0, 1.0])
    assert found.error == pytest.approx((abs(0.30 - 1.0) + abs(0.95 - 1.0)) / 3)
    assert found.brier == pytest.approx((0.11**2 + 0.81**2 + 0.05**2) / 3)
    both = found + reliability([1.0], [0.0])
    assert both.error == pytest.approx((0.7 + abs(1.95 - 1.0)) / 4)


def test_no_estimates_have_no_error() -> None:
    none = reliability([], [])
    assert np.isnan(none.error)
    assert np.isnan(none.brier)


@given(points(), st.floats(1e-2, 1e3), st.floats(1e-2, 1e3), shares)
def test_every_metric_is_the_same_in_another_currency(
    given_points: tuple[np.ndarray, np.ndarray], c_star: float, rate: float, q_star: float
) -> None:
    cost, quality = given_points
    limits = cost / c_star
    if np.any(np.abs(limits - 1.0) < 1e-4) or np.any(np.abs(limits - 0.5) < 1e-4):
        return
    for metric in (
        lambda unit: audc_envelope(cost * unit, quality, c_star * unit),
        lambda unit: gain_at_cost(cost * unit, quality, 0.5, c_star * unit, q_star),
        lambda unit: qnc_ratio(cost * unit, quality, c_star * unit, q_star),
        lambda unit: audc(cost * unit, quality, 0.0, cost.max() * unit),
        lambda unit: aiq(cost * unit, quality),
    ):
        assert metric(rate) == pytest.approx(metric(1.0), rel=1e-6, abs=1e-9, nan_ok=True)


@given(points(), points(), st.floats(1e-2, 1e3), shares)
def test_one_more_point_never_lowers_what_a_policy_is_worth(
    first: tuple[np.ndarray, np.ndarray], more: tuple[np.ndarray, np.ndarray], c_star: float, q_star: float
) -> None:
    cost, quality = (np.concatenate(pair) for pair in zip(first, more, strict=True))
    assert audc_envelope(cost, quality, c_star) >= audc_envelope(*first, c_star) - 1e-12
    assert qnc_ratio(cost, quality, c_star, q_star) <= qnc_ratio(*first, c_star, q_star)
    assert peak(cost, quality)[0] >= peak(*first)[0]
    before, after = (gain_at_cost(*one, 0.5, c_star, q_star) for one in (first, (cost, quality)))
    assert np.isnan(before) or after >= before


@given(points(), st.floats(1e-2, 1e3), st.floats(1e-2, 1e3))
def test_more_money_never_buys_less(given_points: tuple[np.ndarray, np.ndarray], one: float, other: float) -> None:
    less, more = sorted((one, other))
    low, high = best_within(*given_points, less), best_within(*given_points, more)
    assert np.isnan(low) or high >= low


@given(points())
def test_the_hull_lies_between_the_worst_point_and_the_peak(given_points: tuple[np.ndarray, np.ndarray]) -> None:
    cost, quality = given_points
    assert quality.min() - 1e-9 <= aiq(cost, quality) <= quality.max() + 1e-9


def test_resamples_are_one_call() -> None:
    random = np.random.default_rng(0)
    cost, quality, c_star, q_star = random.random((6, 9)), random.random((6, 9)), random.random(6), random.random(6)
    for metric in (
        lambda i: audc_envelope(cost[i], quality[i], c_star[i]),
        lambda i: gain_at_cost(cost[i], quality[i], 0.5, c_star[i], q_star[i]),
        lambda i: qnc_ratio(cost[i], quality[i], c_star[i], q_star[i]),
        lambda i: qnc(cost[i], quality[i], q_star[i], 0.0, 1.0),
        lambda i: audc(cost[i], quality[i], 0.0, 1.0),
        lambda i: aiq(cost[i], quality[i]),
        lambda i: apgr(cost[i], quality[i], 0.1 * q_star[i], q_star[i]),
        lambda i: regret(cost[i], quality[i], cost[i] / 2, quality[i]),
        lambda i: honest_point(cost[i], quality[i], q_star[i]),
    ):
        assert metric(slice(None)) == pytest.approx(np.array([metric(row) for row in range(6)]), nan_ok=True)
