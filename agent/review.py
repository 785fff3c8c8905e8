"""Review a run: verdicts on all answers, the judge's word where it may change something, and what is done next."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from curveroute.agent.step import Inquiry, Turn, is_answer, left_usd, next_turn
from curveroute.agent.types import Attempt, AttemptId
from curveroute.agent.verify.checks import run_verifiers, told
from curveroute.agent.verify.found import with_words
from curveroute.agent.verify.hearing import Hearing, hear_answers
from curveroute.agent.verify.judge import ask_judge, judging_pays
from curveroute.agent.verify.judgement import JUDGE_SUFFIX, comparison_ids, judge_words
from curveroute.agent.verify.paraphrase import answer_groups
from curveroute.agent.verify.review import review
from curveroute.agent.verify.signals import read_attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from curveroute.agent.chat.seam import Chat
    from curveroute.agent.embed.seam import Embedder
    from curveroute.agent.pool import Pool
    from curveroute.agent.probe import Keep
    from curveroute.agent.propose import Outlooker
    from curveroute.agent.types import Query, Verdict
    from curveroute.agent.verify.checks import Said
    from curveroute.agent.verify.found import Verifier

    Words = Mapping[AttemptId, tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a review brought.

    Attributes:
        changed: answers whose verdict is new or another one than before.
        judged: calls of the judge.
        turn: what the rule does next.
        heard: all that verifiers said in this run.
    """

    changed: tuple[Attempt, ...]
    judged: tuple[Attempt, ...]
    turn: Turn
    heard: Said = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Panel:
    """Who reviews: the parts that a review needs.

    Attributes:
        made: finds a call that was paid for before a restart.
        embedder: compares answers in free text; by their spelling alone where there is none.
        verifiers: the user's own.
        recorded: what verifiers said when a recorded run was made, in place of asking them again.
        keep: told what the judge's calls cost when the run is cancelled amid one.
    """

    pool: Pool
    chat: Chat
    outlooker: Outlooker
    made: Callable[[AttemptId], Awaitable[tuple[Attempt, ...]]]
    embedder: Embedder | None = None
    verifiers: tuple[Verifier, ...] = ()
    recorded: Mapping[AttemptId, float] | None = None
    keep: Keep | None = None


async def review_run(
    panel: Panel,
    inquiry: Inquiry,
    attempts: Sequence[Attempt],
    step: int,
    *,
    judge: bool,
    committed: bool = False,
    judge_usd: float = math.inf,
    heard: Said | None = None,
) -> Reviewed:
    """Judge what was answered and decide what is next.

    Args:
        panel: the parts.
        inquiry: what was planned.
        attempts: every call so far.
        step: number of the decision to come.
        judge: whether the pool's judge may be asked.
        committed: the answer was shown as it was written, so it stands, whatever its verdict; the judge is not asked.
        judge_usd: what the judge may cost, beside what the cap leaves.
        heard: what verifiers said in this run so far; none is asked again about the same answer.

    Raises:
        CapTooSmall: nothing was answered and nothing fits under the cap.
    """
    answers = [attempt for attempt in attempts if is_answer(attempt)]
    heard = await run_verifiers(panel.verifiers, inquiry.query, answers, heard) if panel.verifiers else {}
    checked = told(heard)
    groups = await _groups(panel, inquiry, answers)
    words = _words(panel, inquiry, attempts, checked)
    hearing = _heard(panel, inquiry, answers, words, groups)
    judged = _with_verdicts(panel, inquiry, answers, hearing, words)
    calls: tuple[Attempt, ...] = ()
    if judge and not committed and hearing is not None and _is_in_words(inquiry.query):
        calls = await _judge(panel, inquiry, judged, hearing, attempts, judge_usd)
    if calls:
        words = _words(panel, inquiry, (*attempts, *calls), checked)
        hearing = _heard(panel, inquiry, answers, words, groups)
        judged = _with_verdicts(panel, inquiry, answers, hearing, words)
    before = {attempt.attempt_id: attempt.verdict for attempt in attempts}
    changed = tuple(attempt for attempt in judged if _differ(before[attempt.attempt_id], attempt.verdict))
    rest = [attempt for attempt in attempts if not is_answer(attempt)]
    every = (*rest, *calls, *judged)
    turn = next_turn(panel.outlooker, inquiry, every, step, committed=committed, hearing=hearing)
    return Reviewed(changed, calls, turn, heard)


def _is_in_words(query: Query) -> bool:
    """Whether a judge, who is shown words alone, sees what there is to judge: no tools, no images."""
    return not query.needs & {"tools", "images"}


