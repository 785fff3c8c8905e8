"""Caps at their edges: the last bit of one, and what a lower one may not make dearer. Each was a counterexample."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from curveroute.agent.chat.seam import Reply
from curveroute.agent.pool.pool import input_tokens_bound
from curveroute.agent.probe import request_bounds
from curveroute.agent.types import Message, Query, Usage

if TYPE_CHECKING:
    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.agent.pool import Pool
    from curveroute.route import Route

QUERY = Query((Message(role="user", content="What is 2 + 2?"),))


def worst_usd(pool: Pool) -> list[float]:
    """What one call of each arm can cost at most."""
    return [request_bounds(pool, arm, pool.messages(QUERY, arm)).cost_usd for arm in pool.arms]


def whole(call: Call, lost: int = 0, **said: str) -> Reply:
    """A reply that used all that it might: the model's own words, else a four; judges say what ``judge`` says."""
    sent = input_tokens_bound(call.messages) + (0 if call.schema is None else len(json.dumps(call.schema)))
    text = said.get(call.arm.model, "Answer: 4")
    if call.schema is not None:
        properties: Any = call.schema["properties"]
        text = json.dumps({name: said["judge"] if "enum" in asked else "4" for name, asked in properties.items()})
    return Reply(text, Usage(sent, call.max_tokens), "stop", 0.0, lost_tries=lost)


def test_a_cap_holds_to_the_last_bit(house: type[House]) -> None:
    """What is left of a cap is rounded; rounded up, it once let two calls cost the cap and a bit."""
    rng, tried = np.random.default_rng(0), 0
    while tried < 12:
        first, second = (10 ** rng.uniform(-2, 2, 2)).tolist()
        pool = house.pool({"a": (0.9, 0.9, first), "b": (0.6, 0.6, second)}, budgets=(16,))
        one, other = worst_usd(pool)
        cap = math.nextafter(one + other, 0.0)
        if other > cap - one:
            continue  # what is left is not rounded up
        tried += 1
        chat = house.chat(lambda call: whole(call, a="I cannot answer that."))
        route = house.router(pool, chat, tradeoff=0.0, plan=False, max_cost_usd=cap).invoke("What is 2 + 2?")
        assert math.fsum(attempt.cost_usd for attempt in route.attempts) <= cap


def test_an_arm_that_is_not_asked_keeps_nobody_from_being_asked(house: type[House]) -> None:
    """A dear arm that the higher cap holds, but that does not pay, once took the place of a cheap one beside the first.

    Under the lower cap the place was free, and the run cost more.
    """
    settings = {"judge": "first", "judge_reliability": 0.98, "verifier_reliability": 0.5}
    models = {"first": (0.85, 0.85, 0.01), "dear": (0.95, 0.95, 1.0), "cheap": (0.5, 0.5, 0.05)}
    pool = house.pool(models, (16,), 2048, **settings)
    dear = worst_usd(pool)[1]

    def cost(cap: float | None, tradeoff: float) -> float:
        chat = house.chat(lambda call: whole(call, judge="right"))
        router = house.router(pool, chat, tradeoff=tradeoff, plan=False, max_cost_usd=cap)
        return float(router.invoke("What is 2 + 2?").cost_usd)

    for tradeoff in (0.05, 0.2, 0.3, 0.5):
        no_cap, high, low = (cost(cap, tradeoff) for cap in (None, 1.5 * dear, 0.9 * dear))
        assert low <= high <= no_cap


class Flaky:
    """Every model loses its first request, if it may send another one; every request uses all that it might."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Reply:
        self.calls.append(call)
        lost = 1 if call.arm.model == "second" and may_resend() else 0
        return whole(call, lost, first="", second="It is 4." if lost == 0 else "Answer: 4")

    async def aclose(self) -> None:
        """Nothing is held."""


def test_requests_sent_again_side_by_side_do_not_turn_caps_round(house: type[House]) -> None:
    """Of two that are asked together each had half of what was left: too little to send again, enough for a third arm.

    Under a higher cap the half was enough, the request was sent again, and the third arm was out of reach.
    """
    models = {"first": (0.62, 0.62, 0.11), "second": (0.502, 0.502, 4.43), "third": (0.505, 0.505, 6.63)}
    pool = house.pool(models, (16,), 2048, verifier_reliability=0.9)
    one, two, three = worst_usd(pool)

    def run(cap: float) -> Route:
        router = house.router(pool, Flaky(), tradeoff=0.17, plan=False, judge=False, max_cost_usd=cap)
        return router.invoke("What is 2 + 2?")

    low = run(one + two + 1.3 * three)
    high = run(one + two + max(2.01 * two, 1.4 * three))
    assert low.cost_usd <= high.cost_usd * (1 + 2e-9), f"{[a.arm for a in low.attempts]} and {high.cost_usd}"
