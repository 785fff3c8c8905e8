"""The ledger: the store of runs, attempts, verdicts, decisions and feedback, which can check itself.

``Ledger`` is loaded when it is asked for, because the database libraries take most of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curveroute.agent.ledger.events import (
    AttemptMade,
    CallLanded,
    CallSent,
    Collected,
    Event,
    Held,
    Kind,
    Prices,
    RunEnd,
    RunSettings,
    RunStart,
    Totals,
    VerdictGiven,
    attempt_cost,
)
from curveroute.agent.ledger.port import LedgerPort, NullLedger
from curveroute.agent.ledger.records import (
    AttemptRecord,
    CollectedKey,
    DecisionRecord,
    Disagreement,
    FeedbackRecord,
    RunRecord,
    RunStatus,
    ScoredRun,
    VerdictRecord,
    VerifyReport,
)

if TYPE_CHECKING:
    from curveroute.agent.ledger.store import Ledger

__all__ = [
    "AttemptMade",
    "AttemptRecord",
    "CallLanded",
    "CallSent",
    "Collected",
    "CollectedKey",
    "DecisionRecord",
    "Disagreement",
    "Event",
    "FeedbackRecord",
    "Held",
    "Kind",
    "Ledger",
    "LedgerPort",
    "NullLedger",
    "Prices",
    "RunEnd",
    "RunRecord",
    "RunSettings",
    "RunStart",
    "RunStatus",
    "ScoredRun",
    "Totals",
    "VerdictGiven",
    "VerdictRecord",
    "VerifyReport",
    "attempt_cost",
]


def __getattr__(name: str) -> object:
    if name != "Ledger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from curveroute.agent.ledger.store import Ledger

    return Ledger
