"""The chat model among other runnables: in batches, threads and event loops, with fallbacks and retries, cut short."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from curveroute import RouterChat
from curveroute.agent.errors import AllArmsFailed, QueryError, SettingError
from curveroute.agent.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call

PROMPT = ChatPromptTemplate.from_messages([("human", "{word}?")])


def says(call: Call) -> str:
    return f"{call.arm}, {call.query_text}\nAnswer: {call.arm.model}"


@pytest.fixture
def make(house: type[House]) -> Callable[..., tuple[RouterChat, Any]]:
    """A chat model over a pool of two models; and its seam."""

    def made(answer: Any = says, *, tradeoff: float = 1.0, ledger: Any = None, hold: Any = None) -> Any:
        seam = house.chat(answer, hold=hold)
        return RouterChat.from_router(house.router(house.pool(), seam, tradeoff=tradeoff, ledger=ledger)), seam

    return made


def failing(house: type[House], times: int) -> Callable[[Call], Any]:
    """Answers after so many failed calls."""
    left = iter(range(times))
    return lambda call: says(call) if next(left, None) is None else house.dead()


class TestMany:
    async def test_a_batch_answers_each_in_its_place(self, make: Any) -> None:
        chain = PROMPT | make()[0] | StrOutputParser()
        asked: list[Any] = [{"word": f"Who {number}"} for number in range(64)]
        expected = [f"small@16, Who {number}?\nAnswer: small" for number in range(64)]
        assert chain.batch(asked, {"max_concurrency": 8}) == expected
        assert await chain.abatch(asked) == expected
        assert sorted(answer for _, answer in chain.batch_as_completed(asked)) == sorted(expected)

    def test_one_that_fails_leaves_the_rest_of_a_batch_alone(self, make: Any) -> None:
        answers = make()[0].batch(["Who?", "  ", "What?"], return_exceptions=True)
        assert [type(one).__name__ for one in answers] == ["AIMessage", "QueryError", "AIMessage"]

    async def test_threads_and_event_loops_may_share_one(self, make: Any) -> None:
        chat, _ = make()

        def everything(number: int) -> set[str]:
            said = chat.invoke(f"{number}").content, asyncio.run(chat.ainvoke(f"{number}")).content
            return {*said, "".join(str(chunk.content) for chunk in chat.stream(f"{number}"))}

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(everything, range(24)))
        assert found == [{f"small@16, {number}\nAnswer: small"} for number in range(24)]
        here = await asyncio.gather(chat.ainvoke("1"), asyncio.to_thread(chat.invoke, "1"))
        assert {message.content for message in (*here, chat.invoke("1"))} == found[1]


class TestBesideOthers:
    async def test_another_takes_over_where_it_fails(self, house: type[House], make: Any) -> None:
        safe = make(lambda call: house.dead())[0].with_fallbacks([make()[0]])
        said = "small@16, Who?\nAnswer: small"
        assert safe.invoke("Who?").content == (await safe.ainvoke("Who?")).content == said
        assert "".join(str(chunk.content) for chunk in safe.stream("Who?")) == said
        assert "".join([str(chunk.content) async for chunk in safe.astream("Who?")]) == said

    def test_it_takes_over_where_another_fails(self, house: type[House], make: Any) -> None:
        safe = make(lambda call: house.dead())[0].bind(tradeoff=0.5).with_fallbacks([make()[0].bind(allow=["big"])])
        assert safe.invoke("Who?").response_metadata["model_name"] == "big"

    async def test_a_retried_run_is_a_run_of_its_own_and_both_are_charged(
        self, house: type[House], make: Any, tmp_path: Path
    ) -> None:
        with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
            chat, seam = make(failing(house, 6), ledger=ledger)
            patient = chat.with_retry(
                retry_if_exception_type=(AllArmsFailed,), stop_after_attempt=2, wait_exponential_jitter=False
            )
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(asyncio, "sleep", no_wait)
                assert (await patient.ainvoke("Who?")).content == "small@16, Who?\nAnswer: small"
            assert sorted(record.status for record in ledger.runs()) == ["accepted", "failed"]
            assert len(seam.calls) == 7

    def test_what_no_retry_can_mend_is_not_asked_again(self, make: Any) -> None:
        chat, seam = make()
        patient = chat.with_retry(retry_if_exception_type=(AllArmsFailed,), stop_after_attempt=3)
        for asked, error in (("  ", QueryError), ("Who?", SettingError)):
            with pytest.raises(error):
                patient.invoke(asked, tradeoff=2 if error is SettingError else 1)
        assert seam.calls == []

    def test_names_and_tags_of_a_config_stand_at_its_run(self, make: Any) -> None:
        found: list[Any] = []
        named = make()[0].with_config(run_name="capitals", tags=["geo"]).with_listeners(on_end=found.append)
        named.invoke("Who?")
        assert [(run.name, run.tags) for run in found] == [("capitals", ["geo"])]


async def no_wait(_: float) -> None:
    pass


class TestEventStreams:
    @pytest.mark.filterwarnings("ignore:astream_events version='v1' is deprecated")
    @pytest.mark.parametrize("version", ["v1", "v2"])
    async def test_an_event_stream_of_either_version_holds_the_answer_alone(self, make: Any, version: Any) -> None:
        chat, seam = make(tradeoff=0.3)
        events = [event async for event in (PROMPT | chat).astream_events({"word": "Who"}, version=version)]
        told = [event["data"]["chunk"] for event in events if event["event"] == "on_chat_model_stream"]
        whole = told[0]
        for chunk in told[1:]:
            whole += chunk
        assert (
            whole.content
            == f"{whole.response_metadata['route']['arm']}, Who?\nAnswer: {whole.response_metadata['model_name']}"
        )
        assert len(seam.calls) > 1
        assert [event["name"] for event in events if event["event"] == "on_chat_model_end"] == ["RouterChat"]

    @pytest.mark.filterwarnings("ignore:.*is in beta")
    async def test_the_typed_streams_of_the_third_hold_text_usage_and_the_message(self, make: Any) -> None:
        chat, _ = make(tradeoff=0.3)
        stream = await chat.astream_events("Who?", version="v3")
        text = "".join([piece async for piece in stream.text])
        message = await stream.output
        arm = message.response_metadata["route"]["arm"]
        assert text == f"{arm}, Who?\nAnswer: {message.response_metadata['model_name']}"
        here = chat.stream_events("Who?", version="v3")
        assert "".join(here.text) == text
        assert here.output.usage_metadata == message.usage_metadata


class TestCutShort:
    @pytest.mark.parametrize("way", ["ainvoke", "abatch", "wait_for"])
    async def test_a_cancelled_call_is_stopped_and_charged(self, make: Any, tmp_path: Path, way: str) -> None:
        with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
            chat, seam = make(ledger=ledger, hold=lambda call: True)
            work = chat.abatch(["Who?"]) if way == "abatch" else chat.ainvoke("Who?")
            task = asyncio.ensure_future(work)
            await seam.held.wait()
            if way == "wait_for":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(task, 0)
            else:
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert len(seam.cancelled) == len(seam.calls) == 1
            (record,) = ledger.runs()
            (attempt,) = ledger.run(record.run_id).attempts
            assert (record.status, attempt.attempt.cost_usd > 0, ledger.verify().ok) == ("failed", True, True)

    async def test_one_that_is_cancelled_leaves_the_others_alone(self, make: Any) -> None:
        chat, seam = make(hold=lambda call: call.query_text == "Stay?")
        stuck = asyncio.ensure_future(chat.ainvoke("Stay?"))
        await seam.held.wait()
        assert (await chat.ainvoke("Who?")).content.startswith("small@16, Who?")
        stuck.cancel()
        assert (await chat.ainvoke("Who?")).content.startswith("small@16, Who?")

    @pytest.mark.filterwarnings("ignore:.*is in beta")
    @pytest.mark.parametrize("version", ["v2", "v3"])
    async def test_who_leaves_an_event_stream_ends_the_run(self, house: type[House], version: Any) -> None:
        class Slow(house.chat):  # type: ignore[misc,name-defined]
            async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Any:
                on_token("Li")
                await self.wait(call)

        seam = Slow(says)
        chat = RouterChat.from_router(house.router(house.pool(), seam, tradeoff=1.0))
        if version == "v2":
            events: Any = chat.astream_events("Who?", version="v2")
            async for event in events:
                if event["event"] == "on_chat_model_stream":
                    break
        else:
            events = await chat.astream_events("Who?", version="v3")
            assert await anext(aiter(events.text)) == "Li"
        await events.aclose()
        assert len(seam.cancelled) == 1

    def test_a_closed_one_can_be_used_again(self, make: Any) -> None:
        chat, _ = make()
        said = chat.invoke("Who?").content
        chat.close()
        assert chat.invoke("Who?").content == said
