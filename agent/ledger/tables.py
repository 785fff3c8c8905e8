"""The tables. They have a metadata of their own, so that an application with its own SQLModel tables keeps its names.

The migrations are the truth that ships; a test holds these classes against them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Dialect, Index, Table, TypeDecorator
from sqlalchemy.orm import registry
from sqlmodel import JSON, Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, also where the database (SQLite) forgets time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To UTC on the way in."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """As UTC on the way out."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class LedgerTable(SQLModel, registry=registry()):
    """What the ledger's tables share: one metadata, apart from ``SQLModel.metadata``."""


class RunRow(LedgerTable, table=True):
    """One run; a whole collection is one run too."""

    __tablename__: ClassVar[Any] = "runs"
    __table_args__ = (
        Index("ix_runs_kind_created_at", "kind", "created_at"),
        Index("ix_runs_collection", "collection"),
    )

    run_id: str = Field(primary_key=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    pool: str
    query_text: str
    query_sha256: str
    tradeoff: float
    max_cost_usd: float | None = None
    status: str = "running"
    answer: str | None = None
    answer_attempt_id: str | None = None
    model: str | None = None
    budget: int | None = Field(default=None, sa_type=BigInteger)
    cost_usd: float = 0.0
    input_tokens: int = Field(default=0, sa_type=BigInteger)
    output_tokens: int = Field(default=0, sa_type=BigInteger)
    attempts: int = Field(default=0, sa_type=BigInteger)
    kind: str = "ask"
    collection: str | None = None
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reason: str = ""
    plan: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    candidates: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    seconds_usd: float | None = None
    settings: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)


class AttemptRow(LedgerTable, table=True):
    """One executed call, with the prices of its moment; the columns from ``query_id`` on belong to collections."""

    __tablename__: ClassVar[Any] = "attempts"
    __table_args__ = (Index("ix_attempts_run_id_seq", "run_id", "seq"),)

    attempt_id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="runs.run_id")
    seq: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=UtcDateTime)
    role: str
    model: str
    budget: int | None = Field(default=None, sa_type=BigInteger)
    text: str
    answer: str | None = None
    input_tokens: int = Field(sa_type=BigInteger)
    cached_input_tokens: int = Field(sa_type=BigInteger)
    output_tokens: int = Field(sa_type=BigInteger)
    input_price: float
    output_price: float
    cached_input_price: float
    cost_usd: float
    finish_reason: str
    latency_s: float
    error: str | None = None
    confidence: float | None = None
    query_id: str | None = None
    query: str | None = None
    task: str | None = None
    sample: int | None = Field(default=None, sa_type=BigInteger)
    quality: float | None = None
    reference: str | None = None
    prompt_style: str | None = None
    formed: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)


class VerdictRow(LedgerTable, table=True):
    """What the verifiers said of one attempt."""

    __tablename__: ClassVar[Any] = "verdicts"
    __table_args__ = (Index("ix_verdicts_attempt_id", "attempt_id"),)

    id: int | None = Field(default=None, primary_key=True)
    attempt_id: str = Field(foreign_key="attempts.attempt_id")
    score: float
    reason: str
    detail: str
    signals: Any = Field(sa_type=JSON(none_as_null=True), nullable=False)
    created_at: datetime = Field(sa_type=UtcDateTime)


class DecisionRow(LedgerTable, table=True):
    """What the rule chose at one step, and why the others lost."""

    __tablename__: ClassVar[Any] = "decisions"
    __table_args__ = (Index("ix_decisions_run_id_step", "run_id", "step"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(foreign_key="runs.run_id")
    step: int = Field(sa_type=BigInteger)
    arms: Any = Field(sa_type=JSON(none_as_null=True), nullable=False)
    reason: str
    status: str | None = None
    committed: bool
    rejected: Any = Field(sa_type=JSON(none_as_null=True), nullable=False)
    created_at: datetime = Field(sa_type=UtcDateTime)
    policy: str | None = None
    flips: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)


class FeedbackRow(LedgerTable, table=True):
    """What somebody said of the answer that a run served."""

    __tablename__: ClassVar[Any] = "feedback"
    __table_args__ = (Index("ix_feedback_run_id", "run_id"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(foreign_key="runs.run_id")
    attempt_id: str = Field(foreign_key="attempts.attempt_id")
    score: float
    comment: str
    source: str
    created_at: datetime = Field(sa_type=UtcDateTime)


RUNS: Table = LedgerTable.metadata.tables["runs"]
ATTEMPTS: Table = LedgerTable.metadata.tables["attempts"]
VERDICTS: Table = LedgerTable.metadata.tables["verdicts"]
DECISIONS: Table = LedgerTable.metadata.tables["decisions"]
FEEDBACK: Table = LedgerTable.metadata.tables["feedback"]
