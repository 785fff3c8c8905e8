"""The uncompiled graph in other hands: checkpointed and resumed, as a subgraph, and given a server's plain dicts."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from curveroute.agent.errors import SettingError
from curveroute.agent.ledger import Ledger
from curveroute.graphs import STATE_TYPES, Context, build
from curveroute.graphs import graph as graph_module
from curveroute.route import Route

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call

THREAD = {"configurable": {"thread_id": "1"}}


def asking(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def echo(call: Call) -> str:
    return f"Answer: {call.query_text}"


def saver() -> InMemorySaver:
    return InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES))


def test_build_is_the_function_however_it_is_imported() -> None:
    assert callable(build)
    assert graph_module.build is build
    assert isinstance(build(), StateGraph)


def test_the_drawing_shows_every_way() -> None:
    edges = {(edge.source, edge.target) for edge in build().compile().get_graph().edges}
    assert {("verify", "accept"), ("verify", "escalate"), ("escalate", "probe"), ("plan", "probe")} <= edges


async def test_runs_of_one_thread_do_not_mix(house: type[House]) -> None:
    context = house.context(house.pool(), house.chat(echo), tradeoff=0.3)
    graph = build().compile(checkpointer=saver())
    first = await graph.ainvoke(asking("One?"), THREAD, context=context)
    second = await graph.ainvoke(asking("Two?"), THREAD, context=context)
    assert (first["answer"], second["answer"]) == ("Answer: One?", "Answer: Two?")
    assert first["run_id"] != second["run_id"]
    assert not set(first["attempts"]) & set(second["attempts"])
    assert second["cost_usd"] == pytest.approx(sum(one.cost_usd for one in second["attempts"].values()))


async def test_a_run_resumes_from_a_checkpoint_without_a_warning_and_without_paying_twice(
    house: type[House], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chat, kept = house.chat(echo), saver()
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        context = house.context(house.pool(), chat, tradeoff=0.3, ledger=ledger)
        paused = build().compile(checkpointer=kept, interrupt_before=["verify"])
        with caplog.at_level(logging.WARNING):
            await paused.ainvoke(asking("One?"), THREAD, context=context)
            paid = len(chat.calls)
            output = await build().compile(checkpointer=kept).ainvoke(None, THREAD, context=context)
        assert caplog.records == []
        whole = await build().compile().ainvoke(asking("One?"), context=context)
        route, twin = Route.from_output(output), Route.from_output(whole)
        assert paid >= 1
        assert len(route.attempts) == len(twin.attempts)
        assert len(chat.calls) == 2 * len(twin.attempts)
        assert route.cost_usd == pytest.approx(twin.cost_usd)
        assert [one.arm for one in route.attempts] == [one.arm for one in twin.attempts]
        assert ledger.run(route.run_id).status == "accepted"
        assert ledger.verify().ok


async def test_a_probe_that_died_is_asked_again_and_its_sister_is_not(house: type[House], tmp_path: Path) -> None:
    broken = {"big"}

    def answer(call: Call) -> Any:
        return RuntimeError("killed") if call.arm.model in broken else echo(call)

    chat = house.chat(answer)
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        pool = house.pool({"small": (0.5, 0.5, 0.1), "big": (0.5, 0.5, 0.11)})
        context = house.context(pool, chat, tradeoff=0.05, ledger=ledger, seconds_usd=1e-4)
        graph = build().compile(checkpointer=saver())
        with pytest.raises(RuntimeError, match="killed"):
            await graph.ainvoke(asking("One?"), THREAD, context=context)
        broken.clear()
        output = await graph.ainvoke(None, THREAD, context=context)
        step = [one for one in output["attempts"].values() if ".1." in one.attempt_id]
        first_step = [one for one in step if not one.attempt_id.endswith(".lost")]
        assert [one.arm.model for one in step if one not in first_step] == ["big"]  # it may be billed: it is charged
        assert {one.arm.model for one in first_step} == {"small", "big"}
        asked = [call.arm for call in chat.calls]
        assert [arm for arm in set(asked) if asked.count(arm) > 1] in (
            [],
            [one.arm for one in first_step if one.arm.model == "big"],
        )
        assert ledger.run(output["run_id"]).totals.attempts == len(output["attempts"])
        assert ledger.verify().ok


def test_a_strict_environment_needs_no_list(tmp_path: Path) -> None:
    """LangGraph then finds the state's classes by itself, in the graph and in a parent of it."""
    script = """
import asyncio, logging
logging.basicConfig(level=logging.WARNING)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde import _msgpack
from langgraph.graph import START, StateGraph
from curveroute.graphs import STATE_TYPES, build
assert _msgpack.STRICT_MSGPACK_ENABLED
allowed = build().compile(checkpointer=InMemorySaver())._serde_allowlist
found = {key for key in allowed if key[0].startswith("curveroute.agent")}
assert found == {(one.__module__, one.__name__) for one in STATE_TYPES}, found
"""
    environment = os.environ | {"LANGGRAPH_STRICT_MSGPACK": "true", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    answer: str


async def test_it_is_a_subgraph_of_a_graph_that_keeps_langchain_messages(house: type[House]) -> None:
    async def reply(state: Chat) -> dict[str, Any]:
        return {"messages": [AIMessage(state["answer"])]}

    parent = StateGraph(Chat)
    parent.add_node("route", build(house.context(house.pool(), house.chat(echo), tradeoff=1.0)).compile())
    parent.add_node("reply", reply)
    parent.add_edge(START, "route")
    parent.add_edge("route", "reply")
    parent.add_edge("reply", END)
    graph = parent.compile(checkpointer=saver())
    output = await graph.ainvoke({"messages": [HumanMessage("One?")]}, THREAD)
    assert [message.text for message in output["messages"]] == ["One?", "Answer: One?"]
    output = await graph.ainvoke({"messages": [HumanMessage("Two?")]}, THREAD)
    assert output["answer"] == "Answer: One?\nTwo?"
    assert len(output["messages"]) == 4


async def test_a_parents_own_context_leaves_the_bound_one_in_place(house: type[House]) -> None:
    parent = StateGraph(Chat, context_schema=dict)
    parent.add_node("route", build(house.context(house.pool(), house.chat(echo), tradeoff=1.0)).compile())
    parent.add_edge(START, "route")
    for given in ({"user": "me"}, None):
        output = await parent.compile().ainvoke({"messages": [HumanMessage("One?")]}, context=given)
        assert output["answer"] == "Answer: One?"


async def test_a_servers_plain_dict_sets_the_run(house: type[House]) -> None:
    bound = house.context(house.pool(), house.chat(echo), tradeoff=1.0)
    graph = build(bound).compile()
    given = {"tradeoff": 0, "max_cost_usd": 0.01, "plan": False, "judge": False, "allow": ["big"], "deny": []}
    output = await graph.ainvoke(asking("One?"), context=given)
    assert {one.arm.model for one in output["candidates"]} == {"big"}
    assert len(output["attempts"]) == 3
    with pytest.raises(SettingError, match="tradeoff is 2"):
        await graph.ainvoke(asking("One?"), context={"tradeoff": 2})


def test_the_context_reads_json_lists_and_stays_hashable_by_value() -> None:
    assert Context(allow=["a"], deny=[]).allow == ("a",)  # type: ignore[arg-type]
    assert Context(allow=["a"]) == Context(allow=("a",))  # type: ignore[arg-type]


def test_schemas_name_what_a_client_may_send() -> None:
    graph = build().compile()
    assert set(graph.get_input_jsonschema()["properties"]) == {"messages"}
    assert {"answer", "status", "cost_usd", "attempts", "plan"} <= set(graph.get_output_jsonschema()["properties"])
    settings = graph.get_context_jsonschema()
    assert settings is not None
    named = {"tradeoff", "max_cost_usd", "seconds_usd", "max_error", "policy", "plan", "judge", "allow", "deny"}
    named.add("approve_above_usd")
    assert set(settings["properties"]) == named


async def test_custom_events_come_from_the_graph_itself(house: type[House]) -> None:
    graph = build(house.context(house.pool(), house.chat(echo), tradeoff=1.0)).compile()
    kinds = [event["type"] async for event in graph.astream(asking("One?"), stream_mode="custom")]
    assert kinds[0] == "candidates"
    assert kinds[-1] == "commit"
