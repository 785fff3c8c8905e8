"""What a judge's replies say: a word on an answer, or on two rivals at once, and when such a word counts nothing.

It counts nothing when the reply is not the JSON it was asked for, when what it quotes as evidence is in none of the
texts it was shown, when it says that it cannot judge, and, of two rivals, where it changes its mind with their order.
Words of the same judge on the same answer do not add up; when they contradict each other, none counts. Pure.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from curveroute.agent.types import AttemptId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from curveroute.agent.types import Attempt, Query

JUDGE_SUFFIX = ".judge"
_VERSUS = ".vs."
_SWAPPED = ".swapped"
_LOST = ".lost"
_SUREST = 0.98
NO_WORD = ("unsure", "cannot judge")
SINGLE = {"right": 1.0, "wrong": -1.0} | dict.fromkeys(NO_WORD, 0.0)
_SILENT = (0.0, 0.0)
PAIR = {"A": (1.0, -1.0), "B": (-1.0, 1.0), "both": (1.0, 1.0), "neither": (-1.0, -1.0)} | dict.fromkeys(
    NO_WORD, _SILENT
)
_MARKS = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "*": "", "`": ""})


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    quote: str = Field(default="", max_length=1000)
    reason: str = Field(max_length=1000)


class _Single(_Reply):
    verdict: Literal["right", "wrong", "unsure", "cannot judge"]


class _Pair(_Reply):
    verdict: Literal["A", "B", "both", "neither", "unsure", "cannot judge"]


class _Heard(NamedTuple):
    """What one reply says: the verdict, or ``None`` where it is no word, and why in words."""

    verdict: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the judge said of one attempt: 1 right, -1 wrong, 0 nothing usable; its reason; and the same of a rival."""

    word: float
    reason: str
    rival_word: float = 0.0

    def log_odds(self, reliability: float) -> float:
        """How far the word moves a verdict, when the judge is right (1 + reliability) / 2 of the time."""
        sure = min(reliability, _SUREST)
        return self.word * math.log((1.0 + sure) / (1.0 - sure))

    def of_rival(self) -> Judgement:
        """The same seen from the rival's side."""
        return Judgement(self.rival_word, self.reason, self.word)


def comparison_ids(attempt_id: AttemptId, rival_id: AttemptId) -> tuple[AttemptId, AttemptId]:
    """The names of the two calls that compare an attempt with its rival.

    Args:
        attempt_id: of the judging: the judged attempt's id and ``.judge``.
        rival_id: of the rival.
    """
    first = f"{attempt_id}{_VERSUS}{rival_id}"
    return AttemptId(first), AttemptId(first + _SWAPPED)


def read_judgement(call: Attempt, shown: Sequence[str] | None = None) -> Judgement:
    """What a judge's reply on one answer says.

    Args:
        call: the judge's call.
        shown: question and answer; a quote must be in one of them. ``None``: quotes are not looked for.
    """
    heard = _heard(call, _Single, shown)
    return Judgement(SINGLE.get(heard.verdict or "", 0.0), heard.reason)


def read_comparison(first: Attempt, second: Attempt | None, shown: Sequence[str] | None = None) -> Judgement:
    """What a judge's two replies say of an answer and its rival: what both orders agree on.

    Args:
        first: the call in which the judged answer was A.
        second: the call in which it was B; ``None`` when it was not made, because the first one said nothing.
        shown: question and both answers, as for :func:`read_judgement`.
    """
    one = _heard(first, _Pair, shown)
    word, rival = PAIR.get(one.verdict or "", _SILENT)
    if (word, rival) == _SILENT:
        return Judgement(0.0, one.reason)
    if second is None:
        return Judgement(0.0, "judge: no word: it was asked in one order only")
    other = _heard(second, _Pair, shown)
    rival_again, word_again = PAIR.get(other.verdict or "", _SILENT)
    if (word_again, rival_again) == _SILENT:
        return Judgement(0.0, other.reason)
    kept, kept_rival = (word if word == word_again else 0.0), (rival if rival == rival_again else 0.0)
    if not kept and not kept_rival:
        return Judgement(0.0, "judge: no word: it changes its mind with the order of the answers")
    return Judgement(kept, f"in both orders {_told(first.attempt_id, kept, kept_rival)}: {one.reason}", kept_rival)


def silent_in_first(call: Attempt, shown: Sequence[str]) -> bool:
    """Whether the first reply of a comparison says nothing, so that a second one could not count."""
    return PAIR.get(_heard(call, _Pair, shown).verdict or "", _SILENT) == _SILENT


