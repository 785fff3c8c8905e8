"""What a verifier of the user's finds, and how far that moves a verdict.

A verifier is believed as far as it is reliable, and says nothing when it cannot tell, raises, hangs, or answers
anything but a probability. Findings are independent words: their log-odds add up, contradictions included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np

from curveroute.agent.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from curveroute.agent.types import AttemptId

    Words: TypeAlias = Mapping[AttemptId, tuple[float, str]]

SUREST = 0.98
_NUMBERS = (int, float, np.integer, np.floating)
_LONGEST_REASON = 160


@dataclass(frozen=True, slots=True)
class Finding:
    """What a verifier found.

    Attributes:
        probability: that the answer is right, in [0, 1]; ``None``: it cannot tell.
        reason: why, in a few words.
        evidence: what it rests on: a span of the answer, a failing test.
    """

    probability: float | None
    reason: str = ""
    evidence: str = ""


Found: TypeAlias = "Finding | bool | float | None"
Check: TypeAlias = "Callable[[str, str, str | None], Found | Awaitable[Found]]"


@runtime_checkable
class Verifier(Protocol):
    """Anything that checks one answer to one query.

    Attributes:
        name: how it is called in verdicts.
        reliability: in (0, 1]: right (1 + reliability) / 2 of the time when it is certain.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def reliability(self) -> float: ...  # noqa: D102

    def check(self, query_text: str, answer_text: str, answer: str | None) -> Found | Awaitable[Found]:
        """Whether the answer is right; asked once, in a thread, and a coroutine on a loop of the verifier's own.

        Args:
            query_text: the user's words.
            answer_text: the model's whole text.
            answer: the final answer that was found in it, if any.

        Returns:
            A finding; or a bool or a probability in [0, 1]; or ``None`` when it cannot tell.
        """
        ...


@dataclass(frozen=True, slots=True, weakref_slot=True)
class CallableVerifier:
    """A plain function as a verifier, called in a thread; a coroutine function runs on a loop of the verifier's own."""

    function: Check
    name: str
    reliability: float = 0.8

    def __post_init__(self) -> None:
        checked_reliability(self.name, self.reliability)

    def check(self, query_text: str, answer_text: str, answer: str | None) -> Found | Awaitable[Found]:
        """What the function says."""
        return self.function(query_text, answer_text, answer)


@dataclass(frozen=True, slots=True)
class Heard:
    """A verifier's word as it counts: log-odds, 0 when it says nothing, and the reason in words."""

    log_odds: float
    reason: str


def checked_reliability(name: str, reliability: object) -> float:
    """The reliability of a verifier.

    Raises:
        SettingError: it is no number in (0, 1].
    """
    if isinstance(reliability, _NUMBERS) and not isinstance(reliability, bool) and 0 < reliability <= 1:
        return float(reliability)
    raise SettingError(f"verifier {name!r} has reliability {reliability!r}; give a number above 0 and up to 1")


def hear(name: str, reliability: float, found: object) -> Heard | None:
    """What a verifier's result says; ``None`` when it says nothing and has nothing to say about it.

    Args:
        name: of the verifier.
        reliability: in (0, 1].
        found: whatever it returned; a value that is no probability (NaN, 1.2, "yes") is no word.
    """
    finding = found if isinstance(found, Finding) else _as_finding(found)
    if finding is None:
        return Heard(0.0, f"{name}: no word: it answered {_shown(found)}, which is no probability")
    if finding.probability is None:
        return Heard(0.0, f"{name}: cannot tell: {_short(finding.reason)}") if finding.reason else None
    if not _is_probability(finding.probability):
        return Heard(0.0, f"{name}: no word: it answered {_shown(finding.probability)}, which is no probability")
    moved = log_odds(float(finding.probability), reliability)
    said = "right" if moved > 0 else "wrong" if moved < 0 else "undecided"
    because = ": ".join(part for part in (_short(finding.reason), _short(finding.evidence)) if part)
    return Heard(moved, f"{name}: {said}" + (f": {because}" if because else ""))


def log_odds(probability: float, reliability: float) -> float:
    """How far a verifier's probability moves a verdict; never certain, and 0 for one half."""
    sure = min(reliability, SUREST) * (2.0 * probability - 1.0)
    return math.log((1.0 + sure) / (1.0 - sure))


def together(heard: Sequence[Heard]) -> tuple[float, str]:
    """All words on one attempt: log-odds add up, and a reason that says when they contradict each other."""
    reasons = [one.reason for one in heard if one.reason]
    if any(one.log_odds > 0 for one in heard) and any(one.log_odds < 0 for one in heard):
        reasons.insert(0, "verifiers contradict each other")
    return math.fsum(one.log_odds for one in heard), "; ".join(reasons)


def with_words(words: Words, more: Words) -> dict[AttemptId, tuple[float, str]]:
    """Words of two sources on the same attempts: log-odds add up, reasons stand side by side."""
    merged = dict(words)
    for name, (moved, reason) in more.items():
        before, said = merged.get(name, (0.0, ""))
        merged[name] = before + moved, "; ".join(part for part in (said, reason) if part)
    return merged


def _as_finding(found: object) -> Finding | None:
    if found is None:
        return Finding(None)
    if isinstance(found, np.bool_):
        return Finding(float(found))
    return Finding(float(found)) if isinstance(found, _NUMBERS) and _is_probability(found) else None


def _is_probability(value: object) -> bool:
    return isinstance(value, _NUMBERS) and bool(0 <= value <= 1)  # NaN is in no interval


def _shown(value: object) -> str:
    try:
        return _short(repr(value))
    except Exception:  # noqa: BLE001 - a stranger's object may fail to show itself, too
        return f"a {type(value).__name__}"


def _short(text: object) -> str:
    if not isinstance(text, str):
        return _shown(text)
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…"
