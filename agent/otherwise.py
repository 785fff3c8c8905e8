"""Why a run would go otherwise today on its own terms: what the record shows to have changed, or what it does not tell.

Blame falls on what is known alone. A ledger keeps the prices that calls were made at and whose predictor decided, and
neither the pool's file nor the version of the rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curveroute.agent.ledger.records import RunRecord
    from curveroute.agent.propose import Outlooker

_NOT_KNOWN = "why is not known"
_NO_FILE = f"{_NOT_KNOWN}: the ledger keeps neither the pool's file nor the version of the rule"
_NO_BOUNDS = (
    "the ledger does not say how long conversation and form were (an older version wrote it), so worst cases under the "
    "cap are those of the user's words alone"
)
_NO_SETTINGS = "rule, promise and predictor are not on record (an older version wrote it)"


def why_otherwise(record: RunRecord, outlooker: Outlooker) -> str:
    """What is known of why a run, decided again on its own terms, goes otherwise; else what is not known.

    Args:
        record: the run.
        outlooker: what decided it again.
    """
    if known := tuple(_changed(record, outlooker)):
        return " and ".join(known)
    untold = tuple(_untold(record))
    return f"{_NOT_KNOWN}: {'; and '.join(untold)}" if untold else _NO_FILE


def _changed(record: RunRecord, outlooker: Outlooker) -> Iterator[str]:
    pool = outlooker.pool
    models = {arm.model for arm in pool.arms}
    paid = [one for one in record.attempts if one.attempt.arm.model in models]
    if any(not np.allclose(one.prices, pool.prices(one.attempt.arm.model), rtol=1e-9, atol=0.0) for one in paid):
        yield "the pool's prices have changed since"
    if _is_other_predictor(record, outlooker):
        yield "the predictor is another one than they were made with"
    if any("a person refused" in one.decision.reason for one in record.decisions):
        yield "a person refused arms, which nobody does in a replay"


def _is_other_predictor(record: RunRecord, outlooker: Outlooker) -> bool:
    """Whether the predictor is known to be another one; one that was never saved has no hash to tell it by."""
    if record.settings is None:
        return False
    then, now = record.settings.predictor, outlooker.origin
    if then is None or now is None:
        return then is not now
    return bool(then.sha256 and now.sha256) and then.sha256 != now.sha256


def untold_bounds(record: RunRecord, cap_usd: float | None) -> str:
    """What is not known of worst cases under a cap; empty where all is, or there is no cap."""
    return _NO_BOUNDS if cap_usd is not None and any(one.input_bound is None for one in record.candidates) else ""


def _untold(record: RunRecord) -> Iterator[str]:
    if record.settings is None:
        yield _NO_SETTINGS
    if untold := untold_bounds(record, record.max_cost_usd):
        yield untold
