"""A planner or judge whose call is cancelled in flight is charged as an attempt of its own, in ledger and cap."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from curveroute.agent.ledger import Ledger
from curveroute.agent.pool.pool import input_tokens_bound
from curveroute.graphs import STATE_TYPES, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.agent.pool import Pool
    from curveroute.agent.types import Arm, Attempt

THREAD: Any = {"configurable": {"thread_id": "1"}}
PLAN = {"order": ["A", "B", "C"], "probe": True, "criteria": "a city"}
WORD = {"quote": "Answer", "reason": "I checked it."}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened


def plans(call: Call) -> bool:
    return call.schema is not None and "order" in str(call.schema)


def judges(call: Call) -> bool:
    return call.schema is not None and not plans(call)


def compares(call: Call) -> bool:
    return judges(call) and "neither" in str(call.schema)


def worst_usd(pool: Pool, call: Call) -> float:
    """What a call that never came back may be billed for."""
    sent = input_tokens_bound(call.messages) + len(json.dumps(call.schema))
    return pool.worst_case_usd(call.arm, sent, call.max_tokens)


class Stage:
    """A run that can be left while one of its calls is open, and taken up again where it was."""

    def __init__(self, house: type[House], ledger: Ledger, holds: Callable[[Call], bool], **settings: Any) -> None:
        def answer(call: Call) -> str:
            if call.schema is None:
                return f"Answer: {call.arm.model}"
            return json.dumps(PLAN if plans(call) else {**WORD, "verdict": "A" if compares(call) else "wrong"})

        self.house, self.ledger = house, ledger
        self.pool = house.pool(planner="small", judge="small", planner_lift=1.0, judge_reliability=0.9)
        self.chat = house.chat(answer, hold=holds)
        self.settings = {"tradeoff": 0.05, "ledger": ledger} | settings
        serde = JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES)
        self.graph = build().compile(checkpointer=InMemorySaver(serde=serde))

    def go(self, given: Any) -> Any:
        context = self.house.context(self.pool, self.chat, **self.settings)
        return self.graph.ainvoke(given, THREAD, context=context)

    async def leave(self) -> list[Attempt]:
        """Cancel the run amid a call; what the ledger then holds."""
        question = {"messages": [{"role": "user", "content": self.house.query}]}
        task = asyncio.create_task(self.go(question))
        await asyncio.wait((task, held := asyncio.create_task(self.chat.held.wait())), return_when="FIRST_COMPLETED")
        assert held.done(), "the run ended without the call"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        record = self.ledger.runs()[0]
        assert self.ledger.verify().ok, self.ledger.verify().disagreements
        return [one.attempt for one in self.ledger.run(record.run_id).attempts]

    async def resume(self) -> Any:
        self.chat.hold = None
        return await self.go(None)


@pytest.mark.parametrize(("role", "holds"), [("planner", plans), ("judge", judges)])
async def test_it_is_charged_at_its_worst_case(
    house: type[House], ledger: Ledger, role: str, holds: Callable[[Call], bool]
) -> None:
    stage = Stage(house, ledger, holds, plan=role == "planner")
    *before, lost = await stage.leave()
    assert (lost.role, lost.finish_reason) == (role, "error")
    assert "cancelled" in str(lost.error)
    (call,) = stage.chat.cancelled
    assert lost.cost_usd == pytest.approx(worst_usd(stage.pool, call))
    assert lost.cost_usd > 0
    assert len(before) == len(stage.chat.calls) - 1


async def test_a_comparison_left_in_its_second_call_is_charged_for_both(house: type[House], ledger: Ledger) -> None:
    """The first one was answered, paid for, and not yet in the ledger."""

    def second(call: Call) -> bool:
        return compares(call) and sum(map(compares, stage.chat.calls)) > 1

    stage = Stage(house, ledger, second, plan=False)
    *_, first, lost = [one for one in await stage.leave() if one.role == "judge"]
    assert first.error is None
    assert first.cost_usd == stage.pool.cost_usd("small", house.usage)
    assert lost.attempt_id == f"{first.attempt_id}.swapped.cancelled.lost"
    assert lost.cost_usd == pytest.approx(worst_usd(stage.pool, stage.chat.cancelled[0]))


@pytest.mark.parametrize(("role", "holds"), [("planner", plans), ("judge", judges)])
async def test_a_run_taken_up_again_counts_it_under_its_cap_and_asks_it_no_more(
    house: type[House], ledger: Ledger, role: str, holds: Callable[[Call], bool]
) -> None:
    stage = Stage(house, ledger, holds, plan=role == "planner", max_cost_usd=2e-3)
    lost = (await stage.leave())[-1]
    output = await stage.resume()
    assert output["attempts"][lost.attempt_id].cost_usd == lost.cost_usd
    assert lost.cost_usd < output["cost_usd"] <= 2e-3
    assert output["answer"].startswith("Answer: ")
    assert stage.chat.calls.count(stage.chat.cancelled[0]) == 1
    record = ledger.run(output["run_id"])
    assert record.totals.cost_usd == pytest.approx(output["cost_usd"])
    assert ledger.verify().ok


async def test_what_a_lost_planner_may_cost_is_no_longer_there_for_answers(house: type[House], ledger: Ledger) -> None:
    """The rest of the run goes as one that never planned goes under what the cap still holds."""

    def unplanned(cap: float) -> list[Arm]:
        chat = house.chat(lambda call: f"Answer: {call.arm.model}")
        settings = {"plan": False, "judge": False, "tradeoff": 0.05, "max_cost_usd": cap}
        return [one.arm for one in house.router(house.pool(), chat, **settings).invoke(house.query).attempts]

    def telling(lost_usd: float) -> float:
        """A cap under which it makes a difference."""
        caps = np.linspace(6e-4, 3e-3, 60).tolist()
        return next(cap for cap in caps if unplanned(cap) != unplanned(cap - lost_usd))

    (lost,) = await Stage(house, ledger, plans).leave()
    cap = await asyncio.to_thread(telling, lost.cost_usd)
    stage = Stage(house, ledger, plans, judge=False, max_cost_usd=cap)
    assert [one.cost_usd for one in await stage.leave()] == [lost.cost_usd]
    output = await stage.resume()
    assert "cancelled" in output["plan"].reason
    arms = [one.arm for one in output["attempts"].values() if one.role != "planner"]
    assert arms == await asyncio.to_thread(unplanned, cap - lost.cost_usd)
