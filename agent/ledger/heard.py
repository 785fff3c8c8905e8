"""The feedback of one run, as it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import col, select

from curveroute.agent.ledger.records import FeedbackRecord
from curveroute.agent.ledger.tables import FeedbackRow
from curveroute.agent.types import AttemptId, RunId

if TYPE_CHECKING:
    from sqlmodel import Session


def read_heard(session: Session, run_id: str) -> tuple[FeedbackRecord, ...]:
    """In the order in which it was given."""
    query = select(FeedbackRow).where(FeedbackRow.run_id == run_id).order_by(col(FeedbackRow.id))
    return tuple(
        FeedbackRecord(RunId(row.run_id), AttemptId(row.attempt_id), row.score, row.comment, row.source, row.created_at)
        for row in session.exec(query)
    )
