"""Approval: whether a step may be taken without asking a person first, and what the person's answer allows.

A run that has a price above which someone must agree never spends more than that price on its own: a step whose worst
case would lift the run above it is put before a person, and what is allowed without asking is a hard cap on the rest.
Pure.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NotRequired

from typing_extensions import TypedDict

from curveroute.agent.errors import shown
from curveroute.agent.probe import request_bounds
from curveroute.agent.step import left_usd, spent_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.pool import Pool
    from curveroute.agent.probe import Ask
    from curveroute.agent.step import Inquiry, Turn
    from curveroute.agent.types import Attempt

_MOST_USD = 2.0**62  # a checkpoint keeps the answer, and no whole number beyond 64 bits
ANSWERS = "give True, False, or what the run may spend in all, in USD"
REFUSED = "a person refused its price"


class PricedArm(TypedDict):
    """An arm that would be asked: what the call costs at most, and what it is expected to cost, USD."""

    model: str
    budget: int | None
    worst_usd: float
    expected_usd: float


class ApprovalRequest(TypedDict):
    """What is put before a person; plain values, so that any client can show them.

    Attributes:
        arms: who would be asked in this step.
        spent_usd: what the run has spent so far.
        total_usd: what the run may have spent after this step; ``True`` allows this much.
        limit_usd: what the run may spend without asking.
        reason: why the rule wants the step.
        question: all of it as one sentence.
        problem: why the answer that was given before could not be read.
    """

    kind: Literal["approval"]
    run_id: str
    arms: list[PricedArm]
    spent_usd: float
    total_usd: float
    limit_usd: float
    reason: str
    question: str
    problem: NotRequired[str]


def cleared(
    pool: Pool, inquiry: Inquiry, attempts: Sequence[Attempt], turn: Turn, limit_usd: float | None
) -> tuple[Turn, ApprovalRequest | None]:
    """The turn, held within what needs no approval, or the turn as it is and the question to a person.

    Args:
        pool: prices.
        inquiry: what was planned.
        attempts: every call so far.
        turn: what the rule does next.
        limit_usd: what the run may spend in all without asking; none: nobody is asked.
    """
    if limit_usd is None or not turn.asks:
        return turn, None
    arms = [_priced(pool, inquiry, ask) for ask in turn.asks]
    spent = spent_usd(attempts)
    total = math.fsum((spent, *(arm["worst_usd"] for arm in arms)))
    if total <= limit_usd:
        return held(turn, arms, left_usd(limit_usd, attempts)), None
    return turn, _request(inquiry, turn, arms, spent, total, limit_usd)


def _request(
    inquiry: Inquiry, turn: Turn, arms: list[PricedArm], spent: float, total: float, limit_usd: float
) -> ApprovalRequest:
    names = ", ".join(f"{ask.arm} (at most {arm['worst_usd']:.3g})" for ask, arm in zip(turn.asks, arms, strict=True))
    return ApprovalRequest(
        kind="approval",
        run_id=inquiry.run_id,
        arms=arms,
        spent_usd=spent,
        total_usd=total,
        limit_usd=limit_usd,
        reason=turn.decision.reason,
        question=(
            f"May {names} be asked? The run has spent {spent:.3g} USD and may then come to {total:.3g} USD; "
            f"{limit_usd:.3g} USD need no approval."
        ),
    )


def allowed_usd(said: object, request: ApprovalRequest) -> float | str:
    """What the run may spend in all after a person's answer, or what is wrong with the answer.

    Args:
        said: ``True``: this step; ``False``: nothing above the limit; a number: so many USD for the whole run.
        request: what was asked.
    """
    if isinstance(said, bool):
        return request["total_usd"] if said else request["limit_usd"]
    if isinstance(said, int | float) and 0 <= said <= _MOST_USD:
        return max(float(said), request["limit_usd"])
    return f"{shown(said)} is no answer: {ANSWERS}"


def held(turn: Turn, arms: Sequence[PricedArm], room_usd: float) -> Turn:
    """The turn with reserves that together stay within ``room_usd``: only an arm that is asked alone may be resent."""
    spare = room_usd if len(turn.asks) == 1 else 0.0  # never below a worst case, whatever rounding did to the room
    pairs = zip(turn.asks, arms, strict=True)
    asks = tuple(replace(ask, reserve_usd=min(ask.reserve_usd, max(arm["worst_usd"], spare))) for ask, arm in pairs)
    return replace(turn, asks=asks)


def told(turn: Turn, refused: Sequence[PricedArm]) -> Turn:
    """The turn, where a person refused some arms: its reason says so, and each of them lost for that."""
    if not refused:
        return turn
    names = {(arm["model"], arm["budget"]) for arm in refused}
    words = ", ".join(f"{arm['model']}@{arm['budget'] or 'unlimited'}" for arm in refused)
    rejected = tuple(
        replace(one, reason=REFUSED) if (one.arm.model, one.arm.budget) in names else one
        for one in turn.decision.rejected
    )
    reason = f"{turn.decision.reason}; a person refused {words}"
    return replace(turn, decision=replace(turn.decision, reason=reason, rejected=rejected))


def _priced(pool: Pool, inquiry: Inquiry, ask: Ask) -> PricedArm:
    worst = request_bounds(pool, ask.arm, pool.messages(inquiry.query, ask.arm), inquiry.query.form).cost_usd
    expected = next(one.cost_usd for one in inquiry.candidates if one.arm == ask.arm)
    return PricedArm(
        model=ask.arm.model,
        budget=ask.arm.budget,
        worst_usd=min(worst, ask.reserve_usd),
        expected_usd=expected,
    )
