"""Tools and images on the wire: both ways of calling tools say the same, and pieces of calls become whole ones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.chat.tool_schema import calls_schema, inlined, read_tool_reply, with_form_told
from curveroute.agent.pool.pool import form_tokens, input_tokens_bound
from curveroute.agent.types import Arm, Form, Message, ModelId, Tool, Toolbox, ToolCall, Usage
from curveroute.agent.verify.form import calls_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.chat.openai_chat import OpenAIChat
    from tests.unit.conftest import OpenAIServer

NUMBERS: Any = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ADD, NOW = Tool("add", "Add one.", NUMBERS), Tool("now", "The time.", {"type": "object", "properties": {}})
BOX = Toolbox((ADD, NOW))
MESSAGES = (Message(role="system", content="Be brief."), Message(role="user", content="1 + 1?"))
CALL = Call(Arm(ModelId("small"), 20), MESSAGES, 20, "1 + 1?", toolbox=BOX)
CALLED = ToolCall(call_id="c1", name="add", arguments='{"a": 1}')
LOOP = (
    *MESSAGES,
    Message(role="assistant", content="", tool_calls=[CALLED]),
    Message(role="tool", content="2", tool_call_id="c1"),
)


def delta(index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    part = {"index": index, "id": call_id, "type": "function", "function": function}
    choice = {"index": 0, "delta": {"tool_calls": [part]}, "finish_reason": None}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


async def test_tools_go_out_in_the_endpoints_own_words(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    await chat_with(logprobs=True).complete(replace(CALL, toolbox=replace(BOX, parallel=False), stop=("END",)))
    body = server.seen[0].body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["add", "now"]
    assert body["tools"][0]["function"]["parameters"] == NUMBERS
    assert (body["tool_choice"], body["parallel_tool_calls"], body["stop"]) == ("auto", False, ["END"])
    assert "logprobs" not in body


async def test_a_named_tool_is_named_as_endpoints_want_it(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    await chat_with().complete(replace(CALL, toolbox=replace(BOX, choice="add")))
    body = server.seen[0].body
    assert body["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    assert "parallel_tool_calls" not in body


async def test_calls_and_their_answers_go_out_as_they_came(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    await chat_with().complete(replace(CALL, messages=LOOP))
    calling, answered = server.seen[0].body["messages"][2:]
    function = {"name": "add", "arguments": '{"a": 1}'}
    assert calling == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    assert answered == {"role": "tool", "content": "2", "tool_call_id": "c1"}


async def test_images_go_out_where_they_stand(server: OpenAIServer, chat_with: Callable[..., OpenAIChat]) -> None:
    images: Any = [{"at": 6, "url": "https://x.example/2.png"}, {"at": 0, "url": "data:image/png;base64,QQ=="}]
    images[1]["detail"] = "low"
    asked = Message(role="user", content="First; second?", images=images)
    await chat_with().complete(replace(CALL, messages=(asked,), toolbox=None))
    assert server.seen[0].body["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ==", "detail": "low"}},
        {"type": "text", "text": "First;"},
        {"type": "image_url", "image_url": {"url": "https://x.example/2.png"}},
        {"type": "text", "text": " second?"},
    ]


async def test_pieces_of_parallel_calls_become_whole_calls(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    pieces = [
        delta(0, "c1", "add", ""),
        delta(1, "c2", "now", None),
        delta(0, None, None, '{"a":'),
        delta(0, None, None, " 1}"),
    ]
    server.acts.append(server.streams(*pieces, server.piece(finish="tool_calls"), "[DONE]", ended=True))
    told: list[str] = []
    reply = await chat_with().complete(CALL, on_token=told.append)
    assert reply.tool_calls == (CALLED, ToolCall(call_id="c2", name="now", arguments=""))
    assert (reply.text, reply.finish_reason, told) == ("", "tool_calls", [])


async def test_a_server_that_numbers_no_calls_and_names_none_is_read_too(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    pieces = [delta(None, "c1", "add", '{"a":'), delta(None, None, None, " 1}"), delta(None, "c2", "now", "{}")]
    server.acts.append(server.streams(*pieces, server.piece(finish="tool_calls"), "[DONE]", ended=True))
    reply = await chat_with().complete(CALL)
    assert [(call["name"], call["arguments"]) for call in reply.tool_calls] == [("add", '{"a": 1}'), ("now", "{}")]
    server.acts.append(server.streams(delta(0, None, "add", "{}"), server.piece(finish="stop"), "[DONE]", ended=True))
    (call,) = (await chat_with().complete(CALL)).tool_calls
    assert call["call_id"].startswith("call_")


async def test_the_two_ways_of_calling_say_the_same(server: OpenAIServer, chat_with: Callable[..., OpenAIChat]) -> None:
    said = json.dumps({"tool_calls": [{"name": "add", "arguments": {"a": 1}}]})
    server.acts.append(server.answers(said[:9], said[9:]))
    told: list[str] = []
    reply = await chat_with(tools_as_schema=True).complete(CALL, on_token=told.append)
    body = server.seen[0].body
    assert "tools" not in body
    assert body["response_format"]["json_schema"]["schema"] == calls_schema(BOX, None)
    assert '"name": "add", "description": "Add one."' in body["messages"][0]["content"]
    assert [(call["name"], call["arguments"]) for call in reply.tool_calls] == [("add", '{"a": 1}')]
    assert (reply.text, reply.finish_reason, told) == ("", "tool_calls", [])


async def test_words_inside_the_schema_come_out_as_words(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.append(server.answers('{"ans', 'wer": "Two."}'))
    told: list[str] = []
    reply = await chat_with(tools_as_schema=True).complete(CALL, on_token=told.append)
    assert (reply.text, reply.tool_calls, told) == ("Two.", (), ["Two."])


async def test_without_tools_such_a_model_is_asked_like_any_other(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.append(server.answers("Tw", "o."))
    told: list[str] = []
    await chat_with(tools_as_schema=True).complete(replace(CALL, toolbox=None), on_token=told.append)
    assert told == ["Tw", "o."]
    assert server.seen[0].body["messages"] == [dict(message) for message in MESSAGES]


async def test_a_schema_that_such_a_model_is_held_to_is_told_it(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    asked = replace(CALL, toolbox=None, schema=NUMBERS)
    chat = chat_with(tools_as_schema=True)
    await chat.complete(asked)
    await chat.complete(replace(asked, schema_shown=True))
    await chat_with().complete(asked)
    told, shown, native = (one.body for one in server.seen)
    for body in (told, shown, native):
        assert body["response_format"]["json_schema"]["schema"] == NUMBERS
        assert body["messages"][1:] == [dict(MESSAGES[1])]
    assert told["messages"][0]["content"].startswith("Be brief.")
    assert json.dumps(NUMBERS) in told["messages"][0]["content"]
    assert shown["messages"] == native["messages"] == [dict(message) for message in MESSAGES]


def test_a_schema_beside_tools_is_told_with_them() -> None:
    told = with_form_told(replace(CALL, schema=NUMBERS)).messages
    assert f'{{"answer": <a JSON value of the schema {json.dumps(NUMBERS)}>}}' in told[0]["content"]


@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize("schema", [None, NUMBERS, {"type": "string", "title": "é" * 40}])
@pytest.mark.parametrize("box", [None, BOX])
def test_what_is_told_of_a_form_is_reserved_for(box: Toolbox | None, schema: Any, choice: str) -> None:
    box = None if box is None else replace(box, choice=choice)
    sent = with_form_told(replace(CALL, toolbox=box, schema=schema))
    grown = input_tokens_bound(sent.messages) - input_tokens_bound(MESSAGES)
    held = 0 if sent.schema is None else len(json.dumps(sent.schema))
    assert grown + held <= form_tokens(Form(toolbox=box, schema=schema))[1]


def test_earlier_calls_become_words_for_a_template_that_knows_none() -> None:
    two = (
        *LOOP[:2],
        Message(role="assistant", content="", tool_calls=[CALLED, {**CALLED, "call_id": "c2", "arguments": "{a"}]),
        *(Message(role="tool", content=str(number), tool_call_id=f"c{number}") for number in (1, 2)),
    )
    sent = with_form_told(replace(CALL, messages=two, toolbox=None)).messages
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert json.loads(sent[2]["content"])["tool_calls"][0] == {"name": "add", "arguments": {"a": 1}}
    assert sent[3]["content"] == "The result of add: 1\nThe result of add: 2"


@pytest.mark.parametrize("text", ["[]", "7", '{"else": 1', ""])
def test_a_reply_that_is_neither_stays_as_it_is(text: str) -> None:
    other = Reply(text, Usage(), "length", 0.1)
    assert read_tool_reply(CALL, other) is other


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ('{"tool_calls": [{"na', "", 'calls": [{"na'),
        ('{"tool_calls": [{"name": "ad', "", None),
        ('{"tool_calls": [{"name": "add", "argu', "add", None),
        ('{\n "tool_calls": [{"name": "add", "arguments": {"a": ', "add", '{"a": '),
    ],
)
def test_half_a_call_is_a_call_at_fault_and_no_words(text: str, name: str, arguments: str | None) -> None:
    reply = read_tool_reply(CALL, Reply(text, Usage(), "length", 0.1))
    (call,) = reply.tool_calls
    assert (reply.text, call["name"]) == ("", name)
    assert arguments is None or call["arguments"] == arguments
    assert calls_fault(BOX, reply.tool_calls)


@pytest.mark.parametrize(
    ("inside", "words"),
    [("Tw", "Tw"), ("a\\n", "a\n"), ("a\\", "a"), ("a\\u00e", "a"), ("a\\ud83d\\ude0", "a"), ("", "")],
)
def test_half_an_answer_is_its_words(inside: str, words: str) -> None:
    reply = read_tool_reply(CALL, Reply(f'{{"answer": "{inside}', Usage(), "length", 0.1))
    assert reply.text.encode("utf-8", "ignore").decode() == words
    assert reply.tool_calls == ()


@pytest.mark.parametrize(
    ("choice", "calls", "words"),
    [("auto", True, True), ("required", True, False), ("add", True, False), ("none", False, True)],
)
def test_the_choice_decides_what_a_model_can_write(choice: str, calls: bool, words: bool) -> None:
    schema = calls_schema(replace(BOX, choice=choice), None)
    add = {"tool_calls": [{"name": "add", "arguments": {"a": 1}}]}
    assert jsonschema_rs.is_valid(schema, add) == calls
    assert jsonschema_rs.is_valid(schema, {"answer": "2"}) == words
    now = {"tool_calls": [{"name": "now", "arguments": {}}]}
    assert jsonschema_rs.is_valid(schema, now) == (calls and choice != "add")
    assert not jsonschema_rs.is_valid(schema, {"tool_calls": [{"name": "add", "arguments": {}}]})
    assert not jsonschema_rs.is_valid(schema, {"tool_calls": []})


def test_one_call_at_a_time_is_all_that_fits_where_that_is_asked_for() -> None:
    two = {"tool_calls": [{"name": "add", "arguments": {"a": 1}}] * 2}
    assert jsonschema_rs.is_valid(calls_schema(BOX, None), two)
    assert not jsonschema_rs.is_valid(calls_schema(replace(BOX, parallel=False), None), two)


def test_an_answer_of_a_schema_stands_beside_the_calls() -> None:
    schema = calls_schema(BOX, NUMBERS)
    assert jsonschema_rs.is_valid(schema, {"answer": {"a": 1}})
    assert not jsonschema_rs.is_valid(schema, {"answer": "2"})
    reply = read_tool_reply(replace(CALL, schema=NUMBERS), Reply('{"answer": {"a": 1}}', Usage(), "stop", 0.1))
    assert json.loads(reply.text) == {"a": 1}


def test_definitions_stand_where_they_were_named_and_circles_end() -> None:
    tree: Any = {
        "$defs": {"Leaf": {"type": "integer"}, "Node": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
        "type": "object",
        "properties": {"leaf": {"$ref": "#/$defs/Leaf"}, "node": {"$ref": "#/$defs/Node"}, "no": {"$ref": "#/x/y"}},
    }
    flat: Any = inlined(tree)
    assert flat["properties"]["leaf"] == {"type": "integer"}
    assert flat["properties"]["no"] == {}
    assert "$ref" not in json.dumps(flat)
