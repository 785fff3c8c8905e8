"""Review: every attempt at a query gets its verdict, in the light of all the others.

Pure. A verdict is given anew whenever another attempt comes in, because agreement is a matter between attempts.

The scale was fitted on answers that runs gave, and speaks of the likeliest claim alone. What it leaves is shared out
among the others as the jury has it, so that rivals never add up to more than certainty; and none of them scores above
the answer given, so that the scale turns no order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from curveroute.agent.types import Attempt, AttemptId, Verdict, VerdictReason
from curveroute.agent.verify.answers import query_kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from curveroute.agent.verify.answers import QueryKind
    from curveroute.agent.verify.hearing import Hearing
    from curveroute.agent.verify.scale import Calibrator
    from curveroute.agent.verify.signals import Answered

LIKELY = 0.5


def review(
    query_text: str,
    attempts: Sequence[Attempt],
    hearing: Hearing | None,
    calibrator: Calibrator,
    said: Mapping[AttemptId, str],
) -> dict[AttemptId, Verdict]:
    """The verdict on each attempt.

    Args:
        query_text: what was asked.
        attempts: all answers so far; planner and judge calls are not among them.
        hearing: of the sound ones among them; None when there are none.
        calibrator: makes probabilities of the jury's.
        said: what judge and verifiers said of an attempt, in words.
    """
    heard = {} if hearing is None else {one.attempt_id: place for place, one in enumerate(hearing.attempts)}
    scores = () if hearing is None else _scores(hearing, calibrator, query_kind(query_text))
    verdicts = {}
    for attempt in attempts:
        place = heard.get(attempt.attempt_id)
        if hearing is None or place is None:
            verdicts[attempt.attempt_id] = Verdict(0.0, "error", attempt.error or "")
            continue
        score = scores[place]
        signals = _signals(hearing, place)
        reason, detail = _why(hearing.read[place], signals, score, said.get(attempt.attempt_id, ""))
        verdicts[attempt.attempt_id] = Verdict(score, reason, detail, tuple(signals.items()))
    return verdicts


def _scores(hearing: Hearing, calibrator: Calibrator, kind: QueryKind) -> tuple[float, ...]:
    """(J,) probability that each answer is right; claims that the jury holds for equally likely share it equally."""
    every = [hearing.score(place) for place in range(len(hearing.attempts))]
    likeliest = max(every)
    given = calibrator.scaled(likeliest, kind)
    if given == likeliest:
        return tuple(every)
    equal = {number for number, one in zip(hearing.number[0].tolist(), every, strict=True) if one == likeliest}
    given = min(given, 1.0 / len(equal))
    left = (1.0 - given * len(equal)) / (1.0 - likeliest * len(equal)) if likeliest * len(equal) < 1.0 else 0.0
    return tuple(given if one == likeliest else min(one * left, given) for one in every)


def _signals(hearing: Hearing, place: int) -> dict[str, float]:
    """What was seen of one answer beside the others, by name; counts are of answers."""
    seen, number, models = hearing.seen, hearing.number[0], hearing.seen.model[0]
    others = [other for other in range(number.size) if other != place and number[other] >= 0]
    speaks = number[place] >= 0
    agreeing = [other for other in others if speaks and number[other] == number[place]]
    differing = [other for other in others if speaks and number[other] != number[place]]

    def count(found: Sequence[int], *, other_model: bool) -> float:
        return float(sum((models[other] != models[place]) == other_model for other in found))

    one, sure = hearing.read[place], float(seen.confidence[0, place])
    return {
        "jury": hearing.score(place),
        "prior": float(seen.prior[0, place]),
        "length": float(seen.length[0, place]),
        "truncated": float(one.truncated),
        "malformed": float(one.malformed),
        "refused": float(one.refused),
        "agree_other": count(agreeing, other_model=True),
        "disagree_other": count(differing, other_model=True),
        "agree_same": count(agreeing, other_model=False),
        "disagree_same": count(differing, other_model=False),
        "judged": hearing.words[place],
        **({} if math.isnan(sure) else {"confidence": sure}),
    }


def _why(one: Answered, signals: Mapping[str, float], score: float, said: str) -> tuple[VerdictReason, str]:
    seen: tuple[tuple[bool, VerdictReason, str], ...] = (
        (one.refused, "refused", "it declines to answer"),
        (one.malformed, "malformed", one.fault or "empty, or not in the form that the query asks for"),
        (one.truncated, "truncated", "the token limit cut it off"),
        (not one.answer, "malformed", "it claims nothing"),
    )
    for holds, reason, detail in seen:
        if holds:
            return reason, detail
    agreement = _agreement(signals)
    if signals["judged"] < 0 and score < LIKELY:
        return "wrong", said
    if (signals["disagree_other"] or signals["disagree_same"]) and score < LIKELY:
        return "disagreement", "; ".join(part for part in (agreement, said) if part)
    return "ok", "; ".join(part for part in (agreement, said) if part)


def _agreement(signals: Mapping[str, float]) -> str:
    agree = int(signals["agree_other"] + signals["agree_same"])
    differ = int(signals["disagree_other"] + signals["disagree_same"])
    parts = []
    if agree:
        parts.append(f"{agree} {'agrees' if agree == 1 else 'agree'}")
    if differ:
        parts.append(f"{differ} {'differs' if differ == 1 else 'differ'}")
    return ", ".join(parts)
