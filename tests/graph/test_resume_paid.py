"""A run that is killed after a call was paid and before the graph moved on does not pay that call again."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from curveroute.agent.chat.seam import Reply
from curveroute.agent.ledger import Ledger
from curveroute.agent.ledger.events import AttemptMade
from curveroute.agent.types import RunId, Usage
from curveroute.graphs import STATE_TYPES, build

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.agent.ledger import Event

PLAN = {"order": ["A", "B", "C", "D", "E", "F"], "probe": True, "criteria": "a number"}
WORD = {"reason": "I checked it.", "verdict": "unsure"}


class KilledError(Exception):
    """The process is gone."""


class Killing:
    """A ledger whose process is killed right after it has stored the first call of a role."""

    def __init__(self, ledger: Ledger, role: str) -> None:
        self.ledger, self.role, self.armed = ledger, role, True

    async def record(self, run_id: RunId, *events: Event) -> None:
        await self.ledger.record(run_id, *events)
        stored = any(isinstance(event, AttemptMade) and event.attempt.role == self.role for event in events)
        if self.armed and stored:
            self.armed = False
            raise KilledError

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)


@pytest.mark.parametrize("role", ["planner", "judge", "probe", "escalation"])
async def test_a_paid_call_is_not_paid_again(house: type[House], tmp_path: Path, role: str) -> None:
    numbers = itertools.count(1)

    def answer(call: Call) -> Reply:
        usage = Usage(30, 10 * next(numbers))  # a call that is made twice costs something else
        if call.schema is None:
            return Reply(f"Answer: {call.arm.model}", usage, "stop", 0.1)
        return Reply(house.json(PLAN if "order" in str(call.schema) else WORD), usage, "stop", 0.1)

    chat = house.chat(answer)
    pool = house.pool(planner="small", judge="small", planner_lift=1.0, judge_reliability=0.9)
    graph = build().compile(checkpointer=InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES)))
    thread: Any = {"configurable": {"thread_id": "1"}}
    question: Any = {"messages": [{"role": "user", "content": "2 + 2?"}]}
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        context = house.context(pool, chat, tradeoff=0.05, ledger=Killing(ledger, role))  # type: ignore[arg-type]
        with pytest.raises(KilledError):
            await graph.ainvoke(question, thread, context=context)
        output = await graph.ainvoke(None, thread, context=context)
        assert len(chat.calls) == len(output["attempts"])
        assert ledger.run(output["run_id"]).totals.attempts == len(output["attempts"])
        assert ledger.verify().ok, ledger.verify().disagreements


async def test_a_run_of_a_name_that_was_given_is_looked_up_also_where_nothing_is_checkpointed(
    house: type[House], tmp_path: Path
) -> None:
    chat = house.chat(lambda call: Reply(f"Answer: {call.arm.model}", Usage(30, 10), "stop", 0.1))
    question: Any = {"messages": [{"role": "user", "content": "2 + 2?"}]}
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        context = replace(house.context(house.pool(), chat, ledger=ledger), run_id=RunId("mine"))
        first, again = [await build().compile().ainvoke(question, context=context) for _ in range(2)]
        assert first["attempts"] == again["attempts"]
        assert len(chat.calls) == len(first["attempts"])
