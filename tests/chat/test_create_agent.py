"""LangChain's agents over the chat model: the loop of calls and results, its streams, and what comes with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from curveroute import RouterChat
from curveroute.agent.chat.seam import Reply
from curveroute.agent.errors import CapabilityError, SchemaUnmet
from curveroute.agent.types import ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import House

    from curveroute.agent.chat.seam import Call

agents = pytest.importorskip("langchain.agents")
ALL = ["tools", "images", "json"]
ASKED: Any = {"messages": [("human", "What is 17 + 25, and 1 + 1?")]}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Sums(BaseModel):
    """Two sums."""

    first: int
    second: int


def called(*calls: tuple[str, dict[str, int]], text: str = "") -> Reply:
    made = [
        ToolCall(call_id=f"c{number}", name=name, arguments=json.dumps(given))
        for number, (name, given) in enumerate(calls)
    ]
    return Reply(text, Usage(30, 10), "tool_calls", 0.1, tool_calls=tuple(made))


def works(call: Call) -> Any:
    """Both sums at once, and then what they came to."""
    results = [message["content"] for message in call.messages if message["role"] == "tool"]
    if not results:
        return called(("add", {"a": 17, "b": 25}), ("add", {"a": 1, "b": 1}), text=f"{call.arm} thinks.")
    if call.toolbox is not None and "Sums" in {one.name for one in call.toolbox.tools}:
        return called(("Sums", {"first": int(results[0]), "second": int(results[1])}))
    return f"{call.arm.model} says: {' and '.join(results)}"


@pytest.fixture
def make(house: type[House]) -> Callable[..., tuple[RouterChat, Any]]:
    """A chat model over two models that can do everything, or what is said; and its seam."""

    def made(answer: Any = works, *, tradeoff: float = 1.0, can: Any = ALL) -> tuple[RouterChat, Any]:
        seam, plain = house.chat(answer), house.pool(budgets=(64, 256))
        document = plain.spec.model_dump()
        for model in document["models"]:
            model["capabilities"] = can
        spec = type(plain.spec).model_validate(document)
        pool = type(plain)(spec, prices={one.id: one.prices for one in spec.models if one.prices is not None})
        return RouterChat.from_router(house.router(pool, seam, tradeoff=tradeoff)), seam

    return made


def check_loop(messages: list[Any]) -> None:
    assert [message.type for message in messages] == ["human", "ai", "tool", "tool", "ai"]
    assert [(one["name"], one["args"]) for one in messages[1].tool_calls] == [
        ("add", {"a": 17, "b": 25}),
        ("add", {"a": 1, "b": 1}),
    ]
    assert [message.content for message in messages if isinstance(message, ToolMessage)] == ["42", "2"]
    for message in messages:
        if isinstance(message, AIMessage):
            assert message.response_metadata["route"]["model"] == message.response_metadata["model_name"]
            assert message.usage_metadata is not None


@pytest.mark.parametrize("tradeoff", [0.3, 1.0])
async def test_an_agent_calls_its_tools_and_answers_from_what_they_say(make: Any, tradeoff: float) -> None:
    chat, _ = make(tradeoff=tradeoff)
    agent = agents.create_agent(chat, [add], system_prompt="Reckon.")
    for state in (agent.invoke(ASKED), await agent.ainvoke(ASKED)):
        check_loop(state["messages"])
        served = state["messages"][-1].response_metadata["model_name"]
        assert state["messages"][-1].content == f"{served} says: 42 and 2"


async def test_an_agents_stream_holds_the_events_and_no_draft(make: Any) -> None:
    chat, seam = make(tradeoff=0.3)
    agent = agents.create_agent(chat, [add])
    texts: dict[str, str] = {}
    events: list[str] = []
    async for mode, data in agent.astream(ASKED, stream_mode=["messages", "custom"]):
        if mode == "custom":
            events.append(data["type"])
        elif data[0].type == "AIMessageChunk":
            texts[data[0].id] = texts.get(data[0].id, "") + str(data[0].content)
    assert events.count("commit") == len(texts) == 2
    assert len(seam.calls) > len(texts), "there were drafts"
    thought, said = texts.values()
    assert thought in {f"{call.arm} thinks." for call in seam.calls}
    assert said in {"small says: 42 and 2", "big says: 42 and 2"}


def test_an_agents_answer_comes_in_a_schema(make: Any) -> None:
    agent = agents.create_agent(make()[0], [add], response_format=Sums)
    assert agent.invoke(ASKED)["structured_response"] == Sums(first=42, second=2)


def test_an_agent_with_a_checkpointer_goes_on_with_its_conversation(make: Any) -> None:
    chat, seam = make()
    agent = agents.create_agent(chat, [add], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1", "tradeoff": 1.0}}
    agent.invoke(ASKED, config)
    state = agent.invoke({"messages": [("human", "Say it again.")]}, config)
    check_loop(state["messages"][:5])
    assert [message.type for message in state["messages"][5:]] == ["human", "ai"]
    assert [message["role"] for message in seam.calls[-1].messages] == [
        "system", "user", "assistant", "tool", "tool", "assistant", "user",
    ]  # fmt: skip


def test_the_config_of_an_agent_reaches_its_chat_model(make: Any) -> None:
    agent = agents.create_agent(make()[0], [add])
    state = agent.invoke(ASKED, {"configurable": {"allow": ["big"]}})
    served = [one.response_metadata["model_name"] for one in state["messages"] if isinstance(one, AIMessage)]
    assert served == ["big", "big"]


def test_an_agent_over_a_pool_that_can_call_no_tools_says_so(make: Any) -> None:
    chat, seam = make(can=["json"])
    with pytest.raises(CapabilityError, match="a model that can call tools, and of pool 'toy' none"):
        agents.create_agent(chat, [add]).invoke(ASKED)
    assert seam.calls == []


def broken(_: Call) -> Reply:
    call = ToolCall(call_id="c", name="Sums", arguments='{"first": 1,')
    return Reply("", Usage(30, 10), "tool_calls", 0.1, tool_calls=(call,))


NO_SCHEMA = {
    "words": (lambda _: "I do not know.", 1, "it calls no tool, and one must be called"),
    "nothing": (lambda _: "", 1, "it calls no tool, and one must be called"),
    "broken": (broken, 1, "its arguments of 'Sums' are no JSON object"),
    "misfit": (lambda _: called(("Sums", {"first": 1})), 2, '"second" is a required property'),
}


@pytest.mark.parametrize("kind", NO_SCHEMA)
@pytest.mark.parametrize("tools", [[], [add]], ids=["alone", "with a tool"])
@pytest.mark.parametrize("middleware", [False, True], ids=["model", "middleware"])
async def test_a_schema_that_nobody_satisfies_ends_an_agent_in_words_and_is_not_paid_for_again(
    make: Any, kind: str, tools: list[Any], middleware: bool
) -> None:
    from curveroute import RouterMiddleware

    answer, turns, words = NO_SCHEMA[kind]
    for once in ("invoke", "ainvoke"):
        chat, seam = make(answer)
        added = [RouterMiddleware(chat.routers.get(chat.pool))] if middleware else []
        agent = agents.create_agent(chat, tools, response_format=Sums, middleware=added)
        with pytest.raises(SchemaUnmet, match=words):
            agent.invoke(ASKED) if once == "invoke" else await agent.ainvoke(ASKED)
        assert len(seam.calls) == turns, "each turn is one call: the first arm alone pays at this tradeoff"


def test_a_model_that_is_told_what_does_not_fit_may_mend_it(make: Any) -> None:
    def mends(call: Call) -> Reply:
        told = any(message["role"] == "tool" for message in call.messages)
        return called(("Sums", {"first": 42, "second": 2} if told else {"first": 42}))

    agent = agents.create_agent(make(mends)[0], response_format=Sums)
    assert agent.invoke(ASKED)["structured_response"] == Sums(first=42, second=2)


def test_outside_of_an_agents_loop_a_faulty_call_is_given_as_it_is(make: Any) -> None:
    @tool
    def inner(question: str) -> str:
        """Asks another model, from inside a tool."""
        message = chat.bind_tools([Sums], tool_choice="any").invoke(question)
        return f"{len(message.invalid_tool_calls)} broken"

    def answer(call: Call) -> Any:
        if call.messages[-1]["role"] == "tool":
            return call.messages[-1]["content"]
        names = {one.name for one in call.toolbox.tools} if call.toolbox else set()
        return broken(call) if "Sums" in names else called(("inner", {"question": "7"}))  # type: ignore[dict-item]

    chat, _ = make(answer)
    assert agents.create_agent(chat, [inner]).invoke(ASKED)["messages"][-1].content == "1 broken"
