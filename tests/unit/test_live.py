"""The live check's own rules, on scripted models: outcomes add up, differences are paired, intervals hold them."""

from __future__ import annotations

import importlib.util
import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.columns import columns_of
from curveroute.agent.bench.grid import grid_of
from curveroute.agent.bench.table import Row
from curveroute.agent.bench.tasks import Task, collection_tasks
from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.errors import TableError
from curveroute.agent.types import Arm, ModelId, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import House

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("once", "live_policies", "live_figures", "live_page", "live_stage", "live", "planner")
TASK = Task("held-out/x", "What is the capital of Portugal?", "facts", "Lisbon", "text", "contains")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, Any]]:
    made: dict[str, Any] = {}
    for name in NAMES:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        made[name] = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made[name])
    yield made
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def once(scripts: dict[str, Any]) -> Any:
    return scripts["once"]


def parts_of(house: type[House], answers: dict[str, Any]) -> Any:
    """Parts whose arms say what is written for them, each in as many seconds as its budget."""

    def answer(call: Call) -> Any:
        text = answers.get(str(call.arm), "Answer: Lisbon")
        if isinstance(text, str):
            return Reply(text, Usage(30, 10), "stop", float(call.arm.budget or 0))
        return text

    return house.context(house.pool(), house.chat(answer)).parts


class TestTwoAgree:
    PAIR = (Arm(ModelId("small"), 16), Arm(ModelId("big"), 64))
    THIRD = Arm(ModelId("big"), 256)

    def policy(self, scripts: dict[str, Any], parts: Any, **changes: Any) -> Any:
        given = {"pair": self.PAIR, "better": self.PAIR[1], "third": self.THIRD} | changes
        return scripts["live_policies"].TwoAgreeLive(parts, **given)

    async def test_a_pair_that_agrees_is_all_that_is_asked(self, scripts: dict[str, Any], house: type[House]) -> None:
        parts = parts_of(house, {"small@16": "Answer: **lisbon**."})
        found = await self.policy(scripts, parts).answer(TASK)
        assert (found.quality, found.calls, found.latency_s) == (1.0, 2, 64.0)
        assert found.cost_usd == pytest.approx((30 * 0.1 + 10 * 0.4 + 30 * 1.0 + 10 * 4.0) * 1e-6)

    async def test_the_better_ones_answer_is_given(self, scripts: dict[str, Any], house: type[House]) -> None:
        task = replace(TASK, reference="4", grader="exact_case")
        parts = parts_of(house, {"small@16": "4", "big@64": "4.0"})
        for better, quality in ((self.PAIR[0], 1.0), (self.PAIR[1], 0.0)):
            assert (await self.policy(scripts, parts, better=better).answer(task)).quality == quality

    @pytest.mark.parametrize("text", ["Answer: Madrid", "", "I cannot answer that."])
    async def test_else_the_third_is_asked_after_them(
        self, scripts: dict[str, Any], house: type[House], text: str
    ) -> None:
        parts = parts_of(house, {"small@16": text, "big@64": text if "Madrid" not in text else "Answer: Porto"})
        found = await self.policy(scripts, parts).answer(TASK)
        assert (found.quality, found.calls, found.latency_s) == (1.0, 3, 64.0 + 256.0)

    async def test_a_third_of_the_pair_is_not_paid_again(self, scripts: dict[str, Any], house: type[House]) -> None:
        parts = parts_of(house, {"small@16": "Answer: Porto"})
        found = await self.policy(scripts, parts, third=self.PAIR[0]).answer(TASK)
        assert (found.quality, found.calls) == (0.0, 2)

    async def test_an_arm_with_itself_is_asked_for_two_samples(
        self, scripts: dict[str, Any], house: type[House]
    ) -> None:
        parts = parts_of(house, {})
        await self.policy(scripts, parts, pair=(self.THIRD, self.THIRD)).answer(TASK)
        assert [(call.sample, call.temperature) for call in parts.chat.calls] == [(0, 0.0), (1, 0.7)]


class TestGraph:
    async def test_it_asks_what_fixed_arms_ask_and_counts_everything(
        self, scripts: dict[str, Any], once: Any, house: type[House], tmp_path: Path
    ) -> None:
        policies = scripts["live_policies"]
        parts = parts_of(house, {"small@16": "Answer: Porto"})
        seam = once.Once(parts.chat, tmp_path / "record.jsonl")
        parts = replace(parts, chat=seam)
        for arm in parts.pool.arms:
            await policies.Constant(parts, arm).answer(TASK)
        made = seam.made
        router = scripts["live"].Router(scripts["live"].Context(parts=parts))
        found = await policies.Graph(router, 0.05, {"plan": True, "judge": True}).answer(TASK)
        assert seam.made == made == len(parts.pool.arms)
        assert found.calls == len(found.route.attempts) > 1
        assert found.cost_usd == pytest.approx(sum(one.cost_usd for one in found.route.attempts))
        rounds = [[one.budget for one in decision.arms] for decision in found.route.decisions if decision.arms]
        assert found.latency_s == sum(max(budgets) for budgets in rounds)

    async def test_single_shot_takes_the_first_of_the_ranking(
        self, scripts: dict[str, Any], house: type[House]
    ) -> None:
        parts = parts_of(house, {})
        for tradeoff, arm in ((0.0, "big@256"), (1.0, "small@16")):
            await scripts["live_policies"].SingleShot(parts, tradeoff).answer(TASK)
            assert str(parts.chat.calls[-1].arm) == arm


