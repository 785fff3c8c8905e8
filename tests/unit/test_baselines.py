from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.grid import Grid, Samples, split
from curveroute.agent.errors import PredictorError
from curveroute.agent.evals.baselines import BASELINES, EXTRA
from curveroute.agent.evals.baselines.constants import best_single, largest_budget_columns, unit_usd
from curveroute.agent.evals.baselines.two_agree import TwoAgree
from curveroute.agent.evals.policy import SWEEP, Replay
from curveroute.agent.types import Arm, ModelId

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.evals.policy import Policy

ALL = {**BASELINES, **EXTRA}
LEARNED = [
    "carrot-linear", "carrot-knn", "mirt", "unirouter", "uni-r2", "r2-ridge", "r2-ridge-tuned", "r2-mlp", "lightgbm",
]  # fmt: skip
POINT = ["carrot-linear", "carrot-knn", "mirt", "unirouter", "oracle-point"]
SHARED = ("small", "large", "late")
ARMS = tuple(Arm(ModelId(model), budget) for model in SHARED for budget in (64, None, 16))
PRICES = np.repeat([[0.1e-6, 0.4e-6], [1e-6, 4e-6], [0.5e-6, 2e-6]], 3, axis=0)


def toy(seed: int = 0, rows: int = 160, samples: int = 1) -> Grid:
    """Each model is good at its own part of space, and longer budgets help."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    taste = np.repeat(x[:, :3], 3, axis=1)
    chance = np.clip(np.tile([0.5, 0.7, 0.2], 3) + np.repeat([-0.1, 0.1, 0.0], 3) + 0.6 * taste, 0.02, 0.98)
    quality = (rng.uniform(size=(samples, *chance.shape)) < chance).transpose(1, 2, 0).astype(np.float32)
    tokens = np.tile([50.0, 220.0, 12.0], 3) * rng.uniform(0.8, 1.2, (rows, 9))
    prompt = np.tile(rng.integers(20, 60, (rows, 1)).astype(float), (1, 9))
    cost = prompt * PRICES[:, 0] + tokens * PRICES[:, 1]
    wrong = rng.integers(1, 4, quality.shape)
    answer = np.where(quality > 0, 0, np.where(rng.uniform(size=quality.shape) < 0.1, -1, wrong)).astype(np.int32)
    paid = np.repeat(cost[:, :, None], samples, axis=2).astype(np.float32)
    return Grid(
        query_ids=tuple(f"q{row}" for row in range(rows)),
        texts=tuple(f"text {row}" for row in range(rows)),
        tasks=("toy",) * rows,
        arms=ARMS,
        quality=quality.mean(axis=2).astype(float),
        input_tokens=prompt,
        output_tokens=tokens,
        cost_usd=cost,
        prices=PRICES,
        fees=np.zeros(len(PRICES)),
        samples=Samples.plain(quality, paid, answer),
        x=x,
    )


def silenced(grid: Grid, cells: Any) -> Grid:
    """The same grid without the answers of some cells, an index of (n, A)."""
    gone = np.zeros(grid.quality.shape, dtype=bool)
    gone[cells] = True
    one = grid.samples
    return replace(
        grid,
        **{
            name: np.where(gone, np.nan, getattr(grid, name))
            for name in ("quality", "input_tokens", "output_tokens", "cost_usd")
        },
        samples=Samples.plain(
            np.where(gone[:, :, None], np.float32(np.nan), one.quality),
            np.where(gone[:, :, None], np.float32(np.nan), one.cost_usd),
            np.where(gone[:, :, None], np.int32(-1), one.answer),
        ),
    )


def means(replay: Replay) -> tuple[np.ndarray, np.ndarray]:
    return replay.cost_usd.mean(axis=1, dtype=float), replay.quality.mean(axis=1, dtype=float)


def columns_of(grid: Grid, replay: Replay) -> set[int]:
    """Columns whose cost was paid somewhere; costs of different arms never coincide."""
    hits = np.isclose(replay.cost_usd[:, :, None], grid.cost_usd.astype(np.float32)[None], rtol=1e-5)
    assert hits.any(axis=2).all()
    return set(np.flatnonzero(hits.any(axis=(0, 1))).tolist())


@pytest.fixture(scope="module")
def halves() -> tuple[Grid, Grid]:
    return split(toy(), 0, 0.4)


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_policy_replays_points_that_correspond(name: str, halves: tuple[Grid, Grid]) -> None:
    train, test = halves
    policy = ALL[name](1).fit(train)
    seen, unseen = policy.replay_training(), policy.replay(test)
    assert seen.tradeoffs == pytest.approx(unseen.tradeoffs, nan_ok=True)
    for replay, grid in ((seen, train), (unseen, test)):
        shape = (replay.tradeoffs.size, len(grid))
        assert replay.cost_usd.shape == replay.quality.shape == shape
        assert replay.cost_usd.dtype == replay.quality.dtype == np.float32
        assert np.isfinite(replay.cost_usd).all()
        assert ((replay.quality >= 0.0) & (replay.quality <= 1.0)).all()


@pytest.mark.parametrize("name", ALL)
def test_a_policy_is_the_same_for_the_same_seed(name: str, halves: tuple[Grid, Grid]) -> None:
    train, test = halves
    one, two = (ALL[name](3).fit(train) for _ in range(2))
    for first, second in ((one.replay(test), two.replay(test)), (one.replay_training(), two.replay_training())):
        assert (first.cost_usd == second.cost_usd).all()
        assert (first.quality == second.quality).all()


@pytest.mark.parametrize("name", ALL)
def test_an_arm_that_was_never_asked_in_training_is_never_chosen(name: str, halves: tuple[Grid, Grid]) -> None:
    train, test = halves
    tempting = replace(test, cost_usd=test.cost_usd.copy(), quality=test.quality.copy())
    tempting.cost_usd[:, 4], tempting.quality[:, 4] = 99.0, 1.0
    policy = ALL[name](0).fit(silenced(train, np.s_[:, 4]))
    assert policy.replay(tempting).cost_usd.max() < 50.0
    assert np.isfinite(policy.replay_training().quality).all()


@pytest.mark.parametrize("name", [name for name in ALL if name not in {"best-single", "cheapest"}])
def test_gaps_in_the_table_leave_no_gap_in_a_replay(name: str, halves: tuple[Grid, Grid]) -> None:
    """A policy that may choose takes another arm where its first choice was not recorded."""
    rng = np.random.default_rng(0)
    train, test = (silenced(half, np.nonzero(rng.uniform(size=half.quality.shape) < 0.1)) for half in halves)
    policy = ALL[name](0).fit(train)
    for replay in (policy.replay(test), policy.replay_training()):
        assert np.isfinite(replay.cost_usd).all()
        assert np.isfinite(replay.quality).all()


@pytest.mark.parametrize("name", ALL)
def test_embeddings_of_zeros_still_route(name: str, halves: tuple[Grid, Grid]) -> None:
    train, test = (half.embedded(np.zeros_like(half.x)) for half in halves)
    replay = ALL[name](0).fit(train).replay(test)
    assert np.isfinite(replay.quality).all()


@pytest.mark.parametrize("name", ALL)
def test_a_single_query_and_a_single_arm_can_be_routed(name: str, halves: tuple[Grid, Grid]) -> None:
    train, test = halves
    assert ALL[name](0).fit(train).replay(test.take(np.array([0]))).quality.shape[1] == 1
    alone = train.keep(np.array([1]))
    replay = ALL[name](0).fit(alone).replay(test.keep(np.array([1])))
    assert np.isfinite(replay.cost_usd).all()


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_policy_does_better_than_a_fixed_arm_where_there_is_something_to_learn(name: str) -> None:
    train, test = split(toy(rows=900), 0, 0.4)
    learned = means(ALL[name](0).fit(train).replay(test))[1].max()
    fixed = test.quality[:, largest_budget_columns(train)].mean(axis=0).max()
    assert learned > fixed


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_policy_asks_for_embeddings(name: str, halves: tuple[Grid, Grid]) -> None:
    with pytest.raises(PredictorError, match="embed the grid"):
        ALL[name](0).fit(halves[0].embedded(np.zeros((len(halves[0]), 0))))


@pytest.mark.parametrize("name", POINT)
def test_a_point_router_chooses_models_and_never_budgets(name: str, halves: tuple[Grid, Grid]) -> None:
    train, test = halves
    replay = ALL[name](0).fit(train).replay(test)
    assert columns_of(test, replay) <= {1, 4, 7}


def test_importing_the_names_imports_no_extra() -> None:
    code = (
        "import sys, curveroute.agent.evals.baselines; print(sorted({'jax', 'lightgbm', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- constants -------------------------------------------------------------------------------------------------------


def test_the_largest_budget_of_a_model_is_unlimited_or_else_the_longest() -> None:
    grid = toy()
    assert largest_budget_columns(grid).tolist() == [1, 4, 7]
    assert largest_budget_columns(silenced(grid, np.s_[:, [1, 7]])).tolist() == [0, 4, 6]
    assert largest_budget_columns(silenced(grid, np.s_[:, 3:6])).tolist() == [1, 7]


@pytest.mark.parametrize(("lead", "best"), [(0.0015, 1), (0.003, 4)])
def test_of_two_models_within_a_hair_the_cheaper_one_is_the_best_single(lead: float, best: int) -> None:
    grid = toy()
    quality = np.zeros_like(grid.quality)
    quality[:, 1], quality[:, 4] = 0.7, 0.7 + lead
    quality[:, 0] = 0.9  # a shorter budget is not in the running
    assert best_single(replace(grid, quality=quality)) == best


def test_the_unit_is_the_dearest_arms_mean_cost() -> None:
    grid = toy()
    assert unit_usd(grid) == pytest.approx(grid.cost_usd[:, 4].mean())
    assert unit_usd(replace(grid, cost_usd=np.zeros_like(grid.cost_usd))) == 1.0


def test_fixed_arms_are_the_arms_they_say(halves: tuple[Grid, Grid]) -> None:
    train, test = halves
    cheap = int(train.cost_usd.mean(axis=0).argmin())
    for name, column in (("best-single", best_single(train)), ("cheapest", cheap)):
        replay = ALL[name](0).fit(train).replay(test)
        assert np.isnan(replay.tradeoffs).all()
        assert replay.quality[0] == pytest.approx(test.quality[:, column])
        assert replay.cost_usd[0] == pytest.approx(test.cost_usd[:, column])


def test_random_is_the_mean_over_arms(halves: tuple[Grid, Grid]) -> None:
    train, test = halves
    replay = ALL["random"](0).fit(train).replay(test)
    assert replay.quality[0] == pytest.approx(test.quality.mean(axis=1))
    assert replay.cost_usd[0] == pytest.approx(test.cost_usd.mean(axis=1))


def test_the_constant_arms_are_the_best_within_each_cost(halves: tuple[Grid, Grid]) -> None:
    train, test = halves
    replay = ALL["constant-arm"](0).fit(train).replay(test)
    cost, quality = train.cost_usd.mean(axis=0), train.quality.mean(axis=0)
    for place, level in enumerate(np.sort(cost)):
        column = np.where(cost <= level, quality, -1.0).argmax()
        assert replay.quality[place] == pytest.approx(test.quality[:, column])
        assert replay.cost_usd[place] == pytest.approx(test.cost_usd[:, column])


@pytest.mark.parametrize("name", [name for name in ALL if name not in {"two-agree", "random"}])
def test_no_policy_that_asks_once_is_worth_more_than_the_oracle(name: str, halves: tuple[Grid, Grid]) -> None:
    train, test = halves
    unit = unit_usd(train)
    oracle, other = (means(ALL[one](0).fit(train).replay(test)) for one in ("oracle-curve", name))
    for place, tradeoff in enumerate(SWEEP):
        worth = [(1.0 - tradeoff) * quality - tradeoff * cost / unit for cost, quality in (oracle, other)]
        assert worth[0][place] >= worth[1].max() - 1e-6


# --- what the papers' routers predict --------------------------------------------------------------------------------


def expected(train: Grid, test: Grid, heads: Any, tokens: np.ndarray, columns: list[int]) -> Replay:
    """The single-shot rule written out, on the predictions of another library."""
    quality = np.clip(heads.fit(train.x, train.quality[:, columns]).predict(test.x), 0.0, 1.0)
    prices = test.prices[columns]
    cost = (test.input_tokens[:, columns] * prices[:, 0] + tokens * prices[:, 1]) / unit_usd(train)
    chosen = np.stack([np.array(columns)[((1 - t) * quality - t * cost).argmax(axis=1)] for t in SWEEP])
    rows = np.arange(len(test))
    return Replay(SWEEP, test.cost_usd[rows, chosen].astype(np.float32), test.quality[rows, chosen].astype(np.float32))


def same_choices(one: Replay, two: Replay) -> float:
    return float(np.isclose(one.cost_usd, two.cost_usd, rtol=1e-6).mean())


def test_r2_ridge_routes_on_scikit_learns_ridge_and_charges_the_budget(halves: tuple[Grid, Grid]) -> None:
    from sklearn.linear_model import Ridge

    train, test = halves
    tokens = np.array([64.0, 0.0, 16.0] * 3)
    tokens[[1, 4, 7]] = train.output_tokens[:, [1, 4, 7]].mean(axis=0)
    reference = expected(train, test, Ridge(alpha=10.0), tokens, list(range(9)))
    assert same_choices(ALL["r2-ridge"](0).fit(train).replay(test), reference) > 0.995


def test_carrot_linear_routes_on_scikit_learns_least_squares(halves: tuple[Grid, Grid]) -> None:
    from sklearn.linear_model import LinearRegression

    train, test = halves
    columns = [1, 4, 7]
    tokens = LinearRegression().fit(train.x, train.output_tokens[:, columns]).predict(test.x)
    reference = expected(train, test, LinearRegression(), tokens, columns)
    assert same_choices(ALL["carrot-linear"](0).fit(train).replay(test), reference) > 0.995


@pytest.mark.parametrize("name", [*LEARNED, "constant-arm"])
def test_training_queries_are_routed_as_if_not_seen(name: str) -> None:
    """Where there is nothing to learn, a policy that had seen its queries would seem to do well."""
    grid = toy(rows=200)
    rng = np.random.default_rng(8)
    quality = rng.integers(2, size=grid.quality.shape).astype(float)
    policy = ALL[name](0).fit(replace(grid, quality=quality))
    at_quality = policy.replay_training().quality[0]
    assert abs(at_quality.mean() - 0.5) < 4.0 * 0.5 / np.sqrt(200)


# --- two agree -------------------------------------------------------------------------------------------------------


def asked(train: Grid, place: int, policy: TwoAgree) -> tuple[int, int, int, int]:
    one = policy.cascade_
    return tuple(int(part[place]) for part in (one.first, one.second, one.better, one.third))  # type: ignore[return-value]


def test_two_agree_pays_every_call_and_gives_the_better_arms_answer(halves: tuple[Grid, Grid]) -> None:
    train, test = halves
    policy = TwoAgree().fit(train)
    replay = policy.replay(test)
    for place in range(replay.tradeoffs.size):
        first, second, better, third = asked(train, place, policy)
        assert first != second
        assert better == (first if train.quality[:, first].mean() >= train.quality[:, second].mean() else second)
        one = test.samples.answer[:, :, 0]
        agree = (one[:, first] == one[:, second]) & (one[:, first] >= 0)
        cost = test.cost_usd[:, first] + test.cost_usd[:, second] + np.where(agree, 0.0, test.cost_usd[:, third])
        assert replay.cost_usd[place] == pytest.approx(cost, rel=1e-5)
        assert replay.quality[place] == pytest.approx(np.where(agree, test.quality[:, better], test.quality[:, third]))


def test_two_agree_keeps_the_best_of_all_cascades_at_each_cost() -> None:
    grid = toy(rows=60)
    policy = TwoAgree().fit(grid)
    cost, quality = means(policy.replay(grid))
    assert (np.diff(cost) > 0.0).all()
    assert (np.diff(quality) > 0.0).all()
    assert cost.size <= 60
    one, best = grid.samples.answer[:, :, 0], []
    for a in range(9):
        for b in range(a + 1, 9):
            better = a if grid.quality[:, a].mean() > grid.quality[:, b].mean() else b
            agree = (one[:, a] == one[:, b]) & (one[:, a] >= 0)
            best.append(max(np.where(agree, grid.quality[:, better], grid.quality[:, c]).mean() for c in range(9)))
    assert quality.max() == pytest.approx(max(best), abs=0.02)


def test_with_samples_an_arm_may_be_asked_twice_and_costs_are_expectations() -> None:
    grid = toy(samples=4, rows=80)
    sure = grid.samples.answer.copy()
    sure[:, 2], sure[:, 0] = 0, np.arange(4)  # one arm always agrees with itself, one never does
    cells = grid.samples.quality.copy()
    cells[:, 2] = 1.0
    samples = Samples.plain(cells, grid.samples.cost_usd, sure)
    grid = replace(grid, samples=samples, quality=cells.mean(axis=2).astype(float))
    policy = TwoAgree().fit(grid)
    assert asked(grid, 0, policy)[:2] == (2, 2)
    replay = policy.replay(grid)
    assert replay.cost_usd[0] == pytest.approx(2.0 * grid.cost_usd[:, 2], rel=1e-5)
    assert replay.quality[0] == pytest.approx(np.ones(80))


def test_two_agree_routes_training_queries_by_cascades_of_the_other_folds(halves: tuple[Grid, Grid]) -> None:
    train, _ = halves
    policy = TwoAgree().fit(train)
    memory, held = policy.replay(train), policy.replay_training()
    assert memory.quality.shape == held.quality.shape
    assert held.quality.max(initial=0.0) <= 1.0
    assert means(held)[1].max() <= means(memory)[1].max() + 0.02


def test_a_policy_knows_its_name_only_from_the_table() -> None:
    made: dict[str, Callable[[int], Policy]] = ALL
    assert list(made)[:2] == ["best-single", "cheapest"]
    assert not set(BASELINES) & set(EXTRA)


def test_two_that_were_not_recorded_cost_no_quality(halves: tuple[Grid, Grid]) -> None:
    """Where every recorded answer is right, a cascade is right, whatever was left out of the recording."""
    rng = np.random.default_rng(3)
    right = [
        replace(
            half,
            quality=np.ones_like(half.quality),
            samples=replace(half.samples, quality=np.ones_like(half.samples.quality)),
        )
        for half in halves
    ]
    train, test = (silenced(half, np.nonzero(rng.uniform(size=half.quality.shape) < 0.4)) for half in right)
    test = test.take(np.flatnonzero(~np.isnan(test.quality).all(axis=1)))
    replay = ALL["two-agree"](0).fit(train).replay(test)
    assert replay.quality.min() == pytest.approx(1.0)
    assert (replay.cost_usd > 0).all()
