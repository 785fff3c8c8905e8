"""The LLM judge: the dearest verifier, asked only when its word could change what is done and the cap holds it.

It sees the question and the answer as data, works the answer out for itself, and may say that it is unsure. A reply
that is not the JSON it was asked for is no word at all.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from curveroute.agent.fence import fenced
from curveroute.agent.pool.pool import input_tokens_prior
from curveroute.agent.probe import Ask, ask_model, request_bounds
from curveroute.agent.types import Arm, Attempt, AttemptId, JsonObject, Message, ModelId, Query, Usage
from curveroute.prompts import render

if TYPE_CHECKING:
    from curveroute.agent.chat.seam import Chat
    from curveroute.agent.pool import Pool

JUDGE_BUDGET = 96
_LONGEST_TEXT = 3000
_LONGEST_CRITERIA = 200
_SYSTEM = "You are a strict and fair examiner. You reply in JSON only."
_WORDS = {"right": 1.0, "wrong": -1.0, "unsure": 0.0}
_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 240},
        "verdict": {"type": "string", "enum": list(_WORDS)},
    },
    "required": ["reason", "verdict"],
    "additionalProperties": False,
}


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    reason: str = Field(max_length=1000)
    verdict: Literal["right", "wrong", "unsure"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the judge said of one attempt: 1 right, -1 wrong, 0 nothing usable; and its reason."""

    word: float
    reason: str

    def log_odds(self, reliability: float) -> float:
        """How far the word moves a verdict, when the judge is right (1 + reliability) / 2 of the time."""
        sure = min(reliability, 0.98)
        return self.word * math.log((1.0 + sure) / (1.0 - sure))


def judging_pays(
    pool: Pool,
    query: Query,
    attempt: Attempt,
    score: float,
    criteria: str,
    *,
    tradeoff: float,
    reference_cost_usd: float,
    left_usd: float,
) -> bool:
    """Whether a judge's expected gain exceeds its price, and the cap holds its worst case.

    The gain is the judge's reliability times the variance of the verdict as it stands: nothing when it is certain.
    """
    model = pool.spec.judge
    if model is None or pool.spec.judge_reliability == 0.0:
        return False
    messages = judging_messages(query, attempt, criteria)
    usual = pool.cost_usd(model, Usage(input_tokens_prior(messages), JUDGE_BUDGET // 2))
    gain = (1.0 - tradeoff) * pool.spec.judge_reliability * score * (1.0 - score)
    worst = request_bounds(pool, Arm(ModelId(model), JUDGE_BUDGET), messages, _SCHEMA).cost_usd
    return gain > tradeoff * usual / reference_cost_usd and worst <= left_usd


def judging_messages(query: Query, attempt: Attempt, criteria: str) -> tuple[Message, ...]:
    """The judge's prompt."""
    content = render(
        "judge",
        question=fenced("question", query.text, _LONGEST_TEXT),
        answer=fenced("answer", attempt.text, _LONGEST_TEXT),
        criteria=fenced("criteria", criteria or "answers the question and is correct", _LONGEST_CRITERIA),
    )
    return (Message(role="system", content=_SYSTEM), Message(role="user", content=content))


async def ask_judge(
    pool: Pool, chat: Chat, query: Query, attempt: Attempt, criteria: str, *, attempt_id: AttemptId, left_usd: float
) -> tuple[Judgement, tuple[Attempt, ...]]:
    """Ask the pool's judge about one attempt; what it cost comes back with what it said."""
    arm = Arm(ModelId(pool.spec.judge or ""), JUDGE_BUDGET)
    ask = Ask(attempt_id, "judge", arm, reserve_usd=left_usd)
    messages = judging_messages(query, attempt, criteria)
    attempts = await ask_model(pool, chat, query.text, messages, ask, schema=_SCHEMA)
    return read_judgement(attempts[-1]), attempts


def read_judgement(attempt: Attempt) -> Judgement:
    """What a judge's reply says; prose, a cut reply or a failed call say nothing."""
    if attempt.error is not None:
        return Judgement(0.0, f"the judge's call failed: {attempt.error[:120]}")
    try:
        reply = _Reply.model_validate(json.loads(attempt.text))
    except (ValueError, RecursionError):
        return Judgement(0.0, "the judge's reply is not the JSON it was asked for")
    return Judgement(_WORDS[reply.verdict], f"judge: {reply.verdict}: {reply.reason.strip()}")