def judgement_of(calls: Sequence[Attempt], query: Query, attempt: Attempt, rival: Attempt | None = None) -> Judgement:
    """What the calls of one judging say, as :func:`~curveroute.agent.verify.judge.ask_judge` made them.

    Args:
        calls: at least one that is not a lost request.
        query: what was asked.
        attempt: the judged answer.
        rival: the answer that it was compared with, if any.
    """
    made = [call for call in calls if not call.attempt_id.endswith(_LOST)]
    if rival is None:
        return read_judgement(made[-1], (query.text, attempt.text))
    first, second = (next((call for call in made if call.attempt_id.endswith(_SWAPPED) is swapped), None)
                     for swapped in (False, True))  # fmt: skip
    if first is None:
        return Judgement(0.0, "judge: no word: its first call is missing")
    return read_comparison(first, second, (query.text, attempt.text, rival.text))


def judge_words(query: Query, attempts: Sequence[Attempt], reliability: float) -> dict[AttemptId, tuple[float, str]]:
    """All that the judge said in a run so far, by the attempt it spoke of: log-odds and reason.

    Args:
        query: what was asked.
        attempts: every call so far, answers and the judge's calls.
        reliability: of the judge.
    """
    known = {attempt.attempt_id: attempt for attempt in attempts}
    said: dict[AttemptId, list[Judgement]] = {}
    for call in attempts:
        if call.role == "judge":
            for about, judgement in _spoken(call, query, known):
                said.setdefault(about, []).append(judgement)
    return {about: _one_word(words, reliability) for about, words in said.items()}


def _spoken(call: Attempt, query: Query, known: Mapping[AttemptId, Attempt]) -> list[tuple[AttemptId, Judgement]]:
    """Of which attempts a call speaks, and what; a swapped call is read together with its first one."""
    judged, versus, rival_id = call.attempt_id.partition(JUDGE_SUFFIX + _VERSUS)
    if not versus:
        judged, suffix, rest = call.attempt_id.rpartition(JUDGE_SUFFIX)
        answer = known.get(AttemptId(judged))
        if not suffix or rest or answer is None:
            return []
        return [(answer.attempt_id, read_judgement(call, (query.text, answer.text)))]
    answer, rival = known.get(AttemptId(judged)), known.get(AttemptId(rival_id))
    if answer is None or rival is None:
        return []
    second = known.get(AttemptId(call.attempt_id + _SWAPPED))
    judgement = read_comparison(call, second, (query.text, answer.text, rival.text))
    return [(answer.attempt_id, judgement), (rival.attempt_id, judgement.of_rival())]


def _one_word(words: Sequence[Judgement], reliability: float) -> tuple[float, str]:
    spoken = [one for one in words if one.word]
    if len({one.word for one in spoken}) > 1:
        return 0.0, "judge: no word: it contradicts itself: " + "; ".join(one.reason for one in spoken)
    chosen = (spoken or list(words))[0]
    return chosen.log_odds(reliability), chosen.reason


def _heard(call: Attempt, form: type[_Single | _Pair], shown: Sequence[str] | None) -> _Heard:
    if call.error is not None:
        return _Heard(None, f"the judge's call failed: {call.error[:120]}")
    try:
        reply = form.model_validate(json.loads(call.text))
    except (ValueError, RecursionError):
        if call.finish_reason == "length":
            return _Heard(None, "the judge's reply was cut off")
        return _Heard(None, "the judge's reply is not the JSON it was asked for")
    said = f"{reply.verdict}: {reply.reason.strip()}"
    if reply.verdict in NO_WORD:
        return _Heard(reply.verdict, f"judge: {said}")
    fault = _fault(reply.quote, shown)
    if fault:
        return _Heard(None, f"judge: no word: {fault} ({said})")
    return _Heard(reply.verdict, f"judge: {said} (“{' '.join(reply.quote.split())[:80]}”)")


def _fault(quote: str, shown: Sequence[str] | None) -> str:
    """Why a quote is no evidence, or ``""``."""
    plain = _plain(quote).strip("\"'. ")
    if not any(map(str.isalnum, plain)):
        return "it quotes nothing"
    return "" if shown is None or any(_occurs(plain, text) for text in shown) else "it quotes what is nowhere"


def _occurs(quote: str, text: str) -> bool:
    """Whether a text holds the quote as whole words; spaces, case and marks of emphasis do not matter."""
    return re.search(rf"(?<!\w){re.escape(quote)}(?!\w)", _plain(text)) is not None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text.translate(_MARKS)).casefold().split())


def _told(call_id: str, word: float, rival: float) -> str:
    """What the letters of a comparison stand for, and what is kept of them."""
    judged, _, rival_id = call_id.partition(JUDGE_SUFFIX + _VERSUS)
    names = {1.0: "right", -1.0: "wrong"}
    sides = (("A", judged, word), ("B", rival_id, rival))
    return ", ".join(f"{letter} ({name}) is {names[value]}" for letter, name, value in sides if value)
