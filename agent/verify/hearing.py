"""A hearing: all answers of a run beside each other, and what the jury makes of them.

Who hears two answers agree has read what they claim; a verifier may have read or run all of them. Where one is clearly
right and the other clearly wrong in its words, they are rivals, whatever they claim. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.verify.chance import agreement_chance
from curveroute.agent.verify.free_text import groups_of_texts
from curveroute.agent.verify.jury import given
from curveroute.agent.verify.seen import Seen, log_odds, surprise
from curveroute.agent.verify.signals import Answered, read_attempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from curveroute.agent.types import Arm, Attempt, AttemptId, Estimate
    from curveroute.agent.verify.jury import Jury
    from curveroute.agent.verify.seen import Indices, Singles

UNKNOWN_QUALITY = 0.5
CLEAR_WORD = 1.0  # log-odds from which on a word for an answer and one against it say that they are not one


@dataclass(frozen=True, slots=True, eq=False)
class Hearing:
    """What was heard of J sound answers.

    Attributes:
        attempts: (J,) the answers; failed calls are not among them.
        read: (J,) what each says.
        seen: one row of J answers.
        odds: (1, C + 1) probability of every claim, and of "none".
        number: (1, J) the claim that each answer makes, -1 for none.
        words: (J,) log-odds by which verifiers and judge moved each.
    """

    attempts: tuple[Attempt, ...]
    read: tuple[Answered, ...]
    seen: Seen
    odds: Singles
    number: Indices
    words: tuple[float, ...]

    @property
    def given(self) -> Attempt:
        """The answer that would be given now: of those that make one claim, the one that was spoken for most."""
        place = int(given(self.odds, self.number, self.seen)[0])
        number = self.number[0]
        claims = number[place] >= 0
        alike = [other for other in range(number.size) if claims and number[other] == number[place]]
        most = max(alike, key=lambda other: self.words[other], default=place)
        return self.attempts[most if self.words[most] > self.words[place] else place]

    def score(self, place: int) -> float:
        """The probability that an answer is right, before calibration."""
        number = int(self.number[0, place])
        return float(self.odds[0, number]) if number >= 0 else 0.0


def hear_answers(
    query_text: str,
    attempts: Sequence[Attempt],
    estimates: Mapping[Arm, Estimate],
    jury: Jury,
    words: Mapping[AttemptId, float],
    groups: Sequence[int | None] | None = None,
) -> Hearing | None:
    """Hear all sound answers; ``None`` when there is none.

    Args:
        query_text: what was asked.
        attempts: all answers so far; planner and judge calls are not among them.
        estimates: what was expected of each arm on this query.
        jury: weighs what is seen.
        words: log-odds by which verifiers and judge move an attempt.
        groups: of each sound answer the number of its claim, ``None`` for none; by their spelling when not given.
    """
    sound = tuple(attempt for attempt in attempts if attempt.error is None)
    if not sound:
        return None
    read = tuple(read_attempt(attempt, query_text) for attempt in sound)
    groups = groups_of_texts([one.answer for one in read], {}) if groups is None else groups
    moved = tuple(words.get(attempt.attempt_id, 0.0) for attempt in sound)
    claim = _set_apart([-1 if one is None else one for one in groups], moved)
    seen = _seen(query_text, sound, read, claim, estimates)
    odds, number = jury.probabilities(seen)
    return Hearing(sound, read, seen, _moved(odds, number, moved), number, moved)


def _seen(
    query_text: str,
    attempts: Sequence[Attempt],
    read: Sequence[Answered],
    claim: Sequence[int],
    estimates: Mapping[Arm, Estimate],
) -> Seen:
    expected = [estimates.get(attempt.arm) for attempt in attempts]
    quality = np.array([[UNKNOWN_QUALITY if one is None else one.quality for one in expected]])
    used = np.array([[float(attempt.usage.output_tokens) for attempt in attempts]])
    usual = [
        float(attempt.usage.output_tokens) if one is None else one.output_tokens
        for attempt, one in zip(attempts, expected, strict=True)
    ]
    models = tuple(dict.fromkeys(attempt.arm.model for attempt in attempts))
    sure = [math.nan if one.confidence is None else float(log_odds(np.array(one.confidence))) for one in read]
    return Seen(
        claim=np.array([claim], dtype=np.intp),
        asked=np.ones((1, len(attempts)), dtype=np.bool_),
        model=np.array([[models.index(attempt.arm.model) for attempt in attempts]], dtype=np.intp),
        prior=log_odds(quality),
        length=surprise(used, np.array([usual])),
        cut=_row(one.truncated for one in read),
        malformed=_row(one.malformed for one in read),
        confidence=np.array([sure], dtype=np.float32),
        chance=np.array([agreement_chance(query_text)], dtype=np.float32),
        models=models,
    )


def _set_apart(claim: Sequence[int], words: Sequence[float]) -> list[int]:
    """The claims, where answers that are clearly spoken against leave one that others are clearly spoken for."""
    spoken = [(number, word) for number, word in zip(claim, words, strict=True) if number >= 0]
    praised = {number for number, word in spoken if word >= CLEAR_WORD}
    torn = praised & {number for number, word in spoken if word <= -CLEAR_WORD}
    fresh = {number: max(claim) + 1 + place for place, number in enumerate(sorted(torn))}
    return [fresh[one] if one in torn and word < 0.0 else one for one, word in zip(claim, words, strict=True)]


def _row(values: Iterable[bool]) -> Singles:
    return np.array([[float(value) for value in values]], dtype=np.float32)


def _moved(odds: Singles, number: Indices, words: Sequence[float]) -> Singles:
    """The probabilities after verifiers and judge have spoken: each claim's odds times what was said of its answers.

    A claim is judged once, however many answers make it: by the mean of the words that were said of them. Of words
    that contradict each other clearly there are none in it, see ``_set_apart``.
    """
    if not any(words):
        return odds
    said = np.zeros(odds.shape[1])
    for claim in range(odds.shape[1] - 1):
        spoken = [word for place, word in enumerate(words) if number[0, place] == claim and word]
        said[claim] = math.fsum(spoken) / len(spoken) if spoken else 0.0
    tilted = odds * np.exp(said - said.max())
    return np.asarray(tilted / tilted.sum(), dtype=np.float32)
