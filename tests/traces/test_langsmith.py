"""With LangSmith's variables set a run is one tree there, as its own client sends it: rebuilt from what arrived."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from curveroute import RouterChat
from curveroute.graphs.run_ids import trace_id_of

if TYPE_CHECKING:
    from conftest import House

    from curveroute.route import Route
    from curveroute.router import Router

MODELS = {"a": (0.4, 0.5, 0.1), "b": (0.4, 0.5, 0.11), "best": (0.6, 0.8, 0.5)}
SAID = {"a": "Answer: Porto", "b": "Answer: Lisbon", "best": "Answer: Lisbon"}
BOTH = pytest.mark.parametrize(
    "receiver",
    [{}, {"zstd": False}, {"multipart": False}],
    ids=["multipart-zstd", "multipart", "batch"],
    indirect=True,
)


def router_of(house: type[House], **settings: Any) -> Router:
    pool = house.pool(MODELS)
    rows = [row | {"response": SAID[row["model"]]} for row in house.rows(pool)]
    return house.router(pool, house.recorded(*rows), **{"tradeoff": 0.3, **settings})


def metadata(run: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = run["extra"]["metadata"]
    return found


@BOTH
def test_a_run_is_one_tree_of_graph_nodes_and_model_calls(house: type[House], langsmith_on: Any) -> None:
    route = router_of(house).invoke(house.query)
    told = langsmith_on.settle()
    (root,) = told.roots()
    assert root["name"] == "curveroute"
    assert root["run_type"] == "chain"
    assert root["session_name"] == "told"
    nodes = told.below(root)
    assert [run["name"] for run in nodes] == names_of_nodes(route)
    assert {run["trace_id"] for run in told.runs.values()} == {root["id"]}
    asked = [run for node in nodes for run in told.below(node) if run["run_type"] == "llm"]
    assert [run["name"] for run in asked] == [str(one.arm) for one in route.attempts]
    assert [metadata(run)["attempt_id"] for run in asked] == [one.attempt_id for one in route.attempts]
    parents = {told.runs[run["parent_run_id"]]["name"] for run in asked}
    assert parents == {"probe"}
    assert all(run["end_time"] >= run["start_time"] for run in told.runs.values())
    assert asked == told.models()


def names_of_nodes(route: Route) -> list[str]:
    """Nodes in their order, from what the route says was decided."""
    rounds = [decision.arms for decision in route.decisions if decision.arms]
    told = ["propose", "plan"]
    for place, arms in enumerate(rounds):
        told += (["escalate"] if place else []) + ["probe"] * len(arms) + ["verify"]
    return [*told, "accept"]


@BOTH
def test_a_model_call_tells_prompt_answer_served_model_and_what_it_cost(house: type[House], langsmith_on: Any) -> None:
    route = router_of(house).invoke(house.query)
    told = langsmith_on.settle()
    for run, attempt in zip(told.models(), route.attempts, strict=True):
        (prompt,) = run["inputs"]["messages"]
        assert [one["kwargs"]["type"] for one in prompt] == ["system", "human"]
        assert house.query in prompt[1]["kwargs"]["content"]
        ((generation,),) = run["outputs"]["generations"]
        assert generation["message"]["kwargs"]["content"] == attempt.text
        assert metadata(run)["ls_model_name"] == attempt.arm.model
        assert metadata(run)["ls_provider"] == "models.example"
        assert metadata(run)["ls_max_tokens"] == attempt.arm.budget
        usage = metadata(run)["usage_metadata"]
        assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (30, 10, 40)
        assert usage["total_cost"] == pytest.approx(attempt.cost_usd)
        assert usage["input_cost"] + usage["output_cost"] == pytest.approx(usage["total_cost"])
    assert sum(metadata(run)["usage_metadata"]["total_cost"] for run in told.models()) == pytest.approx(route.cost_usd)


@BOTH
def test_the_graphs_run_says_how_the_answer_came_about(house: type[House], langsmith_on: Any) -> None:
    route = router_of(house).invoke(house.query)
    (root,) = langsmith_on.settle().roots()
    account = metadata(root)
    assert account["curveroute_candidates"]["arm"] == [str(one.arm) for one in route.candidates]
    assert [one["reason"] for one in account["curveroute_decisions"]] == [one.reason for one in route.decisions]
    assert list(account["curveroute_verdicts"]) == [one.attempt_id for one in route.attempts]
    assert account["curveroute_cost_usd"] == pytest.approx(route.cost_usd)
    assert account["curveroute_status"] == route.status
    assert account["curveroute_arm"] == str(route.arm)
    assert {"pool:toy", f"policy:{route.decisions[-1].policy}", f"status:{route.status}"} <= set(root["tags"])


def test_ledger_and_trace_name_each_other(house: type[House], langsmith_on: Any) -> None:
    route = router_of(house).invoke(house.query)
    (root,) = langsmith_on.settle().roots()
    assert metadata(root)["curveroute_run_id"] == route.run_id
    assert str(trace_id_of(route.run_id)) == root["id"]


@BOTH
def test_verdicts_are_feedback_on_the_model_calls(house: type[House], langsmith_on: Any) -> None:
    route = router_of(house).invoke(house.query)
    told = langsmith_on.settle()
    runs = {metadata(run)["attempt_id"]: run for run in told.models()}
    given = {one["run_id"]: one for one in told.feedback.values()}
    assert len(given) == len(told.feedback) == len(route.attempts)
    for attempt in route.attempts:
        said = given[runs[attempt.attempt_id]["id"]]
        assert attempt.verdict is not None
        assert said["key"] == "curveroute.verdict"
        assert said["score"] == pytest.approx(attempt.verdict.score, abs=1e-4)
        assert said["comment"].startswith(attempt.verdict.reason)
        assert said["feedback_source"]["type"] == "model"
        assert said["session_id"]


def test_a_call_that_failed_is_a_failed_run(house: type[House], langsmith_on: Any) -> None:
    pool = house.pool(MODELS)
    chat = house.chat(lambda call: house.dead("nobody there") if call.arm.model == "a" else "Answer: Lisbon")
    route = house.router(pool, chat, tradeoff=0.3).invoke(house.query)
    told = langsmith_on.settle()
    errors = {metadata(run)["attempt_id"]: run.get("error") for run in told.models()}
    assert {name for name, error in errors.items() if error} == {one.attempt_id for one in route.attempts if one.error}
    assert any("nobody there" in (error or "") for error in errors.values())
    assert route.answer == "Answer: Lisbon"


async def test_a_streamed_answer_tells_when_its_first_token_came(house: type[House], langsmith_on: Any) -> None:
    pool = house.pool({"only": (0.9, 0.95, 0.1)}, budgets=(64,))
    chat = house.chat(lambda _: "Answer: Lisbon")
    [piece async for piece in house.router(pool, chat, tradeoff=1.0).astream(house.query)]
    told = langsmith_on.settle()
    (run,) = told.models()
    assert [event["name"] for event in run["events"]] == ["start", "new_token", "end"]
    times = [event["time"] for event in run["events"]]
    assert times == sorted(times)


def test_planner_and_judge_are_runs_of_their_nodes(house: type[House], langsmith_on: Any) -> None:
    pool = house.pool(MODELS, planner="best", planner_lift=1.0, judge="best", judge_reliability=0.9)

    def answer(call: Any) -> str:
        if call.role == "planner":
            return house.json({"order": ["A", "B"], "probe": True, "criteria": "names the capital"})
        if call.role == "judge":
            return house.json({"quote": "Lisbon", "reason": "it is", "verdict": "right"})
        return "Answer: Lisbon"

    house.router(pool, house.chat(answer), tradeoff=0.01).invoke(house.query)
    told = langsmith_on.settle()
    where = {metadata(run)["attempt_role"]: told.runs[run["parent_run_id"]]["name"] for run in told.models()}
    assert where["planner"] == "plan"
    assert where["judge"] == "verify"


def test_the_chat_models_run_holds_the_graphs(house: type[House], langsmith_on: Any) -> None:
    with RouterChat.from_router(router_of(house)) as chat:
        message = chat.invoke(house.query)
        pieces = list(chat.stream(house.query))
    told = langsmith_on.settle()
    assert pieces
    assert [root["name"] for root in told.roots()] == ["RouterChat", "RouterChat"]
    for root in told.roots():
        (graph,) = told.below(root)
        assert graph["name"] == "curveroute"
    ids = {metadata(told.below(root)[0])["curveroute_run_id"] for root in told.roots()}
    assert message.response_metadata["route"]["run_id"] in ids
    assert len(told.feedback) == len(told.models())


async def test_a_graph_around_it_and_a_callers_own_name_are_kept(house: type[House], langsmith_on: Any) -> None:
    from langchain_core.runnables import RunnableLambda
    from langsmith import uuid7

    chain = router_of(house) | RunnableLambda(lambda route: route.answer)
    name = uuid7()
    assert await chain.ainvoke(house.query, {"run_id": name, "run_name": "mine"}) == "Answer: Lisbon"
    told = langsmith_on.settle()
    (root,) = told.roots()
    assert (root["id"], root["name"]) == (str(name), "mine")
    assert [run["name"] for run in told.below(root)] == ["curveroute", "RunnableLambda"]
    named = uuid7()
    await router_of(house).ainvoke(house.query, {"run_id": named})
    assert str(named) in langsmith_on.settle().runs


def test_everything_sent_is_json_without_the_keys(house: type[House], langsmith_on: Any) -> None:
    router_of(house).invoke(house.query)
    told = langsmith_on.settle()
    assert told.bodies
    assert not any("lsv2_the_langsmith_key" in body for body in told.bodies)
    json.dumps(told.runs, allow_nan=False)
