"""Streams: pieces add up to the route, drafts never leak, events come in order, and who leaves early ends the run."""

from __future__ import annotations

import asyncio
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.errors import AllArmsFailed
from curveroute.agent.ledger import AttemptMade, Ledger
from curveroute.route import Route

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.agent.ledger import Event
    from curveroute.agent.types import RunId
    from curveroute.router import Router


def whole(pieces: list[Route]) -> Route:
    return reduce(add, pieces)


def figures(route: Route) -> Any:
    """What is the same each time a query is run."""
    return (
        route.answer,
        route.model,
        route.budget,
        route.status,
        route.reason,
        route.cost_usd,
        [(one.role, one.arm, one.verdict) for one in route.attempts],
        route.candidates,
        route.plan,
        route.decisions,
    )


def talkers(house: type[House], tradeoff: float, **settings: Any) -> Router:
    """Every arm says something of its own."""
    chat = house.chat(lambda call: f"Thinking as {call.arm}.\nAnswer: {call.arm.model}")
    return house.router(house.pool(), chat, tradeoff=tradeoff, **settings)


@pytest.mark.parametrize("tradeoff", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_pieces_add_up_to_what_invoke_returns(house: type[House], tradeoff: float) -> None:
    router = talkers(house, tradeoff)
    pieces = list(router.stream(house.query))
    assert figures(whole(pieces)) == figures(router.invoke(house.query))
    assert "".join(piece.answer for piece in pieces) == whole(pieces).answer


async def test_asynchronous_pieces_add_up_too(house: type[House]) -> None:
    router = talkers(house, 0.3)
    pieces = [piece async for piece in router.astream(house.query)]
    assert figures(whole(pieces)) == figures(await router.ainvoke(house.query))


def test_a_committed_answer_is_streamed_live(house: type[House]) -> None:
    pieces = list(talkers(house, 1.0).stream(house.query))
    assert [bool(piece.answer) for piece in pieces] == [True, True, True, False]
    assert pieces[-1].status == "accepted"
    assert all(piece.status is None for piece in pieces[:-1])


@pytest.mark.parametrize("tradeoff", [0.0, 0.3, 0.5])
def test_drafts_never_leak(house: type[House], tradeoff: float) -> None:
    pieces = list(talkers(house, tradeoff).stream(house.query))
    route = whole(pieces)
    assert len(route.attempts) > 1
    for piece in pieces[:-1]:
        assert piece.answer == route.answer
        assert piece.attempts == ()
    for attempt in route.attempts:
        if attempt.text != route.answer:
            assert all(attempt.text not in piece.answer for piece in pieces)


def test_a_connection_lost_in_mid_stream_restarts_the_answer(house: type[House]) -> None:
    class Breaking(house.chat):  # type: ignore[misc,name-defined]
        async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Any:
            if call.arm.model == "small":
                if on_token is not None:
                    on_token("The capital is Por")
                raise house.dead("cut off")
            return await super().complete(call, on_token=on_token, may_resend=may_resend)

    router = house.router(house.pool(), Breaking(lambda call: "Answer: Lisbon"), tradeoff=1.0)
    pieces = list(router.stream(house.query))
    assert pieces[0].answer == "The capital is Por"
    assert whole(pieces).answer == "Answer: Lisbon"
    assert [piece.restart for piece in pieces].count(True) == 1


async def test_events_come_in_order_and_are_typed(house: type[House]) -> None:
    events = [event async for event in talkers(house, 0.3).events(house.query)]
    assert isinstance(events[-1], Route)
    kinds = [event["type"] for event in events if not isinstance(event, Route)]
    assert kinds[:2] == ["candidates", "plan"]
    assert kinds[-1] == "commit"
    assert "escalate" in kinds
    assert "token" not in kinds
    first_verdict = kinds.index("verdict")
    assert set(kinds[2:first_verdict]) == {"probe"}
    assert all(kinds[place + 1] == "probe" for place, kind in enumerate(kinds) if kind == "escalate")
    asked = [event["attempt_id"] for event in events if not isinstance(event, Route) and event["type"] == "probe"]
    assert asked == [attempt.attempt_id for attempt in events[-1].attempts]
    commit = events[-2]
    assert not isinstance(commit, Route)
    assert commit["type"] == "commit"
    assert commit["text"] == events[-1].answer


async def test_events_of_a_committed_run_carry_its_tokens(house: type[House]) -> None:
    events = [event async for event in talkers(house, 1.0).events(house.query)]
    kinds = [event["type"] for event in events if not isinstance(event, Route)]
    assert kinds == ["candidates", "plan", "probe", "token", "token", "token", "verdict", "commit"]


async def test_a_failed_run_ends_its_stream_with_the_error(house: type[House]) -> None:
    router = house.router(house.pool(), house.chat(lambda call: house.dead()), tradeoff=0.5)
    with pytest.raises(AllArmsFailed):
        await anext(router.astream(house.query))


async def test_who_leaves_a_stream_early_ends_the_run(house: type[House], tmp_path: Path) -> None:
    chat = house.chat(lambda call: "Answer: Lisbon", hold=lambda call: True)
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        router = house.router(house.pool(), chat, tradeoff=0.3, ledger=ledger)
        events = router.events(house.query)
        async for event in events:
            if not isinstance(event, Route) and event["type"] == "probe":
                break
        await chat.held.wait()
        await events.aclose()
        assert chat.cancelled
        assert len(chat.cancelled) == len(chat.calls)
        assert ledger.verify().ok


async def test_who_leaves_between_tokens_ends_the_run_too(house: type[House]) -> None:
    class Slow(house.chat):  # type: ignore[misc,name-defined]
        async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Any:
            on_token("Li")
            await self.wait(call)

    chat = Slow(lambda call: "never")
    pieces = house.router(house.pool(), chat, tradeoff=1.0).astream(house.query)
    assert (await anext(pieces)).answer == "Li"
    await pieces.aclose()
    assert len(chat.cancelled) == 1


def test_who_leaves_a_synchronous_stream_early_ends_the_run(house: type[House]) -> None:
    class Slow(house.chat):  # type: ignore[misc,name-defined]
        async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Any:
            on_token("Li")
            await self.wait(call)

    chat = Slow(lambda call: "never")
    pieces = house.router(house.pool(), chat, tradeoff=1.0).stream(house.query)
    assert next(pieces).answer == "Li"
    pieces.close()
    assert len(chat.cancelled) == 1


async def test_a_cancelled_call_cancels_its_requests_and_keeps_the_ledger_whole(
    house: type[House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = house.chat(lambda call: "Answer: Lisbon", hold=lambda call: call.arm.model == "big")
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        stored = asyncio.Event()
        record_now = ledger.record

        async def record(run_id: RunId, *events: Event) -> None:
            await record_now(run_id, *events)
            if any(isinstance(event, AttemptMade) for event in events):
                stored.set()

        monkeypatch.setattr(ledger, "record", record)
        task = asyncio.create_task(
            house.router(house.pool(), chat, tradeoff=0.0, seconds_usd=100.0, ledger=ledger).ainvoke(house.query)
        )
        await chat.held.wait()
        await stored.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [call.arm.model for call in chat.cancelled] == ["big"]
        (record,) = ledger.runs()
        assert (record.status, record.reason) == ("failed", "CancelledError")
        small, big = (one.attempt for one in ledger.run(record.run_id).attempts)
        assert (small.arm.model, small.error) == ("small", None)
        assert (big.arm.model, big.finish_reason) == ("big", "error")
        assert big.cost_usd > 0, "a cancelled call may be billed, so it is charged"
        assert ledger.verify().ok
