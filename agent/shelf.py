"""What a run recorded, laid out to be taken again: answers by arm, the planner's and the judge's calls, and words.

A judge's word counts from the call in which it was said, as in the run; a verifier's from the answer that it is about.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from curveroute.agent.probe import Bounds
from curveroute.agent.types import Message, Query
from curveroute.agent.verify.judgement import judge_words

if TYPE_CHECKING:
    from curveroute.agent.ledger.records import RunRecord
    from curveroute.agent.pool import Pool
    from curveroute.agent.types import Arm, Attempt, AttemptId

_NOTHING = 1e-9  # of log-odds: what is left of a sum when the judge's part is taken out again


class Shelf:
    """The calls of a recorded run.

    Args:
        record: the run.
        judge_reliability: of the pool's judge.

    Attributes:
        query: what the ledger keeps of the conversation: the user's words.
        planner: the planner's calls.
        was_judged: whether the judge was asked.
        checked: by answer the log-odds by which verifiers moved it.
    """

    def __init__(self, record: RunRecord, judge_reliability: float) -> None:
        fresh = [replace(one.attempt, verdict=None) for one in record.attempts]
        self.query = Query((Message(role="user", content=record.query_text),))
        self._candidates = record.candidates
        self.planner = tuple(one for one in fresh if one.role == "planner")
        self.was_judged = any(one.role == "judge" for one in fresh)
        self.checked = _checked(record, self.query, judge_reliability)
        self._by_name: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in fresh:
            self._by_name[_request(attempt)].append(attempt)
        self._by_arm: dict[Arm, list[tuple[Attempt, ...]]] = defaultdict(list)
        for calls in self._by_name.values():
            if calls[0].role in {"probe", "escalation"}:
                self._by_arm[calls[0].arm].append(tuple(calls))

    def bounds(self, pool: Pool) -> dict[Arm, Bounds] | None:
        """What one request of each arm can use at most, at today's prices; None where that is not on record."""
        found = {}
        for one in self._candidates:
            if one.input_bound is None or one.output_limit is None:
                return None
            worst = pool.worst_case_usd(one.arm, one.input_bound, one.output_limit)
            found[one.arm] = Bounds(one.input_bound, one.output_limit, worst)
        return found

    def take(self, arm: Arm) -> tuple[Attempt, ...]:
        """The next recorded request of an arm, with its lost tries; nothing when there is none (any more)."""
        calls = self._by_arm.get(arm)
        return calls.pop(0) if calls else ()

    async def made(self, attempt_id: AttemptId) -> tuple[Attempt, ...]:
        """The judge's call of this name, if it was made."""
        return tuple(self._by_name.get(attempt_id, ()))


def _checked(record: RunRecord, query: Query, judge_reliability: float) -> dict[AttemptId, float]:
    """What verifiers said: of the words that the last verdicts tell of, what the judge did not say."""
    attempts = [one.attempt for one in record.attempts]
    judged = judge_words(query, attempts, judge_reliability)
    every = {
        one.attempt_id: dict(one.verdict.signals).get("judged", 0.0) - judged.get(one.attempt_id, (0.0, ""))[0]
        for one in attempts
        if one.verdict is not None
    }
    return {name: word for name, word in every.items() if abs(word) > _NOTHING}


def _request(attempt: Attempt) -> str:
    return attempt.attempt_id.removesuffix(".lost").removesuffix(".cancelled")
