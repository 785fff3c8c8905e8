"""The router behind a LangChain agent: tools, prompts and formats are kept, and budgets hold."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from curveroute.agent.chat.seam import Reply
from curveroute.agent.errors import CapTooSmall, MissingExtra, SettingError
from curveroute.agent.types import ToolCall, Usage

pytest.importorskip("langchain", reason="needs the extra `agents`")

from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy

from curveroute import RouterMiddleware

if TYPE_CHECKING:
    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.router import Router

THREAD: Any = {"configurable": {"thread_id": "1"}}
ASKING: Any = {"messages": [("human", "What is the weather in Lisbon?")]}
USAGE = Usage(30, 10)


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


class City(BaseModel):
    """A city."""

    name: str


class NobodyError(Exception):
    """The agent's own model was asked."""


class Nobody(FakeListChatModel):
    """The model that the agent was made with: it must not be asked."""

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise NobodyError

    def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
        raise NobodyError


def serving(call: Call) -> Reply:
    """A model that first calls the tool, then says what it got; in a schema where it must keep to one."""
    done = call.messages[-1]["role"] == "tool"
    if call.toolbox is not None and not done:
        tool = call.toolbox.tools[-1].name
        arguments = '{"city": "Lisbon"}' if tool == "weather" else '{"name": "Lisbon"}'
        return Reply("", USAGE, "tool_calls", 0.1, tool_calls=(ToolCall(call_id="1", name=tool, arguments=arguments),))
    if call.schema is not None:
        return Reply('{"name": "Lisbon"}', USAGE, "stop", 0.1)
    return Reply(f"It is {call.messages[-1]['content']}.", USAGE, "stop", 0.1)


@pytest.fixture
def router(house: type[House]) -> Router:
    plain = house.pool()
    document = plain.spec.model_dump()
    for model in document["models"]:
        model["capabilities"] = ["tools", "json"]
    spec = type(plain.spec).model_validate(document)
    prices = {one.id: one.prices for one in spec.models if one.prices is not None}
    return house.router(type(plain)(spec, prices=prices), house.chat(serving), tradeoff=1.0, plan=False, judge=False)


def calls_of(router: Router) -> list[Call]:
    return router.parts.chat.calls  # type: ignore[attr-defined]


def agent_of(middleware: RouterMiddleware, **changes: Any) -> Any:
    return create_agent(Nobody(responses=[]), **{"tools": [weather], "middleware": [middleware], **changes})


@pytest.mark.parametrize("wait", [True, False])
async def test_an_agent_answers_by_its_tools_and_its_own_model_is_not_asked(router: Router, wait: bool) -> None:
    agent = agent_of(RouterMiddleware(router))
    output = await agent.ainvoke(ASKING) if wait else agent.invoke(ASKING)
    kinds = [type(message) for message in output["messages"][1:]]
    assert kinds == [AIMessage, ToolMessage, AIMessage]
    assert output["messages"][-1].text == "It is sunny in Lisbon."
    assert output["messages"][-1].response_metadata["route"]["model"] in {"small", "big"}


def test_the_system_prompt_and_a_tool_choice_reach_the_models(router: Router) -> None:
    @wrap_model_call
    def insist(request: Any, handler: Any) -> Any:
        answered = any(isinstance(message, ToolMessage) for message in request.messages)
        return handler(request if answered else request.override(tool_choice="weather"))

    agent: Any = create_agent(
        Nobody(responses=[]),
        tools=[weather],
        system_prompt=SystemMessage("Be a weatherman."),
        middleware=[insist, RouterMiddleware(router)],
    )
    agent.invoke(ASKING)
    first, second, *_ = calls_of(router)
    assert first.toolbox is not None
    assert first.toolbox.choice == "weather"
    assert second.toolbox is not None
    assert second.toolbox.choice == "auto"
    assert any("Be a weatherman." in message["content"] for message in first.messages)


@pytest.mark.parametrize("response_format", [City, ToolStrategy(City), ProviderStrategy(City)])
def test_a_response_format_is_kept(router: Router, response_format: Any) -> None:
    agent = agent_of(RouterMiddleware(router), tools=[], response_format=response_format)
    assert agent.invoke(ASKING)["structured_response"] == City(name="Lisbon")


def test_settings_hold_for_every_call_and_may_follow_from_the_request(router: Router) -> None:
    def by_length(request: Any) -> dict[str, Any]:
        return {"allow": ("big",)} if len(request.messages) > 1 else {}

    agent_of(RouterMiddleware(router, per_call=by_length, allow=("small",))).invoke(ASKING)
    assert [call.arm.model for call in calls_of(router)] == ["small", "big"]
    with pytest.raises(SettingError, match="RouterChat has no setting"):
        RouterMiddleware(router, tradeof=0.1)


