"""What the ledger tells: frozen records in the shared words, so that no database row leaves this package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from curveroute.agent.types import Arm, Attempt, AttemptId, Budget, Decision, Estimate, Plan, RunId, Status, Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from curveroute.agent.ledger.events import Collected, Kind, Prices, RunSettings, Totals

RunStatus: TypeAlias = Status | Literal["running"]
CollectedKey: TypeAlias = tuple[str, str, Budget, int]
"""query_id, model, budget, sample: one cell of the curve table."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt as stored; ``attempt.verdict`` is the last verdict given, ``seq`` its place in the run from 1."""

    seq: int
    attempt: Attempt
    prices: Prices
    created_at: datetime
    collected: Collected | None = None


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """One verdict as stored."""

    attempt_id: AttemptId
    verdict: Verdict
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision as stored."""

    decision: Decision
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """What somebody said of the answer that a run served.

    Attributes:
        score: how good the answer was, from 0 to 1.
        source: who said it: of several by one source, the last counts.
    """

    run_id: RunId
    attempt_id: AttemptId
    score: float
    comment: str
    source: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A run that feedback was given on, as far as a predictor can learn from it.

    Attributes:
        pool: the run's.
        arm: that gave the answer.
        query_text: what was asked; None where the ledger no longer holds the words that were asked.
        score: the mean of each source's last score.
        at: when the last of them was given.
    """

    run_id: RunId
    pool: str
    arm: Arm
    query_text: str | None
    score: float
    at: datetime


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as stored. A listing leaves all empty that happened in it; ``totals`` it has.

    ``settings`` is None for collections, and for runs that were written before it was kept.
    """

    run_id: RunId
    created_at: datetime
    finished_at: datetime | None
    pool: str
    kind: Kind
    collection: str | None
    query_text: str
    query_sha256: str
    tradeoff: float
    max_cost_usd: float | None
    status: RunStatus
    reason: str
    answer: str | None
    answer_attempt_id: AttemptId | None
    arm: Arm | None
    totals: Totals
    plan: Plan | None
    candidates: tuple[Estimate, ...]
    attempts: tuple[AttemptRecord, ...] = field(default=())
    verdicts: tuple[VerdictRecord, ...] = field(default=())
    decisions: tuple[DecisionRecord, ...] = field(default=())
    seconds_usd: float = 0.0
    settings: RunSettings | None = None
    feedback: tuple[FeedbackRecord, ...] = field(default=())


Figure: TypeAlias = float | int | str | None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One figure of the ledger that does not follow from the others."""

    run_id: str
    what: str
    stored: Figure
    recomputed: Figure

    def __str__(self) -> str:
        return f"run {self.run_id}: {self.what} is stored as {self.stored!r}, recomputed as {self.recomputed!r}"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """How much was checked, and what does not add up."""

    runs: int
    attempts: int
    disagreements: list[Disagreement]

    @property
    def ok(self) -> bool:
        """Whether everything adds up."""
        return not self.disagreements
