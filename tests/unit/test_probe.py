"""Asking one arm: what comes back tells what it cost, never more than was reserved, whatever happens to the request."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.chat.openai_chat import Endpoint, OpenAIChat
from curveroute.agent.chat.retry import RetryPolicy
from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.errors import CapTooSmall, LocalServerError, ModelCallError
from curveroute.agent.pool import Pool, PoolSpec, PriceSpec
from curveroute.agent.pool.pool import input_tokens_bound
from curveroute.agent.probe import Ask, ask_arm, ask_model, request_bounds
from curveroute.agent.types import Arm, AttemptId, Message, ModelId, Query, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import OpenAIServer

    from curveroute.agent.types import Attempt

SYSTEM = "Be careful."
ARM = Arm(ModelId("small"), 32)
QUERY = Query((Message(role="user", content="What is 2+2?"),))
USAGE = Usage(20, 8)


def pool_of(
    input_price: float = 2.0, output_price: float = 8.0, cached: float | None = None, window: int = 4096
) -> Pool:
    price = PriceSpec(input=input_price, output=output_price, cached_input=cached)
    spec = PoolSpec.model_validate(
        {
            "name": "two",
            "system": SYSTEM,
            "budgets": [
                {"tokens": 32, "name": "short", "style": "Use at most {tokens} tokens."},
                {"name": "free", "style": ""},
            ],
            "models": [
                {
                    "id": "small",
                    "endpoint": "http://127.0.0.1:1/v1",
                    "prices": price.model_dump(),
                    "context_window": window,
                }
            ],
        }
    )
    return Pool(spec, prices={"small": price})


POOL = pool_of()


@dataclass
class Scripted:
    """A seam that keeps the protocol: ``fates`` of its requests in order; a lost one is repeated only with leave."""

    fates: list[str] = field(default_factory=lambda: ["answered"])
    usage: Usage = USAGE
    text: str = "Answer: 4"
    calls: list[Call] = field(default_factory=list)

    async def complete(
        self, call: Call, *, on_token: Callable[[str], None] | None = None, may_resend: Callable[[], bool] | None = None
    ) -> Reply:
        self.calls.append(call)
        lost = 0
        for fate in self.fates:
            if fate == "answered":
                if on_token is not None:
                    on_token(self.text)
                return Reply(self.text, self.usage, "stop", 0.5, confidence=0.75, lost_tries=lost)
            lost += fate == "lost"
            if fate == "failed" or (fate == "lost" and not (may_resend is not None and may_resend())):
                break
        raise ModelCallError("small: it broke", lost_tries=lost)

    async def aclose(self) -> None:
        """Nothing is held."""


def ask(**changes: Any) -> Ask:
    return Ask(**{"attempt_id": AttemptId("a1"), "role": "probe", "arm": ARM, **changes})


def one_worst_usd(pool: Pool = POOL) -> float:
    return request_bounds(pool, ARM, pool.messages(QUERY, ARM)).cost_usd


async def test_an_answer_is_one_attempt_with_its_real_cost() -> None:
    chat, told = Scripted(), list[str]()
    (attempt,) = await ask_arm(POOL, chat, QUERY, ask(sample=2, temperature=0.5), on_token=told.append)
    assert attempt.attempt_id == "a1"
    assert attempt.role == "probe"
    assert attempt.arm == ARM
    assert (attempt.text, attempt.answer) == ("Answer: 4", "4")
    assert attempt.usage == USAGE
    assert attempt.cost_usd == pytest.approx((20 * 2 + 8 * 8) / 1e6)
    assert (attempt.latency_s, attempt.confidence, attempt.finish_reason) == (0.5, 0.75, "stop")
    assert attempt.error is None
    assert attempt.verdict is None
    assert told == ["Answer: 4"]


async def test_the_call_carries_the_budget_twice_and_asks_in_the_arms_style() -> None:
    chat = Scripted()
    await ask_arm(POOL, chat, QUERY, ask(sample=2, temperature=0.5))
    assert chat.calls == [
        Call(ARM, POOL.messages(QUERY, ARM), 32, "What is 2+2?", sample=2, temperature=0.5, schema=None)
    ]
    assert chat.calls[0].messages[-1]["content"].endswith("Use at most 32 tokens.")


async def test_an_unlimited_arm_still_has_a_limit_and_so_a_worst_case() -> None:
    chat = Scripted()
    await ask_arm(POOL, chat, QUERY, ask(arm=Arm(ModelId("small"), None)))
    assert 0 < chat.calls[0].max_tokens < 4096


async def test_a_prompt_that_fills_the_window_leaves_one_token_not_none() -> None:
    pool, chat = pool_of(window=32), Scripted()
    long = Query((Message(role="user", content="word " * 200),))
    await ask_arm(pool, chat, long, ask())
    assert chat.calls[0].max_tokens == 1


async def test_messages_and_schema_of_the_callers_own_are_sent_as_they_are() -> None:
    chat, messages = Scripted(), (Message(role="user", content="plan"),)
    schema: Any = {"type": "object"}
    await ask_model(POOL, chat, "asked", messages, ask(role="planner"), schema=schema)
    assert chat.calls == [Call(ARM, messages, 32, "asked", schema=schema, schema_shown=True)]


async def test_a_reserve_below_one_worst_case_is_refused_before_anything_is_sent() -> None:
    chat = Scripted()
    with pytest.raises(CapTooSmall, match=r"small@32 may cost up to .* USD and only"):
        await ask_arm(POOL, chat, QUERY, ask(reserve_usd=math.nextafter(one_worst_usd(), 0)))
    assert chat.calls == []
    assert len(await ask_arm(POOL, chat, QUERY, ask(reserve_usd=one_worst_usd()))) == 1


async def test_a_failed_call_is_an_attempt_that_says_why() -> None:
    (attempt,) = await ask_arm(POOL, Scripted(["failed"]), QUERY, ask())
    assert attempt.error == "small: it broke"
    assert (attempt.text, attempt.answer, attempt.finish_reason) == ("", None, "error")
    assert (attempt.usage, attempt.cost_usd) == (Usage(), 0.0)


async def test_a_try_that_may_be_billed_is_charged_in_full() -> None:
    (failed,) = await ask_arm(POOL, Scripted(["lost"]), QUERY, ask(reserve_usd=one_worst_usd()))
    assert failed.error is not None
    assert failed.cost_usd == one_worst_usd()

    lost, made = await ask_arm(POOL, Scripted(["lost", "refused", "lost", "answered"]), QUERY, ask())
    assert (lost.attempt_id, made.attempt_id) == ("a1.lost", "a1")
    assert lost.cost_usd == pytest.approx(2 * one_worst_usd())
    assert lost.usage.output_tokens == 64
    assert lost.error == "2 request(s) lost; charged in full because they may be billed"
    assert made.cost_usd == POOL.cost_usd("small", USAGE)
    assert made.error is None


@pytest.mark.parametrize(("worst_cases", "sent"), [(1.0, 1), (1.9, 1), (2.1, 2), (3.5, 3), (math.inf, 4)])
async def test_a_lost_request_is_repeated_only_while_the_reserve_holds_another(worst_cases: float, sent: int) -> None:
    chat = Scripted(["lost"] * 4)
    (attempt,) = await ask_arm(POOL, chat, QUERY, ask(reserve_usd=worst_cases * one_worst_usd()))
    assert attempt.usage.output_tokens == sent * 32
    assert attempt.cost_usd <= worst_cases * one_worst_usd()


PRICE = st.floats(0, 200) | st.sampled_from([0.1, 0.3, 0.7])


@given(
    pool=st.builds(pool_of, PRICE, PRICE, st.none() | PRICE),
    fates=st.lists(st.sampled_from(["lost", "refused", "failed", "answered"]), max_size=6),
    shares=st.tuples(*[st.floats(0, 1)] * 3),
    worst_cases=st.floats(1, 5) | st.integers(1, 5) | st.just(math.inf),
    text=st.text(max_size=40),
)
def test_attempts_never_cost_more_than_the_reserve(
    pool: Pool, fates: list[str], shares: tuple[float, float, float], worst_cases: float, text: str
) -> None:
    query = Query((Message(role="user", content="?" + text),))
    bounds = request_bounds(pool, ARM, pool.messages(query, ARM))
    sent = math.floor(shares[0] * bounds.input_tokens)
    usage = Usage(sent, math.floor(shares[1] * bounds.output_tokens), math.floor(shares[2] * sent))
    reserve = bounds.cost_usd * worst_cases if bounds.cost_usd else 0.0
    attempts = asyncio.run(ask_arm(pool, Scripted(fates, usage, text), query, ask(reserve_usd=reserve)))
    assert sum(attempt.cost_usd for attempt in attempts) <= reserve
    assert len({attempt.attempt_id for attempt in attempts}) == len(attempts)


@given(st.lists(st.text(max_size=80), min_size=1, max_size=4), st.booleans())
def test_bounds_hold_for_whatever_is_sent(texts: list[str], limited: bool) -> None:
    arm = ARM if limited else Arm(ModelId("small"), None)
    messages = tuple(Message(role="user", content=text) for text in texts)
    bounds = request_bounds(POOL, arm, messages)
    assert bounds.input_tokens == input_tokens_bound(messages)
    assert 1 <= bounds.output_tokens <= (32 if limited else 4096)
    assert bounds.cost_usd == POOL.worst_case_usd(arm, bounds.input_tokens, bounds.output_tokens)


@pytest.mark.parametrize(("granted", "sent"), [(1, 1), (3, 3)])
async def test_a_call_that_is_cancelled_is_charged_for_every_request_that_was_sent(granted: int, sent: int) -> None:
    class Left(Scripted):
        async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Reply:
            while may_resend():
                """It is lost again."""
            raise asyncio.CancelledError

    kept: list[Attempt] = []

    async def keep(attempts: tuple[Attempt, ...]) -> None:
        kept.extend(attempts)

    asked = ask(role="judge", reserve_usd=granted * one_worst_usd())
    with pytest.raises(asyncio.CancelledError):
        await ask_arm(POOL, Left(), QUERY, asked, keep=keep)
    (lost,) = kept
    assert (lost.attempt_id, lost.role, lost.finish_reason) == ("a1.cancelled.lost", "judge", "error")
    assert lost.cost_usd == pytest.approx(sent * one_worst_usd())
    assert lost.cost_usd <= asked.reserve_usd


async def test_through_the_live_seam_every_try_is_paid_for(server: OpenAIServer) -> None:
    async def locate() -> str:
        return server.url

    async def no_sleep(seconds: float) -> None:
        assert seconds >= 0

    chat = OpenAIChat({ModelId("small"): Endpoint(locate, "m")}, retry=RetryPolicy(tries=4), sleep=no_sleep)
    server.acts.extend([server.hangs_up, server.says(429), server.answers("half", usage=None)])
    reserve = 2 * one_worst_usd()
    lost, made = await ask_arm(POOL, chat, QUERY, ask(reserve_usd=reserve))
    server.usual = server.hangs_up
    before = len(server.seen)
    (failed,) = await ask_arm(POOL, chat, QUERY, ask(reserve_usd=reserve))
    await chat.aclose()
    assert lost.cost_usd == one_worst_usd()
    assert 0 < made.cost_usd <= one_worst_usd()
    assert made.usage.input_tokens <= request_bounds(POOL, ARM, POOL.messages(QUERY, ARM)).input_tokens
    assert len(server.seen) - before == 2
    assert failed.cost_usd == pytest.approx(reserve)
    assert server.seen[0].body["max_tokens"] == 32


async def test_a_local_server_that_never_starts_is_a_failed_attempt() -> None:
    async def locate() -> str:
        raise LocalServerError("the server of 'small' died twice")

    chat = OpenAIChat({ModelId("small"): Endpoint(locate, "m")})
    (attempt,) = await ask_arm(POOL, chat, QUERY, ask())
    await chat.aclose()
    assert "died twice" in (attempt.error or "")
    assert attempt.cost_usd == 0.0
