"""Whatever callers hand in becomes the same plain conversation, or an error that says what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue

from curveroute.agent.errors import QueryError
from curveroute.graphs.conversation import conversation_of

TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi?"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Who?"},
]
LANGCHAIN = [SystemMessage("Be kind."), HumanMessage("Hi?"), AIMessage("Hello."), HumanMessage("Who?")]
URL = "https://pictures.example/cat.png"
CALLING = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c1"}])
plain = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "user", "assistant"]),
    st.text(),
)


@pytest.mark.parametrize(
    "given",
    [
        TURNS,
        tuple(TURNS),
        LANGCHAIN,
        ChatPromptValue(messages=LANGCHAIN),
        [("system", "Be kind."), ("human", "Hi?"), ("ai", "Hello."), ("user", "Who?")],
        [{"type": "system", "content": "Be kind."}, {"type": "human", "content": "Hi?"}, *LANGCHAIN[2:]],
        {"messages": TURNS},
        {"messages": LANGCHAIN, "other": 1},
        [{**turn, "name": "x"} for turn in TURNS],
    ],
)
def test_conversations_of_any_form(given: Any) -> None:
    assert conversation_of(given) == TURNS


@pytest.mark.parametrize(
    "given",
    [
        "Hi?",
        StringPromptValue(text="Hi?"),
        HumanMessage("Hi?"),
        {"role": "user", "content": "Hi?"},
        {"query": "Hi?"},
        {"question": [HumanMessage("Hi?")]},
        {"input": {"messages": "Hi?"}},
        [HumanMessage([{"type": "text", "text": "Hi?"}])],
        [HumanMessage(["H", {"type": "text", "text": "i?"}])],
    ],
)
def test_single_questions_of_any_form(given: Any) -> None:
    assert conversation_of(given) == [{"role": "user", "content": "Hi?"}]


@given(st.lists(plain))
def test_what_is_plain_already_stays_as_it_is(messages: list[dict[str, str]]) -> None:
    assert conversation_of(messages) == messages
    assert conversation_of({"messages": messages}) == messages


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"text": "Hi?"}, "needs one of the keys messages, query, input, question; this one has: text"),
        ({}, "needs one of the keys"),
        (None, "not a conversation"),
        (42, "not a conversation"),
        ([42], "not a conversation"),
        ([{"role": "user"}], "not a conversation"),
        ([{"role": "wizard", "content": "Hi?"}], "not a conversation"),
        ([ToolMessage("42", tool_call_id="1")], "answers the call '1', which no assistant message before it makes"),
        ([{"role": "tool", "content": "42", "tool_call_id": "1"}], "answers the call '1'"),
        ([ChatMessage("Hi?", role="wizard")], "type 'chat' cannot be routed; give system, user, assistant and tool"),
        ([HumanMessage([{"type": "image_url", "image_url": {"url": "x"}}])], r"no http\(s\) URL and no data"),
        ([HumanMessage([{"type": "image", "file_id": "x"}])], r"no http\(s\) URL and no data"),
        ([HumanMessage([{"type": "input_audio", "input_audio": {}}])], "a message holds 'input_audio' content"),
        ([SystemMessage([{"type": "image", "url": URL}])], "a system message holds 'image' content"),
        ("\ud800", "valid Unicode"),
        ([{"role": "user", "content": "half \udc00"}], "valid Unicode"),
        ([HumanMessage("\ud83d")], "valid Unicode"),
    ],
)
def test_what_cannot_be_read_is_an_error_in_words(given: Any, match: str) -> None:
    with pytest.raises(QueryError, match=match):
        conversation_of(given)


@pytest.mark.parametrize(
    ("block", "image"),
    [
        ({"type": "image_url", "image_url": {"url": URL, "detail": "low"}}, {"url": URL, "detail": "low"}),
        ({"type": "image_url", "image_url": URL}, {"url": URL}),
        ({"type": "image", "url": URL}, {"url": URL}),
        ({"type": "image", "base64": "QUJD", "mime_type": "image/png"}, {"url": "data:image/png;base64,QUJD"}),
        (
            {"type": "image", "source_type": "base64", "data": "QUJD", "mime_type": "image/png"},
            {"url": "data:image/png;base64,QUJD"},
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"}},
            {"url": "data:image/jpeg;base64,QUJD"},
        ),
    ],
)
def test_an_image_keeps_its_place_in_the_text(block: Any, image: dict[str, str]) -> None:
    asked = HumanMessage([{"type": "text", "text": "This: "}, block, {"type": "text", "text": " Who?"}])
    expected = [{"role": "user", "content": "This:  Who?", "images": [{"at": 6, **image}]}]
    assert conversation_of([asked]) == expected
    assert conversation_of(expected) == expected, "and what is read already stays as it is"


def test_tool_calls_and_their_answers_come_along() -> None:
    read = conversation_of([HumanMessage("1 + ?"), CALLING, ToolMessage("2", tool_call_id="c1")])
    assert read[1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"call_id": "c1", "name": "add", "arguments": '{"a": 1}'}],
        },
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
    ]
    assert conversation_of(read) == read


def test_tool_calls_in_openais_form_are_read_too() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    given = [{"role": "user", "content": "1 + ?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    assert conversation_of(given)[1] == conversation_of([CALLING])[0]


def test_a_call_that_was_no_json_is_kept_as_it_was_written() -> None:
    broken = AIMessage("", invalid_tool_calls=[{"name": "add", "args": "{a:", "id": "c1", "error": "no JSON"}])
    assert conversation_of([broken])[0]["tool_calls"] == [{"call_id": "c1", "name": "add", "arguments": "{a:"}]


def test_thoughts_of_another_model_are_left_out() -> None:
    thought = AIMessage([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hello."}])
    assert conversation_of([thought]) == [{"role": "assistant", "content": "Hello."}]


def test_the_model_that_served_a_turn_is_known_by_what_curveroute_wrote_there() -> None:
    ours = AIMessage("Hello.", response_metadata={"model_name": "x", "route": {"model": "small"}})
    others = AIMessage("Hello.", response_metadata={"model_name": "gpt"})
    assert [message.get("served") for message in conversation_of([ours, others])] == ["small", None]
