"""The ledger itself: what a run writes and what anyone may ask, in front of one thread that owns the database.

The event loop never waits for the disk: what must be durable is awaited, what need not be travels with the next thing
that must. One ledger serves any number of event loops and threads.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar

from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger.audit import read_report
from curveroute.agent.ledger.encode import encode
from curveroute.agent.ledger.events import AttemptMade, CallSent, Held, RunEnd
from curveroute.agent.ledger.feedback import (
    Said,
    checked_feedback,
    feedback_record,
    feedback_write,
    read_scored,
    read_served,
)
from curveroute.agent.ledger.reading import read_collected, read_collected_rows, read_made, read_run, read_runs
from curveroute.agent.ledger.scribe import Scribe

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from curveroute.agent.ledger.events import Collected, Event, Kind, Prices, RunStart
    from curveroute.agent.ledger.records import (
        CollectedKey,
        FeedbackRecord,
        RunRecord,
        RunStatus,
        ScoredRun,
        VerifyReport,
    )
    from curveroute.agent.types import Attempt, AttemptId, RunId

T = TypeVar("T")


class Ledger:
    """The store of runs, attempts, verdicts, decisions and feedback; made by ``open``, a context manager.

    Writing is asynchronous. An attempt, a call about to be sent or the end of a run is safe from a killed process when
    its ``await`` returns; the start, verdicts and decisions go with the next of these or of ``Held``, in order, or on
    ``close``.
    Reading is synchronous and sees what was written; from an event loop, ask through ``asyncio.to_thread``.
    """

    def __init__(self, thread: ThreadPoolExecutor, scribe: Scribe) -> None:
        self._thread = thread
        self._scribe = scribe
        self._closed = False
        self._pid = os.getpid()

    @classmethod
    def open(cls, url: str) -> Ledger:
        """The ledger at a SQLAlchemy URL, made and migrated where needed.

        Raises:
            LedgerError: it cannot be opened or written, is no ledger, or was written by a newer version.
        """
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="curveroute-ledger")
        try:
            return cls(thread, thread.submit(Scribe, url).result())
        except BaseException:
            thread.shutdown()
            raise

    def close(self) -> None:
        """Write what waits and let go of the database; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() != self._pid:  # a fork has neither the thread nor a right to the connection: both stay behind
            return
        try:
            self._thread.submit(self._scribe.close).result()
        finally:
            self._thread.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    async def record(self, run_id: RunId, *events: Event) -> None:
        """Write ``events`` in order, in one transaction; later, where no attempt, call, end or ``Held`` is among them.

        Raises:
            LedgerError: a number that is not finite, or a database that cannot be written.
        """
        self._check_open()
        if batch := tuple(encode(run_id, event) for event in events if not isinstance(event, Held)):
            self._scribe.put(run_id, batch)
        if any(isinstance(event, (AttemptMade, CallSent, Held, RunEnd)) for event in events):
            # Shielded: a run that is cancelled now has paid for its attempt all the same.
            await asyncio.shield(asyncio.wrap_future(self._submit(lambda: self._scribe.flush(run_id))))
            if self._scribe.wants_tidying and not self._closed:
                self._submit(self._scribe.tidy)

    async def start_run(self, run: RunStart) -> None:
        """Begin a run; a run that was begun before is left as it is."""
        await self.record(run.run_id, run)

    async def record_attempt(
        self, run_id: RunId, attempt: Attempt, prices: Prices, collected: Collected | None = None
    ) -> None:
        """Store one attempt, once: the same ``attempt_id`` again changes nothing."""
        await self.record(run_id, AttemptMade(attempt, prices, collected))

    async def finish_run(self, run_id: RunId, end: RunEnd) -> None:
        """Close a run with its answer and totals; a later end (of a resumed run) replaces an earlier one."""
        await self.record(run_id, end)

    async def made(self, attempt_id: AttemptId) -> tuple[Attempt, ...]:
        """The attempt of this id and its lost requests, as far as they were made before."""
        self._check_open()
        return await asyncio.wrap_future(
            self._thread.submit(self._scribe.read, lambda connection: read_made(connection, attempt_id))
        )

    async def give_feedback(self, run_id: str, score: float, comment: str = "", source: str = "user") -> FeedbackRecord:
        """Keep what somebody said of the answer that a run served; it is safe when the ``await`` returns.

        Args:
            run_id: of the run, or the only one that begins so.
            score: from 0 (useless) to 1 (just right).
            comment: in their words; what looks like a key is masked.
            source: who says it. Of several by one source the last counts.

        Raises:
            SettingError: a score outside [0, 1], a comment or a source that is too long.
            LedgerError: no such run, one without an answer, or a database that cannot be written.
        """
        said = checked_feedback(score, comment, source)
        self._check_open()
        return await asyncio.shield(asyncio.wrap_future(self._submit(lambda: self._keep_feedback(run_id, said))))

    def _keep_feedback(self, run_id: str, said: Said) -> FeedbackRecord:
        self._scribe.flush_all()  # the run may have ended a moment ago
        found = self._scribe.read(lambda connection: read_served(connection, run_id))
        record = feedback_record(found, said)
        self._scribe.put(record.run_id, (feedback_write(record),))
        self._scribe.flush(record.run_id)
        return record

    def scored_runs(self, pool: str | None = None) -> list[ScoredRun]:
        """The runs that feedback was given on, in the order of their last feedback; of one pool, or of all."""
        return self._ask(lambda connection: read_scored(connection, pool))

    def runs(self, limit: int = 20, status: RunStatus | None = None, kind: Kind | None = "ask") -> list[RunRecord]:
        """The latest runs, newest first, without what happened in them; ``kind=None`` lists every kind."""
        return self._ask(lambda connection: read_runs(connection, limit, status, kind))

    def run(self, run_id: str) -> RunRecord:
        """The run with this id, or the only one whose id begins so, with all that happened in it.

        Raises:
            LedgerError: no run, or more than one, has such an id.
        """
        return self._ask(lambda connection: read_run(connection, run_id))

    def collected(self, collection: str) -> set[CollectedKey]:
        """The (query_id, model, budget, sample) of a collection that are done: error-free attempts."""
        return self._ask(lambda connection: read_collected(connection, collection))

    def collected_rows(self, collection: str) -> list[dict[str, Any]]:
        """The rows of a collection's curve table in a stable order, one per (query_id, model, budget, sample).

        A question that was worded anew has a row for each wording.
        """
        return self._ask(lambda connection: read_collected_rows(connection, collection))

    def verify(self, run_id: str | None = None) -> VerifyReport:
        """Recompute every cost and total of one run (by id or prefix), or of all, from tokens and prices."""
        return self._ask(lambda connection: read_report(connection, run_id))

    def _ask(self, question: Callable[[Connection], T]) -> T:
        return self._submit(lambda: self._scribe.read(question)).result()

    def _submit(self, task: Callable[[], T]) -> Future[T]:
        self._check_open()
        return self._thread.submit(task)

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise LedgerError(
                f"the ledger was opened in another process (pid {self._pid}): open it again here (pid {os.getpid()}) "
                "with Ledger.open"
            )
        if self._closed:
            raise LedgerError("the ledger is closed: open it again with Ledger.open")
