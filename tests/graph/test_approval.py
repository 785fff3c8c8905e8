"""A person is asked before a run costs more than a set price: yes, no, a number, and who cannot wait."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command
from typing_extensions import TypedDict

from curveroute import RouterChat
from curveroute.agent.approval import REFUSED
from curveroute.agent.chat.seam import Reply
from curveroute.agent.errors import ApprovalRefused, SettingError
from curveroute.agent.ledger import Ledger
from curveroute.agent.types import Usage
from curveroute.graphs import STATE_TYPES, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call

THREAD: Any = {"configurable": {"thread_id": "1"}}
QUESTION: Any = {"messages": [{"role": "user", "content": "2 + 2?"}]}
NOTHING = 0.0


def differing(call: Call) -> Reply:
    """Nobody agrees with anybody, so that there is always more to ask; and nearly every worst case comes true."""
    return Reply(f"Answer: {call.arm.model} {call.max_tokens}", Usage(100, call.max_tokens), "stop", 0.1)


def saver() -> InMemorySaver:
    return InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as made:
        yield made


class Run:
    """One run that asks a person, and what was asked."""

    def __init__(self, house: type[House], ledger: Ledger, above: float, **settings: Any) -> None:
        self.chat = house.chat(differing)
        given = {"tradeoff": 0.3, "approve_above_usd": above, **settings}
        self.context = house.context(house.pool(), self.chat, ledger=ledger, **given)
        self.graph: Any = build().compile(checkpointer=saver())

    async def begin(self) -> dict[str, Any]:
        return await self.graph.ainvoke(QUESTION, THREAD, context=self.context)

    async def answer(self, said: object) -> dict[str, Any]:
        return await self.graph.ainvoke(Command(resume=said), THREAD, context=self.context)


def question_of(output: dict[str, Any]) -> dict[str, Any]:
    (asked,) = output["__interrupt__"]
    return asked.value


async def whole_cost(house: type[House], ledger: Ledger) -> float:
    """What the run costs when nobody is asked."""
    free = Run(house, ledger, 1.0)
    return (await free.begin())["cost_usd"]


async def test_nobody_is_asked_below_the_price(house: type[House], ledger: Ledger) -> None:
    output = await Run(house, ledger, 1.0).begin()
    assert "__interrupt__" not in output
    assert len(output["attempts"]) > 1


async def test_the_question_names_arm_costs_and_reason_and_nothing_is_spent(house: type[House], ledger: Ledger) -> None:
    run = Run(house, ledger, NOTHING)
    output = await run.begin()
    asked = question_of(output)
    (arm,) = asked["arms"]
    assert asked["kind"] == "approval"
    assert asked["run_id"] == output["run_id"]
    assert 0 < arm["expected_usd"] <= arm["worst_usd"]
    assert asked["spent_usd"] == 0
    assert asked["total_usd"] == pytest.approx(arm["worst_usd"])
    assert asked["limit_usd"] == NOTHING
    assert asked["reason"] == output["decisions"][0].reason
    assert f"{arm['model']}@{arm['budget']}" in asked["question"]
    assert run.chat.calls == []


async def test_yes_goes_on_to_the_same_answer_asking_again_for_more(house: type[House], ledger: Ledger) -> None:
    run, twin = Run(house, ledger, NOTHING), Run(house, ledger, 1.0)
    output, asked = await run.begin(), []
    while "__interrupt__" in output:
        asked.append(question_of(output))
        output = await run.answer(True)
    whole = await twin.begin()
    assert output["answer"] == whole["answer"]
    assert [call.arm for call in run.chat.calls] == [call.arm for call in twin.chat.calls]
    assert len(asked) > 1
    for before, after in itertools.pairwise(asked):
        assert after["spent_usd"] > before["spent_usd"]
        assert after["total_usd"] > after["limit_usd"] == before["total_usd"]
    assert ledger.verify().ok


async def test_a_number_allows_the_run_so_much_without_asking_again(house: type[House], ledger: Ledger) -> None:
    cost = await whole_cost(house, ledger)
    run = Run(house, ledger, NOTHING)
    await run.begin()
    output = await run.answer(1)
    assert "__interrupt__" not in output
    assert output["cost_usd"] == pytest.approx(cost)


async def test_no_before_anything_was_asked_ends_in_words(house: type[House], ledger: Ledger) -> None:
    run = Run(house, ledger, NOTHING)
    asked = question_of(await run.begin())
    with pytest.raises(ApprovalRefused, match="The answer was no"):
        await run.answer(False)
    kept = ledger.run(asked["run_id"])
    assert kept.status == "failed"
    assert "The answer was no" in kept.reason
    assert run.chat.calls == []


async def test_no_leaves_the_best_so_far_and_tells_why(house: type[House], ledger: Ledger) -> None:
    first = Run(house, ledger, NOTHING)
    price = question_of(await first.begin())["total_usd"]
    run = Run(house, ledger, price)
    asked = question_of(await run.begin())
    spent = asked["spent_usd"]
    assert spent > 0
    output = await run.answer(False)
    (refused,) = asked["arms"]
    assert output["status"] == "best_so_far"
    assert f"a person refused {refused['model']}@{refused['budget']}" in output["reason"]
    assert output["cost_usd"] <= price
    lost = {str(one.arm): one.reason for decision in output["decisions"] for one in decision.rejected}
    assert lost[f"{refused['model']}@{refused['budget']}"] == REFUSED
    kept = ledger.run(output["run_id"])
    assert "a person refused" in kept.reason
    assert ledger.verify().ok


async def test_no_goes_on_with_what_needs_no_approval(house: type[House], ledger: Ledger) -> None:
    """The dearest arm first; refused, the cheaper ones may still be asked."""
    dear = Run(house, ledger, NOTHING, tradeoff=0.0)
    first = question_of(await dear.begin())
    (arm,) = first["arms"]
    run = Run(house, ledger, arm["worst_usd"] * 0.9, tradeoff=0.0)
    assert question_of(await run.begin())["arms"] == [arm]
    output = await run.answer(False)
    assert "__interrupt__" not in output
    assert output["answer"]
    assert (arm["model"], arm["budget"]) not in {(call.arm.model, call.arm.budget) for call in run.chat.calls}
    assert output["cost_usd"] <= arm["worst_usd"] * 0.9
    assert "a person refused" in output["reason"]


@pytest.mark.parametrize("said", ["yes", [], float("nan"), -1, {"approve": True}])
async def test_what_is_no_answer_is_asked_again_with_the_problem(
    house: type[House], ledger: Ledger, said: object
) -> None:
    run = Run(house, ledger, NOTHING)
    await run.begin()
    again = question_of(await run.answer(said))
    assert "is no answer: give True, False" in again["problem"]
    assert run.chat.calls == []
    output = await run.answer(1.0)
    assert output["answer"]


async def test_a_state_that_is_edited_by_hand_keeps_the_run_waiting(house: type[House], ledger: Ledger) -> None:
    run = Run(house, ledger, NOTHING)
    await run.graph.ainvoke(QUESTION, THREAD, context=run.context)
    (paused,) = (await run.graph.aget_state(THREAD)).next
    await run.graph.aupdate_state(THREAD, {"reason": "seen"})
    assert (await run.graph.aget_state(THREAD)).next == (paused,) == ("approve",)
    await run.graph.ainvoke(None, THREAD, context=run.context)
    output = await run.graph.ainvoke(Command(resume=1.0), THREAD, context=run.context)
    assert output["answer"].startswith("Answer: ")


async def test_planner_and_judge_never_cross_the_price_unasked(house: type[House], ledger: Ledger) -> None:
    chat = house.chat(differing)
    pool = house.pool(planner="big", judge="big", planner_lift=1.0, judge_reliability=0.9)
    context = house.context(pool, chat, ledger=ledger, tradeoff=0.05, approve_above_usd=NOTHING)
    graph: Any = build().compile(checkpointer=saver())
    output, allowed = await graph.ainvoke(QUESTION, THREAD, context=context), NOTHING
    while "__interrupt__" in output:
        asked = question_of(output)
        assert asked["spent_usd"] <= allowed
        allowed = asked["total_usd"]
        output = await graph.ainvoke(Command(resume=True), THREAD, context=context)
    assert output["plan"].source == "ranking"  # planning would have had to be asked for
    assert output["cost_usd"] <= allowed


async def test_without_a_checkpointer_it_is_a_setting_that_cannot_be_kept(house: type[House]) -> None:
    chat = house.chat(differing)
    router = house.router(house.pool(), chat, approve_above_usd=0.01)
    for ask in (router.ainvoke("2 + 2?"), RouterChat.from_router(router).ainvoke("2 + 2?")):
        with pytest.raises(SettingError, match=r"no checkpointer .* compile the graph with one"):
            await ask
    assert chat.calls == []
    with pytest.raises(SettingError, match="graph"):
        await RouterChat.from_router(house.router(house.pool(), chat)).ainvoke("2 + 2?", approve_above_usd=0.01)


@pytest.mark.parametrize("above", [-1, float("inf"), float("nan"), True, "1"])
def test_a_price_out_of_range_is_refused(house: type[House], above: Any) -> None:
    with pytest.raises(SettingError, match="approve_above_usd is"):
        house.router(house.pool(), house.chat(differing), approve_above_usd=above)


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    answer: str


@pytest.mark.parametrize("form", ["subgraph", "router in a node"])
async def test_a_graph_around_it_waits_with_its_own_checkpointer(house: type[House], ledger: Ledger, form: str) -> None:
    chat = house.chat(differing)
    context = house.context(house.pool(), chat, ledger=ledger, tradeoff=0.05, approve_above_usd=NOTHING)
    parent = StateGraph(Chat)
    if form == "subgraph":
        parent.add_node("route", build(context).compile())
    else:
        router = house.router(house.pool(), chat, ledger=ledger, tradeoff=0.05, approve_above_usd=NOTHING)

        async def route(state: Chat) -> dict[str, Any]:
            return {"answer": (await router.ainvoke(state["messages"])).answer}

        parent.add_node("route", route)
    parent.add_edge(START, "route")
    graph: Any = parent.compile(checkpointer=saver())
    output = await graph.ainvoke({"messages": [HumanMessage("2 + 2?")]}, THREAD)
    assert question_of(output)["kind"] == "approval"
    (running,) = ledger.runs() or [None]
    assert running is None or running.status == "running"  # a run that waits has not failed
    output = await graph.ainvoke(Command(resume=1.0), THREAD)
    assert output["answer"].startswith("Answer: ")
    assert len({(call.arm, call.max_tokens) for call in chat.calls}) == len(chat.calls)
    (run,) = ledger.runs()
    assert run.status != "running"
    assert ledger.verify().ok


ODD = st.one_of(
    st.floats().filter(lambda said: not 0 <= said <= 2.0**62),
    st.integers(max_value=-1),
    st.integers(min_value=2**62 + 1),
    st.sampled_from([10**400, -(10**400), 10**5000]),
    st.text(st.characters()),
    st.binary(),
    st.lists(st.none() | st.booleans() | st.integers(-5, 5), max_size=3),
    st.dictionaries(st.text(max_size=3), st.booleans() | st.floats(), max_size=3),
    st.tuples(st.booleans()),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=ODD)
async def test_whatever_is_no_answer_pays_nothing_and_the_run_waits_on(house: type[House], said: Any) -> None:
    chat = house.chat(lambda _: "Answer: 4")
    context = house.context(house.pool(), chat, approve_above_usd=NOTHING)
    graph: Any = build(context).compile(checkpointer=saver())
    await graph.ainvoke(QUESTION, THREAD)
    if isinstance(said, int) and not -(2**63) <= said < 2**64:  # no checkpointer can keep it
        with pytest.raises(TypeError, match="64-bit"):
            await graph.ainvoke(Command(resume=said), THREAD)
    else:
        again = question_of(await graph.ainvoke(Command(resume=said), THREAD))
        assert "problem" not in again if said == {} else "is no answer: give True, False" in again["problem"]
        assert len(again.get("problem", "")) < 300
    assert chat.calls == []
    output = await graph.ainvoke(Command(resume=1.0), THREAD)
    assert output["answer"] == "Answer: 4"
