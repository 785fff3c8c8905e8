"""Whole runs through the real graph: what is tried, what is kept, and when it stops."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.chat.recorded import RecordedChat
from curveroute.agent.errors import AllArmsFailed
from curveroute.agent.ledger import Ledger, RunSettings
from curveroute.agent.predictor import Predictor, load_predictor, save_predictor
from curveroute.agent.step import best_attempt
from curveroute.agent.types import Arm, Attempt, AttemptId, ModelId, Usage, Verdict
from curveroute.graphs import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.agent.pool import Pool
    from curveroute.route import Route


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened


def asked(route: Route) -> list[str]:
    return [str(attempt.arm) for attempt in route.attempts]


def failing(*arms: str, answer: str = "Answer: Lisbon") -> Any:
    """Answers, unless the arm or its model is named."""

    def reply(call: Call) -> Any:
        from curveroute.agent.errors import ModelCallError

        dead = str(call.arm) in arms or call.arm.model in arms
        return ModelCallError(f"{call.arm} is down") if dead else answer

    return reply


def test_the_answer_is_the_recorded_one_and_its_cost_follows_from_the_recorded_usage(house: type[House]) -> None:
    pool = house.pool()
    route = house.router(pool, house.recorded(*house.rows(pool, "Answer: Lisbon")), tradeoff=0.9).invoke(house.query)
    assert route.answer == str(route) == "Answer: Lisbon"
    assert asked(route) == ["small@16"]
    assert route.arm == route.attempts[0].arm
    assert route.cost_usd == pytest.approx((30 * 0.1 + 10 * 0.4) * 1e-6)
    assert route.status == "accepted"
    assert len(route.candidates) == len(pool.arms)
    assert route.run_id


def test_a_good_enough_probe_is_the_answer(house: type[House]) -> None:
    pool = house.pool()
    route = house.router(pool, house.recorded(*house.rows(pool)), tradeoff=0.9).invoke(house.query)
    assert [attempt.role for attempt in route.attempts] == ["probe"]
    assert [decision.status for decision in route.decisions] == [None, "accepted"]
    losers = {one.arm: one.reason for one in route.decisions[0].rejected}
    assert set(losers) == set(pool.arms) - {route.attempts[0].arm}
    assert all(losers.values())


def test_an_answer_that_the_limit_cut_off_is_followed_by_a_longer_budget(house: type[House]) -> None:
    pool = house.pool({"solo": (0.3, 0.8, 0.1)})
    rows = house.rows(pool)
    rows[0] |= {"response": "Let me think", "finish_reason": "length", "output_tokens": 16}
    route = house.router(pool, house.recorded(*rows), tradeoff=0.5).invoke(house.query)
    assert asked(route) == ["solo@16", "solo@64"]
    assert [attempt.role for attempt in route.attempts] == ["probe", "escalation"]
    assert [attempt.verdict.reason for attempt in route.attempts if attempt.verdict] == ["truncated", "ok"]
    assert route.budget == 64
    assert route.answer == "Answer: Lisbon"


def test_models_that_disagree_lead_to_another_model(house: type[House]) -> None:
    pool = house.pool({"a": (0.4, 0.5, 0.1), "b": (0.4, 0.5, 0.11), "best": (0.6, 0.8, 0.5)}, budgets=(16,))
    said = {"a": "Answer: Porto", "b": "Answer: Lisbon", "best": "Answer: Lisbon"}
    rows = [house.row(name, 16, text) for name, text in said.items()]
    route = house.router(pool, house.recorded(*rows), tradeoff=0.5, allow=("a", "b")).invoke(house.query)
    assert {one.verdict.reason for one in route.attempts if one.verdict} == {"disagreement"}
    route = house.router(pool, house.recorded(*rows), tradeoff=0.3).invoke(house.query)
    assert {"best", "a"} <= {attempt.arm.model for attempt in route.attempts}
    assert route.answer == "Answer: Lisbon"
    verdicts = {attempt.arm.model: attempt.verdict for attempt in route.attempts}
    assert verdicts["a"] is not None
    assert verdicts["a"].reason == "disagreement"
    assert verdicts["best"] is not None
    assert verdicts["best"].detail == "1 agrees, 1 differs"


def test_cost_alone_takes_the_cheapest_arm_and_commits_to_it(house: type[House]) -> None:
    pool = house.pool()
    route = house.router(pool, house.recorded(*house.rows(pool)), tradeoff=1.0).invoke(house.query)
    cheapest = min(route.candidates, key=lambda candidate: candidate.cost_usd)
    assert [attempt.arm for attempt in route.attempts] == [cheapest.arm]
    assert route.decisions[0].committed


def test_quality_alone_begins_with_the_best_arm_and_leaves_none_untried_while_in_doubt(house: type[House]) -> None:
    pool = house.pool()
    route = house.router(pool, house.recorded(*house.rows(pool)), tradeoff=0.0).invoke(house.query)
    assert asked(route)[0] == "big@256"
    assert sorted(asked(route)) == sorted(map(str, pool.arms))
    assert route.status == "best_so_far"


def test_the_best_verdict_is_the_answer_and_of_equals_the_later_one() -> None:
    def made(name: str, score: float | None, **changes: Any) -> Attempt:
        verdict = None if score is None else Verdict(score, "ok")
        arm = Arm(ModelId(name), 16)
        attempt = Attempt(AttemptId(name), "probe", arm, name, name, Usage(), 0.0, "stop", 0.1, verdict=verdict)
        return replace(attempt, **changes)

    broken, judge = made("broken", 0.99, error="down"), made("judge", 0.99, role="judge")
    unseen, low, high, twin = made("unseen", None), made("low", 0.2), made("high", 0.7), made("twin", 0.7)
    assert best_attempt((high, low, broken, judge, unseen)) == high
    assert best_attempt((high, twin, low)) == twin
    assert best_attempt((unseen, broken)) == unseen
    assert best_attempt((broken, judge)) is None


def test_no_arm_is_asked_twice_in_a_run(house: type[House]) -> None:
    pool = house.pool()
    chat = house.chat(lambda call: f"Answer: {call.arm.model}{call.arm.budget}")
    route = house.router(pool, chat, tradeoff=0.0).invoke(house.query)
    assert len(set(asked(route))) == len(asked(route))


@pytest.mark.parametrize("tradeoff", [0.0, 0.5, 1.0])
def test_when_the_first_arm_fails_another_model_is_asked(house: type[House], tradeoff: float) -> None:
    pool = house.pool()
    first = asked(house.router(pool, house.chat(failing()), tradeoff=tradeoff, plan=False).invoke(house.query))[0]
    model = first.split("@")[0]
    route = house.router(pool, house.chat(failing(model)), tradeoff=tradeoff).invoke(house.query)
    assert route.answer == "Answer: Lisbon"
    assert route.model != model
    assert [attempt.verdict.reason for attempt in route.attempts if attempt.error and attempt.verdict] == ["error"]
    assert [attempt.arm.model for attempt in route.attempts].count(model) == 1, "a model that is down is asked once"


def test_an_arm_that_fails_does_not_close_its_model_when_nobody_else_is_left(house: type[House]) -> None:
    pool = house.pool({"solo": (0.3, 0.8, 0.1)})
    route = house.router(pool, house.chat(failing("solo@16")), tradeoff=1.0).invoke(house.query)
    assert asked(route) == ["solo@16", "solo@64"]
    assert route.answer == "Answer: Lisbon"


def test_all_arms_failing_is_an_error_that_names_each_and_the_ledger_says_failed(
    house: type[House], ledger: Ledger
) -> None:
    pool = house.pool()
    chat = house.chat(failing("small", "big"))
    with pytest.raises(AllArmsFailed) as caught:
        house.router(pool, chat, ledger=ledger).invoke(house.query)
    for call in chat.calls:
        assert f"{call.arm} is down" in str(caught.value)
    (record,) = ledger.runs()
    assert record.status == "failed"
    assert record.answer is None
    assert record.run_id in str(caught.value)
    assert ledger.verify().ok


async def test_the_graph_itself_tells_of_failure_in_its_output(house: type[House]) -> None:
    pool = house.pool(budgets=(16,))
    context = house.context(pool, house.chat(failing("small", "big")))
    output = await build().compile().ainvoke({"messages": [{"role": "user", "content": "Hi?"}]}, context=context)
    assert output["status"] == "failed"
    assert output["answer"] == ""
    assert output["answer_attempt_id"] is None
    assert output["cost_usd"] == 0
    assert {attempt.error for attempt in output["attempts"].values()} == {"small@16 is down", "big@16 is down"}


def test_a_call_that_may_have_been_billed_is_charged_although_it_failed(house: type[House], ledger: Ledger) -> None:
    pool = house.pool()
    chat = house.chat(lambda call: house.dead(lost_tries=1) if call.arm.model == "small" else "Answer: Lisbon")
    route = house.router(pool, chat, tradeoff=1.0, ledger=ledger).invoke(house.query)
    failed = next(attempt for attempt in route.attempts if attempt.error)
    assert failed.cost_usd > 0
    assert route.cost_usd == pytest.approx(sum(attempt.cost_usd for attempt in route.attempts))
    assert ledger.verify().ok


def test_the_ledger_holds_the_route(house: type[House], ledger: Ledger) -> None:
    pool = house.pool({"a": (0.4, 0.5, 0.1), "b": (0.4, 0.5, 0.11), "best": (0.6, 0.8, 0.5)})
    said = {"a": "Answer: Porto", "b": "Answer: Lisbon", "best": "Answer: Lisbon"}
    rows = [row | {"response": said[row["model"]]} for row in house.rows(pool)]
    route = house.router(pool, house.recorded(*rows), tradeoff=0.3, max_cost_usd=0.01, ledger=ledger).invoke(
        house.query
    )
    assert len(route.attempts) > 2
    record = ledger.run(route.run_id)
    assert tuple(one.attempt for one in record.attempts) == route.attempts
    assert tuple(one.decision for one in record.decisions) == route.decisions
    assert record.candidates == route.candidates
    assert record.plan == route.plan
    assert (record.status, record.answer, record.reason) == (route.status, route.answer, route.reason)
    assert record.arm == route.arm
    assert record.totals.cost_usd == pytest.approx(route.cost_usd)
    assert record.totals.attempts == len(route.attempts)
    assert (record.tradeoff, record.max_cost_usd, record.query_text) == (0.3, 0.01, house.query)
    assert ledger.verify().disagreements == []


class TestWithAPredictor:
    """Two kinds of queries: the small model is good at those full of the letter a, bad at all others."""

    @staticmethod
    def fitted(pool: Pool, house: type[House]) -> Predictor:
        rng = np.random.default_rng(1)
        x = rng.uniform(0, 6, size=(120, house.embedder.dim))
        easy = (x[:, :1] > 3).astype(float)
        small = np.array([arm.model == "small" for arm in pool.arms])
        quality = np.where(small, 0.15 + 0.75 * easy, 0.85)
        tokens = np.full(quality.shape, 10.0)
        cost = np.where(small, 7e-6, 7e-5) * np.ones_like(quality)
        return Predictor(embedder=house.embedder.name).fit(x, quality, tokens, cost_usd=cost, arms=pool.arms)

    def test_the_query_decides_which_arm_comes_first(self, house: type[House]) -> None:
        pool = house.pool(budgets=(16,))
        easy, hard = "aaaaaa aa?", "eeeee iiiii ooooo?"
        chat = house.recorded(*house.rows(pool, query=easy), *house.rows(pool, query=hard))
        router = house.router(pool, chat, predictor=self.fitted(pool, house), tradeoff=0.3)
        assert asked(router.invoke(easy))[0] == "small@16"
        assert asked(router.invoke(hard))[0] == "big@16"

    async def test_the_ledger_keeps_what_decided_the_run(
        self, house: type[House], ledger: Ledger, tmp_path: Path
    ) -> None:
        pool = house.pool(budgets=(16,))
        fitted = load_predictor(save_predictor(self.fitted(pool, house), tmp_path / "p"))
        for predictor, origin in ((fitted, fitted.origin_), (None, None)):
            chat = house.recorded(*house.rows(pool))
            router = house.router(pool, chat, predictor=predictor, ledger=ledger, policy="closed-form")
            route = await router.ainvoke(house.query)
            assert ledger.run(route.run_id).settings == RunSettings("closed-form", None, origin)

    def test_every_query_is_embedded_once(self, house: type[House]) -> None:
        pool, embedder = house.pool(budgets=(16,)), house.embedder()
        chat = RecordedChat.from_rows(house.rows(pool))
        router = house.router(pool, chat, predictor=self.fitted(pool, house), embedder=embedder)
        router.invoke(house.query)
        assert embedder.texts == [house.query]
