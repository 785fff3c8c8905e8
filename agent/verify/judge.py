"""The LLM judge: the dearest verifier, asked only when its word could change what is done and the cap holds it.

It sees the question and the answer as data, works the answer out for itself by a rubric, quotes what its verdict rests
on, and may say that it cannot judge. Beside a rival answer it is asked twice, in both orders, and only what it says
both times counts. What its replies say is read in :mod:`~curveroute.agent.verify.judgement`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from curveroute.agent.errors import CapTooSmall
from curveroute.agent.fence import fenced
from curveroute.agent.pool.pool import input_tokens_prior
from curveroute.agent.probe import Ask, ask_model, request_bounds
from curveroute.agent.types import Arm, Attempt, AttemptId, Form, JsonObject, JsonValue, Message, ModelId, Query, Usage
from curveroute.agent.verify.judgement import (
    PAIR,
    SINGLE,
    Judgement,
    comparison_ids,
    judgement_of,
    read_judgement,
    silent_in_first,
)
from curveroute.prompts import render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from curveroute.agent.chat.seam import Chat
    from curveroute.agent.pool import Pool
    from curveroute.agent.probe import Keep

__all__ = [
    "JUDGE_BUDGET",
    "Judgement",
    "ask_judge",
    "comparison_messages",
    "judging_messages",
    "judging_pays",
    "read_judgement",
]

JUDGE_BUDGET = 160
_LONGEST_TEXT = 3000
_LONGEST_CRITERIA = 200
_SYSTEM = "You are a strict and fair examiner. You reply in JSON only."
_CRITERIA = "answers the question and is correct"
_FENCES = ("question", "answer", "answer_a", "answer_b", "criteria")


class _Request(NamedTuple):
    """One call of the judge: what it is shown, the form of its reply, and what both cost at most, in USD."""

    messages: tuple[Message, ...]
    schema: JsonObject
    worst_usd: float


def judging_pays(  # noqa: PLR0913 - what is known of the doubt, of the money and of the answers
    pool: Pool,
    query: Query,
    attempt: Attempt,
    score: float,
    criteria: str,
    *,
    tradeoff: float,
    reference_cost_usd: float,
    left_usd: float,
    rival: Attempt | None = None,
) -> bool:
    """Whether a judge's expected gain exceeds its price, and the cap holds its worst case.

    The gain is the judge's reliability times the variance of the verdict as it stands: nothing when it is certain.
    Beside a rival the price and the worst case are those of both calls.
    """
    model = pool.spec.judge
    if model is None or pool.spec.judge_reliability == 0.0:
        return False
    requests = _requests(pool, Arm(ModelId(model), JUDGE_BUDGET), query, attempt, criteria, rival)
    usual = sum(pool.cost_usd(model, Usage(input_tokens_prior(one.messages), JUDGE_BUDGET // 2)) for one in requests)
    gain = (1.0 - tradeoff) * pool.spec.judge_reliability * score * (1.0 - score)
    return gain > tradeoff * usual / reference_cost_usd and _fit((one.worst_usd for one in requests), left_usd)


def judging_messages(query: Query, attempt: Attempt, criteria: str) -> tuple[Message, ...]:
    """The judge's prompt on one answer."""
    content = render(
        "judge",
        question=_data(query.text, _LONGEST_TEXT),
        answer=_data(attempt.text, _LONGEST_TEXT),
        criteria=_data(criteria or _CRITERIA, _LONGEST_CRITERIA),
    )
    return (Message(role="system", content=_SYSTEM), Message(role="user", content=content))


def comparison_messages(query: Query, a: Attempt, b: Attempt, criteria: str) -> tuple[Message, ...]:
    """The judge's prompt on two answers, in this order."""
    content = render(
        "judge_pair",
        question=_data(query.text, _LONGEST_TEXT),
        answer_a=_data(a.text, _LONGEST_TEXT),
        answer_b=_data(b.text, _LONGEST_TEXT),
        criteria=_data(criteria or _CRITERIA, _LONGEST_CRITERIA),
    )
    return (Message(role="system", content=_SYSTEM), Message(role="user", content=content))


