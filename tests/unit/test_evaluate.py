"""Evaluate: the JSON that is promised, what is chosen where, and tables that are hardly tables."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.table import Row, write_table
from curveroute.agent.errors import MissingExtra, RunError, SettingError, SetupError, TableError
from curveroute.agent.evals.baselines import BASELINES
from curveroute.agent.evals.baselines.carrot import carrot_knn, carrot_linear
from curveroute.agent.evals.evaluate import Plan, check, evaluate
from curveroute.agent.evals.measure import answered
from curveroute.agent.evals.policy import Replay
from curveroute.agent.evals.report import report_page
from curveroute.agent.evals.sentences import verdicts
from curveroute.agent.evals.subject import Subject, embedded, read_pair, read_subject
from curveroute.agent.evals.trial import Trial, pairs_of, parts

if TYPE_CHECKING:
    from pathlib import Path

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.embed import Vectors

QUERIES = 120
ARMS = [("small", 16, 1e-6), ("small", None, 4e-6), ("large", 16, 1e-5), ("large", None, 6e-5)]
FIXED = {name: BASELINES[name] for name in ("best-single", "cheapest", "random", "constant-arm", "oracle-curve")}


def row(query: int, model: str, budget: int | None, cost: float, quality: float, text: str = "question") -> Row:
    return Row(
        query_id=f"q{query}", query=f"{text} {query}", task=f"task {query % 3}", model=model, budget=budget, sample=0,
        quality=quality, answer=str(query), reference=str(query), finish_reason="stop", input_tokens=10 + query % 7,
        output_tokens=budget or 90, cost_usd=cost,
    )  # fmt: skip


def rows_of(queries: int = QUERIES, *, free: bool = False, text: str = "question") -> list[Row]:
    """Small models know every third question, the large one most, all of them more at length."""
    knows = {("small", 16): 3, ("small", None): 2, ("large", 16): 2}
    return [
        row(query, model, budget, 0.0 if free else cost, float(_known(query, knows.get((model, budget)))), text)
        for query in range(queries)
        for model, budget, cost in ARMS
    ]


def _known(query: int, every: int | None) -> bool:
    return query % 10 != 9 if every is None else query % every == 0


def subject_of(rows: list[Row], folder: Path, **only: list[str]) -> Subject:
    write_table(folder / "table.jsonl", rows)
    return read_subject(folder / "table.jsonl", **only)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return subject_of(rows_of(), tmp_path)


class Estimating:
    """Knows the quality of every answer beforehand: the oracle, under a name of ours."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, train: Grid) -> Estimating:
        self.train = train
        return self

    def estimates(self, test: Grid) -> Any:
        return np.nan_to_num(test.quality)

    def replay(self, test: Grid) -> Replay:
        return BASELINES["oracle-curve"](self.seed).fit(self.train).replay(test)

    def replay_training(self) -> Replay:
        return self.replay(self.train)


class Refusing(Estimating):
    def fit(self, train: Grid) -> Estimating:
        raise MissingExtra("the policy 'learned'", "neural")


def is_finite_json(found: Any) -> bool:
    """Whether it is JSON, with neither NaN nor infinity in it."""
    return bool(json.dumps(found, allow_nan=False))


def measured(subject: Subject, **makers: Any) -> Any:
    named = {name.replace("_", "-"): maker for name, maker in makers.items()}
    return evaluate(subject, Plan(seeds=3, workers=1), makers=FIXED | named)


def test_the_json_is_what_is_promised(subject: Subject) -> None:
    found = measured(subject, curveroute_single=Estimating)
    assert is_finite_json(found)
    assert (found["table"], found["queries"], found["arms"], found["seeds"]) == ("table", QUERIES, 4, 3)
    assert len(found["data_sha256"]) == 64
    assert set(found["best_single"]) >= {"model", "quality", "cost_usd"}
    assert list(found["policies"]) == [*FIXED, "curveroute-single"]
    for policy in found["policies"].values():
        for name in ("audc_envelope", "audc", "qnc_ratio", "qnc", "peak"):
            assert set(policy[name]) >= {"mean", "std"}
        assert list(policy["gain_at_cost"]) == ["0.1", "0.2", "0.35", "0.5", "1.0"]
        assert all(set(gain) >= {"mean", "std"} for gain in policy["gain_at_cost"].values())
        assert all(set(policy["honest_point"][name]) >= {"mean", "std"} for name in ("quality_gain", "cost_ratio"))
        assert all(len(point) == 3 for point in policy["curve"])
    assert {(one["a"], one["b"]) for one in found["paired"]} == {("curveroute-single", name) for name in FIXED}
    assert {one["metric"] for one in found["paired"]} == {
        "audc_envelope", "gain_at_cost_0.35", "gain_at_cost_0.5", "gain_at_cost_1", "peak",
    }  # fmt: skip
    assert all(set(one) >= {"difference", "low", "high"} for one in found["paired"])


