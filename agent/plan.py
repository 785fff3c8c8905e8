"""The plan: an LLM planner reflects on the short list, when that is likely to pay.

Its reply is held to a schema whose labels are the candidates', so nothing in the query can make it name another arm or
a higher cap; a reply that tries is not followed at all. Nor can it end a run: the strongest candidate stays open
whatever a plan leaves out, so that an answer that fails its verification always has somewhere to go. When the planner
is off, unaffordable, or returns nonsense, the ranking is the plan, and the plan says so.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from curveroute.agent.fence import fenced
from curveroute.agent.pool.pool import input_tokens_prior
from curveroute.agent.probe import Ask, ask_model, request_bounds
from curveroute.agent.types import Arm, Form, Message, ModelId, Plan, Usage
from curveroute.prompts import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.chat.seam import Chat
    from curveroute.agent.pool import Pool
    from curveroute.agent.probe import Keep
    from curveroute.agent.types import Attempt, AttemptId, Estimate, JsonObject, Query

PLANNER_BUDGET = 128
PLANNER_SAID = "the planner"
"""How the reasons begin that tell of a planner's reply, and may quote it."""
SHORT_LIST = 8
_LONGEST_QUESTION = 2000
_SYSTEM = "You are a careful planner. You reply in JSON only."


class _Reply(BaseModel):
    """What the planner must return. A further key (a cap, a status) is somebody else's order, or nonsense."""

    model_config = ConfigDict(extra="forbid", strict=True)

    order: list[str] = Field(min_length=1)
    probe: bool
    criteria: str = Field(max_length=600)


def ranking_plan(candidates: Sequence[Estimate], reason: str) -> Plan:
    """The predictor's order as the plan, with the reason why nobody else was heard."""
    return Plan(tuple(estimate.arm for estimate in candidates), True, "", "ranking", reason)


def planning_gain(candidates: Sequence[Estimate], *, tradeoff: float, reference_cost_usd: float, lift: float) -> float:
    """What a planner may add, in units of the score: its lift, times how unsure the ranking is of its first arm.

    The doubt is the expected improvement of the best rival's score over the first arm's, when their qualities are
    independent and normal, as in Bayesian optimisation. A rival that is better but dearer than the difference is worth
    leaves no doubt. ``lift`` is the share of the doubt that this pool's planner has been worth.
    """
    if len(candidates) < 2:  # noqa: PLR2004  (one arm leaves nothing to plan)
        return 0.0
    first, rivals = candidates[0], candidates[1:SHORT_LIST]

    def ahead(rival: Estimate) -> float:
        dearer = (rival.cost_usd - first.cost_usd) / reference_cost_usd
        return (1.0 - tradeoff) * (rival.quality - first.quality) - tradeoff * dearer

    spreads = ((1.0 - tradeoff) * math.hypot(first.quality_std, rival.quality_std) for rival in rivals)
    return lift * max(_improvement(ahead(rival), spread) for rival, spread in zip(rivals, spreads, strict=True))


def planning_messages(query: Query, candidates: Sequence[Estimate]) -> tuple[Message, ...]:
    """The planner's prompt for the short list."""
    lines = [
        f"{label}: {estimate.arm.model}, limit {estimate.arm.budget or 'none'}, quality {estimate.quality:.2f}, "
        f"price {estimate.cost_usd * 1000:.4f} USD per 1000 questions"
        for label, estimate in _labelled(candidates).items()
    ]
    question = fenced("question", query.text, _LONGEST_QUESTION)
    content = render("planner", candidates="\n".join(lines), question=question)
    return (Message(role="system", content=_SYSTEM), Message(role="user", content=content))


async def make_plan(  # noqa: PLR0913 - whom to ask, what it is worth, and where the call is kept
    pool: Pool,
    chat: Chat,
    query: Query,
    candidates: Sequence[Estimate],
    *,
    tradeoff: float,
    reference_cost_usd: float,
    left_usd: float,
    attempt_id: AttemptId,
    keep: Keep | None = None,
) -> tuple[Plan, tuple[Attempt, ...]]:
    """Ask the pool's planner, when its expected gain exceeds its price and the cap holds it.

    Args:
        pool: names the planner and its lift.
        chat: the seam that answers.
        query: what the user asks.
        candidates: estimates in the order of the ranking.
        tradeoff: λ.
        reference_cost_usd: the unit of cost.
        left_usd: what the cap still holds.
        attempt_id: names the planner's call in the ledger.
        keep: told what is charged when the call is cancelled.

    Returns:
        The plan, and the planner's calls with what they cost.
    """
    model = pool.spec.planner
    if model is None:
        return ranking_plan(candidates, "the pool has no planner"), ()
    lift = pool.spec.planner_lift
    if lift == 0.0:
        return ranking_plan(candidates, "this pool's planner has not been worth its price (planner_lift is 0)"), ()
    arm = Arm(ModelId(model), PLANNER_BUDGET)
    messages = planning_messages(query, candidates)
    schema = plan_schema(candidates)
    bounds = request_bounds(pool, arm, messages, Form(schema=schema, schema_shown=True))
    gain = planning_gain(candidates, tradeoff=tradeoff, reference_cost_usd=reference_cost_usd, lift=lift)
    price = tradeoff * _usual_cost(pool, model, messages) / reference_cost_usd
    if gain <= price:
        return ranking_plan(candidates, f"planning would gain {gain:.3f} and cost {price:.3f}"), ()
    room = _beside(left_usd, _cheapest_answer(pool, query, candidates))
    if bounds.cost_usd > room:
        return ranking_plan(candidates, "the cap does not hold the planner's worst case beside an answer's"), ()
    ask = Ask(attempt_id, "planner", arm, reserve_usd=room)
    attempts = await ask_model(pool, chat, query.text, messages, ask, schema=schema, keep=keep)
    return read_plan(attempts[-1], candidates), attempts


