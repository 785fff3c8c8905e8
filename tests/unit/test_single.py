"""The single-shot policy: never worse than constant arms where nothing can be learned, better where something can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curveroute.agent.bench.grid import Grid, Samples
from curveroute.agent.errors import PredictorError
from curveroute.agent.evals.policies import ABLATIONS, NAMED, POLICIES
from curveroute.agent.evals.policy import SWEEP
from curveroute.agent.evals.single import SingleShot
from curveroute.agent.types import Arm, ModelId

ARMS = tuple(Arm(ModelId(model), budget) for model in ("small", "large") for budget in (16, None))
PRICES = np.array([[1e-7, 4e-7]] * 2 + [[1e-6, 4e-6]] * 2)


def a_grid(signal: float, rows: int = 600, seed: int = 0) -> Grid:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 8))
    taste = np.column_stack([x[:, 0], x[:, 0], -x[:, 0], -x[:, 0]])
    chance = np.clip(np.array([0.35, 0.5, 0.45, 0.7]) + signal * taste, 0, 1)
    quality = (rng.uniform(size=chance.shape) < chance).astype(float)
    tokens = np.exp(rng.normal(np.log([12, 90, 12, 120]), 0.3, chance.shape)).round()
    prompt = np.broadcast_to(rng.integers(20, 60, size=(rows, 1)).astype(float), chance.shape)
    cost = prompt * PRICES[:, 0] + tokens * PRICES[:, 1]
    single = (part[:, :, None].astype(np.float32) for part in (quality, cost))
    return Grid(
        query_ids=tuple(f"q{row}" for row in range(rows)), texts=tuple(f"text {row}" for row in range(rows)),
        tasks=("one",) * rows, arms=ARMS, quality=quality, input_tokens=prompt, output_tokens=tokens, cost_usd=cost,
        prices=PRICES, fees=np.zeros(4), x=x,
        samples=Samples.plain(*single, np.full((*chance.shape, 1), -1, dtype=np.int32)),
    )  # fmt: skip


def best_utility(grid: Grid, policy: SingleShot, tradeoff: float) -> tuple[float, float]:
    replay = policy.replay(grid)
    place = int(np.abs(SWEEP - tradeoff).argmin())
    unit, at = policy.predictor_.reference_cost_usd_, SWEEP[place]
    routed = (1 - at) * replay.quality[place].mean() - at * replay.cost_usd[place].mean() / unit
    constant = ((1 - at) * grid.quality - at * grid.cost_usd / unit).mean(axis=0).max()
    return float(routed), float(constant)


@pytest.mark.parametrize("tradeoff", [0.0, 0.2, 0.5])
def test_what_can_be_learned_is_used(tradeoff: float) -> None:
    policy = SingleShot().fit(a_grid(0.2))
    routed, constant = best_utility(a_grid(0.2, seed=1), policy, tradeoff)
    assert routed > constant + 0.02


def test_where_nothing_can_be_learned_it_stays_with_the_best_arms() -> None:
    policy = SingleShot().fit(a_grid(0.0))
    routed, constant = best_utility(a_grid(0.0, rows=2000, seed=1), policy, 0.0)
    assert routed >= constant - 0.01


def test_at_the_ends_of_the_sweep_only_quality_or_only_cost_counts() -> None:
    train, test = a_grid(0.2), a_grid(0.2, seed=1)
    policy = SingleShot().fit(train)
    replay, expected = policy.replay(test), policy.estimates(test)
    rows = np.arange(len(test))
    np.testing.assert_array_equal(replay.quality[0], test.quality[rows, expected.argmax(axis=1)])
    assert replay.cost_usd[-1].mean() == replay.cost_usd.mean(axis=1).min()


def test_training_queries_are_routed_as_if_not_seen() -> None:
    train = a_grid(0.2, rows=100)
    flipped = np.array(train.quality)
    flipped[7] = 1.0 - flipped[7]
    plain = [SingleShot(shrunk=False, calibrated=False).fit(one) for one in (train, replace(train, quality=flipped))]
    left_out = [policy.replay_training().estimate for policy in plain]
    assert left_out[0] is not None
    assert left_out[1] is not None
    assert np.abs(left_out[0][0, 7] - left_out[1][0, 7]) < 2.5 / len(train)  # its part in the mean alone
    seen = [policy.estimates(train)[7] for policy in plain]
    assert np.abs(seen[0] - seen[1]).max() > 2.5 / len(train)


def test_an_arm_without_rows_is_never_chosen() -> None:
    train, test = a_grid(0.2), a_grid(0.2, seed=1)
    hole = np.array(train.quality)
    hole[:, 3] = np.nan
    policy = SingleShot().fit(replace(train, quality=hole))
    assert np.isnan(policy.estimates(test)[:, 3]).all()
    assert policy.replay(test).cost_usd.max() <= test.cost_usd[:, :3].max() + 1e-12


def test_texts_that_embed_to_nothing_leave_the_means() -> None:
    train = replace(a_grid(0.2), x=np.zeros((600, 8)))
    policy = SingleShot(cues=False).fit(train)
    expected = policy.estimates(replace(a_grid(0.2, seed=1), x=np.zeros((600, 8))))
    assert np.ptp(expected, axis=0) == pytest.approx(0.0)


def test_no_answers_at_all_is_an_error() -> None:
    grid = a_grid(0.2, rows=5)
    with pytest.raises(PredictorError):
        SingleShot().fit(replace(grid, quality=np.full_like(grid.quality, np.nan)))


@pytest.mark.parametrize("name", ABLATIONS)
def test_each_ablation_routes(name: str) -> None:
    replay = ABLATIONS[name](0).fit(a_grid(0.2)).replay(a_grid(0.2, seed=1))
    assert np.isfinite(replay.quality).all()
    assert replay.quality.shape == (replay.tradeoffs.size, 600)
    assert replay.tradeoffs.size == SWEEP.size or name.startswith("looking")


def test_dollars_as_the_unit_make_every_tradeoff_but_the_last_few_one_about_quality() -> None:
    """The first mend: with raw dollars a tradeoff of 0.9 still buys the dearest answer."""
    train, test = a_grid(0.2), a_grid(0.2, seed=1)
    place = int(np.abs(SWEEP - 0.9).argmin())
    in_pool, in_usd = (SingleShot(unit=unit).fit(train).replay(test) for unit in ("pool", "usd"))  # type: ignore[arg-type]
    assert in_usd.cost_usd[place].mean() > 0.95 * in_usd.cost_usd[0].mean()
    assert in_pool.cost_usd[place].mean() < 0.5 * in_pool.cost_usd[0].mean()


def test_names_of_a_full_comparison() -> None:
    wanted = (
        "best-single, cheapest, random, constant-arm, oracle-point, oracle-curve, two-agree, carrot-linear, "
        "carrot-knn, mirt, unirouter, uni-r2, r2-ridge, r2-mlp, curveroute-single"
    )
    assert set(wanted.split(", ")) <= set(POLICIES)
    assert set(POLICIES) < set(NAMED)