def test_the_best_single_model_measures_itself_as_one(subject: Subject) -> None:
    found = measured(subject)
    assert found["best_single"]["model"] == "large"
    best = found["policies"]["best-single"]
    assert best["gain_at_cost"]["1.0"]["mean"] == 0.0
    assert best["qnc_ratio"] == {"mean": 1.0, "std": 0.0, "reached": 3, "mean_reached": 1.0}
    assert best["honest_point"]["quality_gain"]["mean"] == pytest.approx(0.0)
    assert best["honest_point"]["cost_ratio"]["mean"] == pytest.approx(1.0)
    assert best["peak"]["mean"] == pytest.approx(found["best_single"]["quality"])


def test_what_is_never_reached_is_null_with_the_seeds_that_reached_it(subject: Subject) -> None:
    never = measured(subject)["policies"]["cheapest"]["qnc_ratio"]
    assert never == {"mean": None, "std": None, "reached": 0, "mean_reached": None}


def test_an_oracle_wins_and_a_twin_shows_no_difference(subject: Subject) -> None:
    found = measured(subject, curveroute_single=Estimating)
    against = {one["b"]: one for one in found["paired"] if one["metric"] == "audc_envelope"}
    assert against["constant-arm"]["outcome"] == "win"
    assert against["constant-arm"]["low"] > 0
    twin = against["oracle-curve"]
    assert (twin["difference"], twin["low"], twin["high"], twin["outcome"]) == (0.0, 0.0, 0.0, "none")


def test_every_policy_may_use_a_fixed_arm(subject: Subject) -> None:
    policies = measured(subject)["policies"]
    floor = policies["constant-arm"]["audc_envelope"]["mean"]
    assert all(policy["audc_envelope"]["mean"] >= floor - 1e-9 for policy in policies.values())
    assert policies["oracle-curve"]["honest_point"]["regret"]["mean"] == pytest.approx(0.0)
    assert policies["constant-arm"]["honest_point"]["regret"]["mean"] > 0


def test_tasks_add_up_to_all_test_queries(subject: Subject) -> None:
    found = measured(subject)
    assert sum(task["queries"] for task in found["tasks"].values()) == sum(one["test"] for one in found["splits"])
    best = found["policies"]["best-single"]["tasks"]
    assert best == found["tasks"]
    mean = np.average([task["quality"] for task in best.values()], weights=[task["queries"] for task in best.values()])
    assert mean == pytest.approx(found["best_single"]["quality"])


def test_calibration_reads_chosen_arms_and_all_arms_where_told(subject: Subject) -> None:
    found = measured(subject, curveroute_single=Estimating)
    told = found["policies"]["curveroute-single"]["calibration"]
    assert told["all_arms"]["ece"] == told["all_arms"]["brier"] == 0.0
    assert sum(count for _, _, count in told["all_arms"]["bins"]) == 4 * sum(one["test"] for one in found["splits"])
    assert found["policies"]["constant-arm"]["calibration"]["chosen"]["ece"] < 0.2
    assert found["policies"]["best-single"]["calibration"]["all_arms"] is None


def test_two_models_have_the_two_model_metrics(subject: Subject) -> None:
    policies = measured(subject)["policies"]
    assert policies["constant-arm"]["cpt_0.8"]["mean"] == pytest.approx(1.0)
    assert policies["oracle-curve"]["cpt_0.8"]["mean"] < 0.5
    assert policies["oracle-curve"]["apgr"]["mean"] > policies["constant-arm"]["apgr"]["mean"]