def trained(house: type[House], right: dict[str, float], questions: int = 40) -> Any:
    """A training table of the house's arms, right in these shares of the questions; dearer with the budget."""
    made = [
        Row(
            query_id=f"q{number}",
            query=f"question {number}",
            task="t",
            model=arm.model,
            budget=arm.budget,
            sample=0,
            quality=float(number < right.get(str(arm), 0.5) * questions),
            answer=f"{arm} {number}",
            reference="r",
            finish_reason="stop",
            input_tokens=30,
            output_tokens=arm.budget or 0,
            cost_usd=house.pool().cost_usd(arm.model, Usage(30, arm.budget or 0)),
        )
        for number in range(questions)
        for arm in house.pool().arms
    ]
    return grid_of(columns_of(made))


class TestTheWhole:
    OPTIONS = Namespace(tradeoffs=[0.1, 0.9], levels=3, plan=True, judge=True, all_arms=True)

    async def test_every_policy_answers_every_question_and_a_second_start_asks_nothing(
        self, scripts: dict[str, Any], once: Any, house: type[House], tmp_path: Path
    ) -> None:
        live, tasks = scripts["live"], [replace(TASK, query_id=f"held-out/{n}", query=f"{n}?") for n in range(3)]
        train, told = trained(house, {"big@256": 0.9, "small@256": 0.9}), []
        for start in range(2):
            parts = parts_of(house, {"small@16": "Answer: Porto"})
            seam = once.Once(parts.chat, tmp_path / "record.jsonl")
            stage = scripts["live_stage"].Stage(replace(parts, chat=seam), seam)
            policies, answers = live.policies_of(stage, train, self.OPTIONS), []
            await live.played(stage, policies, tasks, answers)
            chosen = {"best_single": "small@256", "front": live.front_of(train), "models": ["small", "big"]}
            told.append(live.result_of(policies, answers, tasks, {**chosen, "pool": "toy"}))
            assert (seam.made > 0) == (start == 0)
            assert parts.chat.closed == 1
        assert told[0] == told[1]
        assert (told[0]["questions"], told[0]["written"]) == (3, 3)
        assert scripts["live_page"].markdown(told[0])

    async def test_what_was_finished_before_a_stop_is_told(self, scripts: dict[str, Any], house: type[House]) -> None:
        live, train = scripts["live"], trained(house, {})
        parts = parts_of(house, {})
        policies, answers = live.policies_of(scripts["live_stage"].Stage(parts, None), train, self.OPTIONS), []

        def stop(done: int) -> None:
            if done > 2 * len(policies):
                raise KeyboardInterrupt

        tasks = [replace(TASK, query_id=f"held-out/{n}", query=f"{n}?") for n in range(5)]
        with pytest.raises(KeyboardInterrupt):
            await live.answer_all(policies, tasks, answers, stop)
        told = live.result_of(policies, answers, tasks, {"best_single": "big@256", "front": ["big@256"]})
        assert (told["questions"], told["of"]) == (2, 5)

    def test_the_front_is_chosen_on_the_training_table(self, scripts: dict[str, Any], house: type[House]) -> None:
        train = trained(house, {"small@16": 0.2, "small@64": 0.1, "small@256": 0.6, "big@64": 0.6, "big@256": 0.8})
        assert scripts["live"].front_of(train) == ["small@16", "big@16", "small@256", "big@256"]

    @pytest.mark.parametrize("words", [["--tradeoffs", "2"], ["--limit"], []])
    def test_a_wrong_option_ends_before_anything_is_asked(self, scripts: dict[str, Any], words: list[str]) -> None:
        with pytest.raises(SystemExit):
            scripts["live"].main(words)


