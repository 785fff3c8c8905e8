"""Verifiers of the user's on all answers: none of them can stop a run, however it fails.

Each is asked once about each answer, and its word is kept. An exception, a hang, NaN or prose is no word, and the
reason says what happened. A word that comes late never counts, and whoever hung once is not asked again in the run.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from curveroute.agent.types import Word
from curveroute.agent.verify.found import Heard, Verifier, checked_reliability, hear, together
from curveroute.agent.verify.underway import Underway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from curveroute.agent.types import Attempt, AttemptId, Query
    from curveroute.agent.verify.underway import Outcome

    Said = Mapping[AttemptId, tuple[Word, ...]]

CHECK_S = 10.0
_NOT_AGAIN = " on another answer, and is not asked again in this run"
_GRACE_S = 2.0  # for the checks of a cancelled run to clean up, before they are left behind


async def run_verifiers(
    verifiers: Sequence[Verifier],
    query: Query,
    attempts: Sequence[Attempt],
    known: Said | None = None,
    *,
    timeout_s: float = CHECK_S,
    clock: Callable[[], float] = time.monotonic,
) -> dict[AttemptId, tuple[Word, ...]]:
    """What the verifiers say of each attempt; what they said before is not asked again.

    Args:
        verifiers: in the order in which their words are told.
        query: what was asked.
        attempts: answers; failed ones are not checked.
        known: the words of this run so far.
        timeout_s: what one check may take; one that takes longer says nothing.
        clock: by which it is timed.

    Returns:
        By attempt one word of each verifier, also of those that say nothing.

    Raises:
        SettingError: a verifier whose reliability is no number in (0, 1].
    """
    sure = [checked_reliability(one.name, one.reliability) for one in verifiers]
    given = dict(zip(_names(verifiers), zip(verifiers, sure, strict=True), strict=True))
    before = {(name, word.verifier): word for name, words in (known or {}).items() for word in words}
    hung = {word.verifier: word for word in before.values() if word.hung}
    answered = [attempt for attempt in attempts if attempt.error is None]
    asked = {}
    async with asyncio.TaskGroup() as group:
        for attempt, name in itertools.product(answered, given):
            key = attempt.attempt_id, name
            if key not in before and name in hung:
                before[key] = _not_again(hung[name])
            elif key not in before:
                checking = _asked(name, *given[name], query.text, attempt, timeout_s, clock)
                asked[key] = group.create_task(checking)
    said = before | {key: task.result() for key, task in asked.items()}
    return {one.attempt_id: tuple(said[one.attempt_id, name] for name in given) for one in answered}


def told(said: Said) -> dict[AttemptId, tuple[float, str]]:
    """By attempt the log-odds by which its verdict is moved, and why; none for an attempt of which nothing is said."""
    heard = {
        name: [Heard(word.log_odds, word.reason) for word in words if word.log_odds or word.reason]
        for name, words in said.items()
    }
    return {name: together(words) for name, words in heard.items() if words}


def _names(verifiers: Iterable[Verifier]) -> list[str]:
    """What their words are kept under: the names, with a number where several have one."""
    names: list[str] = []
    for one in verifiers:
        numbered = (f"{one.name} ({number})" for number in itertools.count(2))
        names.append(next(name for name in itertools.chain([one.name], numbered) if name not in names))
    return names


def _not_again(before: Word) -> Word:
    reason = before.reason.removesuffix(_NOT_AGAIN) + _NOT_AGAIN
    return replace(before, reason=reason)


async def _asked(
    name: str,
    verifier: Verifier,
    reliability: float,
    query_text: str,
    attempt: Attempt,
    timeout_s: float,
    clock: Callable[[], float],
) -> Word:
    began = clock()
    check = Underway(verifier, lambda: verifier.check(query_text, attempt.text, attempt.answer), clock)
    try:
        await asyncio.wait({check.ended}, timeout=timeout_s)
    except asyncio.CancelledError:
        if check.give_up():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({check.ended}, timeout=_GRACE_S)
        raise
    if not check.ended.done():
        check.give_up()
    elif check.ended.result().at - began <= timeout_s:
        return _word(name, verifier, reliability, check.ended.result())
    return Word(name, 0.0, f"{verifier.name}: no word: it did not answer within {timeout_s:g} s", hung=True)


def _word(name: str, verifier: Verifier, reliability: float, outcome: Outcome) -> Word:
    error = outcome.error
    if isinstance(error, asyncio.CancelledError):
        return Word(name, 0.0, f"{verifier.name}: no word: it was cancelled from within")
    if error is not None:
        return Word(name, 0.0, f"{verifier.name}: no word: it raised {_shown(error)}")
    try:
        heard = hear(verifier.name, reliability, outcome.found)
    except Exception as fault:  # noqa: BLE001 - what a stranger's check returns may do anything
        return Word(name, 0.0, f"{verifier.name}: no word: what it returned raised {_shown(fault)}")
    return Word(name, 0.0, "") if heard is None else Word(name, heard.log_odds, heard.reason)


def _shown(error: BaseException) -> str:
    try:
        line = next(iter(str(error).splitlines()), "")[:160]
    except Exception:  # noqa: BLE001 - nor need an exception have words
        line = "it cannot be shown"
    return f"{type(error).__name__}: {line}"
