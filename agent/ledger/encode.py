"""Events to column values: checked here, before they wait or travel, so that the caller hears of a bad value at once.

Refused: numbers that are not finite or negative where nothing is negative. Mended: text no database stores (lone
surrogates, NUL), and keys that a server quoted back in an error.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger.events import AttemptMade, CallLanded, CallSent, RunEnd, RunStart, VerdictGiven, Written
from curveroute.agent.ledger.losers import losers_json

if TYPE_CHECKING:
    from curveroute.agent.ledger.events import Collected, RunSettings, Totals
    from curveroute.agent.types import Arm, Attempt, Decision, Estimate, Flip, JsonObject, JsonValue, Plan, RunId

Operation = Literal["start", "attempt", "landed", "verdict", "decision", "feedback", "finish", "finish_summed"]
Values: TypeAlias = dict[str, Any]

_LARGEST = 2**63 - 1
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SECRET = re.compile(r"\b(?:sk|pk|gsk|hf)[-_][\w\-*.]{8,}|\bAIza[\w\-]{20,}|(?<=Bearer )[^\s\"']+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Write:
    """One statement to be: which, and with what."""

    operation: Operation
    values: Values


def encode(run_id: RunId, event: Written) -> Write:
    """One event of a run as a write.

    Raises:
        LedgerError: a number that no ledger should hold.
    """
    now = datetime.now(UTC)
    if isinstance(event, AttemptMade | CallSent):
        return Write("attempt", _attempt(run_id, event, now))
    if isinstance(event, CallLanded):
        return Write("landed", {"key_attempt_id": clean(event.attempt_id), "key_run_id": clean(run_id)})
    if isinstance(event, VerdictGiven):
        return Write("verdict", _verdict(event, now))
    if isinstance(event, RunStart):
        return Write("start", _start(run_id, event, now))
    if isinstance(event, RunEnd):
        return Write("finish_summed" if event.totals is None else "finish", _finish(run_id, event, now))
    return Write("decision", _decision(run_id, event, now))


def sha256(text: str) -> str:
    """The fingerprint of a query's stored text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _start(run_id: RunId, run: RunStart, now: datetime) -> Values:
    if run.run_id != run_id:
        raise LedgerError(f"run {run.run_id!r} cannot start inside run {run_id!r}: record it under its own id")
    text = clean(run.query_text)
    return {
        "run_id": clean(run_id),
        "created_at": now,
        "pool": clean(run.pool),
        "query_text": text,
        "query_sha256": sha256(text),
        "tradeoff": _finite("tradeoff", run.tradeoff),
        "max_cost_usd": None if run.max_cost_usd is None else _amount("max_cost_usd", run.max_cost_usd),
        "status": "running",
        "cost_usd": 0.0,
        "input_tokens": 0,
        "output_tokens": 0,
        "attempts": 0,
        "kind": run.kind,
        "collection": clean(run.collection),
        "reason": "",
        "seconds_usd": _amount("seconds_usd", run.seconds_usd),
        "settings": None if run.settings is None else _settings_json(run.settings),
    }


def _settings_json(settings: RunSettings) -> JsonObject:
    origin = settings.predictor
    return {
        "policy": clean(settings.policy),
        "max_error": None if settings.max_error is None else _amount("max_error", settings.max_error),
        "predictor": None if origin is None else {"folder": clean(origin.folder), "sha256": origin.sha256},
    }


def _attempt(run_id: RunId, event: AttemptMade | CallSent, now: datetime) -> Values:
    attempt = event.attempt
    input_price, output_price, cached_price = event.prices
    return {
        "attempt_id": clean(attempt.attempt_id),
        "run_id": clean(run_id),
        "created_at": now,
        "role": attempt.role,
        **_arm_columns(attempt.arm),
        "text": clean(attempt.text),
        "answer": clean(attempt.answer),
        **_usage_columns(attempt),
        "input_price": _amount("input price", input_price),
        "output_price": _amount("output price", output_price),
        "cached_input_price": _amount("cached input price", cached_price),
        "cost_usd": _amount("cost_usd", attempt.cost_usd),
        "finish_reason": attempt.finish_reason,
        "latency_s": _finite("latency_s", attempt.latency_s),
        "error": None if attempt.error is None else masked(attempt.error),
        "confidence": None if attempt.confidence is None else _finite("confidence", attempt.confidence),
        "formed": _formed_json(attempt),
        **_collected_columns(event.collected if isinstance(event, AttemptMade) else None),
    }


def _formed_json(attempt: Attempt) -> JsonObject | None:
    """What an answer in JSON or tool calls was; nothing for plain words."""
    if attempt.shape == "text":
        return None
    calls: list[JsonValue] = [{key: clean(str(value)) for key, value in call.items()} for call in attempt.tool_calls]
    return {"shape": attempt.shape, "fault": clean(attempt.fault), "tool_calls": calls}


def _usage_columns(attempt: Attempt) -> Values:
    usage = attempt.usage
    return {
        "input_tokens": _count("input_tokens", usage.input_tokens),
        "cached_input_tokens": _count("cached_input_tokens", usage.cached_input_tokens),
        "output_tokens": _count("output_tokens", usage.output_tokens),
    }


