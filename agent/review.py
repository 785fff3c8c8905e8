"""Review a run: verdicts on all answers, the judge's word where it may change something, and what is done next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from curveroute.agent.step import Inquiry, Turn, is_answer, left_usd, next_turn
from curveroute.agent.types import Attempt, AttemptId
from curveroute.agent.verify.judge import Judgement, ask_judge, judging_pays, read_judgement
from curveroute.agent.verify.review import review

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from curveroute.agent.chat.seam import Chat
    from curveroute.agent.pool import Pool
    from curveroute.agent.propose import Outlooker
    from curveroute.agent.types import Verdict
    from curveroute.agent.verify.calibrate import Calibrator

_JUDGE = ".judge"


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a review brought.

    Attributes:
        changed: answers whose verdict is new or another one than before.
        judged: calls of the judge.
        turn: what the rule does next.
    """

    changed: tuple[Attempt, ...]
    judged: tuple[Attempt, ...]
    turn: Turn


@dataclass(frozen=True, slots=True)
class Panel:
    """Who reviews: the parts that a review needs; ``made`` finds a call that was paid for before a restart."""

    pool: Pool
    chat: Chat
    outlooker: Outlooker
    calibrator: Calibrator
    made: Callable[[AttemptId], Awaitable[tuple[Attempt, ...]]]


async def review_run(
    panel: Panel, inquiry: Inquiry, attempts: Sequence[Attempt], step: int, *, judge: bool, committed: bool = False
) -> Reviewed:
    """Judge what was answered and decide what is next.

    Args:
        panel: the parts.
        inquiry: what was planned.
        attempts: every call so far.
        step: number of the decision to come.
        judge: whether the pool's judge may be asked.
        committed: the answer was shown as it was written, so it stands, whatever its verdict.

    Raises:
        CapTooSmall: nothing was answered and nothing fits under the cap.
    """
    words = _words_so_far(panel.pool, attempts)
    answers = _with_verdicts(panel, inquiry, attempts, words)
    calls: tuple[Attempt, ...] = ()
    best = max(answers, key=_score, default=None) if judge else None
    if best is not None and _worth_judging(panel, inquiry, best, attempts):
        judgement, calls = await _judged(panel, inquiry, best, left_usd(inquiry.knobs.max_cost_usd, attempts))
        words[best.attempt_id] = judgement.log_odds(panel.pool.spec.judge_reliability), judgement.reason
        answers = _with_verdicts(panel, inquiry, attempts, words)
    before = {attempt.attempt_id: attempt.verdict for attempt in attempts}
    changed = tuple(attempt for attempt in answers if _differ(before[attempt.attempt_id], attempt.verdict))
    rest = [attempt for attempt in attempts if not is_answer(attempt)]
    turn = next_turn(panel.outlooker, inquiry, (*rest, *calls, *answers), step, committed=committed)
    return Reviewed(changed, calls, turn)


async def _judged(
    panel: Panel, inquiry: Inquiry, best: Attempt, room_usd: float
) -> tuple[Judgement, tuple[Attempt, ...]]:
    """The judge's word on one attempt, and its calls; a call made before a restart is not made again."""
    name = AttemptId(best.attempt_id + _JUDGE)
    if calls := await panel.made(name):
        return read_judgement(calls[-1]), calls
    criteria = inquiry.plan.criteria
    return await ask_judge(panel.pool, panel.chat, inquiry.query, best, criteria, attempt_id=name, left_usd=room_usd)


def _with_verdicts(
    panel: Panel, inquiry: Inquiry, attempts: Sequence[Attempt], words: dict[AttemptId, tuple[float, str]]
) -> tuple[Attempt, ...]:
    answers = [attempt for attempt in attempts if is_answer(attempt)]
    asked = [attempt.arm for attempt in answers]
    quality = {candidate.arm: candidate.quality for candidate in inquiry.candidates if candidate.arm in asked}
    verdicts = review(inquiry.query.text, answers, quality, panel.calibrator, words)
    return tuple(
        replace(attempt, verdict=verdict) if _differ(attempt.verdict, verdict) else attempt
        for attempt in answers
        for verdict in [verdicts[attempt.attempt_id]]
    )


def _differ(before: Verdict | None, now: Verdict | None) -> bool:
    """Whether a verdict is news. The score follows from the signals, which a checkpoint brings back as lists."""
    if before is None or now is None:
        return before is not now
    return (before.score, before.reason, before.detail) != (now.score, now.reason, now.detail)


def _words_so_far(pool: Pool, attempts: Sequence[Attempt]) -> dict[AttemptId, tuple[float, str]]:
    """What the judge said at earlier reviews, by the attempt it spoke of."""
    judgements = {
        AttemptId(attempt.attempt_id.removesuffix(_JUDGE)): read_judgement(attempt)
        for attempt in attempts
        if attempt.role == "judge" and attempt.attempt_id.endswith(_JUDGE)
    }
    return {name: (one.log_odds(pool.spec.judge_reliability), one.reason) for name, one in judgements.items()}


def _worth_judging(panel: Panel, inquiry: Inquiry, best: Attempt, attempts: Sequence[Attempt]) -> bool:
    asked = any(attempt.attempt_id.startswith(best.attempt_id + _JUDGE) for attempt in attempts)
    if asked or best.verdict is None or best.verdict.reason not in {"ok", "disagreement"}:
        return False
    return judging_pays(
        panel.pool,
        inquiry.query,
        best,
        best.verdict.score,
        inquiry.plan.criteria,
        tradeoff=inquiry.knobs.tradeoff,
        reference_cost_usd=panel.outlooker.reference_cost_usd,
        left_usd=left_usd(inquiry.knobs.max_cost_usd, attempts),
    )


def _score(attempt: Attempt) -> float:
    return -1.0 if attempt.verdict is None or attempt.error is not None else attempt.verdict.score
