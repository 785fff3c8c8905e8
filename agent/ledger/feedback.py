"""Feedback: what somebody said of the answer that a run served, checked before it is kept.

Nothing that was said is erased: who changes their mind says it again, and of several by one source the last counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from curveroute.agent.errors import LedgerError, SettingError, shown
from curveroute.agent.ledger.encode import Write, clean, masked, sha256
from curveroute.agent.ledger.reading import find_run, snapshot
from curveroute.agent.ledger.records import FeedbackRecord, ScoredRun
from curveroute.agent.ledger.tables import ATTEMPTS, FEEDBACK, RUNS
from curveroute.agent.types import Arm, AttemptId, ModelId, RunId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Row
    from sqlmodel import Session

    from curveroute.agent.ledger.tables import RunRow

LONGEST_COMMENT = 10_000
LONGEST_SOURCE = 64
SHORTEST_NAME = 6


@dataclass(frozen=True, slots=True)
class Said:
    """A score, the words with it, and who gave them."""

    score: float
    comment: str
    source: str


def checked_feedback(score: float, comment: str, source: str) -> Said:
    """The feedback as it may be kept, keys masked.

    Raises:
        SettingError: a score that is no number in [0, 1], a comment or source that is too long, or an empty source.
    """
    given: object = score
    if isinstance(given, str) or not hasattr(given, "__float__"):
        raise SettingError(f"score is {shown(given)}; give a number from 0 to 1")
    try:
        number = float(score)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not 0.0 <= number <= 1.0:
        raise SettingError(f"score is {shown(given)}; give a number from 0 (useless) to 1 (just right)")
    for name, text in (("comment", comment), ("source", source)):
        if not isinstance(text, str):
            raise SettingError(f"{name} is {text!r}; give words")
    if len(comment) > LONGEST_COMMENT:
        raise SettingError(f"the comment has {len(comment)} characters; at most {LONGEST_COMMENT} are kept: shorten it")
    if not 0 < len(source.strip()) <= LONGEST_SOURCE:
        raise SettingError(f"source is {source[:LONGEST_SOURCE]!r}; give a name of 1 to {LONGEST_SOURCE} characters")
    return Said(number, masked(comment), masked(source.strip()))


def read_served(connection: Connection, prefix: str) -> tuple[RunId, AttemptId]:
    """The one run of this id, or whose id begins so, and the attempt whose answer it served.

    Raises:
        LedgerError: no such run or several, a beginning too short to be meant, or a run that has no answer.
    """
    with snapshot(connection) as session:
        row = _found(session, prefix)
        if len(prefix) < min(SHORTEST_NAME, len(row.run_id)):  # what is said stays: a slip must not rate another run
            raise LedgerError(
                f"{prefix!r} is too little of a run's id to be sure which is meant: give at least {SHORTEST_NAME} "
                f"characters of it (it would be {row.run_id})"
            )
        if row.kind != "ask":
            raise LedgerError(f"run {row.run_id!r} is a collection, which serves no answer: name a run of `ask`")
        if row.answer_attempt_id is None:
            raise LedgerError(
                f"run {row.run_id!r} is {row.status} and has no answer that could be good or bad: "
                "give feedback on a run that answered"
            )
        return RunId(row.run_id), AttemptId(row.answer_attempt_id)


def _found(session: Session, prefix: object) -> RunRow:
    """The run; of a beginning that would be too short anyway, that is said along with what else is wrong."""
    try:
        return find_run(session, prefix)
    except LedgerError as error:
        if isinstance(prefix, str) and len(prefix) < SHORTEST_NAME:
            raise LedgerError(f"{error}; feedback takes at least {SHORTEST_NAME} characters of it") from None
        raise


def feedback_record(served: tuple[RunId, AttemptId], said: Said) -> FeedbackRecord:
    """What was said of what was served, now."""
    return FeedbackRecord(*served, said.score, said.comment, said.source, datetime.now(UTC))


def feedback_write(record: FeedbackRecord) -> Write:
    """The record as a write."""
    values = {name: getattr(record, name) for name in record.__dataclass_fields__}
    return Write("feedback", {**values, "run_id": clean(record.run_id)})


def read_scored(connection: Connection, pool: str | None) -> list[ScoredRun]:
    """Every run with feedback, in the order of its last; a query whose words were changed since has none."""
    columns: tuple[Any, ...] = (
        FEEDBACK.c.run_id, FEEDBACK.c.score, FEEDBACK.c.source, FEEDBACK.c.created_at,
        RUNS.c.pool, RUNS.c.query_text, RUNS.c.query_sha256, ATTEMPTS.c.model, ATTEMPTS.c.budget,
    )  # fmt: skip
    query = (
        select(*columns)
        .join(RUNS, RUNS.c.run_id == FEEDBACK.c.run_id)
        .join(ATTEMPTS, ATTEMPTS.c.attempt_id == FEEDBACK.c.attempt_id)
        .order_by(FEEDBACK.c.id)
    )
    if pool is not None:
        query = query.where(RUNS.c.pool == pool)
    with snapshot(connection) as session:
        rows = session.connection().execute(query).all()
    by_run: dict[str, list[Row[Any]]] = {}
    for row in rows:
        by_run.setdefault(row.run_id, []).append(row)
    return sorted((_scored(given) for given in by_run.values()), key=lambda one: (one.at, one.run_id))


def _scored(given: list[Row[Any]]) -> ScoredRun:
    row = given[-1]
    kept = bool(row.query_text.strip()) and sha256(row.query_text) == row.query_sha256
    return ScoredRun(
        RunId(row.run_id),
        row.pool,
        Arm(ModelId(row.model), row.budget),
        row.query_text if kept else None,
        counted((one.source, one.score) for one in given),
        row.created_at,
    )


def counted(said: Iterable[tuple[str, float]]) -> float:
    """What several (source, score) pairs come to, in the order given: the mean of each source's last."""
    last = dict(said)
    return math.fsum(last.values()) / len(last)