class TestPlanner:
    async def measured(
        self, scripts: dict[str, Any], once: Any, house: type[House], record: Path, plan: str, wrong: str
    ) -> dict[str, Any]:
        """The comparison where all arms of one model are wrong, and the planner says this."""

        def answer(call: Call) -> str:
            if call.schema is None:
                return "Answer: Porto" if call.arm.model == wrong else "Answer: Lisbon"
            return plan if "order" in call.schema["properties"] else ""

        pool = house.pool(planner="small", planner_lift=0.0)
        seam = once.Once(house.chat(answer), record)
        parts = replace(house.context(pool, seam).parts, chat=seam)
        stage = scripts["live_stage"].Stage(parts, seam)
        tasks = [replace(TASK, query_id=f"held-out/{n}", query=f"{n}?") for n in range(6)]
        pairs: list[Any] = []
        options = Namespace(tradeoffs=[0.3, 0.6], judge=True)
        await scripts["planner"].compare(stage, tasks, options, pairs, lambda done: None)
        told: dict[str, Any] = scripts["planner"].result_of(stage, pairs, options.tradeoffs)
        return told

    async def test_a_planner_that_changes_nothing_costs_its_price_and_does_not_pay(
        self, scripts: dict[str, Any], once: Any, house: type[House], tmp_path: Path
    ) -> None:
        told = await self.measured(scripts, once, house, tmp_path / "r.jsonl", "no plan", "nobody")
        for one in (*told["by_tradeoff"], told["overall"]):
            assert one["lift"] == {"value": 0.0, "low": 0.0, "high": 0.0}
            assert one["added_calls"]["value"] == 1.0
            assert one["added_cost_usd"]["value"] == pytest.approx(one["planner_usd"])
            assert one["net"]["high"] < 0
            assert one["share_of_doubt"]["value"] == pytest.approx(0.0, abs=1e-6)
            assert (one["followed"], one["pays"]) == (0.0, False)
        assert told["planner_lift"] == 0.0

    async def test_its_lift_is_the_quality_that_it_adds(
        self, scripts: dict[str, Any], once: Any, house: type[House], tmp_path: Path
    ) -> None:
        plan = json.dumps({"order": list("FEDCBA"), "probe": False, "criteria": ""})
        told = await self.measured(scripts, once, house, tmp_path / "r.jsonl", plan, "nobody")
        for one in told["by_tradeoff"]:
            assert one["followed"] == 1.0
            assert one["lift"]["value"] == pytest.approx(one["quality_with"] - one["quality_without"])
            assert one["added_cost_usd"]["value"] == pytest.approx(one["cost_usd_with"] - one["cost_usd_without"])

    def test_the_gain_before_its_price_is_what_is_held_against_the_doubt(
        self, scripts: dict[str, Any], house: type[House]
    ) -> None:
        pool = house.pool(planner="small", planner_lift=1.0)
        plan = json.dumps({"order": ["A"], "probe": False, "criteria": ""})
        router = house.router(pool, house.chat(lambda call: plan if call.schema else "Answer: Lisbon"), tradeoff=0.2)
        route, plain = router.invoke("?"), router.invoke("?", plan=False)
        make = scripts["live_policies"].Outcome
        pair = scripts["planner"].Pair(
            make(1.0, route.cost_usd, 2, 1.0, route), make(0.0, route.cost_usd / 2, 1, 1.0, plain)
        )
        columns = scripts["planner"].columns_of([pair], 0.2, 1e-3)
        price = route.attempts[0].cost_usd
        assert columns["net"][0] == pytest.approx(0.8 - 0.2 * route.cost_usd / 2 / 1e-3)
        assert columns["gross"][0] == pytest.approx(columns["net"][0] + 0.2 * price / 1e-3)
        assert columns["doubt"][0] > 0


@pytest.fixture
def table(scripts: dict[str, Any]) -> Any:
    rng = np.random.default_rng(0)
    families = ("constant arm", "constant arm", "two agree", "graph", "graph")
    right = rng.random((5, 60)) < np.array([[0.3], [0.6], [0.6], [0.6], [0.9]])
    right[3] = right[1]
    cost = np.array([[1.0], [10.0], [8.0], [10.0], [9.0]]) * np.ones((1, 60))
    values = {"quality": right, "cost_usd": cost, "calls": cost, "latency_s": rng.random((5, 60)) + cost}
    arrays = {name: value.astype(np.float32) for name, value in values.items()}
    return scripts["live_figures"].Measured(families, tuple("abcde"), (None, None, None, 0.5, 0.1), arrays)