def _beside(left_usd: float, answer_usd: float) -> float:
    """What is left beside an answer, whichever way the sums are rounded afterwards."""
    return left_usd - answer_usd - (2 * math.ulp(left_usd) if math.isfinite(left_usd) else 0.0)


def plan_schema(candidates: Sequence[Estimate]) -> JsonObject:
    """The JSON schema of the planner's reply: it can name nothing but the candidates' labels."""
    labels: JsonObject = {"type": "string", "enum": list(_labelled(candidates))}
    return {
        "type": "object",
        "properties": {
            "order": {"type": "array", "items": labels, "minItems": 1, "maxItems": min(len(candidates), SHORT_LIST)},
            "probe": {"type": "boolean"},
            "criteria": {"type": "string", "maxLength": 200},
        },
        "required": ["order", "probe", "criteria"],
        "additionalProperties": False,
    }


def read_plan(attempt: Attempt, candidates: Sequence[Estimate]) -> Plan:
    """The plan in a planner's reply, or the ranking with the reason why the reply was of no use."""
    if attempt.error is not None:
        return ranking_plan(candidates, f"{PLANNER_SAID}'s call failed: {attempt.error[:160]}")
    if attempt.finish_reason == "length":
        return ranking_plan(candidates, f"{PLANNER_SAID}'s reply was cut off")
    try:
        said = json.loads(attempt.text)
        if stray := _stray(said):
            return ranking_plan(candidates, f"{PLANNER_SAID}'s reply sets {stray}, which no plan may")
        reply = _Reply.model_validate(said)
    except (ValueError, RecursionError):
        return ranking_plan(candidates, f"{PLANNER_SAID}'s reply is not the JSON it was asked for")
    labels = _labelled(candidates)
    unknown = [label for label in reply.order if label not in labels]
    if unknown:
        return ranking_plan(candidates, f"{PLANNER_SAID} named {unknown[0][:20]!r}, which is not a candidate")
    named = tuple(dict.fromkeys(labels[label].arm for label in reply.order))
    strongest = max(candidates, key=lambda candidate: candidate.quality).arm
    arms = named if strongest in named else (*named, strongest)
    kept = "" if strongest in named else f"; {strongest} stays open, should every answer fail its verification"
    reason = f"{attempt.arm.model} put {arms[0]} first{kept}"
    return Plan(arms, reply.probe, _one_line(reply.criteria), "planner", reason)


def _stray(said: object) -> str:
    """The first key of a reply that is none of a plan's, quoted and short; empty when there is none."""
    keys = said if isinstance(said, dict) else {}
    return next((repr(key[:20]) for key in keys if key not in _Reply.model_fields), "")


def _one_line(text: str) -> str:
    """The text without line breaks and what does not print: it is shown, and handed on to the judge."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _labelled(candidates: Sequence[Estimate]) -> dict[str, Estimate]:
    return {chr(ord("A") + index): estimate for index, estimate in enumerate(candidates[:SHORT_LIST])}


def _cheapest_answer(pool: Pool, query: Query, candidates: Sequence[Estimate]) -> float:
    """The least worst case among the candidates: what a cap must still hold after planning."""
    arms = (candidate.arm for candidate in candidates)
    return min(request_bounds(pool, arm, pool.messages(query, arm), query.form).cost_usd for arm in arms)


def _usual_cost(pool: Pool, model: str, messages: tuple[Message, ...]) -> float:
    return pool.cost_usd(model, Usage(input_tokens_prior(messages), PLANNER_BUDGET // 2))


def _improvement(ahead: float, spread: float) -> float:
    """E[max(x, 0)] of a normal x with this mean and standard deviation."""
    if spread == 0.0:
        return max(ahead, 0.0)
    z = ahead / spread
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return ahead * 0.5 * math.erfc(-z / math.sqrt(2)) + spread * density