async def ask_judge(  # noqa: PLR0913 - who, about what, for how much, and where its calls are kept
    pool: Pool,
    chat: Chat,
    query: Query,
    attempt: Attempt,
    criteria: str,
    *,
    attempt_id: AttemptId,
    left_usd: float,
    rival: Attempt | None = None,
    keep: Keep | None = None,
) -> tuple[Judgement, tuple[Attempt, ...]]:
    """Ask the pool's judge about one attempt; what it cost comes back with what it said.

    Args:
        pool: names the judge.
        chat: how it is asked.
        query: what was asked.
        attempt: the answer to be judged.
        criteria: of the planner, if any.
        attempt_id: of the call; beside a rival the calls have the names of
            :func:`~curveroute.agent.verify.judgement.comparison_ids`.
        left_usd: all that the calls may cost together; it must hold the worst case of each.
        rival: another answer that claims something else. The second call, in the other order, is left out when the
            first one says nothing.
        keep: told what was paid for when a call is cancelled: the call before it, and all that itself may be billed.

    Raises:
        CapTooSmall: ``left_usd`` does not hold all worst cases; nothing was sent.
    """
    arm = Arm(ModelId(pool.spec.judge or ""), JUDGE_BUDGET)
    requests = _requests(pool, arm, query, attempt, criteria, rival)
    if not _fit((one.worst_usd for one in requests), left_usd):
        worst = math.fsum(one.worst_usd for one in requests)
        raise CapTooSmall(f"judging may cost up to {worst:.3g} USD and only {left_usd:.3g} USD are left; leave it out")
    names = (attempt_id,) if rival is None else comparison_ids(attempt_id, rival.attempt_id)
    shown = [query.text, attempt.text, *([] if rival is None else [rival.text])]
    calls: tuple[Attempt, ...] = ()
    for place, (name, one) in enumerate(zip(names, requests, strict=True)):
        if place and silent_in_first(calls[-1], shown):
            break
        taken = [*(call.cost_usd for call in calls), *(later.worst_usd for later in requests[place + 1 :])]
        ask = Ask(name, "judge", arm, reserve_usd=_room(left_usd, taken, one.worst_usd))
        kept = None if keep is None else partial(_keep_all, keep, calls)
        calls += await ask_model(pool, chat, query.text, one.messages, ask, schema=one.schema, keep=kept)
    return judgement_of(calls, query, attempt, rival), calls


async def _keep_all(keep: Keep, made: tuple[Attempt, ...], lost: tuple[Attempt, ...]) -> None:
    await keep((*made, *lost))


def _requests(
    pool: Pool, arm: Arm, query: Query, attempt: Attempt, criteria: str, rival: Attempt | None
) -> tuple[_Request, ...]:
    """The calls of one judging, in their order."""
    if rival is None:
        prompts, schema = [judging_messages(query, attempt, criteria)], _schema(SINGLE)
    else:
        orders = ((attempt, rival), (rival, attempt))
        prompts, schema = [comparison_messages(query, a, b, criteria) for a, b in orders], _schema(PAIR)
    return tuple(
        _Request(messages, schema, request_bounds(pool, arm, messages, Form(schema=schema, schema_shown=True)).cost_usd)
        for messages in prompts
    )


def _schema(verdicts: Iterable[str]) -> JsonObject:
    """The form of a reply: the evidence first, so that the verdict follows from it."""
    names: list[JsonValue] = list(verdicts)
    return {
        "type": "object",
        "properties": {
            "quote": {"type": "string", "maxLength": 120},
            "reason": {"type": "string", "maxLength": 240},
            "verdict": {"type": "string", "enum": names},
        },
        "required": ["quote", "reason", "verdict"],
        "additionalProperties": False,
    }


def _data(text: str, longest: int) -> str:
    """Outside text that can close no mark of any of the prompts."""
    kept = fenced(_FENCES[0], text, longest)
    for name in _FENCES[1:]:
        kept = fenced(name, kept, len(kept))
    return kept


def _fit(parts_usd: Iterable[float], left_usd: float) -> bool:
    """Whether these sums are within what is left, without rounding."""
    return math.isinf(left_usd) or math.fsum((*parts_usd, -left_usd)) <= 0.0


def _room(left_usd: float, taken_usd: Iterable[float], least_usd: float) -> float:
    """The most that one call may cost beside what is taken; at least its own worst case, which is known to fit."""
    taken = tuple(taken_usd)
    room = left_usd - math.fsum(taken)
    while room > 0.0 and not _fit((*taken, room), left_usd):
        room = math.nextafter(room, 0.0)
    return max(room, least_usd)
