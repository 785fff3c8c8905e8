"""What cannot be answered is refused with a clear error before anything is sent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from curveroute.agent.errors import CapTooSmall, PoolError, QueryError, SettingError
from curveroute.agent.ledger import Ledger
from curveroute.graphs import Context, build

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House


def refused(house: type[House], error: type[Exception], match: str, given: Any = None, **settings: Any) -> None:
    """The router refuses, by ``invoke`` and by ``stream``, and no model hears of it."""
    chat = house.chat(lambda call: "Answer: Lisbon")
    router = house.router(house.pool(), chat)
    query = house.query if given is None else given
    with pytest.raises(error, match=match):
        router.invoke(query, **settings)
    with pytest.raises(error, match=match):
        list(router.stream(query, **settings))
    assert chat.calls == []


@pytest.mark.parametrize(
    "given", ["", "   \n\t ", [], [("system", "Be kind.")], [("assistant", "Hello.")], {"query": ""}, [("user", " ")]]
)
def test_a_query_that_asks_nothing(house: type[House], given: Any) -> None:
    refused(house, QueryError, "the query is empty", given)


def test_a_query_longer_than_every_window(house: type[House]) -> None:
    refused(house, QueryError, "more than any model of pool 'toy' can read", "word " * 5000)


def test_a_query_that_only_the_longer_window_holds_goes_there(house: type[House]) -> None:
    pool = house.pool()
    document = pool.spec.model_dump()
    document["models"][1]["context_window"] = 100_000
    wide = type(pool)(type(pool.spec).model_validate(document), prices={one.id: one.prices for one in pool.spec.models})
    chat = house.chat(lambda call: "Answer: Lisbon")
    route = house.router(wide, chat, tradeoff=1.0).invoke("word " * 5000)
    assert {candidate.arm.model for candidate in route.candidates} == {"big"}
    assert {call.arm.model for call in chat.calls} == {"big"}


@pytest.mark.parametrize("given", [None, 7, b"bytes", {"text": "hi"}, {"messages": None}, [("tool", "42")], "\ud800"])
def test_what_is_no_conversation(house: type[House], given: Any) -> None:
    chat = house.chat(lambda call: "Answer: Lisbon")
    with pytest.raises(QueryError):
        house.router(house.pool(), chat).invoke(given)
    assert chat.calls == []


def after_a_call(**changes: Any) -> list[Any]:
    call = {"name": "t", "args": {"a": 1}, "id": "1", **changes}
    return [HumanMessage("?"), AIMessage("", tool_calls=[call]), ToolMessage("x", tool_call_id=call["id"])]


def pictured(**image: Any) -> list[Any]:
    url = {"url": "https://pictures.example/cat.png", **image}
    return [HumanMessage([{"type": "text", "text": "?"}, {"type": "image_url", "image_url": url}])]


@pytest.mark.parametrize(
    "given",
    [
        "half \ud800",
        [("system", "half \ud800"), ("user", "?")],
        after_a_call(name="\ud800"),
        after_a_call(id="\ud800"),
        [*after_a_call()[:2], ToolMessage("\ud800", tool_call_id="1")],
        pictured(url="https://pictures.example/\ud800"),
        pictured(detail="\ud800"),
        [{"role": "user", "content": "?", "images": [{"at": 0, "url": "https://pictures.example/\ud800"}]}],
    ],
)
def test_half_a_character_anywhere_in_a_conversation(house: type[House], given: Any) -> None:
    refused(house, QueryError, "half a character .*; give valid Unicode text", given)


@pytest.mark.parametrize(
    "images",
    [
        None,
        "cat.png",
        [{"url": "https://pictures.example/cat.png"}],
        [{"at": "0", "url": "https://pictures.example/cat.png"}],
        [{"at": 0, "url": 7}],
        [{"at": 0, "url": "file:///etc/passwd"}],
        [{"at": 0, "url": "https://pictures.example/cat.png", "detail": 7}],
    ],
)
def test_images_that_are_none(house: type[House], images: Any) -> None:
    given = [{"role": "user", "content": "?", "images": images}]
    refused(house, QueryError, "the images of a message are not understood", given)


def test_calls_of_another_kind(house: type[House]) -> None:
    calls = [{"call_id": 1, "name": 2, "arguments": 3}]
    given = [{"role": "assistant", "content": "", "tool_calls": calls}, {"role": "user", "content": "?"}]
    refused(house, QueryError, "not a conversation", given)


def test_arguments_of_a_call_that_are_no_json(house: type[House]) -> None:
    refused(house, QueryError, "the arguments of the call 't' are no JSON", after_a_call(args={"a": {1}}))


@pytest.mark.parametrize("setting", ["max_cost_usd", "seconds_usd", "tradeoff", "max_error", "approve_above_usd"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_beyond_all_numbers(house: type[House], setting: str, digits: int) -> None:
    refused(house, SettingError, f"{setting} is 1?", **{setting: 10**digits})


def test_a_cap_too_small_for_any_arm_sends_nothing_and_the_ledger_says_why(house: type[House], tmp_path: Path) -> None:
    refused(house, CapTooSmall, "the cheapest arm may cost", max_cost_usd=1e-9)
    chat = house.chat(lambda call: "Answer: Lisbon")
    pool = house.pool(planner="small", planner_lift=1.0, judge="big")
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        with pytest.raises(CapTooSmall):
            house.router(pool, chat, ledger=ledger).invoke(house.query, max_cost_usd=1e-9)
        (record,) = ledger.runs()
        assert (record.status, record.totals.cost_usd) == ("failed", 0)
        assert "raise the cap" in record.reason
        assert ledger.verify().ok
    assert chat.calls == []


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "0.5", None, True])
def test_a_tradeoff_out_of_range(house: type[House], value: Any) -> None:
    refused(house, SettingError, "tradeoff is", tradeoff=value)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.1", None, False])
def test_a_worth_of_seconds_that_is_no_amount(house: type[House], value: Any) -> None:
    refused(house, SettingError, "seconds_usd is .* 0 when it does not count", seconds_usd=value)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "1", True])
def test_a_cap_that_is_none(house: type[House], value: Any) -> None:
    refused(house, SettingError, "max_cost_usd is", max_cost_usd=value)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"tradeof": 0.5}, "unknown setting.* tradeof; a run can override: allow, approve_above_usd, deny"),
        ({"parts": None}, "unknown setting.* parts"),
        ({"allow": "small"}, "allow is 'small'; give a list"),
        ({"deny": 3}, "deny is 3"),
        ({"allow": (3,)}, "give a list of model ids"),
        ({"plan": "no"}, "plan is 'no'; give true or false"),
        ({"judge": 0}, "judge is 0"),
        ({"policy": ["learned"]}, r"policy is \['learned'\]; give learned or closed-form"),
    ],
)
def test_unknown_and_malformed_overrides(house: type[House], settings: dict[str, Any], match: str) -> None:
    refused(house, SettingError, match, **settings)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"allow": ("smal",)}, "unknown model 'smal' in pool 'toy'; it has: small, big"),
        ({"deny": ["small", "huge"]}, "unknown model 'huge'"),
        ({"allow": ["small"], "deny": ["small"]}, "no arm of pool 'toy' is left"),
        ({"deny": ["small", "big"]}, "no arm of pool 'toy' is left"),
    ],
)
def test_lists_that_leave_no_model_or_name_an_unknown_one(
    house: type[House], settings: dict[str, Any], match: str
) -> None:
    refused(house, PoolError, match, **settings)


def test_allow_and_deny_keep_models_out_of_candidates_and_calls(house: type[House]) -> None:
    chat = house.chat(lambda call: "Answer: Lisbon")
    router = house.router(house.pool(), chat, tradeoff=0.0)
    for settings in ({"allow": ["small"]}, {"deny": ("big",)}):
        route = router.invoke(house.query, **settings)
        assert {candidate.arm.model for candidate in route.candidates} == {"small"}
    assert {call.arm.model for call in chat.calls} == {"small"}


async def test_a_graph_without_parts_says_what_to_do() -> None:
    graph = build().compile()
    for context in (None, Context(), {"tradeoff": 0.3}):
        with pytest.raises(TypeError, match=r"pass Context\(parts=…\), or bind them"):
            await graph.ainvoke({"messages": [{"role": "user", "content": "Hi?"}]}, context=context)


async def test_a_client_cannot_hand_over_parts(house: type[House]) -> None:
    context = house.context(house.pool(), house.chat(lambda call: "Answer: Lisbon"))
    graph = build(context).compile()
    with pytest.raises(TypeError, match="no parts"):
        await graph.ainvoke(
            {"messages": [{"role": "user", "content": "Hi?"}]}, context={"tradeoff": 0.3, "parts": {"pool": "x"}}
        )
    assert "parts" not in graph.get_context_jsonschema()["properties"]