class TestFigures:
    def test_differences_are_paired(self, scripts: dict[str, Any], table: Any) -> None:
        told = scripts["live_figures"].figures(table, 1, [0, 1])
        same, better = told["policies"][3], told["policies"][4]
        assert same["quality_over_best_single"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert same["cost_over_best_single"] == {"value": 1.0, "low": 1.0, "high": 1.0}
        assert better["quality_over_best_single"]["low"] > 0
        assert better["cost_over_best_single"]["value"] == pytest.approx(0.9)
        assert better["tradeoff"] == 0.1

    def test_every_interval_holds_its_value(self, scripts: dict[str, Any], table: Any) -> None:
        told = scripts["live_figures"].figures(table, 1, [0, 1])
        found = [one for row in told["policies"] for one in row.values() if isinstance(one, dict)]
        found += [one for row in told["curves"].values() for one in row.values()]
        assert len(found) > 30
        assert all(one["low"] <= one["value"] + 1e-9 for one in found if one["low"] is not None)
        assert json.loads(json.dumps(told, allow_nan=False)) == told

    def test_a_curve_is_compared_at_the_cost_of_the_best_single_or_less(
        self, scripts: dict[str, Any], table: Any
    ) -> None:
        told = scripts["live_figures"].figures(table, 1, [0, 1])
        mean = table.values["quality"].mean(axis=1)
        assert told["curves"]["graph"]["gain_at_cost_1"]["value"] == pytest.approx(mean[4] - mean[1], abs=1e-5)
        assert told["curves"]["graph"]["gain_at_cost_0.5"]["value"] == pytest.approx(mean[0] - mean[1], abs=1e-5)
        pairs = {(one["a"], one["b"]) for one in told["differences"]}
        assert pairs == {("graph", "two agree")}

    def test_the_95th_percentile_is_the_least_that_covers_so_many(self, scripts: dict[str, Any]) -> None:
        values = np.arange(100, 0, -1, dtype=np.float32)[None]
        counts = np.ones((2, 100), np.float32)
        counts[1] = 0
        counts[1, 0] = 100
        assert scripts["live_figures"].slowest(counts, values).tolist() == [[95.0], [100.0]]

    def test_the_page_gets_its_tables_between_the_marks_again_and_again(
        self, scripts: dict[str, Any], table: Any, tmp_path: Path
    ) -> None:
        told = scripts["live_figures"].figures(table, 1, [0, 1])
        counts = {"questions": 60, "written": 20, "generated": 40, "cores": 2, "models": ["small", "big"]}
        page, text = (
            tmp_path / "page.md",
            scripts["live_page"].markdown({**told, **counts, "pool": "toy", "best_single": "b"}),
        )
        page.write_text("# Before\n<!-- live -->\nold\n<!-- /live -->\nafter\n")
        for _ in range(2):
            scripts["live_page"].write_between_marks(page, text)
        written = page.read_text()
        assert written.startswith("# Before\n<!-- live -->\n\n60 held-out questions (20 written, 40 generated)")
        assert written.endswith("|\n\n<!-- /live -->\nafter\n")
        assert "old" not in written
        rows = [line for line in written.splitlines() if line.startswith("|")]
        assert len(rows) == (2 + 5) + (2 + 2) + (2 + 1)

    @pytest.mark.parametrize(
        "text", ["", "<!-- live -->", "<!-- /live -->\n<!-- live -->", 2 * "<!-- live --><!-- /live -->"]
    )
    def test_a_page_without_its_marks_is_left_alone(self, scripts: dict[str, Any], tmp_path: Path, text: str) -> None:
        page = tmp_path / "page.md"
        page.write_text(text)
        with pytest.raises(TableError, match=r"page\.md needs one line <!-- live -->"):
            scripts["live_page"].write_between_marks(page, "new")
        assert page.read_text() == text


class TestQuestions:
    def test_there_are_enough_and_none_is_a_training_question(self, scripts: dict[str, Any]) -> None:
        tasks = scripts["live_stage"].questions()
        trained = {task.query for task in collection_tasks(10, 0)}
        assert len(tasks) >= 160
        assert len({task.query for task in tasks}) == len(tasks) == len({task.query_id for task in tasks})
        assert not trained & {task.query for task in tasks}
        assert sum(task.query_id.startswith("held-out/") for task in tasks) == 60

    def test_every_reference_is_right_by_its_own_grader(self, scripts: dict[str, Any]) -> None:
        for task in scripts["live_stage"].questions():
            assert scripts["live_policies"].grade(task, f"Answer: {task.reference}").quality == 1.0, task

    def test_a_few_are_of_every_kind(self, scripts: dict[str, Any]) -> None:
        few = scripts["live_stage"].questions(20)
        assert len(few) == 20
        assert {task.grader == "gym" for task in few} == {True, False}


def test_only_local_models_are_told_to_do_without_a_cache(scripts: dict[str, Any], house: type[House]) -> None:
    from curveroute.agent.pool import load_pool

    pool = scripts["live_stage"].without_cache(load_pool("local"))
    assert all(model.extra_body == {"cache_prompt": False} for model in pool.spec.models)
    assert [pool.prices(name) for name in pool.models] == [load_pool("local").prices(name) for name in pool.models]
    hosted = house.pool()
    assert scripts["live_stage"].without_cache(hosted).spec == hosted.spec
