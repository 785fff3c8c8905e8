"""The ledger as the graph sees it: what a run writes, and one thing to read when a run is resumed.

``NullLedger`` is the ledger of a replay, where thousands of recorded queries run and nothing new is spent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from curveroute.agent.errors import LedgerError

if TYPE_CHECKING:
    from curveroute.agent.ledger.events import Collected, Event, Prices, RunEnd, RunStart
    from curveroute.agent.ledger.records import FeedbackRecord
    from curveroute.agent.types import Attempt, AttemptId, RunId


class LedgerPort(Protocol):
    """What a run writes. An attempt is safe from a killed process once its ``await`` has returned."""

    async def record(self, run_id: RunId, *events: Event) -> None:
        """Write ``events`` in order, in one transaction."""
        ...

    async def start_run(self, run: RunStart) -> None:
        """Begin a run; a run that was begun before is left as it is."""
        ...

    async def record_attempt(
        self, run_id: RunId, attempt: Attempt, prices: Prices, collected: Collected | None = None
    ) -> None:
        """Store one attempt, once: the same ``attempt_id`` again changes nothing."""
        ...

    async def finish_run(self, run_id: RunId, end: RunEnd) -> None:
        """Close a run with its answer and totals."""
        ...

    async def made(self, attempt_id: AttemptId) -> tuple[Attempt, ...]:
        """The attempt of this id and its lost requests, as far as they were made: a resumed run does not pay again."""
        ...

    async def give_feedback(self, run_id: str, score: float, comment: str = "", source: str = "user") -> FeedbackRecord:
        """Keep what somebody said of the answer that a run served."""
        ...

    def close(self) -> None:
        """Write what waits and let go of the database."""
        ...


class NullLedger:
    """A ledger that forgets everything."""

    async def record(self, run_id: RunId, *events: Event) -> None:
        """Forget."""

    async def start_run(self, run: RunStart) -> None:
        """Forget."""

    async def record_attempt(
        self, run_id: RunId, attempt: Attempt, prices: Prices, collected: Collected | None = None
    ) -> None:
        """Forget."""

    async def finish_run(self, run_id: RunId, end: RunEnd) -> None:
        """Forget."""

    async def made(self, attempt_id: AttemptId) -> tuple[Attempt, ...]:  # noqa: ARG002
        """Nothing was ever made."""
        return ()

    async def give_feedback(
        self,
        run_id: str,
        score: float,  # noqa: ARG002
        comment: str = "",  # noqa: ARG002
        source: str = "user",  # noqa: ARG002
    ) -> FeedbackRecord:
        """No run was kept, so nothing can be said of one.

        Raises:
            LedgerError: always.
        """
        raise LedgerError(f"no run {run_id!r}: this router keeps no ledger; give it one to take feedback")

    def close(self) -> None:
        """Nothing is held."""
