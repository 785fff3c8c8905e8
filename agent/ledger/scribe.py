"""The scribe sits alone in the ledger's thread, with the only connection and a tray of writes that wait.

Writes wait in the tray of their run, in order, until something that must be durable comes; then all of them go in one
transaction. When the database refuses for a while (locked, full), they stay in the tray for the next try: an attempt
that was paid is not forgotten. When one of them can never be stored, the others still are.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger.faults import ledger_error
from curveroute.agent.ledger.opening import checkpoint, open_connection, shown
from curveroute.agent.ledger.writing import Pen

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from curveroute.agent.ledger.encode import Write

T = TypeVar("T")
_TIDY_EVERY = 256
Batch: TypeAlias = "tuple[Write, ...]"
"""The writes of one call: together or not at all."""


class Scribe:
    """All methods but ``put`` and ``waiting`` run in the ledger's thread."""

    def __init__(self, url: str) -> None:
        self._connection = open_connection(url)
        self._shown = shown(self._connection.engine.url)
        self._pen = Pen(self._connection)
        self._transactions = 0
        self._tray: dict[str, list[Batch]] = {}
        self._lock = threading.Lock()

    def put(self, run_id: str, batch: Batch) -> None:
        """Lay the writes of one call in the run's tray."""
        with self._lock:
            self._tray.setdefault(run_id, []).append(batch)

    def flush(self, run_id: str) -> None:
        """Write what waits for one run.

        Raises:
            LedgerError: some of it could not be written.
        """
        with self._lock:
            batches = self._tray.pop(run_id, [])
        if not batches:
            return
        try:
            self._write(run_id, batches)
        except SQLAlchemyError as fault:
            raise ledger_error(fault, self._shown) from fault

    @property
    def wants_tidying(self) -> bool:
        """Whether enough was written that the write-ahead log should move into the database."""
        return self._transactions >= _TIDY_EVERY

    def tidy(self) -> None:
        """Move the write-ahead log into the database: between writes, so that no run waits for its fsync."""
        if self.wants_tidying:
            self._transactions = 0
            with suppress(SQLAlchemyError):
                checkpoint(self._connection)

    def flush_all(self) -> None:
        """Write what waits for any run; the first failure is raised when all had their turn."""
        with self._lock:
            run_ids = list(self._tray)
        failure: LedgerError | None = None
        for run_id in run_ids:
            try:
                self.flush(run_id)
            except LedgerError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def read(self, question: Callable[[Connection], T]) -> T:
        """Answer from the database."""
        try:
            return question(self._connection)
        except SQLAlchemyError as fault:
            raise ledger_error(fault, self._shown) from fault

    def close(self) -> None:
        """Write what waits and let go of the connection, in any case."""
        try:
            self.flush_all()
        finally:
            self._connection.close()

    def _write(self, run_id: str, batches: list[Batch]) -> None:
        try:
            self._commit(batches)
        except OperationalError:
            self._put_back(run_id, batches)
            raise
        except Exception:
            if len(batches) == 1:
                raise
            self._write_apart(run_id, batches)

    def _write_apart(self, run_id: str, batches: list[Batch]) -> None:
        """One transaction per batch: those that can never be stored are dropped, the first of them is raised."""
        failure: Exception | None = None
        for number, batch in enumerate(batches):
            try:
                self._commit([batch])
            except OperationalError:
                self._put_back(run_id, batches[number:])
                raise
            except Exception as error:  # noqa: BLE001 (raised below, when the others had their turn)
                failure = failure or error
        if failure is not None:
            raise failure

    def _commit(self, batches: list[Batch]) -> None:
        self._pen.write(write for batch in batches for write in batch)
        self._transactions += 1

    def _put_back(self, run_id: str, batches: list[Batch]) -> None:
        with self._lock:
            self._tray[run_id] = batches + self._tray.get(run_id, [])