def test_workers_come_to_the_same_as_this_process(subject: Subject) -> None:
    x = np.random.default_rng(0).random((QUERIES, 3))
    makers = {"constant-arm": carrot_linear, "curveroute-near": carrot_knn}
    found, seen = [], []
    for workers in (1, 2):
        one = replace(subject, grid=subject.grid.embedded(x))
        plan = Plan(seeds=2, workers=workers)
        found.append(evaluate(one, plan, makers=makers, watch=lambda done, total, _: seen.append((done, total))))
    assert json.dumps(found[0]) == json.dumps(found[1])
    assert seen == [(step + 1, 6) for step in range(6)] * 2


def test_a_policy_without_its_extra_is_left_out_of_all_and_refused_by_name(subject: Subject) -> None:
    makers = FIXED | {"learned": Refusing}
    found: Any = evaluate(subject, Plan(seeds=2, workers=1), makers=makers)
    assert "learned" not in found["policies"]
    assert found["notes"] == [
        "learned is left out: the policy 'learned' needs an extra: pip install \"curveroute[neural]\""
    ]
    with pytest.raises(MissingExtra, match="neural"):
        evaluate(subject, Plan(("learned",), seeds=1, workers=1), makers=makers)


def test_an_unknown_policy_is_refused(subject: Subject) -> None:
    with pytest.raises(SettingError, match="did you mean 'oracle-curve'"):
        evaluate(subject, Plan(("oracle-curv",)), makers=FIXED)


def test_what_a_worker_refuses_is_refused_here_and_no_worker_is_left(subject: Subject) -> None:
    lone = replace(subject, grid=subject.grid.take(np.array([0])))
    with pytest.raises(SetupError, match="cannot be split"):
        evaluate(lone, Plan(("constant-arm",), seeds=2, workers=2), makers={"constant-arm": carrot_linear})
    assert not multiprocessing.active_children()


def test_a_policy_that_breaks_in_a_worker_is_named_by_its_seed(subject: Subject) -> None:
    with pytest.raises(RunError, match=r"seed \d: .*Error"):
        evaluate(subject, Plan(("constant-arm",), seeds=2, workers=2), makers={"constant-arm": dict})


def test_one_query_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be split"):
        measured(subject_of(rows_of(1), tmp_path))


def test_where_nothing_costs_anything_ratios_are_undefined_and_said_to_be(tmp_path: Path) -> None:
    found = measured(subject_of(rows_of(free=True), tmp_path), curveroute_single=Estimating)
    assert is_finite_json(found)
    assert any("ratios to its cost are undefined" in note for note in found["notes"])
    undefined = {"mean": None, "std": None, "reached": None, "mean_reached": None}
    assert all(policy["qnc_ratio"] == undefined for policy in found["policies"].values())
    assert ">never<" not in report_page([found])
    assert found["policies"]["best-single"]["audc_envelope"]["mean"] is None
    assert found["policies"]["best-single"]["honest_point"]["cost_ratio"]["mean"] is None
    assert found["policies"]["best-single"]["gain_at_cost"]["1.0"]["mean"] is not None


def test_one_model_alone_is_evaluated(tmp_path: Path) -> None:
    found = measured(subject_of(rows_of(), tmp_path, models=["large"]))
    assert (found["arms"], found["best_single"]["model"]) == (2, "large")


def test_an_arm_without_rows_on_both_sides_is_left_out_and_said_so(tmp_path: Path) -> None:
    lone = row(0, "seldom", None, 1e-3, 1.0)
    found = measured(subject_of([*rows_of(), lone], tmp_path))
    assert any("left out: seldom@unlimited" in note for note in found["notes"])
    assert is_finite_json(found)


def test_missing_cells_never_become_numbers(tmp_path: Path) -> None:
    rows = [one for place, one in enumerate(rows_of()) if place % 11]
    found = measured(subject_of(rows, tmp_path), curveroute_single=Estimating)
    assert is_finite_json(found)
    assert any("have no recorded answer of the best single model" in note for note in found["notes"])
    assert any("APGR and CPT are undefined" in note for note in found["notes"])
    assert found["policies"]["oracle-curve"]["apgr"]["mean"] is None


