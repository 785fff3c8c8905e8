"""The router as a chat model: messages in and out, settings from everywhere, streams that never leak, events typed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField
from langchain_core.tracers.base import BaseTracer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from curveroute import RouterChat
from curveroute.agent.chat.seam import Reply
from curveroute.agent.errors import AllArmsFailed, CapTooSmall, PoolError, QueryError, SettingError, StreamBroken
from curveroute.agent.ledger import Ledger
from curveroute.agent.types import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import House
    from langchain_core.tracers.schemas import Run

    from curveroute.agent.chat.seam import Call

EVENTS = ["candidates", "plan", "probe", "verdict", "escalate", "commit"]


def says(call: Call) -> str:
    return f"Thinking as {call.arm}.\nAnswer: {call.arm.model}"


@pytest.fixture
def make(house: type[House]) -> Callable[..., RouterChat]:
    """A chat model over a pool of two models; what its router's settings are unless a chat model has its own."""

    def made(
        answer: Any = says, *, pool: Any = None, chat: Any = None, ledger: Any = None, **settings: Any
    ) -> RouterChat:
        router = house.router(pool or house.pool(), chat or house.chat(answer), tradeoff=1.0, ledger=ledger)
        return RouterChat.from_router(router, **settings)

    return made


class Hearing(BaseCallbackHandler):
    """Keeps every custom event, and the runs that were started."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.started: list[str] = []

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        self.heard.append((name, data))

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.started.append("chat model")

    def on_chain_start(self, *_: Any, name: str = "", **__: Any) -> None:
        self.started.append(name)


class AsyncHearing(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        self.heard.append((name, data))


class Keeping(BaseTracer):
    """Keeps the runs at the top."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)


class TestMessages:
    def test_an_answer_carries_its_route(self, make: Callable[..., RouterChat]) -> None:
        message = make(tradeoff=0.3).invoke("Who?")
        assert message.content == says_as(message)
        route = message.response_metadata["route"]
        assert message.response_metadata["model_name"] == route["model"]
        assert route["arm"] == f"{route['model']}@{route['budget']}"
        assert (route["status"], route["reason"], route["fault"]) == ("best_so_far", "every arm was tried", "")
        assert len(route["attempts"]) > 1
        assert route["cost_usd"] == pytest.approx(sum(one["cost_usd"] for one in route["attempts"]))
        assert route["run_id"]

    def test_usage_is_of_the_whole_run_and_the_served_models_stands_beside_it(
        self, make: Callable[..., RouterChat]
    ) -> None:
        message = make(lambda call: Reply(says(call), Usage(30, 10, 5), "stop", 0.1), tradeoff=0.3).invoke("Who?")
        route = message.response_metadata["route"]
        calls = len(route["attempts"])
        assert calls > 1
        assert message.usage_metadata == {
            "input_tokens": 30 * calls,
            "output_tokens": 10 * calls,
            "total_tokens": 40 * calls,
            "input_token_details": {"cache_read": 5 * calls},
        }
        assert route["usage"] == {
            "input_tokens": 30,
            "output_tokens": 10,
            "total_tokens": 40,
            "input_token_details": {"cache_read": 5},
        }

    async def test_every_way_of_asking_gives_the_same_answer(self, make: Callable[..., RouterChat]) -> None:
        chat = make(tradeoff=0.3)
        said = chat.invoke("Who?").content
        assert (await chat.ainvoke("Who?")).content == said
        assert "".join(str(chunk.content) for chunk in chat.stream("Who?")) == said
        assert "".join([str(chunk.content) async for chunk in chat.astream("Who?")]) == said
        assert [message.content for message in chat.batch(["Who?", "Who?"])] == [said, said]
        assert [message.content for message in await chat.abatch(["Who?"])] == [said]

    def test_a_conversation_reaches_the_model_whole(self, house: type[House], make: Callable[..., RouterChat]) -> None:
        seam = house.chat(says)
        make(chat=seam).invoke([("system", "Be kind."), ("human", "Hi?"), ("ai", "Hello."), ("human", "Who?")])
        assert [message["role"] for message in seam.calls[0].messages] == ["system", "user", "assistant", "user"]
        assert seam.calls[0].query_text == "Hi?\nWho?"

    def test_it_stands_in_a_chain(self, make: Callable[..., RouterChat]) -> None:
        chain = ChatPromptTemplate.from_messages([("human", "{word}?")]) | make() | StrOutputParser()
        assert chain.invoke({"word": "Who"}) == "Thinking as small@16.\nAnswer: small"
        assert "".join(chain.stream({"word": "Who"})) == "Thinking as small@16.\nAnswer: small"


