"""What is done with any chat model of LangChain's is done with this one: copied, sent, counted, told not to stream."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, trim_messages

from curveroute import RouterChat
from curveroute.agent.errors import SettingError

if TYPE_CHECKING:
    from conftest import House

TOOL = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}


def chat_of(house: type[House], answer: Any = lambda call: f"Answer: {call.arm}", **settings: Any) -> RouterChat:
    plain = house.pool(budgets=(64, 256))
    document = plain.spec.model_dump()
    for model in document["models"]:
        model["capabilities"] = ["tools", "json"]
    spec = type(plain.spec).model_validate(document)
    pool = type(plain)(spec, prices={one.id: one.prices for one in spec.models if one.prices is not None})
    return RouterChat.from_router(house.router(pool, house.chat(answer)), **settings)


def seam_of(chat: RouterChat) -> Any:
    return chat.routers.get(chat.pool).parts.chat


@pytest.mark.parametrize("switch", [True, "tool_calling"])
async def test_told_not_to_stream_it_answers_whole(house: type[House], switch: Any) -> None:
    chat = chat_of(house, disable_streaming=switch)
    asked = chat.bind_tools([TOOL]) if switch == "tool_calling" else chat
    (chunk,) = list(asked.stream("Who?", stop=["."]))
    (later,) = [chunk async for chunk in asked.astream("Who?", stop=["."])]
    assert chunk.content == later.content == "Answer: small@256"
    assert {call.stop for call in seam_of(chat).calls} == {(".",)}


def test_a_deep_copy_shares_its_routers(house: type[House]) -> None:
    chat = chat_of(house)
    for copied in (copy.deepcopy(chat), chat.model_copy(deep=True)):
        assert copied.invoke("Who?").content == "Answer: small@256"
        assert copied.routers is chat.routers


def test_it_goes_to_another_process_where_its_pool_has_a_name(house: type[House]) -> None:
    sent = pickle.loads(pickle.dumps(RouterChat(pool="openai", tradeoff=0.1, deny=("gpt-4.1",))))  # noqa: S301 - our own
    assert (sent.pool, sent.tradeoff, sent.deny) == ("openai", 0.1, ("gpt-4.1",))
    with pytest.raises(SettingError, match=r"a Router of yours \(toy\) cannot go to another process"):
        pickle.dumps(chat_of(house))


def test_a_conversation_is_trimmed_by_its_own_count(house: type[House]) -> None:
    chat = chat_of(house)
    assert chat.get_num_tokens("") == 0
    assert 0 < chat.get_num_tokens("four words of text") < chat.get_num_tokens("four words of text, and more")
    assert chat.get_num_tokens_from_messages([HumanMessage("Who?")], [TOOL]) > chat.get_num_tokens_from_messages(
        [HumanMessage("Who?")]
    )
    said = [HumanMessage("word " * 100), AIMessage("Yes."), HumanMessage("Who?")]
    assert trim_messages(said, max_tokens=50, token_counter=chat) == said[1:]


def test_a_message_whose_role_is_a_word_has_that_role(house: type[House]) -> None:
    chat = chat_of(house)
    chat.invoke([ChatMessage("Be kind.", role="developer"), ChatMessage("Who?", role="user")])
    first = seam_of(chat).calls[0]
    assert [message["role"] for message in first.messages] == ["system", "user"]
    assert "Be kind." in first.messages[0]["content"]


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_a_schema_needs_no_title(house: type[House], method: Any) -> None:
    from curveroute.agent.chat.seam import Reply
    from curveroute.agent.types import ToolCall, Usage

    call = ToolCall(call_id="1", name="answer", arguments='{"age": 7}')
    called = Reply("", Usage(30, 10), "tool_calls", 0.1, tool_calls=(call,))
    chat = chat_of(house, lambda _: called if method == "function_calling" else '{"age": 7}')
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    assert chat.with_structured_output(schema, method=method).invoke("How old?") == {"age": 7}


@pytest.mark.parametrize("schema", [int, None, [dict], {"age": 7}, "age"])
def test_what_is_no_schema_is_told_before_anyone_is_asked(house: type[House], schema: Any) -> None:
    with pytest.raises(SettingError, match="is no schema: give a pydantic model, a TypedDict or a JSON schema"):
        chat_of(house).with_structured_output(schema)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": ["small"]}, r"model is \['small'\]; give the id of one model"),
        ({"tools": [TOOL], "parallel_tool_calls": "yes"}, "parallel_tool_calls is 'yes'; give true or false"),
        ({"stop": 7}, "stop is 7; give a text"),
    ],
)
def test_arguments_of_another_kind_are_told_before_anyone_is_asked(
    house: type[House], given: dict[str, Any], words: str
) -> None:
    chat = chat_of(house)
    with pytest.raises(SettingError, match=words):
        chat.invoke("Who?", **given)
    assert seam_of(chat).calls == []
