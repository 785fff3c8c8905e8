"""The graph with a cache and a store of the user's: answers are cached whole, and verifiers read the store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.cache.memory import InMemoryCache
from langgraph.config import get_store
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy
from typing_extensions import TypedDict

from curveroute.agent.ledger import Ledger
from curveroute.agent.verify.found import CallableVerifier
from curveroute.graphs import build, question_key

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call

ONE: Any = {"messages": [{"role": "user", "content": "One?"}]}


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    answer: str


def echo(call: Call) -> str:
    return f"Answer: {call.query_text}"


async def test_answers_are_cached_by_what_was_asked_and_cost_nothing_again(house: type[House], tmp_path: Path) -> None:
    chat = house.chat(echo)
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        route = build(house.context(house.pool(), chat, tradeoff=1.0, ledger=ledger)).compile()
        parent = StateGraph(Chat)
        parent.add_node("route", route, cache_policy=CachePolicy(key_func=question_key))
        parent.add_edge(START, "route")
        graph: Any = parent.compile(cache=InMemoryCache())
        graph.get_graph(xray=True)  # asks for the key of an empty state
        answers = [(await graph.ainvoke({"messages": [HumanMessage("One?", id=name)]}))["answer"] for name in "abc"]
        assert answers == ["Answer: One?"] * 3
        assert len(ledger.runs()) == 1
        paid = len(chat.calls)
        assert (await graph.ainvoke({"messages": [HumanMessage("Two?")]}))["answer"] == "Answer: Two?"
        assert len(chat.calls) == 2 * paid
        assert len(ledger.runs()) == 2


async def test_a_cache_given_to_the_graph_itself_saves_no_call(house: type[House]) -> None:
    """Every node writes to the ledger, so none of them is cached: a run is a run."""
    chat = house.chat(echo)
    graph = build(house.context(house.pool(), chat, tradeoff=1.0)).compile(cache=InMemoryCache())
    first, second = [await graph.ainvoke(ONE) for _ in range(2)]
    assert first["run_id"] != second["run_id"]
    assert len(chat.calls) == len(first["attempts"]) + len(second["attempts"])


def test_a_cache_key_is_what_was_asked() -> None:
    one = question_key({"messages": [HumanMessage("One?", id="a")], "answer": "before"})
    assert one == question_key(ONE) == question_key({"query": "One?"})
    assert one != question_key({"query": "Two?"})
    assert one != question_key({"messages": [HumanMessage("One?"), AIMessage("1"), HumanMessage("One?")]})
    assert question_key({}) == question_key({"messages": []})


async def test_a_verifier_of_ones_own_reads_the_store_of_the_graph(house: type[House]) -> None:
    def known(question: str, text: str, answer: str | None) -> float:
        item = get_store().get(("facts",), question)
        return 0.5 if item is None else float(item.value["answer"] in text)

    store = InMemoryStore()
    store.put(("facts",), "One?", {"answer": "big"})
    context = house.context(house.pool(), house.chat(lambda call: f"Answer: {call.arm.model}"), tradeoff=0.3)
    parts: Any = replace(context.parts, verifiers=(CallableVerifier(known, "facts", 1.0),))  # type: ignore[type-var]
    output = await build(replace(context, parts=parts)).compile(store=store).ainvoke(ONE)
    assert output["answer"] == "Answer: big"
    scores = {one.arm.model: one.verdict.score for one in output["attempts"].values() if one.verdict}
    assert scores["small"] < scores["big"]
