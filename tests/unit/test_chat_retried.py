"""The live seam when things go wrong: what is tried again, what is not, and what is counted as lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.chat.seam import Call
from curveroute.agent.errors import LocalServerError, MissingExtra, ModelCallError, WeightsError
from curveroute.agent.types import Arm, Message, ModelId

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import OpenAIServer, Waits

    from curveroute.agent.chat.openai_chat import OpenAIChat

CALL = Call(Arm(ModelId("small"), 20), (Message(role="user", content="2+2?"),), 20, "2+2?")


@pytest.mark.parametrize("status", [409, 429, 500, 503, 529])
async def test_what_another_try_may_mend_is_tried_again_after_the_wait_that_the_server_asks_for(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], waits: Waits, status: int
) -> None:
    server.acts.extend([server.says(status, Retry_After="7"), server.says(status, Retry_After_Ms="250")])
    reply = await chat_with().complete(CALL)
    assert reply.text == "fine"
    assert reply.lost_tries == 0
    assert waits == [7.0, 0.25]
    assert len(server.seen) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_no_other_try_can_mend_fails_at_once(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], waits: Waits, status: int
) -> None:
    server.usual = server.says(status, "the reason why")
    with pytest.raises(
        ModelCallError, match=rf"small: no answer after 1 try \(HTTP {status}\): .*the reason why"
    ) as caught:
        await chat_with().complete(CALL, may_resend=lambda: True)
    assert caught.value.status == status
    assert caught.value.lost_tries == 0
    assert waits == []
    assert len(server.seen) == 1


async def test_tries_are_bounded_and_wait_by_the_schedule(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], waits: Waits
) -> None:
    server.usual = server.says(503)
    with pytest.raises(ModelCallError, match="3 tries") as caught:
        await chat_with().complete(CALL, may_resend=lambda: True)
    assert len(server.seen) == 3
    assert caught.value.lost_tries == 0
    assert len(waits) == 2
    assert 0 <= waits[0] <= 0.5
    assert 0 <= waits[1] <= 1


async def test_a_server_that_asks_for_too_much_patience_has_failed(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], waits: Waits
) -> None:
    server.usual = server.says(429, Retry_After="3600")
    with pytest.raises(ModelCallError) as caught:
        await chat_with().complete(CALL)
    assert caught.value.status == 429
    assert waits == []


async def test_a_refused_connection_is_tried_again_without_asking_because_nothing_was_sent(
    chat_with: Callable[..., OpenAIChat], waits: Waits, closed_port: int
) -> None:
    def never() -> bool:
        raise AssertionError

    with pytest.raises(ModelCallError, match="3 tries") as caught:
        await chat_with(url=f"http://127.0.0.1:{closed_port}/v1").complete(CALL, may_resend=never)
    assert caught.value.lost_tries == 0
    assert len(waits) == 2


def deaths(server: OpenAIServer) -> dict[str, Any]:
    half = server.piece("ha")
    return {
        "cut in the middle": server.streams(half, ended=False),
        "ended in the middle": server.streams(half, ended=True),
        "an error in the stream": server.streams(half, {"error": {"message": "overloaded"}}, ended=True),
        "not JSON": server.streams(half, "{oops", ended=True),
        "not UTF-8": server.replies(b"data: \xff\xfe\n\n", Content_Type="text/event-stream"),
        "not a stream": server.replies({"choices": []}),
        "no word at all": server.hangs_up,
    }


DEATHS = [
    "cut in the middle",
    "ended in the middle",
    "an error in the stream",
    "not JSON",
    "not UTF-8",
    "not a stream",
    "no word at all",
]


@pytest.mark.parametrize("death", DEATHS)
async def test_a_lost_answer_is_asked_for_again_only_with_leave_and_counted(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], waits: Waits, death: str
) -> None:
    server.acts.append(deaths(server)[death])
    with pytest.raises(ModelCallError) as caught:
        await chat_with().complete(CALL)
    assert caught.value.lost_tries == 1
    assert len(server.seen) == 1
    assert waits == []

    server.acts.extend([deaths(server)[death], deaths(server)[death]])
    reply = await chat_with().complete(CALL, may_resend=lambda: True)
    assert reply.text == "fine"
    assert reply.lost_tries == 2

    server.acts.extend([deaths(server)[death], deaths(server)[death]])
    leave = [False, True]
    with pytest.raises(ModelCallError, match="2 tries") as caught:
        await chat_with().complete(CALL, may_resend=leave.pop)
    assert caught.value.lost_tries == 2


async def test_what_a_server_says_in_the_place_of_an_answer_is_told(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.append(server.replies({"error": {"message": "no credits", "code": 402}}))
    server.acts.append(server.streams({"object": "error", "message": "too long", "code": 400}, ended=True))
    server.acts.append(server.replies(b"<html>Log in</html>", Content_Type="text/html; charset=utf-8"))
    server.acts.append(server.replies(b"[" * 100_000, status=400))
    for said in ("no credits", "too long", "text/html and no stream", r"HTTP 400"):
        with pytest.raises(ModelCallError, match=said):
            await chat_with().complete(CALL)


async def test_an_answer_that_someone_has_begun_to_read_is_not_begun_again(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.append(server.streams(server.piece("half a"), ended=False))
    told: list[str] = []
    with pytest.raises(ModelCallError) as caught:
        await chat_with().complete(CALL, on_token=told.append, may_resend=lambda: True)
    assert told == ["half a"]
    assert caught.value.lost_tries == 1
    assert len(server.seen) == 1


async def test_a_whole_answer_counts_though_the_connection_is_lost_behind_it(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.append(server.streams(server.piece("whole"), server.piece(finish="stop"), ended=False))
    reply = await chat_with().complete(CALL)
    assert (reply.text, reply.finish_reason, reply.lost_tries) == ("whole", "stop", 0)


async def test_an_error_of_the_listener_is_not_taken_for_one_of_the_server(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    def broken(text: str) -> None:
        raise RuntimeError(text)

    with pytest.raises(RuntimeError, match="fine"):
        await chat_with().complete(CALL, on_token=broken, may_resend=lambda: True)
    assert len(server.seen) == 1


async def test_a_lost_server_is_revived_once(server: OpenAIServer, chat_with: Callable[..., OpenAIChat]) -> None:
    revivals: list[int] = []

    async def revive() -> None:
        revivals.append(len(server.seen))

    server.acts.extend([server.hangs_up, server.hangs_up])
    reply = await chat_with(revive=revive).complete(CALL, may_resend=lambda: True)
    assert reply.lost_tries == 2
    assert revivals == [1]

    server.acts.extend([server.says(500), server.says(429)])
    await chat_with(revive=revive).complete(CALL)
    assert revivals == [1]


async def test_a_server_that_cannot_be_revived_fails_the_call_with_its_losses(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    async def revive() -> None:
        raise LocalServerError("it died twice")

    server.usual = server.hangs_up
    with pytest.raises(ModelCallError, match="it died twice") as caught:
        await chat_with(revive=revive).complete(CALL, may_resend=lambda: True)
    assert caught.value.lost_tries == 1


async def test_a_server_that_does_not_come_back_fails_the_call_with_its_losses(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    homes = [server.url]

    async def locate() -> str:
        if not homes:
            raise LocalServerError("it does not start")
        return homes.pop()

    server.usual = server.hangs_up
    with pytest.raises(ModelCallError, match="it does not start") as caught:
        await chat_with(locate=locate).complete(CALL, may_resend=lambda: True)
    assert caught.value.lost_tries == 1


async def test_no_answer_in_time_is_a_lost_try(server: OpenAIServer, chat_with: Callable[..., OpenAIChat]) -> None:
    server.acts.extend([server.stalls(), server.stalls(server.piece("slow"))])
    chat = chat_with(timeout_s=0.2)
    for _ in range(2):
        with pytest.raises(ModelCallError) as caught:
            await chat.complete(CALL)
        assert caught.value.lost_tries == 1
        assert await asyncio.to_thread(server.left.wait, 5)
        server.left.clear()


@pytest.mark.parametrize("status", [408, 502, 504, 520, 522, 524])
async def test_an_answer_that_a_gateway_may_have_lost_is_asked_for_again_only_with_leave_and_counted(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], waits: Waits, status: int
) -> None:
    server.acts.append(server.says(status, Retry_After="7"))
    with pytest.raises(ModelCallError) as caught:
        await chat_with().complete(CALL)
    assert (caught.value.status, caught.value.lost_tries) == (status, 1)
    assert (len(server.seen), waits) == (1, [])

    server.acts.extend([server.says(status, Retry_After="7"), server.says(status, Retry_After_Ms="250")])
    reply = await chat_with().complete(CALL, may_resend=lambda: True)
    assert (reply.text, reply.lost_tries) == ("fine", 2)
    assert waits == [7.0, 0.25]


@pytest.mark.parametrize("fault", [WeightsError("no weights"), LocalServerError("no server")])
async def test_a_local_model_that_cannot_be_had_is_a_failed_call(
    chat_with: Callable[..., OpenAIChat], fault: Exception
) -> None:
    async def locate() -> str:
        raise fault

    with pytest.raises(ModelCallError, match=str(fault)) as caught:
        await chat_with(locate=locate).complete(CALL)
    assert caught.value.lost_tries == 0


async def test_a_part_that_is_not_installed_stays_a_fault_of_the_setup(chat_with: Callable[..., OpenAIChat]) -> None:
    async def locate() -> str:
        raise MissingExtra("local models", "local")

    with pytest.raises(MissingExtra):
        await chat_with(locate=locate).complete(CALL)
