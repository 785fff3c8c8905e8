"""Review: every attempt at a query gets its verdict, in the light of all the others.

Pure. A verdict is given anew whenever another attempt comes in, because agreement is a matter between attempts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curveroute.agent.types import Attempt, AttemptId, Verdict, VerdictReason
from curveroute.agent.verify.signals import Answered, Signals, read_attempt, signals_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from curveroute.agent.types import Arm
    from curveroute.agent.verify.calibrate import Calibrator

_LIKELY = 0.5
_UNKNOWN_QUALITY = 0.5


def review(
    query_text: str,
    attempts: Sequence[Attempt],
    quality: Mapping[Arm, float],
    calibrator: Calibrator,
    judged: Mapping[AttemptId, tuple[float, str]],
) -> dict[AttemptId, Verdict]:
    """The verdict on each attempt.

    Args:
        query_text: what was asked.
        attempts: all answers so far; planner and judge calls are not among them.
        quality: expected quality of each arm on this query.
        calibrator: turns signals into a probability.
        judged: log-odds of the judge's word on an attempt, and its reason.
    """
    read = {attempt.attempt_id: read_attempt(attempt, query_text) for attempt in attempts if attempt.error is None}
    verdicts = {}
    for attempt in attempts:
        one = read.get(attempt.attempt_id)
        if one is None:
            verdicts[attempt.attempt_id] = Verdict(0.0, "error", attempt.error or "")
            continue
        others = [other for name, other in read.items() if name != attempt.attempt_id]
        word, said = judged.get(attempt.attempt_id, (0.0, ""))
        signals = signals_of(one, others, quality.get(attempt.arm, _UNKNOWN_QUALITY), word)
        verdicts[attempt.attempt_id] = _verdict(one, signals, calibrator.probability(signals), said)
    return verdicts


def _verdict(one: Answered, signals: Signals, score: float, said: str) -> Verdict:
    reason, detail = _why(one, signals, score, said)
    return Verdict(score, reason, detail, tuple(signals._asdict().items()))


def _why(one: Answered, signals: Signals, score: float, said: str) -> tuple[VerdictReason, str]:
    if one.refused:
        return "refused", "it declines to answer"
    if one.malformed:
        return "malformed", "empty, or not in the form that the query asks for"
    if one.truncated:
        return "truncated", "the token limit cut it off"
    agreement = _agreement(signals)
    if signals.judged < 0 and score < _LIKELY:
        return "wrong", said
    if (signals.disagree_other or signals.disagree_same) and score < _LIKELY:
        return "disagreement", agreement
    return "ok", "; ".join(part for part in (agreement, said) if part)


def _agreement(signals: Signals) -> str:
    parts = []
    if signals.agree_other:
        parts.append("another model agrees")
    if signals.agree_same:
        parts.append("the model agrees with itself")
    if signals.disagree_other:
        parts.append("another model differs")
    if signals.disagree_same:
        parts.append("the model differs from itself")
    return ", ".join(parts)