def test_a_threads_budget_is_what_is_left_of_it(router: Router) -> None:
    agent = agent_of(RouterMiddleware(router), checkpointer=InMemorySaver())
    output = agent.invoke({**ASKING, "budget_usd": 0.01}, THREAD)

    def cost(messages: list[Any]) -> float:
        return sum(one.response_metadata["route"]["cost_usd"] for one in messages if isinstance(one, AIMessage))

    assert cost(output["messages"]) > 0
    assert output["budget_usd"] == pytest.approx(0.01 - cost(output["messages"]))
    output = agent.invoke(ASKING, THREAD)
    assert output["budget_usd"] == pytest.approx(0.01 - cost(output["messages"]))


def test_a_call_never_costs_more_than_the_thread_has_left(router: Router) -> None:
    worst = max(router.parts.outlooker.worst_usd(_query(), router.parts.outlooker.places(list(router.parts.pool.arms))))
    agent = agent_of(RouterMiddleware(router, tradeoff=0.0), tools=[])
    output = agent.invoke({**ASKING, "budget_usd": worst / 4})
    assert output["budget_usd"] >= 0
    assert calls_of(router)
    assert all(call.arm.budget != 256 or call.arm.model == "small" for call in calls_of(router))


def test_a_cap_from_the_config_holds_beside_a_budget(router: Router) -> None:
    capped = {"configurable": {"max_cost_usd": 1e-9}}
    with pytest.raises(CapTooSmall):
        agent_of(RouterMiddleware(router)).invoke({**ASKING, "budget_usd": 0.05}, capped)
    assert calls_of(router) == []


def test_a_budget_that_is_used_up_is_told_before_anyone_is_asked(router: Router) -> None:
    agent = agent_of(RouterMiddleware(router))
    with pytest.raises(CapTooSmall, match="budget is used up"):
        agent.invoke({**ASKING, "budget_usd": 0.0})
    with pytest.raises(SettingError, match="budget_usd is 'all'"):
        agent.invoke({**ASKING, "budget_usd": "all"})
    assert calls_of(router) == []


def test_without_langchain_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.agents.middleware", None)
    monkeypatch.delitem(sys.modules, "curveroute.middleware")
    with pytest.raises(MissingExtra, match=r'pip install "curveroute\[agents\]"'):
        importlib.import_module("curveroute.middleware")


def test_the_router_is_a_tool_of_an_agent(router: Router) -> None:
    tool = router.as_tool()
    assert tool.name == "curveroute"
    assert set(tool.args) == {"query"}
    assert "self-contained question" in tool.description
    call = {"name": "curveroute", "args": {"query": "Who?"}, "id": "7", "type": "tool_call"}
    message = tool.invoke(call)
    assert isinstance(message, ToolMessage)
    assert str(message.content).startswith("It is Who?")
    assert message.artifact["model"] in {"small", "big"}
    assert message.artifact["cost_usd"] > 0


async def test_a_tool_takes_other_names_and_arguments_and_refuses_those_without_a_query(router: Router) -> None:
    class Ask(BaseModel):
        question: str

    named = router.as_tool(Ask, name="oracle", description="Knows.")
    assert (named.name, named.description, set(named.args)) == ("oracle", "Knows.", {"question"})
    assert str(await named.ainvoke({"question": "Who?"})).startswith("It is Who?")
    assert str(router.as_tool(arg_types={"input": str}).invoke({"input": "Who?"})).startswith("It is Who?")
    assert str(await named.ainvoke("Who?")).startswith("It is Who?")
    assert str(router.as_tool().invoke("Who?")).startswith("It is Who?")
    with pytest.raises(SettingError, match="hold no query"):
        router.as_tool(arg_types={"topic": str})


async def test_settings_are_arguments_of_a_tool_and_what_would_do_nothing_is_refused_by_name(router: Router) -> None:
    tool = router.as_tool(arg_types={"query": str, "allow": list[str]})  # type: ignore[dict-item]
    for call in (tool.invoke, tool.ainvoke):
        for name in ("small", "big"):
            args = {"query": "Who?", "allow": [name]}
            given: Any = {"name": "curveroute", "args": args, "id": "7", "type": "tool_call"}
            told: Any = call(given)
            assert (told if isinstance(told, ToolMessage) else await told).artifact["model"] == name
    with pytest.raises(SettingError, match=r"would do nothing with the argument tone, question: beside query"):
        router.as_tool(arg_types={"tone": str, "query": str, "question": str})


def _query() -> Any:
    from curveroute.agent.types import Query

    return Query(({"role": "user", "content": ASKING["messages"][0][1]},))