def says_as(message: AIMessage) -> str:
    route = message.response_metadata["route"]
    return f"Thinking as {route['arm']}.\nAnswer: {route['model']}"


class TestStreams:
    @pytest.mark.parametrize("tradeoff", [0.0, 0.3, 0.5, 1.0])
    async def test_only_the_committed_answer_reaches_the_content(
        self, make: Callable[..., RouterChat], tradeoff: float
    ) -> None:
        chat = make(tradeoff=tradeoff)
        for chunks in (list(chat.stream("Who?")), [chunk async for chunk in chat.astream("Who?")]):
            whole = joined(chunks)
            assert whole.content == says_as(whole)
            assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - 1) + ["last"]
            assert [bool(chunk.response_metadata) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
            for attempt in whole.response_metadata["route"]["attempts"]:
                if attempt["arm"] != whole.response_metadata["route"]["arm"]:
                    assert all(attempt["arm"] not in str(chunk.content) for chunk in chunks)

    def test_a_committed_answer_is_told_as_it_is_written(self, make: Callable[..., RouterChat]) -> None:
        pieces = [str(chunk.content) for chunk in make(tradeoff=1.0).stream("Who?")]
        assert [bool(piece) for piece in pieces] == [True, True, True, False]

    def test_an_answer_that_breaks_off_is_an_error_and_nobody_else_is_paid(
        self, house: type[House], make: Callable[..., RouterChat]
    ) -> None:
        chat = make(chat=breaking(house)(says))
        told: list[str] = []
        with pytest.raises(StreamBroken, match="broke off after 8 characters that were shown already"):
            told.extend(str(chunk.content) for chunk in chat.stream("Who?"))
        assert [call.arm.model for call in seam_of(chat).calls] == ["small"]
        assert make(chat=breaking(house)(says)).invoke("Who?").response_metadata["model_name"] == "big"

    @pytest.mark.parametrize("tradeoff", [0.3, 1.0])
    async def test_who_leaves_a_stream_cancels_the_call_and_it_is_charged(
        self, house: type[House], make: Callable[..., RouterChat], tmp_path: Path, tradeoff: float
    ) -> None:
        class Slow(house.chat):  # type: ignore[misc,name-defined]
            async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Any:
                if on_token is not None:
                    on_token("Li")
                await self.wait(call)

        seam = Slow(says)
        with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
            stream = make(chat=seam, ledger=ledger, tradeoff=tradeoff).astream("Who?")
            if tradeoff == 1.0:
                assert (await anext(stream)).content == "Li"
            else:
                first = asyncio.ensure_future(anext(stream))
                await seam.held.wait()
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
            await stream.aclose()
            assert len(seam.cancelled) == 1, "when closing returns, the call is cancelled already"
            (record,) = ledger.runs()
            (attempt,) = ledger.run(record.run_id).attempts
            assert (record.status, attempt.attempt.error is not None) == ("failed", True)
            assert attempt.attempt.cost_usd > 0
            assert ledger.verify().ok

    def test_who_leaves_a_synchronous_stream_cancels_the_call(
        self, house: type[House], make: Callable[..., RouterChat]
    ) -> None:
        class Slow(house.chat):  # type: ignore[misc,name-defined]
            async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Any:
                on_token("Li")
                await self.wait(call)

        seam = Slow(says)
        stream = make(chat=seam).stream("Who?")
        assert next(stream).content == "Li"
        stream.close()
        assert len(seam.cancelled) == 1


def breaking(house: type[House]) -> Any:
    """A seam whose small model's connection is lost in mid-answer."""

    class Breaking(house.chat):  # type: ignore[misc,name-defined]
        async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Any:
            if call.arm.model != "small":
                return await super().complete(call, on_token=on_token, may_resend=may_resend)
            self.calls.append(call)
            if on_token is not None:
                on_token("Thinking")
            raise house.dead("cut off")

    return Breaking


def seam_of(chat: RouterChat) -> Any:
    return chat.routers.get(chat.pool).parts.chat


def joined(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


class TestEvents:
    async def test_callbacks_hear_typed_events_in_order(self, make: Callable[..., RouterChat]) -> None:
        chat = make(tradeoff=0.3)
        ways: list[Any] = [
            lambda config: chat.invoke("Who?", config),
            lambda config: list(chat.stream("Who?", config)),
        ]
        for ask in ways:
            hearing = Hearing()
            ask({"callbacks": [hearing]})
            check_events(hearing.heard)
        for stream in (False, True):
            aware = AsyncHearing()
            if stream:
                [_ async for _ in chat.astream("Who?", {"callbacks": [aware]})]
            else:
                await chat.ainvoke("Who?", {"callbacks": [aware]})
            check_events(aware.heard)

    async def test_events_come_through_astream_events(self, make: Callable[..., RouterChat]) -> None:
        events = [event async for event in make(tradeoff=0.3).astream_events("Who?", version="v2")]
        check_events([(event["name"], event["data"]) for event in events if event["event"] == "on_custom_event"])
        assert [event["event"] for event in events if event["event"].startswith("on_chain")] == []

    async def test_a_graph_around_streams_the_events_and_only_the_answers_tokens(
        self, make: Callable[..., RouterChat]
    ) -> None:
        chat = make(tradeoff=0.3)
        graph = around(chat).compile()
        for subgraphs in (False, True):
            told = [
                (chunk[-2], chunk[-1])
                async for chunk in graph.astream(
                    {"messages": [("human", "Who?")]}, stream_mode=["custom", "messages"], subgraphs=subgraphs
                )
            ]
            check_events([(data["type"], data) for mode, data in told if mode == "custom"])
            answer = await chat.ainvoke("Who?")
            assert "".join(str(data[0].content) for mode, data in told if mode == "messages") == answer.content

    def test_other_callbacks_see_one_chat_model(self, make: Callable[..., RouterChat]) -> None:
        hearing = Hearing()
        make(tradeoff=0.3).invoke("Who?", {"callbacks": [hearing]})
        assert hearing.started == ["chat model"]

    async def test_tracers_see_the_graph_inside_the_chat_model(self, make: Callable[..., RouterChat]) -> None:
        chat = make(tradeoff=0.3)
        for ask in (chat.ainvoke, lambda *given: drained(chat.astream(*given))):
            tracer = Keeping()
            await ask("Who?", {"callbacks": [tracer]})
            (root,) = tracer.roots
            (inside,) = root.child_runs
            assert (root.run_type, inside.name) == ("llm", "curveroute")
            assert [run.name for run in inside.child_runs][:3] == ["propose", "plan", "probe"]
            assert "curveroute_candidates" in inside.metadata


async def drained(stream: Any) -> None:
    async for _ in stream:
        pass


def check_events(heard: list[Any]) -> None:
    names = [name for name, _ in heard]
    assert names[:3] == ["candidates", "plan", "probe"]
    assert names[-1] == "commit"
    assert set(names) == set(EVENTS), "tokens are the message's, and no event"
    assert [data["type"] for _, data in heard] == names


def around(chat: RouterChat) -> Any:
    async def answer(state: MessagesState) -> Any:
        return {"messages": [await chat.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    return graph


class TestSettings:
    def test_each_place_overrides_the_one_before(self, make: Callable[..., RouterChat]) -> None:
        chat = make(tradeoff=0.0)
        assert attempts(chat.invoke("Who?")) > 1
        assert attempts(chat.bind(tradeoff=1.0).invoke("Who?")) == 1
        assert attempts(chat.invoke("Who?", tradeoff=1.0)) == 1
        assert attempts(chat.invoke("Who?", {"configurable": {"tradeoff": 1.0}})) == 1
        assert attempts(chat.bind(tradeoff=1.0).invoke("Who?", {"configurable": {"tradeoff": 0.0}})) == 1, (
            "what is nearer to the call wins"
        )
        assert attempts(chat.invoke("Who?")) > 1, "the next call has the chat model's settings again"

    @pytest.mark.filterwarnings("ignore:.*is in beta")
    async def test_every_way_of_asking_reads_the_config(self, make: Callable[..., RouterChat]) -> None:
        chat, config = make(tradeoff=0.0), {"configurable": {"allow": ["big"], "tradeoff": 1.0}}
        ways = [
            chat.invoke("Who?", config),
            await chat.ainvoke("Who?", config),
            joined(list(chat.stream("Who?", config))),
            joined([chunk async for chunk in chat.astream("Who?", config)]),
            *chat.batch(["Who?"], config),
            chat.stream_events("Who?", config, version="v3").output,
            await (await chat.astream_events("Who?", config, version="v3")).output,
        ]
        assert [(message.response_metadata["model_name"], attempts(message)) for message in ways] == [("big", 1)] * 7

    def test_allow_deny_model_and_cap(self, make: Callable[..., RouterChat]) -> None:
        chat = make(tradeoff=0.5)
        assert chat.invoke("Who?", deny=["small"]).response_metadata["model_name"] == "big"
        assert chat.invoke("Who?", model="big").response_metadata["model_name"] == "big"
        with pytest.raises(CapTooSmall):
            chat.invoke("Who?", max_cost_usd=1e-12)
        with pytest.raises(PoolError, match="unknown model 'huge'"):
            chat.invoke("Who?", model="huge")

    def test_max_tokens_passes_over_longer_budgets_and_is_the_servers_limit(
        self, house: type[House], make: Callable[..., RouterChat]
    ) -> None:
        seam = house.chat(says)
        chat = make(chat=seam, tradeoff=0.0)
        chat.invoke("Who?", max_tokens=64)
        assert {call.arm.budget for call in seam.calls} == {16, 64}
        seam.calls.clear()
        chat.invoke("Who?", max_tokens=8)
        assert {(call.arm.budget, call.max_tokens) for call in seam.calls} == {(16, 8)}

    def test_stop_goes_out_with_every_call(self, house: type[House], make: Callable[..., RouterChat]) -> None:
        seam = house.chat(says)
        make(chat=seam, stop=["a"]).invoke("Who?")
        make(chat=seam, stop="a").invoke("Who?", stop=["b", "c"])
        assert [call.stop for call in seam.calls] == [("a",), ("b", "c")]

    def test_langchains_own_configurable_fields_work(self, make: Callable[..., RouterChat]) -> None:
        chat = make(tradeoff=0.0, pass_over=["lambda"]).configurable_fields(tradeoff=ConfigurableField(id="lambda"))
        assert attempts(chat.invoke("Who?", {"configurable": {"lambda": 1.0}})) == 1
        assert attempts(chat.invoke("Who?")) > 1

    def test_a_graphs_own_configurables_are_no_concern(self, make: Callable[..., RouterChat]) -> None:
        graph = around(make(tradeoff=0.0)).compile(checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "1", "theirs": 1, "tradeoff": 1.0}}

        async def answer() -> Any:
            return (await graph.ainvoke({"messages": [("human", "Who?")]}, config))["messages"][-1]

        assert attempts(asyncio.run(answer())) == 1
        namespaces = {saved.config["configurable"]["checkpoint_ns"] for saved in graph.get_state_history(config)}
        assert namespaces == {""}, "the router's own state is not written into the caller's thread"

    @pytest.mark.parametrize(
        ("ask", "words"),
        [
            (
                lambda chat: chat.invoke("?", {"configurable": {"tradeof": 1}}),
                "configurable 'tradeof'.*mean 'tradeoff'",
            ),
            (lambda chat: chat.invoke("?", {"configurable": {"x": 1}}), r"unknown configurable 'x'; .*pass_over=\[…\]"),
            (lambda chat: chat.invoke("?", temperature=1), "unknown argument 'temperature'; a call takes: allow, "),
            (lambda chat: chat.bind(tradoff=1).invoke("?"), "unknown argument 'tradoff' .did you mean 'tradeoff'"),
            (lambda chat: chat.invoke("?", tradeoff=2), "tradeoff is 2, outside 0"),
            (lambda chat: chat.invoke("?", max_tokens="many"), "max_tokens is 'many'"),
            (lambda chat: chat.invoke("?", tool_choice="any"), "tool_choice was given without tools"),
            (lambda chat: chat.invoke("?", response_format={"type": "xml"}), "response_format is not understood"),
            (lambda chat: chat.invoke("?", tools=[{"name": 1}]), "is no tool"),
            (lambda chat: chat.bind_tools([3]), "3 is no tool"),
            (lambda chat: chat.bind_tools([None], strict=True), "null is no tool"),
            (
                lambda chat: chat.bind_tools([len_of], tool_choice="size"),
                "tool_choice is 'size'.*one of the tools: len_of",
            ),
            (lambda chat: chat.with_structured_output(dict, method="xml"), "method is 'xml'"),
            (lambda _: RouterChat(tradeof=1), "no setting tradeof"),
            (lambda _: RouterChat(tradeoff=7), "tradeoff is 7"),
        ],
    )
    def test_what_nobody_knows_is_an_error_before_anything_is_asked(
        self, make: Callable[..., RouterChat], ask: Any, words: str
    ) -> None:
        chat = make()
        with pytest.raises(SettingError, match=words):
            ask(chat)
        assert seam_of(chat).calls == []

    def test_names_of_others_are_passed_over(self, make: Callable[..., RouterChat]) -> None:
        config: Any = {"configurable": {"thread_id": "1", "__x": 1, "mine": 2}}
        assert make(pass_over=["mine"]).invoke("Who?", config).content

    def test_another_pool_is_made_once_and_closed_with_the_chat_model(
        self, house: type[House], make: Callable[..., RouterChat], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seam = house.chat(says)
        made: list[str] = []

        def other(pool: str) -> Any:
            made.append(pool)
            return house.router(house.pool({"alone": (0.5, 0.5, 0.1)}), seam)

        chat = make()
        monkeypatch.setattr(chat.routers, "_make", other)
        for _ in range(2):
            assert chat.invoke("Who?", pool="elsewhere").response_metadata["model_name"] == "alone"
        assert chat.invoke("Who?").response_metadata["model_name"] == "small"
        chat.close()
        assert (made, seam.closed) == (["elsewhere"], 1)
        assert seam_of(chat).closed == 0, "a router that was handed in is its owner's to close"


def len_of(text: str) -> int:
    """How long a text is."""
    return len(text)


def attempts(message: Any) -> int:
    return len(message.response_metadata["route"]["attempts"])


class TestErrors:
    def test_nothing_to_answer(self, make: Callable[..., RouterChat]) -> None:
        with pytest.raises(QueryError, match="the query is empty"):
            make().invoke("  ")

    async def test_every_arm_failed(self, house: type[House], make: Callable[..., RouterChat]) -> None:
        chat = make(lambda call: house.dead())
        with pytest.raises(AllArmsFailed, match="connection refused"):
            chat.invoke("Who?")
        with pytest.raises(AllArmsFailed):
            [_ async for _ in chat.astream("Who?")]

    def test_an_unknown_pool_is_told_when_it_is_asked(self) -> None:
        with pytest.raises(PoolError, match=r"unknown pool 'loca'.*Did you mean 'local'"):
            RouterChat(pool="loca").invoke("Who?")


def test_a_tools_answer_without_its_call_is_told(make: Callable[..., RouterChat]) -> None:
    with pytest.raises(QueryError, match="answers the call 'c1', which no assistant message before it makes"):
        make().invoke([HumanMessage("Hi?"), ToolMessage("2", tool_call_id="c1")])


def test_of_model_and_allow_the_nearer_one_says_who_is_asked(make: Callable[..., RouterChat]) -> None:
    chat = make()
    big = {"configurable": {"model": "big"}}
    assert chat.invoke("?", big, allow=["small"]).response_metadata["model_name"] == "small"
    assert chat.bind(allow=["small"]).invoke("?", big).response_metadata["model_name"] == "small"
    only = {"configurable": {"allow": ["small"]}}
    assert chat.invoke("?", only, model="big").response_metadata["model_name"] == "big"
    with pytest.raises(SettingError, match="'big' is not among those allowed: small"):
        chat.bind(model="big").invoke("?", allow=["small"])


def test_an_approval_that_nobody_would_be_asked_for_is_refused(make: Callable[..., RouterChat]) -> None:
    with pytest.raises(SettingError, match=r"approve_above_usd is 0\.0, which is no setting of a chat model"):
        make().invoke("?", {"configurable": {"approve_above_usd": 0.0}})


def test_a_choice_without_tools_is_refused_in_words(make: Callable[..., RouterChat]) -> None:
    with pytest.raises(SettingError, match="without tools"):
        make().invoke("?", tool_choice={"type": "function", "function": {"name": "x"}})
