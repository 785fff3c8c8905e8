"""The router composed like any runnable: chains, batches, configs, retries and fallbacks."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from curveroute.agent.errors import AllArmsFailed, SettingError
from curveroute.router import Router

if TYPE_CHECKING:
    from conftest import House

    from curveroute.agent.chat.seam import Call


def echo(call: Call) -> str:
    return f"Answer: {call.query_text}"


class Seen(BaseCallbackHandler):
    """Names, tags and metadata of every run that began."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, list[str], dict[str, Any]]] = []

    def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        self.runs.append((kwargs.get("name") or "", kwargs.get("tags") or [], kwargs.get("metadata") or {}))


@pytest.fixture
def router(house: type[House]) -> Router:
    return house.router(house.pool(), house.chat(echo), tradeoff=1.0)


def calls_of(router: Router) -> list[Call]:
    return router.parts.chat.calls  # type: ignore[attr-defined]


async def test_a_chain_runs_through_it_sync_async_and_streamed(router: Router) -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "What is the capital of {country}?")])
    chain = prompt | router | RunnableLambda(str) | StrOutputParser()
    said = "Answer: What is the capital of Norway?"
    given = {"country": "Norway"}
    assert chain.invoke(given) == said
    assert await chain.ainvoke(given) == said
    assert "".join(chain.stream(given)) == said


@pytest.mark.parametrize("most", [1, 2])
async def test_a_batch_has_no_more_runs_at_once_than_it_may(house: type[House], most: int) -> None:
    open_now, seen = 0, []

    class Counting(house.chat):  # type: ignore[name-defined, misc]
        async def complete(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal open_now
            open_now += 1
            for _ in range(20):  # others get their turn
                await asyncio.sleep(0)
            seen.append(open_now)
            open_now -= 1
            return await super().complete(*args, **kwargs)

    router = house.router(house.pool(), Counting(echo), tradeoff=1.0)
    questions = [f"Question {number}?" for number in range(6)]
    routes = await router.abatch(questions, config={"max_concurrency": most})
    assert [route.answer for route in routes] == [f"Answer: {question}" for question in questions]
    assert max(seen) == most
    assert [route.answer for route in router.batch(questions, config={"max_concurrency": most})] == [
        f"Answer: {question}" for question in questions
    ]


async def test_a_batch_gives_back_the_failures_among_its_answers(router: Router) -> None:
    first, second = await router.abatch(["", "Two?"], return_exceptions=True)
    assert isinstance(first, Exception)
    assert second.answer == "Answer: Two?"


async def test_name_tags_and_metadata_of_a_config_reach_the_run(router: Router) -> None:
    seen = Seen()
    named = router.with_config(
        run_name="asking", tags=["mine"], metadata={"customer": 7}, callbacks=[seen]
    )  # fmt: skip
    await named.ainvoke("One?")
    name, tags, metadata = seen.runs[0]
    assert name == "asking"
    assert "mine" in tags
    assert metadata["customer"] == 7
    assert {"propose", "plan", "probe"} <= {run[0] for run in seen.runs}


async def test_settings_come_from_a_config_and_arguments_win(router: Router, house: type[House]) -> None:
    config: Any = {"configurable": {"allow": ["big"], "thread_id": "1"}}
    assert (await router.ainvoke("One?", config)).model == "big"
    assert (await router.ainvoke("One?", config, allow=("small",))).model == "small"
    assert router.with_config(config).invoke("One?").model == "big"
    assert (RunnableLambda(lambda text: text) | router).invoke("One?", config).model == "big"
    assert [piece.model async for piece in router.astream("One?", config)][-1] == "big"


async def test_a_chat_models_settings_in_a_config_hold_for_a_router_too(router: Router) -> None:
    one: Any = {"configurable": {"model": "big", "max_tokens": 10, "pool": router.parts.pool.name}}
    assert (await router.ainvoke("One?", one)).model == "big"
    assert {(call.arm.model, call.max_tokens) for call in calls_of(router)} == {("big", 10)}
    assert (await router.ainvoke("One?", one, allow=("small",))).model == "small"
    asked = len(calls_of(router))
    other: Any = {"configurable": {"pool": "elsewhere"}}
    for wrong, words in (
        (other, "pool is 'elsewhere' in the configurable, and this Router routes over 'toy'"),
        ({"configurable": {"model": "big", "allow": ["small"]}}, "model 'big' is not among those allowed: small"),
        ({"configurable": {"max_tokens": "few"}}, "max_tokens is 'few'"),
        ({"configurable": {"model": ["big"]}}, r"model is \['big'\]; give the id of one model"),
        ({"configurable": {3: 1}}, "unknown configurable '3'"),
    ):
        with pytest.raises(SettingError, match=words):
            await router.ainvoke("One?", wrong)
    assert len(calls_of(router)) == asked
    tolerant = Router(router.context, pass_over=["pool"])
    assert (await tolerant.ainvoke("One?", other)).answer == "Answer: One?"


async def test_an_unknown_configurable_is_told_before_anyone_is_asked(router: Router, house: type[House]) -> None:
    with pytest.raises(SettingError, match=r"unknown configurable 'tradeof' \(did you mean 'tradeoff'\?\)"):
        await router.ainvoke("One?", {"configurable": {"tradeof": 0.1}})
    assert calls_of(router) == []
    tolerant = Router(router.context, pass_over=["customer"])
    assert (await tolerant.ainvoke("One?", {"configurable": {"customer": 7}})).answer == "Answer: One?"


def test_a_deep_copy_is_the_same_router(router: Router) -> None:
    assert copy.deepcopy({"router": router})["router"].invoke("One?").answer == "Answer: One?"


def failing_once(house: type[House]) -> Any:
    """A model whose first call fails for good."""
    left = [house.dead()]
    return lambda call: left.pop() if left else echo(call)


async def test_a_retry_asks_again_when_every_arm_failed(house: type[House]) -> None:
    alone = {"only": (0.5, 0.6, 0.1)}
    broken = house.router(house.pool(alone, budgets=(16,)), house.chat(failing_once(house)), tradeoff=1.0)
    with pytest.raises(AllArmsFailed):
        await broken.ainvoke("One?")
    again = house.router(house.pool(alone, budgets=(16,)), house.chat(failing_once(house)), tradeoff=1.0)
    retried = again.with_retry(
        retry_if_exception_type=(AllArmsFailed,), stop_after_attempt=2, wait_exponential_jitter=False
    )
    assert (await retried.ainvoke("One?")).answer == "Answer: One?"
    assert len(calls_of(again)) == 2


async def test_a_fallback_takes_over_with_the_same_arguments(house: type[House]) -> None:
    dead = house.router(house.pool(), house.chat(lambda call: house.dead()), tradeoff=1.0)
    sound = house.router(house.pool(), house.chat(echo), tradeoff=1.0)
    both = dead.with_fallbacks([sound], exceptions_to_handle=(AllArmsFailed,))
    assert (await both.ainvoke("One?", allow=("big",))).model == "big"
    assert both.invoke("One?").answer == "Answer: One?"
