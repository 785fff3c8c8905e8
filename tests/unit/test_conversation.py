"""Whatever callers hand in becomes the same plain conversation, or an error that says what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
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
        ([ToolMessage("42", tool_call_id="1")], "type 'tool' cannot be routed; give system, user and assistant"),
        ([HumanMessage([{"type": "image_url", "image_url": {"url": "x"}}])], "'image_url' content; only text"),
        ("\ud800", "valid Unicode"),
        ([{"role": "user", "content": "half \udc00"}], "valid Unicode"),
        ([HumanMessage("\ud83d")], "valid Unicode"),
    ],
)
def test_what_cannot_be_read_is_an_error_in_words(given: Any, match: str) -> None:
    with pytest.raises(QueryError, match=match):
        conversation_of(given)