def _words(panel: Panel, inquiry: Inquiry, attempts: Sequence[Attempt], checked: Words) -> Words:
    """What judge and verifiers said so far, by attempt."""
    if panel.recorded is not None:
        checked = {name: (word, "as recorded") for name, word in panel.recorded.items()}
    return with_words(judge_words(inquiry.query, attempts, panel.pool.spec.judge_reliability), checked)


async def _groups(panel: Panel, inquiry: Inquiry, answers: Sequence[Attempt]) -> tuple[int | None, ...] | None:
    """Claims of the sound answers, free text by its meaning; None where spelling is all there is."""
    if panel.embedder is None:
        return None
    read = [read_attempt(attempt, inquiry.query.text) for attempt in answers if attempt.error is None]
    return await answer_groups([one.answer for one in read], panel.embedder)


def _heard(
    panel: Panel,
    inquiry: Inquiry,
    answers: Sequence[Attempt],
    words: Words,
    groups: tuple[int | None, ...] | None,
) -> Hearing | None:
    estimates = {candidate.arm: candidate for candidate in inquiry.candidates}
    moved = {name: word for name, (word, _) in words.items()}
    return hear_answers(inquiry.query.text, answers, estimates, panel.outlooker.looking.jury, moved, groups)


def _with_verdicts(
    panel: Panel, inquiry: Inquiry, answers: Sequence[Attempt], hearing: Hearing | None, words: Words
) -> tuple[Attempt, ...]:
    said = {name: reason for name, (_, reason) in words.items()}
    verdicts = review(inquiry.query.text, answers, hearing, panel.outlooker.looking.calibrator, said)
    return tuple(
        replace(attempt, verdict=verdict) if _differ(attempt.verdict, verdict) else attempt
        for attempt in answers
        for verdict in [verdicts[attempt.attempt_id]]
    )


async def _judge(
    panel: Panel,
    inquiry: Inquiry,
    judged: Sequence[Attempt],
    hearing: Hearing,
    attempts: Sequence[Attempt],
    judge_usd: float,
) -> tuple[Attempt, ...]:
    """The judge's calls on the answer that would be given, beside its strongest rival; none where it does not pay."""
    by_id = {attempt.attempt_id: attempt for attempt in judged}
    best = by_id[hearing.given.attempt_id]
    rival = _rival(hearing, by_id, best)
    asked = any(attempt.attempt_id.startswith(best.attempt_id + JUDGE_SUFFIX) for attempt in attempts)
    if asked or best.verdict is None or best.verdict.reason not in {"ok", "disagreement"}:
        return ()
    room = min(left_usd(inquiry.knobs.max_cost_usd, attempts), judge_usd)
    if not judging_pays(
        panel.pool,
        inquiry.query,
        best,
        best.verdict.score,
        inquiry.plan.criteria,
        tradeoff=inquiry.knobs.tradeoff,
        reference_cost_usd=panel.outlooker.reference_cost_usd,
        left_usd=room,
        rival=rival,
    ):
        return ()
    name = AttemptId(best.attempt_id + JUDGE_SUFFIX)
    names = (name,) if rival is None else comparison_ids(name, rival.attempt_id)
    before = [call for one in names for call in await panel.made(one)]  # paid for before a restart
    if before:
        return tuple(before)
    _, calls = await ask_judge(
        panel.pool,
        panel.chat,
        inquiry.query,
        best,
        inquiry.plan.criteria,
        attempt_id=name,
        left_usd=room,
        rival=rival,
        keep=panel.keep,
    )
    return calls


def _rival(hearing: Hearing, by_id: Mapping[AttemptId, Attempt], best: Attempt) -> Attempt | None:
    """The likeliest answer that claims something else; None when nothing else is claimed."""
    places = {attempt.attempt_id: place for place, attempt in enumerate(hearing.attempts)}
    own = hearing.number[0, places[best.attempt_id]]
    others = [place for place in range(len(places)) if 0 <= hearing.number[0, place] != own]
    likeliest = max(others, key=hearing.score, default=None)
    return None if likeliest is None else by_id[hearing.attempts[likeliest].attempt_id]


def _differ(before: Verdict | None, now: Verdict | None) -> bool:
    """Whether a verdict is news. The score follows from the signals, which a checkpoint brings back as lists."""
    if before is None or now is None:
        return before is not now
    return (before.score, before.reason, before.detail) != (now.score, now.reason, now.detail)
