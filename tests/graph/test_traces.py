"""A trace of the graph tells by itself how the answer came about: candidates, decisions and verdicts, as plain JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer
from langchain_core.tracers.langchain import LangChainTracer
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from curveroute.graphs import build

if TYPE_CHECKING:
    from conftest import House
    from langchain_core.tracers.schemas import Run

    from curveroute.route import Route

MODELS = {"a": (0.4, 0.5, 0.1), "b": (0.4, 0.5, 0.11), "best": (0.6, 0.8, 0.5)}
SAID = {"a": "Answer: Porto", "b": "Answer: Lisbon", "best": "Answer: Lisbon"}


class Kept(BaseTracer):
    """Keeps the finished trace."""

    root: Run

    def _persist_run(self, run: Run) -> None:
        self.root = run


class KeptLater(AsyncBaseTracer):
    root: Run

    async def _persist_run(self, run: Run) -> None:
        self.root = run


class Client:
    """Stands in for LangSmith's client: remembers what would have been sent."""

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []

    def create_run(self, **_: Any) -> None:
        pass

    def update_run(self, run_id: Any, **sent: Any) -> None:
        self.updates.append(sent)

    def __getattr__(self, name: str) -> Any:
        return None


def routed(house: type[House], tracer: Any) -> Route:
    pool = house.pool(MODELS)
    rows = [row | {"response": SAID[row["model"]]} for row in house.rows(pool)]
    router = house.router(pool, house.recorded(*rows), tradeoff=0.3)
    return router.invoke(house.query, config={"callbacks": [tracer]})


def told(metadata: dict[str, Any]) -> dict[str, Any]:
    """What the run's metadata tells of it, as JSON would carry it."""
    prefix = "curveroute_"
    whole = {name.removeprefix(prefix): value for name, value in metadata.items() if name.startswith(prefix)}
    return json.loads(json.dumps(whole))  # type: ignore[no-any-return]


def assert_tells(account: dict[str, Any], route: Route) -> None:
    assert account["run_id"] == route.run_id
    assert account["candidates"]["arm"] == [str(one.arm) for one in route.candidates]
    assert account["candidates"]["quality"] == pytest.approx([one.quality for one in route.candidates], rel=1e-3)
    assert account["plan"]["source"] == "ranking"
    assert [one["step"] for one in account["decisions"]] == [one.step for one in route.decisions]
    assert [one["chosen"] for one in account["decisions"]] == [
        [str(arm) for arm in one.arms] for one in route.decisions
    ]
    assert account["decisions"][-1]["status"] == route.status
    for one, decision in zip(account["decisions"], route.decisions, strict=True):
        assert sum(one["lost_for"].values()) == len(decision.rejected)
        assert len(one["rejected"]) == min(len(decision.rejected), 5)
    assert {name: one["verdict"]["reason"] for name, one in account["verdicts"].items()} == {
        attempt.attempt_id: attempt.verdict.reason for attempt in route.attempts if attempt.verdict
    }
    assert sum(one["cost_usd"] for one in account["verdicts"].values()) == pytest.approx(route.cost_usd)


def test_the_graphs_run_carries_candidates_decisions_and_last_verdicts(house: type[House]) -> None:
    tracer = Kept()
    route = routed(house, tracer)
    assert len(route.decisions) > 2
    assert tracer.root.name == "curveroute"
    assert_tells(told(tracer.root.metadata), route)
    assert all(not told(child.metadata) for child in tracer.root.child_runs), "once in a trace is enough"


def test_what_is_sent_to_langsmith_when_the_run_ends_has_it(house: type[House]) -> None:
    client = Client()
    tracer = LangChainTracer(client=client)  # type: ignore[arg-type]
    route = routed(house, tracer)
    (last,) = [sent for sent in client.updates if told(sent["extra"]["metadata"])]
    assert_tells(told(last["extra"]["metadata"]), route)


async def test_an_asynchronous_tracer_of_a_parent_graph_finds_it_on_the_subgraph(house: type[House]) -> None:
    class Chat(TypedDict):
        messages: list[Any]
        answer: str

    parent = StateGraph(Chat)
    parent.add_node("ask", build(house.context(house.pool(), house.chat(lambda _: "Answer: Lisbon"))).compile())
    parent.add_edge(START, "ask")
    tracer = KeptLater()
    asked = {"messages": [{"role": "user", "content": house.query}], "answer": ""}
    await parent.compile().ainvoke(asked, {"callbacks": [tracer]})
    assert not told(tracer.root.metadata)
    (node,) = tracer.root.child_runs
    (ask,) = [run for run in (node, *node.child_runs) if told(run.metadata)]
    assert told(ask.metadata)["decisions"][-1]["status"] == "accepted"


def test_a_run_that_nobody_traces_computes_no_account(house: type[House], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError

    for name in ("candidates_account", "decision_account", "attempt_account", "plan_account"):
        monkeypatch.setattr(f"curveroute.graphs.traces.{name}", never)
    pool = house.pool()
    assert house.router(pool, house.recorded(*house.rows(pool))).invoke(house.query).answer == "Answer: Lisbon"
