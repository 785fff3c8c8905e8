"""What can be seen of an attempt without asking anyone: is it whole, is it an answer, does anyone agree with it.

Signals are numbers with fixed names, so that one calibrator turns them into one probability. An absent signal is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from curveroute.agent.verify.answers import QueryKind, looks_refused, normalise, query_kind, same, well_formed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.types import Arm, Attempt, FinishReason

_EDGE = 0.02


class Signals(NamedTuple):
    """The signals of one attempt, in the order in which the calibrator weighs them.

    Attributes:
        prior: log-odds of the arm's expected quality on this query.
        truncated: 1 when the token limit cut it.
        malformed: 1 when it is empty or not in the form that the query asks for.
        refused: 1 when it declines to answer.
        agree_other: 1 when another model gave the same answer.
        disagree_other: 1 when another model gave a different one.
        agree_same: 1 when the same model, asked otherwise, gave the same answer.
        disagree_same: 1 when the same model, asked otherwise, gave a different one.
        confidence: log-odds of the tokens' mean probability, where the server gives it.
        judged: log-odds by which a judge's word moves the verdict; positive when it found the answer right.
    """

    prior: float = 0.0
    truncated: float = 0.0
    malformed: float = 0.0
    refused: float = 0.0
    agree_other: float = 0.0
    disagree_other: float = 0.0
    agree_same: float = 0.0
    disagree_same: float = 0.0
    confidence: float = 0.0
    judged: float = 0.0


@dataclass(frozen=True, slots=True)
class Answered:
    """An attempt as agreement sees it."""

    arm: Arm
    answer: str
    """The normalised answer; empty when there is none that could agree with anything."""
    truncated: bool
    malformed: bool
    refused: bool
    confidence: float | None


def read_attempt(attempt: Attempt, query_text: str) -> Answered:
    """What one attempt says, by the deterministic checks alone."""
    return read_answer(attempt.arm, attempt.text, attempt.answer, attempt.finish_reason, attempt.confidence, query_text)


@lru_cache(maxsize=64)  # a run reads all its answers again whenever another one comes in
def read_answer(
    arm: Arm, text: str, answer: str | None, finish: FinishReason, confidence: float | None, query_text: str
) -> Answered:
    """The same from the parts of a recorded row."""
    refused = looks_refused(text) or finish == "content_filter"
    malformed = not text.strip() or not well_formed(text, answer, _kind(query_text))
    usable = answer is not None and not refused and text.strip()
    return Answered(
        arm=arm,
        answer=normalise(answer) if usable and answer is not None else "",
        truncated=finish == "length",
        malformed=malformed,
        refused=refused,
        confidence=confidence,
    )


def signals_of(one: Answered, others: Sequence[Answered], prior: float, judged: float = 0.0) -> Signals:
    """The signals of one attempt beside all other attempts at the same query.

    Args:
        one: the attempt.
        others: the others; answers cut off by their limit, or missing, neither agree nor disagree.
        prior: the arm's expected quality on this query, in [0, 1].
        judged: log-odds of the judge's word.
    """
    comparable = [other for other in others if other.answer and not other.truncated] if one.answer else []
    agreeing = [other for other in comparable if _agree(*sorted((one.answer, other.answer)))]
    differing = [other for other in comparable if other not in agreeing]

    def any_from(found: Sequence[Answered], *, other_model: bool) -> float:
        return float(any((other.arm.model != one.arm.model) == other_model for other in found))

    return Signals(
        prior=log_odds(prior),
        truncated=float(one.truncated),
        malformed=float(one.malformed),
        refused=float(one.refused),
        agree_other=any_from(agreeing, other_model=True),
        disagree_other=any_from(differing, other_model=True),
        agree_same=any_from(agreeing, other_model=False),
        disagree_same=any_from(differing, other_model=False),
        confidence=0.0 if one.confidence is None else log_odds(one.confidence),
        judged=judged,
    )


def log_odds(probability: float) -> float:
    """Log-odds, kept away from certainty."""
    inside = min(max(probability, _EDGE), 1.0 - _EDGE)
    return math.log(inside / (1.0 - inside))


@lru_cache(maxsize=64)
def _kind(query_text: str) -> QueryKind:
    """A run reads its query once for each attempt."""
    return query_kind(query_text)


@lru_cache(maxsize=256)
def _agree(one: str, other: str) -> bool:
    """Agreement is symmetric, and a run asks after every pair at each of its steps."""
    return same(one, other)
