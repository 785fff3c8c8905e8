"""Calls in flight when a process dies: each is charged at its worst case, once, whoever was asked; caps hold."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from curveroute.agent.chat.seam import Reply
from curveroute.agent.ledger import Ledger
from curveroute.agent.probe import request_bounds
from curveroute.agent.types import Query, Usage
from curveroute.graphs import STATE_TYPES, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call

THREAD: Any = {"configurable": {"thread_id": "1"}}
QUESTION: Any = {"messages": [{"role": "user", "content": "2 + 2?"}]}
PLAN = {"order": ["A", "B", "C", "D", "E", "F"], "probe": True, "criteria": "a number"}
WORD = {"reason": "I checked it.", "verdict": "unsure"}


class DiedError(Exception):
    """The process is gone while it waits for an answer."""


class Dying:
    """Answers, but dies over the calls of these numbers, from 1."""

    def __init__(self, house: type[House], *numbers: int) -> None:
        self.house, self.numbers, self.seen = house, set(numbers), 0

    def __call__(self, call: Call) -> Any:
        self.seen += 1
        if self.seen in self.numbers:
            raise DiedError
        if call.schema is None:
            return Reply(f"Answer: {call.arm.model} {call.max_tokens}", Usage(30, 10), "stop", 0.1)
        said = PLAN if "order" in str(call.schema) else WORD
        return Reply(self.house.json(said), Usage(30, 10), "stop", 0.1)


class Run:
    """One run that is taken up until it ends."""

    def __init__(self, house: type[House], ledger: Ledger, *deaths: int, pool: Any = None, **settings: Any) -> None:
        self.chat, self.ledger = house.chat(Dying(house, *deaths)), ledger
        self.pool = pool or house.pool()
        self.context = house.context(self.pool, self.chat, ledger=ledger, **{"tradeoff": 0.05, **settings})
        saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES))
        self.graph: Any = build().compile(checkpointer=saver)

    async def to_its_end(self, deaths: int) -> dict[str, Any]:
        given = QUESTION
        for _ in range(deaths):
            with pytest.raises(DiedError):
                await self.graph.ainvoke(given, THREAD, context=self.context)
            given = None
        return await self.graph.ainvoke(given, THREAD, context=self.context)

    def check_books(self, output: dict[str, Any]) -> None:
        run = self.ledger.run(output["run_id"])
        kept = {one.attempt.attempt_id: one.attempt.cost_usd for one in run.attempts}
        assert kept == {name: one.cost_usd for name, one in output["attempts"].items()}
        assert len(kept) == len(self.chat.calls)  # every request is charged, and each once
        assert run.totals.cost_usd == pytest.approx(output["cost_usd"])
        assert self.ledger.verify().ok, self.ledger.verify().disagreements


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as made:
        yield made


def lost_of(output: dict[str, Any]) -> list[Any]:
    return [one for name, one in output["attempts"].items() if name.endswith(".lost")]


async def test_a_run_that_nobody_disturbs_leaves_no_note(house: type[House], ledger: Ledger) -> None:
    run = Run(house, ledger)
    output = await run.to_its_end(0)
    assert lost_of(output) == []
    run.check_books(output)


@pytest.mark.parametrize("death", [1, 2, 3, 4])
async def test_each_call_of_a_run_with_planner_and_judge_may_be_lost(
    house: type[House], ledger: Ledger, death: int
) -> None:
    pool = house.pool(planner="small", judge="small", planner_lift=1.0, judge_reliability=0.9)
    run = Run(house, ledger, death, pool=pool)
    output = await run.to_its_end(1)
    (lost,) = lost_of(output)
    roles = [one.role for one in output["attempts"].values()]
    assert "planner" in roles
    assert "judge" in roles
    assert lost.cost_usd > 0
    assert "may be billed" in str(lost.error)
    run.check_books(output)


async def test_it_is_charged_at_the_worst_case_and_asked_again(house: type[House], ledger: Ledger) -> None:
    run = Run(house, ledger, 1)
    output = await run.to_its_end(1)
    (lost,) = lost_of(output)
    query = Query(tuple(QUESTION["messages"]))
    assert lost.cost_usd == pytest.approx(
        request_bounds(run.pool, lost.arm, run.pool.messages(query, lost.arm)).cost_usd
    )
    assert [call.arm for call in run.chat.calls[:2]] == [lost.arm] * 2
    run.check_books(output)


async def test_two_processes_that_die_over_one_call_are_charged_for_two(house: type[House], ledger: Ledger) -> None:
    run = Run(house, ledger, 1, 2)
    output = await run.to_its_end(2)
    first, second = lost_of(output)
    assert first.arm == second.arm
    assert first.cost_usd == second.cost_usd
    assert len({call.arm for call in run.chat.calls[:3]}) == 1
    run.check_books(output)


@pytest.mark.parametrize("share", [0.5, 1.2, 1.5, 3.0])
async def test_a_cap_holds_what_was_lost_and_what_is_asked_then(
    house: type[House], ledger: Ledger, share: float
) -> None:
    """A lost call may use the cap up: the run then asks what else fits."""
    twin = Run(house, ledger)
    worst = max(twin.context.parts.outlooker.worst_usd(Query(tuple(QUESTION["messages"])), _places(twin)))  # type: ignore[attr-defined]
    run = Run(house, ledger, 1, max_cost_usd=share * worst)
    with pytest.raises(DiedError):
        await run.graph.ainvoke(QUESTION, THREAD, context=run.context)
    output = await run.graph.ainvoke(None, THREAD, context=run.context)
    assert output["cost_usd"] <= share * worst
    assert output["answer"].startswith("Answer: ")
    run.check_books(output)


async def test_a_lost_call_that_uses_the_cap_up_ends_the_run_in_words(house: type[House], ledger: Ledger) -> None:
    alone = house.pool({"only": (0.5, 0.6, 0.1)}, budgets=(16,))
    places = Run(house, ledger, pool=alone)
    (worst,) = places.context.parts.outlooker.worst_usd(Query(tuple(QUESTION["messages"])), _places(places))  # type: ignore[attr-defined]
    run = Run(house, ledger, 1, pool=alone, max_cost_usd=1.5 * worst)
    with pytest.raises(DiedError):
        await run.graph.ainvoke(QUESTION, THREAD, context=run.context)
    with pytest.raises(Exception, match="cap"):
        await run.graph.ainvoke(None, THREAD, context=run.context)
    assert len(run.chat.calls) == 1
    (kept,) = ledger.runs()
    assert kept.status == "failed"
    assert kept.totals.cost_usd == pytest.approx(worst)
    assert ledger.verify().ok


async def test_a_call_that_is_cancelled_is_charged_once(house: type[House], ledger: Ledger) -> None:
    chat = house.chat(lambda call: "Answer: 4", hold=lambda call: True)
    context = house.context(house.pool(), chat, ledger=ledger, tradeoff=0.05)
    graph: Any = build().compile(checkpointer=InMemorySaver())
    task = asyncio.create_task(graph.ainvoke(QUESTION, THREAD, context=context))
    await chat.held.wait()
    (row,) = await asyncio.to_thread(lambda: ledger.run(ledger.runs()[0].run_id).attempts)
    assert row.attempt.attempt_id.endswith(".sent1.lost")  # a killed process would leave this
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (row,) = await asyncio.to_thread(lambda: ledger.run(ledger.runs()[0].run_id).attempts)
    assert row.attempt.attempt_id.endswith(".cancelled.lost")
    assert ledger.verify().ok


async def test_without_a_checkpointer_nothing_is_noted(house: type[House], ledger: Ledger) -> None:
    chat = house.chat(lambda call: "Answer: 4", hold=lambda call: True)
    router = house.router(house.pool(), chat, ledger=ledger, tradeoff=0.05)
    task = asyncio.create_task(router.ainvoke("2 + 2?"))
    await chat.held.wait()
    assert await asyncio.to_thread(ledger.runs) == []
    chat.gate.set()
    assert (await task).answer == "Answer: 4"


def _places(run: Run) -> Any:
    return run.context.parts.outlooker.places(list(run.pool.arms))  # type: ignore[attr-defined]
