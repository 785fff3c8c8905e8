"""LangChain's own configurable fields and alternatives around the chat model, alone and in a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda

from curveroute import RouterChat
from curveroute.agent.errors import SettingError

if TYPE_CHECKING:
    from conftest import House
    from langchain_core.runnables import Runnable

PROMPT = ChatPromptTemplate.from_messages([("human", "{query}")])
ASKED = {"query": "Who?"}
WHICH = ConfigurableField(id="llm")
FAKE = FakeListChatModel(responses=["somebody else"])


@pytest.fixture
def chat(house: type[House]) -> RouterChat:
    """Says how long its answer might have been; at λ = 1 that is the shortest."""
    router = house.router(house.pool(), house.chat(lambda call: f"Answer: {call.arm}"), tradeoff=0.0)
    return RouterChat.from_router(router)


def attempts(message: Any) -> int:
    return len(message.response_metadata["route"]["attempts"])


@pytest.mark.parametrize(
    ("name", "chained", "default"),
    [("llm", False, True), ("llm", True, True), ("llm", True, False), ("model", False, True), ("model", True, True)],
)
async def test_it_is_one_of_several_alternatives(chat: RouterChat, name: str, chained: bool, default: bool) -> None:
    which = ConfigurableField(id=name)
    either: Runnable[Any, Any] = (
        chat.configurable_alternatives(which, default_key="router", other=FAKE)
        if default
        else FAKE.configurable_alternatives(which, default_key="other", router=chat)
    )
    asked: Any = ASKED if chained else "Who?"
    whole: Any = PROMPT | either if chained else either
    here = whole.with_config(configurable={name: "router"})
    assert here.invoke(asked).content.startswith("Answer: ")
    assert (await here.ainvoke(asked)).content.startswith("Answer: ")
    assert "".join(chunk.content for chunk in here.stream(asked)).startswith("Answer: ")
    assert [one.content[:8] for one in here.batch([asked, asked])] == ["Answer: "] * 2
    assert whole.invoke(asked, {"configurable": {name: "other"}}).content == "somebody else"


def test_another_router_is_the_alternative(chat: RouterChat) -> None:
    either = chat.configurable_alternatives(
        WHICH, default_key="thorough", quick=chat.model_copy(update={"tradeoff": 1})
    )
    assert attempts(either.invoke("Who?")) > 1
    assert attempts(either.with_config(configurable={"llm": "quick"}).invoke("Who?")) == 1


def test_a_field_may_have_a_name_of_its_own(chat: RouterChat) -> None:
    thrifty = chat.configurable_fields(tradeoff=ConfigurableField(id="thrift"))
    assert attempts(thrifty.invoke("Who?")) > 1
    assert attempts(thrifty.with_config(configurable={"thrift": 1.0}).invoke("Who?")) == 1
    assert attempts((PROMPT | thrifty).invoke(ASKED, {"configurable": {"thrift": 1.0}})) == 1


@pytest.mark.parametrize("prefixed", [False, True])
def test_a_field_of_an_alternative_is_set_by_its_own_name(chat: RouterChat, prefixed: bool) -> None:
    thrifty = chat.configurable_fields(tradeoff=ConfigurableField(id="thrift"))
    either = PROMPT | thrifty.configurable_alternatives(WHICH, default_key="router", prefix_keys=prefixed, other=FAKE)
    name = "llm==router/thrift" if prefixed else "thrift"
    assert attempts(either.invoke(ASKED, {"configurable": {"llm": "router", name: 1.0}})) == 1


def test_names_of_other_parts_of_a_chain_are_theirs(chat: RouterChat) -> None:
    french = ChatPromptTemplate.from_messages([("human", "{query}, en français?")])
    chain = PROMPT.configurable_alternatives(ConfigurableField(id="tongue"), default_key="en", fr=french) | chat
    assert chain.with_config(configurable={"tongue": "fr"}).invoke(ASKED).content.startswith("Answer: ")
    inside = RunnableLambda(lambda query: chat.invoke([("human", query)]))
    assert inside.invoke("Who?", {"configurable": {"tongue": "fr"}}).content.startswith("Answer: ")


def test_what_reads_like_a_setting_is_an_error_in_a_chain_too(chat: RouterChat) -> None:
    for chain in (PROMPT | chat, PROMPT | chat.configurable_fields(tradeoff=ConfigurableField(id="thrift"))):
        with pytest.raises(SettingError, match=r"unknown configurable 'tradeof' \(did you mean 'tradeoff'\?\)"):
            chain.invoke(ASKED, {"configurable": {"tradeof": 1.0}})
    with pytest.raises(SettingError, match=r"unknown configurable 'llm'; .*pass_over=\[…\]"):
        chat.invoke("Who?", {"configurable": {"llm": "router"}})