def test_gains_are_over_queries_of_the_best_single_model(tmp_path: Path) -> None:
    """Recorded on the hard questions only, it would otherwise look beaten by whoever answers the easy ones too."""
    rows = []
    for query in range(200):
        hard = query % 2 == 0
        good = 0.3 if hard else 1.0
        rows.append(row(query, "cheap", None, 1e-6, good - 0.05))
        rows += [row(query, "best", None, 1e-3, 1.0 if query % 3 else 0.6)] if hard else []
    found = measured(subject_of(rows, tmp_path))
    assert found["best_single"]["model"] == "best"
    policies = found["policies"]
    assert policies["best-single"]["gain_at_cost"]["1.0"]["mean"] == 0.0
    assert policies["random"]["peak"]["mean"] < found["best_single"]["quality"] - 0.2
    assert policies["cheapest"]["peak"]["mean"] == pytest.approx(0.25)
    counts = [one["test"] for one in found["splits"]]
    assert all(20 <= count <= 40 for count in counts)
    noted = [int(note.split()[0]) for note in found["notes"] if "best@unlimited: left out for every policy" in note]
    assert {60 - count for count in counts} == set(noted)
    assert sum(task["queries"] for task in policies["cheapest"]["tasks"].values()) == sum(counts)


class Forgetful(Estimating):
    """Always the large model, but every other of its answers, and what it cost, is lost."""

    def replay(self, test: Grid) -> Replay:
        one = BASELINES["best-single"](self.seed).fit(self.train).replay(test)
        cost, quality = one.cost_usd.copy(), one.quality.copy()
        cost[:, ::2], quality[:, ::2] = np.nan, np.nan
        return replace(one, cost_usd=cost, quality=quality)


def test_a_gap_of_a_policy_is_never_good_and_never_cheap(subject: Subject) -> None:
    found = measured(subject, curveroute_forgetful=Forgetful)
    one, best = found["policies"]["curveroute-forgetful"], found["policies"]["best-single"]
    assert one["peak"]["mean"] < 0.6 * best["peak"]["mean"]
    assert one["peak_cost_ratio"]["mean"] == pytest.approx(1.0)
    assert one["honest_point"]["cost_ratio"]["mean"] == pytest.approx(1.0)
    assert any("has no recorded answer to 18 of 36 test queries, which count against it" in n for n in found["notes"])
    assert all(each["outcome"] != "win" for each in found["paired"] if each["b"] == "best-single")
    assert sum(task["queries"] for task in one["tasks"].values()) == 3 * 36


def test_a_gap_costs_as_much_as_the_dearest_answer(subject: Subject) -> None:
    gap = np.full((1, QUERIES), np.nan, dtype=np.float32)
    filled = answered(Replay(np.array([0.0]), gap, gap), subject.grid)
    assert (filled.quality == 0.0).all()
    assert filled.cost_usd == pytest.approx(np.full((1, QUERIES), 6e-5))
    given = answered(Replay(np.array([0.0]), np.full_like(gap, 2e-6), gap), subject.grid)
    assert given.cost_usd == pytest.approx(np.full((1, QUERIES), 2e-6))


