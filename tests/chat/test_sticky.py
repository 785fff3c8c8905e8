"""Conversations stay with a model as long as a switch would cost more than it gains, and no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from curveroute import RouterChat

if TYPE_CHECKING:
    from conftest import House

    from curveroute.agent.chat.seam import Call

DOCUMENT = SystemMessage("Read this. " + "word " * 4000)


def pool_of(house: type[House], cached: float) -> Any:
    """Two models alike, the first a little cheaper; what a provider still holds costs this share of the price."""
    plain = house.pool({"one": (0.6, 0.6, 1.0), "other": (0.6, 0.6, 1.02)}, budgets=(64,), window=100_000)
    document = plain.spec.model_dump()
    for model in document["models"]:
        model["prices"]["cached_input"] = cached * model["prices"]["input"]
    spec = type(plain.spec).model_validate(document)
    return type(plain)(spec, prices={one.id: one.prices for one in spec.models if one.prices is not None})


def says(call: Call) -> str:
    return f"Answer: {call.arm.model}"


@pytest.mark.parametrize(("cached", "stays"), [(0.1, True), (1.0, False)])
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_the_next_turn_goes_to_the_model_that_holds_the_prompt(
    house: type[House], cached: float, stays: bool, way: str
) -> None:
    chat = RouterChat.from_router(house.router(pool_of(house, cached), house.chat(says), tradeoff=0.5))
    turns: list[Any] = [DOCUMENT, HumanMessage("Who?")]
    first = chat.invoke(turns, allow=["other"])
    turns += [first, HumanMessage("And who else?")]
    if way == "invoke":
        second: AIMessage = chat.invoke(turns)
    else:
        chunks = list(chat.stream(turns))
        second = chunks[0]
        for chunk in chunks[1:]:
            second += chunk
    assert first.response_metadata["model_name"] == "other"
    assert second.response_metadata["model_name"] == ("other" if stays else "one")


def test_a_gain_that_is_worth_more_than_the_discount_switches(house: type[House]) -> None:
    chat = RouterChat.from_router(house.router(pool_of(house, 0.1), house.chat(says), tradeoff=0.5))
    first = chat.invoke([DOCUMENT, HumanMessage("Who?")], allow=["other"])
    short = [SystemMessage("Be brief."), HumanMessage("Who?"), first, HumanMessage("And who else?")]
    assert chat.invoke(short).response_metadata["model_name"] == "one", "a prompt this short is held by nobody"


def test_a_history_of_other_makers_holds_nothing(house: type[House]) -> None:
    chat = RouterChat.from_router(house.router(pool_of(house, 0.1), house.chat(says), tradeoff=0.5))
    theirs = AIMessage("He.", response_metadata={"model_name": "other"})
    turns = [DOCUMENT, HumanMessage("Who?"), theirs, HumanMessage("And who else?")]
    assert chat.invoke(turns).response_metadata["model_name"] == "one"
