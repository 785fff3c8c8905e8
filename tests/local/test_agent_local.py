"""LangChain's agent over the chat model and the real local models."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from curveroute import RouterChat
from curveroute.agent.ledger import NullLedger
from curveroute.router import Router

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("local-models")]
pytest.importorskip("xllamacpp")
agents = pytest.importorskip("langchain.agents")

asked: list[str] = []


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    asked.append(city)
    return f"It is sunny in {city}, at 27 degrees."


def test_an_agent_of_real_models_calls_its_tool_and_answers_from_what_it_says() -> None:
    asked.clear()
    with Router.from_pool("local", tradeoff=0.3, ledger=NullLedger()) as router:
        agent = agents.create_agent(RouterChat.from_router(router), [weather])
        question: Any = {"messages": [("human", "What is the weather in Lisbon?")]}
        messages = agent.invoke(question)["messages"]
    assert len(asked) == 1, "once; a small model may well say Lisboa"
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert "27" in str(messages[-1].content)
    assert {one.response_metadata["model_name"] for one in messages if isinstance(one, AIMessage)} == {
        "qwen2.5-coder-0.5b"
    }
