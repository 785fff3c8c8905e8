"""Writing: a handful of prepared statements on one connection, a transaction per call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger.tables import ATTEMPTS, DECISIONS, FEEDBACK, RUNS, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import ColumnElement, Connection, Delete, Executable, ScalarSelect, Table, Update

    from curveroute.agent.ledger.encode import Operation, Values, Write

_INSERT: dict[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


class Pen:
    """What writes on one connection: the statements of its dialect, built once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._statements = statements(connection.dialect.name)

    def write(self, writes: Iterable[Write]) -> None:
        """All of ``writes`` in one transaction, or none."""
        with self._connection.begin():
            for write in writes:
                self._apply(write.operation, write.values)

    def _apply(self, operation: Operation, values: Values) -> None:
        result = self._connection.execute(self._statements[operation], values)
        if result.rowcount != 0:
            return
        if operation == "attempt":
            self._check_owner(values["attempt_id"], values["run_id"])
        elif operation in {"finish", "finish_summed"}:
            raise LedgerError(f"run {values['key_run_id']!r} is not in the ledger: start it before you finish it")

    def _check_owner(self, attempt_id: str, run_id: str) -> None:
        query = select(ATTEMPTS.c.run_id).where(ATTEMPTS.c.attempt_id == attempt_id)
        owner = self._connection.execute(query).scalar_one()
        if owner != run_id:
            raise LedgerError(f"attempt {attempt_id!r} belongs to run {owner!r}, not {run_id!r}: make a new id for it")


def statements(dialect: str) -> Mapping[Operation, Executable]:
    """Every statement that a run needs."""
    return {
        "start": _insert_once(dialect, RUNS, "run_id"),
        "attempt": _insert_once(dialect, ATTEMPTS, "attempt_id", seq=_next_seq()),
        "landed": _delete_attempt(),
        "verdict": VERDICTS.insert().inline(),
        "decision": DECISIONS.insert().inline(),
        "feedback": FEEDBACK.insert().inline(),
        "finish": _update_run(),
        "finish_summed": _update_run().values(_sums()),
    }


def _insert_once(dialect: str, table: Table, key: str, **computed: ColumnElement[Any]) -> Executable:
    given = {column.name: bindparam(column.name, None, type_=column.type) for column in table.columns}
    insert = _INSERT[dialect](table).on_conflict_do_nothing(index_elements=[key])
    return insert.values({**given, **computed}).execution_options(preserve_rowcount=True)


def _next_seq() -> ScalarSelect[int]:
    last = func.coalesce(func.max(ATTEMPTS.c.seq), 0)
    return select(last + 1).where(ATTEMPTS.c.run_id == bindparam("run_id")).scalar_subquery()


def _delete_attempt() -> Delete:
    own = ATTEMPTS.c.run_id == bindparam("key_run_id")
    return ATTEMPTS.delete().where(ATTEMPTS.c.attempt_id == bindparam("key_attempt_id"), own)


def _update_run() -> Update:
    return RUNS.update().where(RUNS.c.run_id == bindparam("key_run_id"))


def _sums() -> dict[str, ScalarSelect[Any]]:
    figures = {
        "cost_usd": func.coalesce(func.sum(ATTEMPTS.c.cost_usd), 0.0),
        "input_tokens": func.coalesce(func.sum(ATTEMPTS.c.input_tokens), 0),
        "output_tokens": func.coalesce(func.sum(ATTEMPTS.c.output_tokens), 0),
        "attempts": func.count(),
    }
    own = ATTEMPTS.c.run_id == bindparam("key_run_id")
    return {name: select(figure).select_from(ATTEMPTS).where(own).scalar_subquery() for name, figure in figures.items()}