_NOT_COLLECTED: Values = dict.fromkeys(("query_id", "query", "task", "sample", "quality", "reference", "prompt_style"))


def _collected_columns(collected: Collected | None) -> Values:
    if collected is None:
        return _NOT_COLLECTED
    quality = _finite("quality", collected.quality)
    if not 0.0 <= quality <= 1.0:
        raise LedgerError(f"quality {quality!r} of query {collected.query_id!r} is not in [0, 1]: grade it again")
    return {
        "query_id": clean(collected.query_id),
        "query": clean(collected.query),
        "task": clean(collected.task),
        "sample": _count("sample", collected.sample),
        "quality": quality,
        "reference": clean(collected.reference),
        "prompt_style": clean(collected.prompt_style),
    }


def _verdict(event: VerdictGiven, now: datetime) -> Values:
    verdict = event.verdict
    return {
        "attempt_id": clean(event.attempt_id),
        "score": _finite("score", verdict.score),
        "reason": verdict.reason,
        "detail": clean(verdict.detail),
        "signals": [[name, _finite(name, value)] for name, value in verdict.signals],
        "created_at": now,
    }


def _decision(run_id: RunId, decision: Decision, now: datetime) -> Values:
    return {
        "run_id": clean(run_id),
        "step": _count("step", decision.step),
        "arms": [_arm_json(arm) for arm in decision.arms],
        "reason": clean(decision.reason),
        "status": decision.status,
        "committed": decision.committed,
        "rejected": losers_json(decision.rejected),
        "created_at": now,
        "policy": clean(decision.policy),
        "flips": [_flip_json(flip) for flip in decision.flips],
    }


def _finish(run_id: RunId, end: RunEnd, now: datetime) -> Values:
    arm = {"model": None, "budget": None} if end.arm is None else _arm_columns(end.arm)
    return {
        "key_run_id": clean(run_id),
        "status": end.status,
        "reason": clean(end.reason),
        "answer": clean(end.answer),
        "answer_attempt_id": clean(end.answer_attempt_id),
        **arm,
        "finished_at": now,
        "plan": None if end.plan is None else _plan_json(end.plan),
        "candidates": [_estimate_json(estimate) for estimate in end.candidates],
        **({} if end.totals is None else _total_columns(end.totals)),
    }


def _total_columns(totals: Totals) -> Values:
    return {
        "cost_usd": _amount("cost_usd", totals.cost_usd),
        "input_tokens": _count("input_tokens", totals.input_tokens),
        "output_tokens": _count("output_tokens", totals.output_tokens),
        "attempts": _count("attempts", totals.attempts),
    }


def _arm_columns(arm: Arm) -> Values:
    return {"model": clean(arm.model), "budget": None if arm.budget is None else _count("budget", arm.budget)}


def _arm_json(arm: Arm) -> JsonObject:
    return {"model": arm.model, "budget": arm.budget}


def _flip_json(flip: Flip) -> JsonObject:
    return {
        "tradeoff": _finite("tradeoff", flip.tradeoff),
        "arms": [_arm_json(arm) for arm in flip.arms],
        "reason": flip.reason,
    }


def _plan_json(plan: Plan) -> JsonObject:
    return {
        "arms": [_arm_json(arm) for arm in plan.arms],
        "probe": plan.probe,
        "criteria": plan.criteria,
        "source": plan.source,
        "reason": plan.reason,
    }


def _estimate_json(estimate: Estimate) -> JsonObject:
    return {
        **_arm_json(estimate.arm),
        "quality": _finite("quality", estimate.quality),
        "quality_std": _finite("quality_std", estimate.quality_std),
        "input_tokens": _count("input_tokens", estimate.input_tokens),
        "output_tokens": _finite("output_tokens", estimate.output_tokens),
        "cost_usd": _finite("cost_usd", estimate.cost_usd),
        "latency_s": _finite("latency_s", estimate.latency_s),
        "input_bound": None if estimate.input_bound is None else _count("input_bound", estimate.input_bound),
        "output_limit": None if estimate.output_limit is None else _count("output_limit", estimate.output_limit),
    }


def masked(text: str) -> str:
    """``text`` as ``clean`` gives it, without what looks like a key."""
    return _SECRET.sub("[key]", clean(text))


@overload
def clean(text: str) -> str: ...
@overload
def clean(text: None) -> None: ...
def clean(text: str | None) -> str | None:
    """``text`` with what no database stores replaced by U+FFFD."""
    if text is None or (text.isascii() and "\x00" not in text):
        return text
    return _UNSTORABLE.sub("\ufffd", text)


def _finite(name: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise LedgerError(f"{name} is {number!r}: the ledger holds finite numbers only; mend it before recording")
    return number


def _amount(name: str, value: float) -> float:
    number = _finite(name, value)
    if number < 0:
        raise LedgerError(f"{name} is {number!r}: it cannot be negative; mend it before recording")
    return number


def _count(name: str, value: int) -> int:
    number = int(value)
    if not 0 <= number <= _LARGEST:
        raise LedgerError(f"{name} is {number!r}: it must be from 0 to 2**63 - 1; mend it before recording")
    return number
