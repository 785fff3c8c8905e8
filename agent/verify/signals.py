"""What can be seen of an attempt without asking anyone: is it whole, is it an answer, and what does it claim."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from curveroute.agent.verify.answers import (
    QueryKind,
    claims_nothing,
    echoes,
    looks_refused,
    marked_answer,
    names_option,
    query_kind,
    spell,
    well_formed,
)
from curveroute.agent.verify.spelling import as_json, is_void

if TYPE_CHECKING:
    from curveroute.agent.types import Arm, Attempt, FinishReason


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
    fault: str = ""
    """What is wrong with its form, where the query asked for one."""


def read_attempt(attempt: Attempt, query_text: str) -> Answered:
    """What one attempt says, by the deterministic checks alone."""
    if attempt.shape != "text":
        return _read_formed(attempt)
    return read_answer(attempt.arm, attempt.text, attempt.answer, attempt.finish_reason, attempt.confidence, query_text)


def _read_formed(attempt: Attempt) -> Answered:
    """An answer in JSON or tool calls: its form was checked when it came, and is no matter of words."""
    truncated = attempt.finish_reason == "length" and bool(attempt.fault)
    return Answered(
        arm=attempt.arm,
        answer=attempt.answer or "",
        truncated=truncated,
        malformed=bool(attempt.fault) and not truncated,
        refused=attempt.finish_reason == "content_filter" or (bool(attempt.fault) and looks_refused(attempt.text)),
        confidence=attempt.confidence,
        fault=attempt.fault,
    )


@lru_cache(maxsize=64)  # a run reads all its answers again whenever another one comes in
def read_answer(
    arm: Arm, text: str, answer: str | None, finish: FinishReason, confidence: float | None, query_text: str
) -> Answered:
    """The same from its parts."""
    one = read_form(arm, text, answer, finish, confidence, _kind(query_text))
    if one.answer and answer is not None and echoes(query_text, answer):
        return replace(one, answer="")
    return one


def read_form(
    arm: Arm, text: str, answer: str | None, finish: FinishReason, confidence: float | None, kind: QueryKind
) -> Answered:
    """What can be seen of an attempt at any query of a kind; an answer that only says its query again is still one."""
    chosen = answer is not None and names_option(answer, kind)
    refused = finish == "content_filter" or (looks_refused(text) and not chosen)
    malformed = not text.strip() or not well_formed(text, answer, kind)
    usable = answer is not None and bool(text.strip()) and not refused
    if finish == "length":  # what was said before the cut is a claim only where it was marked as one
        usable = usable and marked_answer(text) is not None
    if usable and answer is not None:
        usable = not claims_nothing(answer) and not is_void(as_json(answer))
    return Answered(
        arm=arm,
        answer=spell(answer) if usable and answer is not None else "",
        truncated=finish == "length",
        malformed=malformed,
        refused=refused,
        confidence=confidence,
    )


@lru_cache(maxsize=64)
def _kind(query_text: str) -> QueryKind:
    """A run reads its query once for each attempt."""
    return query_kind(query_text)
