"""The graph invoked without an event loop: the same answers, events, interrupts and errors as with one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.tracers.base import BaseTracer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command
from typing_extensions import TypedDict

from curveroute.agent.errors import AllArmsFailed, CapTooSmall, QueryError
from curveroute.agent.ledger import Ledger
from curveroute.graphs import STATE_TYPES, build
from curveroute.router import Router

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House
    from langchain_core.tracers.schemas import Run

THREAD: Any = {"configurable": {"thread_id": "1"}}
MODELS = {"a": (0.4, 0.5, 0.1), "b": (0.4, 0.5, 0.11), "best": (0.6, 0.8, 0.5)}


def asked(text: str) -> Any:
    return {"messages": [{"role": "user", "content": text}]}


def saver() -> InMemorySaver:
    return InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES))


def differing(call: Any) -> str:
    return f"Answer: {call.arm.model} {call.max_tokens}"


def told(output: dict[str, Any]) -> Any:
    """What a run came to, without its id."""
    return (
        output["answer"], output["status"], output["cost_usd"], [one.arm for one in output["attempts"].values()]
    )  # fmt: skip


async def test_invoke_answers_as_ainvoke_does_with_a_loop_around_it_or_without(house: type[House]) -> None:
    graph: Any = build(house.context(house.pool(MODELS), house.chat(differing), tradeoff=0.3)).compile()
    here = graph.invoke(asked(house.query))
    assert len(here["attempts"]) > 1
    assert told(here) == told(await graph.ainvoke(asked(house.query)))
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(graph.invoke(asked(house.query))))
    thread.start()
    thread.join()
    assert told(found[0]) == told(here)


async def test_a_stream_tells_the_same_events_in_the_same_order(house: type[House]) -> None:
    pool = house.pool({"only": (0.9, 0.95, 0.1)}, budgets=(64,))
    graph: Any = build(house.context(pool, house.chat(lambda _: "Answer: Lisbon"), tradeoff=1.0)).compile()
    events = list(graph.stream(asked(house.query), stream_mode="custom"))
    with_a_loop = [event async for event in graph.astream(asked(house.query), stream_mode="custom")]
    assert [event["type"] for event in events] == [event["type"] for event in with_a_loop]
    assert "".join(event["text"] for event in events if event["type"] == "token") == "Answer: Lisbon"


def test_arms_are_asked_side_by_side(house: type[House]) -> None:
    pool = house.pool({"a": (0.5, 0.5, 0.1), "b": (0.5, 0.5, 0.1)}, budgets=(64,))
    both = threading.Barrier(2, timeout=30)

    class Meeting(house.chat):  # type: ignore[misc,name-defined]
        async def complete(self, call: Any, *, on_token: Any = None, may_resend: Any = None) -> Any:
            import asyncio

            await asyncio.to_thread(both.wait)  # both are in flight at once, or neither comes back
            return await super().complete(call, on_token=on_token, may_resend=may_resend)

    context = house.context(pool, Meeting(lambda _: "Answer: Lisbon"), tradeoff=0.01, seconds_usd=1.0)
    output: Any = build(context).compile().invoke(asked(house.query))
    assert len(output["decisions"][0].arms) == 2
    assert output["answer"] == "Answer: Lisbon"


def test_a_person_is_asked_and_the_run_goes_on(house: type[House], tmp_path: Path) -> None:
    chat = house.chat(lambda _: "Answer: Lisbon")
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        context = house.context(house.pool(), chat, ledger=ledger, approve_above_usd=0.0)
        graph: Any = build(context).compile(checkpointer=saver())
        (request,) = graph.invoke(asked(house.query), THREAD)["__interrupt__"]
        assert request.value["kind"] == "approval"
        assert chat.calls == []
        output = graph.invoke(Command(resume=1.0), THREAD)
        assert output["answer"] == "Answer: Lisbon"
        (record,) = ledger.runs()
        assert record.totals.cost_usd == pytest.approx(output["cost_usd"])
        assert ledger.verify().ok


class Conversation(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    answer: str


def test_graph_and_router_are_nodes_of_a_graph_without_coroutines(house: type[House]) -> None:
    context = house.context(house.pool(), house.chat(lambda _: "Answer: Lisbon"))
    parent = StateGraph(Conversation)
    parent.add_node("route", build(context).compile())
    router = Router(context)
    parent.add_node("again", lambda state: {"answer": state["answer"] + router.invoke(state["messages"]).answer})
    parent.add_edge(START, "route")
    parent.add_edge("route", "again")
    graph: Any = parent.compile(checkpointer=saver())
    output = graph.invoke({"messages": [HumanMessage(house.query)]}, THREAD)
    assert output["answer"] == "Answer: LisbonAnswer: Lisbon"


def test_its_errors_are_those_of_the_coroutines(house: type[House]) -> None:
    graph: Any = build().compile()
    chat = house.chat(lambda _: house.dead())
    with pytest.raises(QueryError, match="the query is empty"):
        graph.invoke(asked(""), context=house.context(house.pool(), chat))
    with pytest.raises(CapTooSmall, match="the cheapest arm"):
        graph.invoke(asked(house.query), context=house.context(house.pool(), chat, max_cost_usd=1e-9))
    assert chat.calls == []
    assert graph.invoke(asked(house.query), context=house.context(house.pool(), chat))["status"] == "failed"
    with pytest.raises(AllArmsFailed):
        house.router(house.pool(), chat).invoke(house.query)


def test_a_tracer_finds_the_account_of_the_run(house: type[House]) -> None:
    class Kept(BaseTracer):
        root: Run

        def _persist_run(self, run: Run) -> None:
            self.root = run

    tracer = Kept()
    graph: Any = build(house.context(house.pool(), house.chat(lambda _: "Answer: Lisbon"))).compile()
    graph.invoke(asked(house.query), {"callbacks": [tracer]})
    assert tracer.root.metadata["curveroute_status"] == "accepted"
    names = [run.name for run in tracer.root.child_runs]
    assert names[:2] == ["propose", "plan"]
    assert names[-1] == "accept"
    (call,) = next(run for run in tracer.root.child_runs if run.name == "probe").child_runs
    assert call.run_type == "llm"