def test_training_queries_of_one_text_are_one_query(tmp_path: Path) -> None:
    twins = [replace(one, query_id=f"{one.query_id} again", query=f" {one.query.upper()}") for one in rows_of(40)]
    trial = Trial(subject_of([*rows_of(40), *twins], tmp_path).grid, ("constant-arm",))
    train, test, _ = parts(trial, 0)
    assert (len(train), len(test)) == (28, 24)
    write_table(tmp_path / "test.jsonl", twins[:40])
    write_table(tmp_path / "train.jsonl", rows_of(40))
    pair = read_pair(tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    assert len(pair.grid) == 30


@pytest.mark.parametrize("fixed", [False, True])
def test_one_text_to_train_on_is_too_few(tmp_path: Path, fixed: bool) -> None:
    if fixed:
        write_table(tmp_path / "train.jsonl", rows_of(1))
        write_table(tmp_path / "test.jsonl", rows_of(9, text="other"))
        subject, plan = read_pair(tmp_path / "train.jsonl", tmp_path / "test.jsonl"), Plan()
    else:
        subject, plan = subject_of(rows_of(9), tmp_path), Plan(test_fraction=0.999, workers=1)
    for refuse in (check, evaluate):
        with pytest.raises(TableError, match="has 1 different query; routers need 2 or more: give "):
            refuse(subject, plan)


def test_few_test_queries_make_no_claim(tmp_path: Path) -> None:
    found = measured(subject_of(rows_of(60), tmp_path), curveroute_single=Estimating)
    assert {one["test_queries"] for one in found["paired"]} == {18}
    assert {one["outcome"] for one in found["paired"]} == {"none"}
    assert all("too few test queries for a claim (18; it takes 30)" in line for line in verdicts(found["paired"]))


def test_models_and_tasks_are_kept_or_left_out(tmp_path: Path) -> None:
    rows = rows_of()
    assert {arm.model for arm in subject_of(rows, tmp_path, models=["-large"]).grid.arms} == {"small"}
    assert set(subject_of(rows, tmp_path, tasks=["task 0", "task 1"]).grid.tasks) == {"task 0", "task 1"}
    assert set(subject_of(rows, tmp_path, tasks=["-task 0"]).grid.tasks) == {"task 1", "task 2"}
    with pytest.raises(SettingError, match="no model 'larg'; did you mean 'large'"):
        subject_of(rows, tmp_path, models=["larg"])
    with pytest.raises(SettingError, match=r"no task of .* is left"):
        subject_of(rows, tmp_path, tasks=["-task 0", "-task 1", "-task 2"])


def test_a_fixed_split_tests_on_nothing_it_was_trained_on(tmp_path: Path) -> None:
    write_table(tmp_path / "train.jsonl", rows_of(40))
    fresh = [one for one in rows_of(30, text="other") if one.model == "large"]
    shared = [replace(one, query_id=f"again {one.query_id}") for one in rows_of(5) if one.model == "large"]
    write_table(tmp_path / "test.jsonl", [*fresh, *shared])
    pair = read_pair(tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    assert len(pair.grid) == 35
    assert pair.test is not None
    assert len(pair.test) == 35
    assert {arm.model for arm in pair.grid.arms} == {"large"}
    assert any("5 queries" in note for note in pair.notes)
    assert found_once(pair) == [35]
    found = measured(pair)
    assert [one["test"] for one in found["splits"]] == [35, 35, 35]
    assert any("a fixed split: its seeds only reseed the policies" in note for note in found["notes"])
    assert found["train_table"] == "train"
    assert all(one["fixed"] for one in found["paired"])


def found_once(pair: Subject) -> list[int]:
    """Test queries of every seed that a fixed split has by default: one, and no deviation is shown of it."""
    found: Any = evaluate(pair, Plan(workers=1), makers=FIXED)
    assert found["policies"]["best-single"]["peak"]["std"] is None
    assert found["made_with"]["seeds"] == [0]
    assert not any("a fixed split" in note for note in found["notes"])
    return [one["test"] for one in found["splits"]]


def test_tables_that_share_no_arm_or_only_queries_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "one.jsonl", [one for one in rows_of() if one.model == "small"])
    write_table(tmp_path / "two.jsonl", [one for one in rows_of() if one.model == "large"])
    with pytest.raises(TableError, match="share no arm"):
        read_pair(tmp_path / "one.jsonl", tmp_path / "two.jsonl")
    with pytest.raises(TableError, match="every query"):
        read_pair(tmp_path / "one.jsonl", tmp_path / "one.jsonl")


def test_ours_meet_every_other_policy_once() -> None:
    assert pairs_of(["a", "curveroute-x", "curveroute-y"]) == [
        ("curveroute-x", "a"),
        ("curveroute-x", "curveroute-y"),
        ("curveroute-y", "a"),
    ]
    assert pairs_of(["a", "b", "c"]) == [("a", "b"), ("a", "c")]
    assert pairs_of(["a"]) == pairs_of([]) == []


class Measuring:
    """Embeds a text by its length."""

    name, dim = "measuring", 2

    async def embed(self, texts: Any) -> Vectors:
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


def test_a_pair_is_embedded_on_both_sides(subject: Subject, tmp_path: Path) -> None:
    pair = replace(subject, test=subject.grid.take(np.array([3, 1])))
    found = asyncio.run(embedded(pair, Measuring(), tmp_path))
    assert found.grid.x.shape == (QUERIES, 2)
    assert found.test is not None
    assert found.test.x.tolist() == found.grid.x[[3, 1]].tolist()


def test_texts_that_embed_to_nothing_are_still_evaluated(subject: Subject) -> None:
    blank = replace(subject, grid=subject.grid.embedded(np.zeros((QUERIES, 4))))
    plan = Plan(("constant-arm", "carrot-linear", "carrot-knn", "unirouter"), seeds=1, workers=1)
    assert is_finite_json(evaluate(blank, plan, makers=BASELINES))
