"""The paired bootstrap: the same as a naive loop, covering what it says, and claiming nothing of noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curveroute.agent.evals.bootstrap import (
    COMPARED,
    Difference,
    differences,
    draw,
    interval,
    means,
    over_seeds,
    resampled,
)
from curveroute.agent.evals.metrics import audc_envelope, gain_at_cost, peak
from curveroute.agent.evals.policy import Replay


def replay(seed: int, count: int, queries: int = 60) -> Replay:
    random = np.random.default_rng(seed)
    cost = random.random((count, queries)).astype(np.float32) + np.float32(0.1)
    return Replay(np.full(count, np.nan), cost, (random.random((count, queries)) < 0.6).astype(np.float32))


def test_every_resample_draws_as_many_queries_as_there_are() -> None:
    counts = draw(50, 3, resamples=20)
    assert counts.shape == (20, 50)
    assert (counts.sum(axis=1) == 50).all()
    assert (draw(50, 3, resamples=20) == counts).all()
    assert (draw(50, 4, resamples=20) != counts).any()


def test_it_is_what_a_loop_over_drawn_queries_gives() -> None:
    policy, constants, best = replay(0, 5), replay(1, 2), replay(2, 1)
    counts = draw(60, 0, resamples=12)
    found = resampled({"one": policy}, constants, best, counts)["one"]
    assert tuple(found) == COMPARED
    for row, times in enumerate(counts):
        drawn = np.repeat(np.arange(60), times.astype(int))
        cost, quality = (
            np.concatenate([values[:, drawn].mean(axis=1, dtype=np.float64) for values in pair])
            for pair in ((policy.cost_usd, constants.cost_usd), (policy.quality, constants.quality))
        )
        c_star, q_star = best.cost_usd[0, drawn].mean(dtype=np.float64), best.quality[0, drawn].mean(dtype=np.float64)
        assert found["audc_envelope"][row] == pytest.approx(audc_envelope(cost, quality, c_star))
        assert found["gain_at_cost_0.5"][row] == pytest.approx(
            gain_at_cost(cost, quality, 0.5, c_star, q_star), nan_ok=True
        )
        assert found["peak"][row] == pytest.approx(peak(cost[:5], quality[:5])[0])


def test_missing_answers_are_left_out_of_the_means() -> None:
    values = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]], dtype=np.float32)
    counts = np.array([[1, 1, 1], [3, 0, 0], [0, 3, 0]], dtype=np.float32)
    assert means(counts, values)[:, 0] == pytest.approx([2.0, 1.0, np.nan], nan_ok=True)
    assert np.isnan(means(counts, values)[:, 1]).all()


def test_the_same_policy_twice_differs_by_nothing() -> None:
    policy = replay(0, 5)
    cheap = replace(replay(1, 2), cost_usd=np.full((2, 60), 0.01, dtype=np.float32))
    samples = resampled({"a": policy, "b": policy}, cheap, replay(2, 1), draw(60, 0))
    measured = {name: dict.fromkeys(COMPARED, 0.5) for name in "ab"}
    for one in differences(measured, samples, [("a", "b")]):
        assert (one.difference, one.low, one.high) == (0.0, 0.0, 0.0)


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        values = (random.random((1, 150)) < 0.7).astype(np.float32)
        low, high = interval(float(values.mean()), means(draw(150, trial, resamples=400), values)[:, 0])
        covered += low <= 0.7 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_many_noisy_points_alone_are_rarely_taken_for_a_win() -> None:
    """An envelope over points that are no better rises with their number: a percentile interval would claim that."""
    random = np.random.default_rng(1)
    claimed = percentile = 0
    for trial in range(40):
        quality = (random.random((30, 300)) < 0.6).astype(np.float32)
        cost = np.broadcast_to(np.linspace(0.1, 0.9, 30, dtype=np.float32)[:, None], quality.shape)
        many = Replay(np.full(30, np.nan), cost, quality)
        one = replace(many, tradeoffs=many.tradeoffs[:1], cost_usd=cost[:1], quality=quality[:1])
        counts = draw(300, trial, resamples=300)
        samples, truth = (
            resampled({"a": many, "b": one}, one, one, c) for c in (counts, np.ones((1, 300), np.float32))
        )
        gap = samples["a"]["peak"] - samples["b"]["peak"]
        low, _ = interval(float((truth["a"]["peak"] - truth["b"]["peak"])[0]), gap)
        claimed += low > 0
        percentile += np.quantile(gap, 0.025) > 0
    assert percentile > 30
    assert claimed < percentile / 2


def difference(low: float, high: float) -> Difference:
    return Difference("a", "b", "peak", (low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("bounds", "outcome"),
    [
        ([(0.1, 0.2)] * 5, "win"),
        ([(0.1, 0.2)] * 4 + [(-0.1, 0.2)], "win"),
        ([(0.1, 0.2)] * 3 + [(-0.1, 0.2)] * 2, "none"),
        ([(0.1, 0.2)] * 4 + [(-0.2, -0.1)], "none"),
        ([(-0.2, -0.1)] * 5, "loss"),
        ([(0.0, 0.2)] * 5, "none"),
        ([(-0.1, 0.2)], "none"),
        ([(0.1, 0.2)], "none"),
        ([(-0.2, -0.1)], "none"),
        ([(0.1, 0.2), (-0.2, -0.1)], "none"),
        ([(0.1, 0.2), (-0.1, 0.2)], "none"),
        ([(0.1, 0.2)] * 2, "win"),
        ([(0.1, 0.2)] * 2 + [(-0.1, 0.2)], "win"),
        ([(1e-9, 0.2)] * 5, "none"),
        ([(-0.2, -1e-9)] * 5, "none"),
        ([(np.nan, np.nan)] * 5, "none"),
    ],
)
def test_a_win_is_claimed_when_all_seeds_but_one_show_it(bounds: list[tuple[float, float]], outcome: str) -> None:
    assert over_seeds([difference(*pair) for pair in bounds]).outcome == outcome


def test_a_fixed_split_spares_no_seed() -> None:
    found = [difference(0.1, 0.2)] * 4 + [difference(-0.1, 0.2)]
    assert (over_seeds(found).outcome, over_seeds(found, fixed=True).outcome) == ("win", "none")
    assert over_seeds(found[:4], fixed=True).outcome == "win"
    assert (over_seeds(found[:1]).outcome, over_seeds(found[:1], fixed=True).outcome) == ("none", "win")


def test_a_handful_of_test_queries_makes_no_claim() -> None:
    found = [difference(1.0, 1.0)] * 5
    assert [over_seeds(found, test_queries=count).outcome for count in (1, 29, 30)] == ["none", "none", "win"]


def test_over_seeds_are_means() -> None:
    found = over_seeds([difference(0.1, 0.3), difference(-0.1, 0.1)])
    assert (found.difference, found.low, found.high) == pytest.approx((0.1, 0.0, 0.2))
    assert (found.wins, found.losses, found.seeds) == (1, 0, 2)
