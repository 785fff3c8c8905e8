"""The scripts that measure training and generalisation: what they compare is what they say. No timing is asserted."""

from __future__ import annotations

import importlib.util
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.columns import columns_of, write_columns
from curveroute.agent.bench.grid import Grid, grid_of, split
from curveroute.agent.bench.table import Row
from curveroute.agent.evals.measure import points_of
from curveroute.agent.evals.policies import NAMED
from curveroute.agent.evals.policy import SWEEP, Replay
from curveroute.agent.evals.single import SingleShot
from curveroute.agent.types import Arm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TASKS = ("physics", "law", "history")
BUDGETS = (16, 32, 128, None)
QUERIES = 90
OPTIONS = Namespace(train_tasks="", policies="curveroute-single,constant-arm", vectors=[])


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, Any]]:
    names = ("rivals", "generalisation", "training")
    yield {name: script(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def general(scripts: dict[str, Any]) -> Any:
    return scripts["generalisation"]


@pytest.fixture
def training(scripts: dict[str, Any]) -> Any:
    return scripts["training"]


def rows() -> list[Row]:
    rng = np.random.default_rng(0)
    made = []
    for query in range(QUERIES):
        task, hard = TASKS[query % len(TASKS)], rng.uniform()
        for model, skill, price in (("small", 0.2, 1e-7), ("large", 0.5, 1e-6)):
            for place, budget in enumerate(BUDGETS):
                used = int(min(budget or 400, 40 + 300 * hard))
                right = rng.uniform() < np.clip(skill + 0.15 * place - 0.3 * hard + 0.1 * (task == "law"), 0.02, 0.98)
                made.append(
                    Row(
                        query_id=f"q{query}",
                        query=f"question {query} of {task}: how much is {query} and {int(99 * hard)}?",
                        task=task,
                        model=model,
                        budget=budget,
                        sample=0,
                        quality=float(right),
                        answer=str(int(right)),
                        reference="1",
                        finish_reason="stop",
                        input_tokens=20,
                        output_tokens=used,
                        cost_usd=price * (20 + 4 * used),
                    )
                )
    return made


def embeddings() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(QUERIES, 6))


@pytest.fixture(scope="module")
def grid() -> Grid:
    return grid_of(columns_of(rows())).embedded(embeddings())


def cases(general: Any, what: str, grid: Grid, **options: Any) -> list[Any]:
    return list(general.STUDIES[what](grid, 0, Namespace(**{**vars(OPTIONS), **options})))


def ids(grid: Grid) -> set[str]:
    return set(grid.query_ids)


def test_both_sides_of_a_change_of_subject_have_the_same_size_and_the_same_test(general: Any, grid: Grid) -> None:
    away, home = cases(general, "stem", grid)
    assert set(away.train.tasks) == {"physics"}
    assert set(home.train.tasks) == set(home.tests[""].tasks) == {"law", "history"}
    assert len(away.train) == len(home.train)
    assert away.tests[""].query_ids == home.tests[""].query_ids
    assert not ids(home.train) & ids(home.tests[""])


def test_the_subjects_to_train_on_can_be_named_and_must_leave_some_to_test_on(general: Any, grid: Grid) -> None:
    away, _ = cases(general, "stem", grid, train_tasks="law, history")
    assert set(away.train.tasks) == {"law", "history"}
    assert set(away.tests[""].tasks) == {"physics"}
    for named in ("chess", ",".join(TASKS)):
        with pytest.raises(SystemExit, match="--train-tasks"):
            cases(general, "stem", grid, train_tasks=named)


def test_a_task_that_is_left_out_is_tested_on_the_queries_it_is_tested_on_when_seen(general: Any, grid: Grid) -> None:
    seen, *left = cases(general, "tasks", grid)
    assert {name for case in left for name in case.tests} == set(TASKS) == set(seen.tests)
    for case in left:
        ((task, test),) = case.tests.items()
        assert task not in case.train.tasks
        assert test.query_ids == seen.tests[task].query_ids
        assert ids(case.train) < ids(seen.train)


def test_leaving_a_task_out_needs_two(general: Any, grid: Grid) -> None:
    with pytest.raises(SystemExit, match="single task"):
        cases(general, "tasks", grid.take(np.flatnonzero(np.array(grid.tasks) == "law")))


def test_anchors_are_spread_in_the_logarithm_and_keep_both_ends(general: Any) -> None:
    values = [32, 64, 128, 256, 512, 1024]
    assert general.spread(values, 2) == [32, 1024]
    assert general.spread(values, 3) in ([32, 128, 1024], [32, 256, 1024])
    assert general.spread(values, 4) == [32, 128, 256, 1024]
    assert general.spread(values, 6) == values
    assert general.spread([1, 2, 3, 1000], 3) == [1, 3, 1000]


def test_few_budgets_keep_the_unlimited_one_and_are_tested_on_all(general: Any, grid: Grid) -> None:
    two, three = cases(general, "budgets", grid)
    assert {arm.budget for arm in two.train.arms} == {16, 128, None}
    assert three.train.arms == grid.arms
    assert two.tests[""].arms == three.tests[""].arms == grid.arms
    assert two.judge.arms == grid.arms


def test_between_all_anchors_there_is_nothing_to_interpolate(scripts: dict[str, Any], grid: Grid) -> None:
    train, test = split(grid, 0, 0.3)
    ours, mixed = SingleShot().fit(train), scripts["rivals"].Interpolated().fit(train)
    np.testing.assert_allclose(mixed.estimates(test), ours.estimates(test))
    np.testing.assert_array_equal(mixed.replay(test).quality, ours.replay(test).quality)


def test_a_budget_that_was_not_fitted_is_estimated_between_its_neighbours(scripts: dict[str, Any], grid: Grid) -> None:
    train, test = split(grid, 0, 0.3)
    kept = [column for column, arm in enumerate(grid.arms) if arm.budget != 32]
    mixed = scripts["rivals"].Interpolated().fit(train.keep(np.array(kept)))
    estimates, place = mixed.estimates(test), {arm: column for column, arm in enumerate(test.arms)}
    for model in {arm.model for arm in grid.arms}:
        low, middle, high = (estimates[:, place[Arm(model, budget)]] for budget in (16, 32, 128))
        assert ((np.minimum(low, high) - 1e-6 <= middle) & (middle <= np.maximum(low, high) + 1e-6)).all()


def test_every_embedder_is_tried_with_cues_and_without(general: Any, grid: Grid, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((QUERIES, 3)))
    found = {case.name: case for case in cases(general, "embedder", grid, vectors=[f"mine={tmp_path / 'v.npy'}"])}
    plain = ["use-multilingual-v3", "mine", "character n-grams"]
    assert set(found) == {"cues alone", *plain, *(f"{name} + cues" for name in plain)}
    cues = found["cues alone"].train.x.shape[1]
    assert found["mine + cues"].train.x.shape[1] == 3 + cues
    train, test = split(grid, 0, 0.3)
    np.testing.assert_array_equal(found["use-multilingual-v3"].train.x, train.x)
    np.testing.assert_array_equal(found["use-multilingual-v3"].tests[""].x, test.x)


def test_vectors_of_another_table_are_refused(general: Any, grid: Grid, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((QUERIES + 1, 3)))
    with pytest.raises(SystemExit, match=f"{QUERIES} queries"):
        cases(general, "embedder", grid, vectors=[f"mine={tmp_path / 'v.npy'}"])


def test_smaller_training_sets_are_parts_of_larger_ones(general: Any, grid: Grid, monkeypatch: Any) -> None:
    monkeypatch.setattr(general, "SIZES", (10, 20, 1000))
    ten, twenty, every = cases(general, "size", grid)
    assert [len(one.train) for one in (ten, twenty)] == [10, 20]
    assert ids(ten.train) < ids(twenty.train) < ids(every.train)
    assert all(one.judge.query_ids == every.train.query_ids for one in (ten, twenty, every))


def test_ours_among_the_kinds_of_heads_says_what_ours_says(scripts: dict[str, Any], grid: Grid) -> None:
    train, test = split(grid, 0, 0.3)
    heads = scripts["rivals"].KINDS["ours"](0).fit(train)
    np.testing.assert_allclose(heads.estimates(test), SingleShot(cues=False).fit(train).estimates(test))
    assert heads.fit_s >= 0.0


def test_all_kinds_of_heads_are_offered_the_same_arms_and_costs(scripts: dict[str, Any], grid: Grid) -> None:
    train, test = split(grid, 0, 0.3)
    cheapest = [
        scripts["rivals"].KINDS[name](0).fit(train).replay(test).cost_usd[-1]
        for name in ("ours", "ridge, α = 10", "ridge, α per head", "neighbours", "clusters")
    ]
    for one in cheapest[1:]:
        np.testing.assert_array_equal(one, cheapest[0])


def test_utility_is_counted_from_the_arm_that_training_would_have_taken(general: Any, grid: Grid) -> None:
    train, test = split(grid, 0, 0.3)
    unit = np.nanmean(train.cost_usd, axis=0).max()
    worth, cost = train.quality.mean(axis=0), train.cost_usd.mean(axis=0) / unit
    arms = np.array([((1.0 - t) * worth - t * cost).argmax() for t in SWEEP])
    constant = points_of(Replay(SWEEP, test.cost_usd[:, arms].T, test.quality[:, arms].T))
    near = general.utility_gain(constant, train, test)
    assert near == pytest.approx(0.0, abs=0.02)  # the sweep has no point exactly at each tradeoff
    oracle = points_of(NAMED["oracle-curve"](0).fit(train).replay(test))
    assert general.utility_gain(oracle, train, test) > near
    assert np.isnan(general.utility_gain(points_of(NAMED["two-agree"](0).fit(train).replay(test)), train, test))


def score(general: Any, seed: int, test: str, **values: float) -> Any:
    whole = dict.fromkeys(("q_star", "over_constants", *general.SHOWN), 0.0)
    return general.Score("case", "policy", test, seed, whole | values)


def test_a_row_is_the_mean_over_seeds_of_the_mean_over_tests(general: Any) -> None:
    found = [
        score(general, 0, "a", peak_gain=0.1, qnc_ratio=0.5),
        score(general, 0, "b", peak_gain=-0.3, qnc_ratio=np.inf),
        score(general, 1, "a", peak_gain=0.3, qnc_ratio=np.inf),
        score(general, 1, "b", peak_gain=-0.1, qnc_ratio=np.inf),
    ]
    (row,) = general.summary(found)
    assert row["metrics"]["peak_gain"]["mean"] == pytest.approx(0.0)
    assert row["metrics"]["peak_gain"]["std"] == pytest.approx(np.std([-0.1, 0.1], ddof=1))
    assert row["worst"]["peak_gain"] == {"test": "b", "mean": pytest.approx(-0.2)}
    assert row["metrics"]["qnc_ratio"] == {"mean": 0.5, "std": None, "by_seed": [0.5], "reached": 1, "of": 4}
    assert general.markdown([row]).splitlines()[2].count("|") == len(general.SHOWN) + 3


def test_cells_say_what_was_never_reached_and_what_is_unknown(general: Any) -> None:
    known = score(general, 0, "", brier=0.2, gain_at_cost_1=-0.0125)
    other = general.Score("case", "other", "", 0, known.values | {"qnc_ratio": np.inf, "brier": np.nan})
    text = general.markdown(general.summary([known, other]))
    assert "never" in text.splitlines()[3]
    assert "–" in text.splitlines()[3]
    assert ".200" in text.splitlines()[2]
    assert "−.01" in text.splitlines()[2]


def test_a_study_prints_json_or_a_table(
    general: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(general, "SIZES", (20,))
    table, vectors = tmp_path / "table.jsonl", tmp_path / "x.npy"
    write_columns(table, columns_of(rows()))
    np.save(vectors, embeddings())
    words = [str(table), "--what", "size", "--seeds", "2", "--base", str(vectors)]
    words += ["--policies", "curveroute-single,constant-arm,oracle-curve"]
    general.main(words)
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert "seed 1" in printed.err
    assert "NaN" not in printed.out
    assert len(found["rows"]) == 2 * 3
    best = {row["policy"]: row["metrics"]["audc_envelope"]["mean"] for row in found["rows"]}
    assert best["oracle-curve"] > best["constant-arm"]
    general.main([*words, "--markdown"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + 2 * 3


def tiny(training: Any) -> Any:
    return training.Size(queries=60, dimensions=8, models=2, budgets=3)


def test_generated_answers_are_answers_and_the_same_every_time(training: Any) -> None:
    size = tiny(training)
    answers, again = training.made(size), training.made(size)
    assert answers.x.shape == (60, 8)
    assert answers.heads.shape == (60, size.heads) == (60, 12)
    assert set(np.unique(answers.quality)) <= {0.0, 1.0}
    budgets = np.array([arm.budget for arm in answers.arms])
    assert (answers.tokens <= budgets).all()
    np.testing.assert_array_equal(answers.heads, again.heads)


def test_every_task_is_timed_and_one_fit_a_head_is_scaled_up(training: Any) -> None:
    found = training.seconds(tiny(training), repeats=1)
    assert set(found) == set(training.TASKS) > set(training.LABELS)
    assert all(np.isfinite(took) and took > 0.0 for took in found.values())


def test_growth_varies_one_size_at_a_time(training: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    growth = {"queries": (30, 60, 120), "models": (1, 2), "dimensions": (4, 8)}
    monkeypatch.setattr(training, "GROWTH", growth)
    found = training.grown(tiny(training), repeats=1)
    assert [(row["varied"], row[row["varied"]]) for row in found] == [
        ("queries", 30), ("queries", 60), ("models", 1), ("models", 2), ("dimensions", 4), ("dimensions", 8),
    ]  # fmt: skip
    assert all(row["heads"] == 2 * row["models"] * row["budgets"] for row in found)
    pictures = tmp_path / "a.svg", tmp_path / "b.svg"
    for picture in pictures:
        training.draw(found, picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
