"""Reading: runs as records, a collection as the rows of a curve table."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import Select, func
from sqlmodel import Session, col, select

from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger.decode import attempt_record, decision_record, run_record, verdict_record
from curveroute.agent.ledger.events import CANCELLED, MOST_NOTES, note_id
from curveroute.agent.ledger.heard import read_heard
from curveroute.agent.ledger.tables import ATTEMPTS, RUNS, AttemptRow, DecisionRow, RunRow, VerdictRow
from curveroute.agent.types import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from curveroute.agent.ledger.events import Kind
    from curveroute.agent.ledger.records import CollectedKey, RunRecord, RunStatus, VerdictRecord
    from curveroute.agent.types import Attempt

_MADE = sqlalchemy.select(ATTEMPTS.c.seq).where(
    ATTEMPTS.c.attempt_id.in_(sqlalchemy.bindparam("names", expanding=True))
)
_CELL = tuple(ATTEMPTS.c[name] for name in ("query_id", "model", "budget", "sample"))
_CURVE_COLUMNS = {
    "query_id": "query_id",
    "query": "query",
    "task": "task",
    "model": "model",
    "budget": "budget",
    "sample": "sample",
    "quality": "quality",
    "answer": "answer",
    "reference": "reference",
    "finish_reason": "finish_reason",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cost_usd": "cost_usd",
    "text": "response",
    "latency_s": "latency_s",
    "prompt_style": "prompt_style",
    "confidence": "confidence",
}
"""Columns of an attempt, and what the curve table calls them."""
_SNAPSHOT = {"sqlite": "BEGIN", "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"}


@contextmanager
def snapshot(connection: Connection) -> Iterator[Session]:
    """A session in which all queries see the same moment."""
    with connection.begin():
        connection.exec_driver_sql(_SNAPSHOT[connection.dialect.name])
        with Session(connection) as session:
            yield session


def read_runs(connection: Connection, limit: int, status: RunStatus | None, kind: Kind | None) -> list[RunRecord]:
    """The latest runs, newest first."""
    if limit < 1:
        raise LedgerError(f"limit {limit} lists nothing: ask for 1 or more runs")
    query = select(RunRow).order_by(col(RunRow.created_at).desc(), col(RunRow.run_id)).limit(limit)
    if status is not None:
        query = query.where(RunRow.status == status)
    if kind is not None:
        query = query.where(RunRow.kind == kind)
    with snapshot(connection) as session:
        return [run_record(row) for row in session.exec(query)]


def read_run(connection: Connection, prefix: str) -> RunRecord:
    """The one run whose id is ``prefix``, or else begins with it, with all that happened in it."""
    with snapshot(connection) as session:
        row = find_run(session, prefix)
        verdicts = _verdicts(session, row.run_id)
        last = {record.attempt_id: record.verdict for record in verdicts}
        made = (
            select(AttemptRow)
            .where(AttemptRow.run_id == row.run_id)
            .order_by(col(AttemptRow.seq), col(AttemptRow.created_at), col(AttemptRow.attempt_id))
        )
        taken = select(DecisionRow).where(DecisionRow.run_id == row.run_id).order_by(col(DecisionRow.id))
        return replace(
            run_record(row),
            attempts=tuple(attempt_record(item, last.get(AttemptId(item.attempt_id))) for item in session.exec(made)),
            verdicts=verdicts,
            decisions=tuple(decision_record(decision) for decision in session.exec(taken)),
            feedback=read_heard(session, row.run_id),
        )


def read_made(connection: Connection, attempt_id: str) -> tuple[Attempt, ...]:
    """The attempt of this id and its lost requests, as far as they were made."""
    with connection.begin():  # nearly always the answer is no, and a run waits for it
        if connection.execute(_MADE, {"names": _names(attempt_id)}).first() is None:
            return ()
    query = select(AttemptRow).where(col(AttemptRow.attempt_id).in_(_names(attempt_id)))
    with snapshot(connection) as session:
        rows = session.exec(query.order_by(col(AttemptRow.seq))).all()
        return tuple(attempt_record(row, None).attempt for row in rows)


def _names(attempt_id: str) -> list[str]:
    notes = [note_id(AttemptId(attempt_id), number + 1) for number in range(MOST_NOTES)]
    return [attempt_id, f"{attempt_id}.lost", f"{attempt_id}{CANCELLED}", *notes]


def find_run(session: Session, prefix: object) -> RunRow:
    """The one run whose id is ``prefix``, or else begins with it."""
    if not isinstance(prefix, str):
        raise LedgerError(f"{prefix!r} is no run's id: give the text that Route.run_id is")
    exact = session.get(RunRow, prefix)
    if exact is not None:
        return exact
    begins = func.substr(RunRow.run_id, 1, len(prefix)) == prefix
    found = session.exec(select(RunRow).where(begins).order_by(RunRow.run_id).limit(3)).all() if prefix else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise LedgerError(f"no run {prefix!r} in the ledger: list the runs to see their ids")
    shown = ", ".join(row.run_id for row in found)
    raise LedgerError(f"run {prefix!r} is ambiguous ({shown}): give more of its id")


def _verdicts(session: Session, run_id: str) -> tuple[VerdictRecord, ...]:
    query = (
        select(VerdictRow)
        .join(AttemptRow, col(AttemptRow.attempt_id) == col(VerdictRow.attempt_id))
        .where(AttemptRow.run_id == run_id)
        .order_by(col(VerdictRow.id))
    )
    return tuple(verdict_record(row) for row in session.exec(query))


def read_collected(connection: Connection, collection: str) -> set[CollectedKey]:
    """The cells of the curve table that need not be asked again."""
    query = _of_collection(sqlalchemy.select(*_CELL), collection)
    with snapshot(connection) as session:
        rows = session.connection().execute(query)
        return {(str(query_id), str(model), budget, int(sample)) for query_id, model, budget, sample in rows}


def read_collected_rows(connection: Connection, collection: str) -> list[dict[str, Any]]:
    """The curve table of a collection: one row per cell and question, the first answer where two came.

    In a stable order. A question that was worded anew has a row for each wording.
    """
    columns = ATTEMPTS.c
    query = _of_collection(sqlalchemy.select(*(columns[name] for name in _CURVE_COLUMNS)), collection).order_by(
        columns.query_id,
        columns.model,
        columns.budget.is_(None),
        columns.budget,
        columns.sample,
        columns.created_at,
        columns.attempt_id,
    )
    cells: dict[tuple[Any, ...], dict[str, Any]] = {}
    with snapshot(connection) as session:
        for row in session.connection().execute(query).mappings():
            cell = (row["query_id"], row["query"], row["model"], row["budget"], row["sample"])
            cells.setdefault(cell, {_CURVE_COLUMNS[name]: value for name, value in row.items()})
    return list(cells.values())


def _of_collection(query: Select[Any], collection: str) -> Select[Any]:
    return query.join(RUNS, RUNS.c.run_id == ATTEMPTS.c.run_id).where(
        RUNS.c.kind == "collect",
        RUNS.c.collection == collection,
        ATTEMPTS.c.error.is_(None),
        ATTEMPTS.c.query_id.is_not(None),
    )
