"""What happens in a run, as values that are written to the ledger.

A run is a short story: it starts, attempts are made, verdicts are given, decisions are taken, it ends. Each event is
one frozen value; the ledger writes those of one call in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from curveroute.agent.types import (
    Arm,
    Attempt,
    AttemptId,
    Decision,
    Estimate,
    Plan,
    PredictorOrigin,
    RunId,
    Status,
    Verdict,
)

Kind = Literal["ask", "collect"]
Prices: TypeAlias = tuple[float, float, float]
"""USD per million tokens when the call was made: input, output, cached input."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What decides a run beside its tradeoff, its cap and what a second is worth.

    Attributes:
        policy: the rule that was asked for; None for the one that the predictor brings.
        max_error: the promise that was asked for.
        predictor: whose estimates and courses it follows; None for the pool's own prior curves.
    """

    policy: str | None = None
    max_error: float | None = None
    predictor: PredictorOrigin | None = None


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run begins: one query for ``ask``, one whole collection for ``collect``; a second is worth ``seconds_usd``."""

    run_id: RunId
    pool: str
    query_text: str
    tradeoff: float
    max_cost_usd: float | None = None
    kind: Kind = "ask"
    collection: str | None = None
    seconds_usd: float = 0.0
    settings: RunSettings | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """Where an attempt belongs in the curve table, and how good it was (``quality`` in [0, 1])."""

    query_id: str
    task: str
    sample: int
    quality: float
    reference: str | None = None
    prompt_style: str | None = None
    query: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptMade:
    """A call was made and costs money at ``prices``. The ``verdict`` inside the attempt is an event of its own."""

    attempt: Attempt
    prices: Prices
    collected: Collected | None = None


@dataclass(frozen=True, slots=True)
class CallSent:
    """A call is about to be sent: ``attempt`` is what it is charged if its process dies and no answer ever comes."""

    attempt: Attempt
    prices: Prices


@dataclass(frozen=True, slots=True)
class CallLanded:
    """A call that was noted as sent came back, or is charged otherwise: the note of this id is void."""

    attempt_id: AttemptId


@dataclass(frozen=True, slots=True)
class Held:
    """The run may be taken up by another process from here on: what it has told so far must be safe now."""


@dataclass(frozen=True, slots=True)
class VerdictGiven:
    """The verifiers spoke of one attempt of the run; a later verdict does not erase an earlier one."""

    attempt_id: AttemptId
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Totals:
    """What a run spent, all its attempts together."""

    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run is over.

    Attributes:
        arm: the arm that gave the answer.
        totals: what the run itself counted, so that ``verify`` can hold it against the attempts; ``None`` lets the
            ledger sum the attempts it holds.
    """

    status: Status
    reason: str
    answer: str | None = None
    answer_attempt_id: AttemptId | None = None
    arm: Arm | None = None
    totals: Totals | None = None
    plan: Plan | None = None
    candidates: tuple[Estimate, ...] = field(default=())


Written: TypeAlias = RunStart | CallSent | CallLanded | AttemptMade | VerdictGiven | Decision | RunEnd
Event: TypeAlias = Written | Held


CANCELLED = ".cancelled.lost"  # ends the name of a cancelled call's attempt; the call's own name stands before it
MOST_NOTES = 9  # one for each process that died over the same call


def note_id(attempt_id: AttemptId, number: int) -> AttemptId:
    """The id under which a call is noted as sent; like those of lost requests it is charged, and is no answer."""
    return AttemptId(f"{attempt_id}.sent{number}.lost")


def attempt_cost(input_tokens: int, cached_input_tokens: int, output_tokens: int, prices: Prices) -> float:
    """USD of one call; cached tokens are part of the input tokens, as OpenAI-compatible servers report them."""
    input_price, output_price, cached_price = prices
    cached = min(cached_input_tokens, input_tokens)
    return ((input_tokens - cached) * input_price + cached * cached_price + output_tokens * output_price) / 1e6
