"""A run's account of itself as plain, compact JSON: for traces, and for machines that read ``runs show --json``.

Arms are written as ``model@budget`` and figures to four significant digits: an account is read, not computed with.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from curveroute.agent.step import is_answer
from curveroute.agent.verify.answers import same
from curveroute.agent.verify.signals import read_attempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from curveroute.agent.types import (
        Attempt,
        AttemptId,
        Decision,
        Estimate,
        Flip,
        JsonObject,
        JsonValue,
        Plan,
        Rejection,
    )

_FIGURES = ("quality", "quality_std", "output_tokens", "cost_usd", "latency_s")


def best_losers(decision: Decision) -> list[Rejection]:
    """The rejected arms, highest net gain first; those without one come last, in their order."""
    return sorted(decision.rejected, key=lambda one: math.inf if one.net_gain is None else -one.net_gain)


def candidates_account(candidates: Sequence[Estimate]) -> JsonObject:
    """The candidate table as columns, best first."""
    columns: dict[str, JsonValue] = {name: [brief(getattr(one, name)) for one in candidates] for name in _FIGURES}
    return {"arm": [str(one.arm) for one in candidates], **columns}


def decision_account(decision: Decision, losers: int | None = None) -> JsonObject:
    """One decision: what was chosen and why, how many lost for each reason, the best losers, where it would flip.

    Args:
        decision: what the rule chose.
        losers: how many of the rejected arms to name, best first; none: all.
    """
    return {
        "step": decision.step,
        "chosen": [str(arm) for arm in decision.arms],
        "reason": decision.reason,
        "status": decision.status,
        "committed": decision.committed,
        "policy": decision.policy,
        "lost_for": dict(_counted(one.reason for one in decision.rejected)),
        "rejected": [_rejection(one) for one in best_losers(decision)[:losers]],
        "flips": [_flip(flip) for flip in decision.flips],
    }


def attempt_account(attempt: Attempt) -> JsonObject:
    """One call: who was asked, what it took, and what the verifiers saw and said."""
    verdict = attempt.verdict
    return {
        "arm": str(attempt.arm),
        "role": attempt.role,
        "input_tokens": attempt.usage.input_tokens,
        "output_tokens": attempt.usage.output_tokens,
        "cost_usd": attempt.cost_usd,
        "latency_s": brief(attempt.latency_s),
        "finish_reason": attempt.finish_reason,
        "error": attempt.error,
        "verdict": None
        if verdict is None
        else {
            "score": brief(verdict.score),
            "reason": verdict.reason,
            "detail": verdict.detail,
            "signals": {name: brief(value) for name, value in verdict.signals if value},
        },
    }


def plan_account(plan: Plan) -> JsonObject:
    """The plan; a ranking's order is the candidates' and is not repeated."""
    return {
        "source": plan.source,
        "reason": plan.reason,
        "criteria": plan.criteria,
        "probe": plan.probe,
        "arms": None if plan.source == "ranking" else [str(arm) for arm in plan.arms],
    }


def agreements(attempts: Sequence[Attempt]) -> dict[AttemptId, tuple[int, int]]:
    """How many other answers of the run say the same as each answer, and how many something else.

    An answer that claims nothing neither agrees nor differs, as the verifiers see it.
    """
    answers = [one for one in attempts if is_answer(one) and one.error is None]
    read = {one.attempt_id: read_attempt(one, "") for one in answers}
    said = {name: one.answer for name, one in read.items() if one.answer}
    counts = {}
    for name, own in said.items():
        agreeing = [same(*sorted((own, other))) for rival, other in said.items() if rival != name]
        counts[name] = (sum(agreeing), len(agreeing) - sum(agreeing))
    return counts


def brief(value: float | None) -> float | None:
    """``value`` to four significant digits; nothing where it is not finite, because JSON has no word for it."""
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _rejection(one: Rejection) -> JsonObject:
    figures = {name: brief(getattr(one, name)) for name in ("net_gain", "gain", "price", "probability")}
    known: JsonObject = {name: value for name, value in figures.items() if value is not None}
    return {"arm": str(one.arm), "reason": one.reason, **known}


def _flip(flip: Flip) -> JsonObject:
    return {"tradeoff": flip.tradeoff, "chosen": [str(arm) for arm in flip.arms], "reason": flip.reason}


def _counted(reasons: Iterable[str]) -> list[tuple[str, int]]:
    return Counter(reasons).most_common()
