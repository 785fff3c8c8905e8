"""The router as a LangChain runnable: from any loop or thread, alone, in batches, in chains, with any form of input."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda

from curveroute import Router
from curveroute.agent.errors import CapabilityError, QueryError, SettingError
from curveroute.agent.ledger import NullLedger
from curveroute.graphs.portal import PORTAL

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call

POOL_FILE = """
name = "filed"
system = "Be right."
[[budgets]]
tokens = 16
name = "short"
style = "Briefly."
[[models]]
id = "only"
endpoint = "http://127.0.0.1:9/v1"
prices = { input = 1, output = 2 }
context_window = 4096
prior = [{ quality = 0.5 }]
"""


def echo(call: Call) -> str:
    return f"Answer: {call.query_text}"


@pytest.fixture
def router(house: type[House]) -> Router:
    return house.router(house.pool(), house.chat(echo), tradeoff=1.0)


def test_it_is_a_runnable(router: Router) -> None:
    assert isinstance(router, Runnable)
    assert router.OutputType.__name__ == "Route"


async def test_every_form_of_asking_gives_the_same_answer(router: Router, house: type[House]) -> None:
    said = f"Answer: {house.query}"
    assert router.invoke(house.query).answer == said
    assert (await router.ainvoke(house.query)).answer == said
    assert "".join(piece.answer for piece in router.stream(house.query)) == said
    assert "".join([piece.answer async for piece in router.astream(house.query)]) == said
    assert router.batch([house.query])[0].answer == said
    assert (await router.abatch([house.query]))[0].answer == said


@pytest.mark.parametrize(
    "given",
    [
        "Hi?",
        {"query": "Hi?"},
        {"input": "Hi?"},
        {"question": "Hi?"},
        {"messages": [{"role": "user", "content": "Hi?"}]},
        {"messages": "Hi?"},
        [{"role": "user", "content": "Hi?"}],
        {"role": "user", "content": "Hi?"},
        [HumanMessage("Hi?")],
        HumanMessage("Hi?"),
        [("human", "Hi?")],
        ["Hi?"],
        [HumanMessage([{"type": "text", "text": "Hi"}, {"type": "text", "text": "?"}])],
        ChatPromptTemplate.from_messages([("human", "{x}?")]).invoke({"x": "Hi"}),
    ],
)
def test_a_query_may_come_in_any_form(router: Router, given: Any) -> None:
    assert router.invoke(given).answer == "Answer: Hi?"


def test_a_conversation_reaches_the_model_whole(house: type[House]) -> None:
    chat = house.chat(echo)
    conversation = [SystemMessage("Speak Latin."), HumanMessage("Salve!"), AIMessage("Salve."), HumanMessage("Et tu?")]
    house.router(house.pool(), chat, tradeoff=1.0).invoke(conversation)
    sent = chat.calls[0].messages
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert sent[0]["content"] == "Speak Latin."
    assert sent[-1]["content"].startswith("Et tu?")


def test_an_image_is_refused_in_words(router: Router) -> None:
    with pytest.raises(CapabilityError, match="a model that can see images, and of pool 'toy' none"):
        router.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}])])


def test_settings_of_one_run_override_the_routers(house: type[House]) -> None:
    router = house.router(house.pool(), house.chat(echo), tradeoff=0.0)
    assert len(router.invoke(house.query).attempts) > 1
    assert len(router.invoke(house.query, tradeoff=1.0).attempts) == 1
    assert router.invoke(house.query, tradeoff=1.0, max_cost_usd=0.01, allow=["big"]).model == "big"
    assert len(router.invoke(house.query).attempts) > 1, "the next run has the router's settings again"


def test_batches_keep_order_and_collect_errors(router: Router) -> None:
    queries = [f"Question {number}?" for number in range(12)]
    assert [route.answer for route in router.batch(queries)] == [f"Answer: {query}" for query in queries]
    first, second, third = router.batch(["a?", "", "b?"], return_exceptions=True)
    assert (str(first), str(third)) == ("Answer: a?", "Answer: b?")
    assert isinstance(second, QueryError)


async def test_a_batch_keeps_to_its_concurrency(house: type[House]) -> None:
    now, most = 0, 0

    class Counting(house.chat):  # type: ignore[misc,name-defined]
        async def complete(self, call: Call, **hooks: Any) -> Any:
            nonlocal now, most
            now += 1
            most = max(most, now)
            for _ in range(5):
                await asyncio.sleep(0)
            now -= 1
            return await super().complete(call, **hooks)

    router = house.router(house.pool(), Counting(echo), tradeoff=1.0)
    routes = await router.abatch([f"{n}?" for n in range(20)], config={"max_concurrency": 3})
    assert [route.answer for route in routes] == [f"Answer: {n}?" for n in range(20)]
    assert most == 3
    most = 0
    router.batch([f"{n}?" for n in range(12)], config={"max_concurrency": 2})
    assert 1 <= most <= 2


async def test_synchronous_calls_work_inside_a_running_loop(router: Router) -> None:
    assert asyncio.get_running_loop().is_running()
    assert router.invoke("Now?").answer == "Answer: Now?"
    assert [piece.answer for piece in router.stream("Now?")][-1] == ""


def test_many_threads_may_ask_at_once(router: Router) -> None:
    with ThreadPoolExecutor(8) as threads:
        routes = list(threads.map(router.invoke, [f"{n}?" for n in range(32)]))
    assert [route.answer for route in routes] == [f"Answer: {n}?" for n in range(32)]
    assert len({route.run_id for route in routes}) == 32


def test_synchronous_calls_share_one_loop(house: type[House]) -> None:
    loops: set[Any] = set()

    def note(call: Call) -> str:
        loops.add((asyncio.get_running_loop(), threading.current_thread().name))
        return "Answer: x"

    router = house.router(house.pool(), house.chat(note), tradeoff=1.0)
    for _ in range(3):
        router.invoke("Hi?")
    list(router.stream("Hi?"))
    assert [name for _, name in loops] == ["curveroute-portal"]


def test_chains_before_and_after(router: Router) -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "{word}!")])
    shout = RunnableLambda(lambda route: route.answer.upper())
    chain = prompt | router | shout
    assert chain.invoke({"word": "hello"}) == "ANSWER: HELLO!"
    assert chain.batch([{"word": "a"}, {"word": "b"}]) == ["ANSWER: A!", "ANSWER: B!"]
    assert "".join(chain.stream({"word": "a"})) == "ANSWER: A!"


async def test_chains_work_asynchronously(router: Router) -> None:
    chain = RunnableLambda(str.strip) | router | RunnableLambda(str)
    assert await chain.ainvoke("  Hi?  ") == "Answer: Hi?"
    assert [text async for text in chain.astream(" Hi? ")] == ["Answer: Hi?"]


def test_callbacks_see_one_graph_and_its_nodes(router: Router) -> None:
    class Names(BaseCallbackHandler):
        def __init__(self) -> None:
            self.names: list[str] = []

        def on_chain_start(self, *args: Any, name: str = "", **kwargs: Any) -> None:
            self.names.append(name)

    for ask in (router.invoke, lambda *args, **kwargs: list(router.stream(*args, **kwargs))):
        seen = Names()
        ask("Hi?", config={"callbacks": [seen]})
        assert seen.names.count("curveroute") == 1
        assert {"propose", "plan", "probe", "verify", "accept"} <= set(seen.names)


def test_a_synchronous_call_from_inside_the_portal_is_refused_and_not_a_deadlock(house: type[House]) -> None:
    def ask_again(call: Call) -> str:
        return router.invoke("Again?").answer

    router = house.router(house.pool(budgets=(16,)), house.chat(ask_again), tradeoff=1.0)
    with pytest.raises(RuntimeError, match="await instead"):
        router.invoke("Hi?")


class Closing(NullLedger):
    closed = 0

    def close(self) -> None:
        self.closed += 1


async def test_closing_lets_go_of_the_parts(house: type[House]) -> None:
    chat, ledger = house.chat(echo), Closing()
    with house.router(house.pool(), chat, ledger=ledger) as router:
        router.invoke("Hi?")
    assert (chat.closed, ledger.closed) == (1, 1)
    async with house.router(house.pool(), chat, ledger=ledger):
        pass
    assert (chat.closed, ledger.closed) == (2, 2)


class TestFromPool:
    def test_a_router_is_made_from_a_pool_file(self, tmp_path: Path) -> None:
        path = tmp_path / "filed.toml"
        path.write_text(POOL_FILE)
        with Router.from_pool(str(path), 0.25, 0.5, plan=False, ledger=NullLedger(), allow=("only",)) as router:
            assert router.parts.pool.name == "filed"
            assert (router.context.tradeoff, router.context.max_cost_usd, router.context.plan) == (0.25, 0.5, False)
            assert router.context.allow == ("only",)

    def test_wrong_settings_are_refused_before_anything_is_opened(self, tmp_path: Path) -> None:
        path = tmp_path / "filed.toml"
        path.write_text(POOL_FILE)
        with pytest.raises(SettingError):
            Router.from_pool(str(path), 1.5, ledger=NullLedger())
        with pytest.raises(SettingError):
            Router.from_pool(str(path), max_cost_usd=0, ledger=NullLedger())


def test_the_portal_is_one(router: Router) -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert PORTAL.call(where()) == "curveroute-portal"
