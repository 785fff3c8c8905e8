"""Rows to records: the way back of ``encode``, into the shared words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from curveroute.agent.ledger.events import Collected, RunSettings, Totals
from curveroute.agent.ledger.losers import read_losers
from curveroute.agent.ledger.records import AttemptRecord, DecisionRecord, RunRecord, VerdictRecord
from curveroute.agent.types import (
    Arm,
    Attempt,
    AttemptId,
    Decision,
    Estimate,
    Flip,
    ModelId,
    Plan,
    PredictorOrigin,
    RunId,
    ToolCall,
    Usage,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curveroute.agent.ledger.tables import AttemptRow, DecisionRow, RunRow, VerdictRow


def run_record(row: RunRow) -> RunRecord:
    """A run without its attempts, verdicts and decisions."""
    return RunRecord(
        run_id=RunId(row.run_id),
        created_at=row.created_at,
        finished_at=row.finished_at,
        pool=row.pool,
        kind=cast("Any", row.kind),
        collection=row.collection,
        query_text=row.query_text,
        query_sha256=row.query_sha256,
        tradeoff=row.tradeoff,
        max_cost_usd=row.max_cost_usd,
        status=cast("Any", row.status),
        reason=row.reason,
        answer=row.answer,
        answer_attempt_id=None if row.answer_attempt_id is None else AttemptId(row.answer_attempt_id),
        arm=None if row.model is None else Arm(ModelId(row.model), row.budget),
        totals=Totals(row.cost_usd, row.input_tokens, row.output_tokens, row.attempts),
        plan=None if row.plan is None else _plan(row.plan),
        candidates=tuple(_estimate(item) for item in row.candidates or ()),
        seconds_usd=row.seconds_usd or 0.0,
        settings=None if row.settings is None else _settings(row.settings),
    )


def attempt_record(row: AttemptRow, verdict: Verdict | None) -> AttemptRecord:
    """An attempt, with the last verdict given on it."""
    attempt = Attempt(
        attempt_id=AttemptId(row.attempt_id),
        role=cast("Any", row.role),
        arm=Arm(ModelId(row.model), row.budget),
        text=row.text,
        answer=row.answer,
        usage=Usage(row.input_tokens, row.output_tokens, row.cached_input_tokens),
        cost_usd=row.cost_usd,
        finish_reason=cast("Any", row.finish_reason),
        latency_s=row.latency_s,
        error=row.error,
        confidence=row.confidence,
        verdict=verdict,
        **_formed(row.formed),
    )
    prices = (row.input_price, row.output_price, row.cached_input_price)
    return AttemptRecord(row.seq, attempt, prices, row.created_at, _collected(row))


def _formed(item: Mapping[str, Any] | None) -> dict[str, Any]:
    """The form of an answer; rows of before forms were known have none, as plain words have none."""
    if item is None:
        return {}
    calls = tuple(cast("ToolCall", dict(call)) for call in item["tool_calls"])
    return {"shape": item["shape"], "fault": item["fault"], "tool_calls": calls}


def verdict_record(row: VerdictRow) -> VerdictRecord:
    """A verdict."""
    signals = tuple((str(name), float(value)) for name, value in row.signals)
    verdict = Verdict(row.score, cast("Any", row.reason), row.detail, signals)
    return VerdictRecord(AttemptId(row.attempt_id), verdict, row.created_at)


def decision_record(row: DecisionRow) -> DecisionRecord:
    """A decision."""
    decision = Decision(
        step=row.step,
        arms=tuple(_arm(item) for item in row.arms),
        reason=row.reason,
        status=cast("Any", row.status),
        committed=row.committed,
        rejected=read_losers(row.rejected),
        flips=tuple(_flip(item) for item in row.flips or ()),
        policy=row.policy or "closed-form",
    )
    return DecisionRecord(decision, row.created_at)


def _settings(item: Mapping[str, Any]) -> RunSettings:
    origin = item["predictor"]
    predictor = None if origin is None else PredictorOrigin(origin["folder"], origin["sha256"])
    return RunSettings(item["policy"], item["max_error"], predictor)


def _collected(row: AttemptRow) -> Collected | None:
    if row.query_id is None or row.quality is None:
        return None
    return Collected(
        query_id=row.query_id,
        task=row.task or "",
        sample=row.sample or 0,
        quality=row.quality,
        reference=row.reference,
        prompt_style=row.prompt_style,
        query=row.query,
    )


def _arm(item: Mapping[str, Any]) -> Arm:
    return Arm(ModelId(item["model"]), item["budget"])


def _flip(item: Mapping[str, Any]) -> Flip:
    return Flip(item["tradeoff"], tuple(_arm(arm) for arm in item["arms"]), item["reason"])


def _plan(item: Mapping[str, Any]) -> Plan:
    arms = tuple(_arm(arm) for arm in item["arms"])
    return Plan(arms, item["probe"], item["criteria"], item["source"], item["reason"])


def _estimate(item: Mapping[str, Any]) -> Estimate:
    return Estimate(
        arm=_arm(item),
        quality=item["quality"],
        quality_std=item["quality_std"],
        input_tokens=item["input_tokens"],
        output_tokens=item["output_tokens"],
        cost_usd=item["cost_usd"],
        latency_s=item.get("latency_s", 0.0),  # not in runs that were written before it was estimated
        input_bound=item.get("input_bound"),  # nor are these
        output_limit=item.get("output_limit"),
    )
