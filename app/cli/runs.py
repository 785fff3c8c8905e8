"""``curveroute runs``: the runs in the ledger, how each came about, and whether its sums agree."""

from __future__ import annotations

import json
from argparse import SUPPRESS
from typing import TYPE_CHECKING

from curveroute.cli.terminal import harmless

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from curveroute.agent.ledger import Ledger, RunRecord
    from curveroute.agent.types import JsonObject
    from curveroute.route import Route

_LONGEST_LIST = 1_000_000
_RUN = "a run's id, or the beginning of it; `curveroute runs list` shows them"
_ONE_OBJECT = "print exactly one JSON object"


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    from curveroute.cli.replaying import declare_replay

    actions = parser.add_subparsers(dest="action", metavar="action", required=True)

    def action(name: str, what: str, work: Callable[[Ledger, argparse.Namespace], int]) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=what, description=what, allow_abbrev=False)
        added.add_argument("--debug", action="store_true", default=SUPPRESS, help="show the traceback of an error")
        added.set_defaults(run=run, work=work)
        return added

    listed = action("list", "list the newest runs", _list_runs)
    listed.add_argument("--limit", type=int, default=20, help="runs to list (default: 20)")
    listed.add_argument("--status", choices=("running", "accepted", "best_so_far", "failed"), help="list only these")
    shown = action("show", "show how a run came about", _show_run)
    shown.add_argument("run_id", metavar="run", help=_RUN)
    shown.add_argument("--json", action="store_true", help=_ONE_OBJECT)
    replayed = action("replay", "decide recorded runs again, offline", _replay_runs)
    replayed.add_argument("run_ids", nargs="*", metavar="run", help=_RUN)
    replayed.add_argument("--json", action="store_true", help=_ONE_OBJECT)
    declare_replay(replayed)
    verified = action("verify", "check that the ledger's sums agree", _verify_runs)
    verified.add_argument("run_id", metavar="run", nargs="?", help=f"only this one: {_RUN}")


def run(options: argparse.Namespace) -> int:
    """List, show, decide again or verify."""
    from curveroute.agent.ledger import Ledger
    from curveroute.cli.checks import at_least, at_most
    from curveroute.compose import load_settings

    if options.action == "list":
        at_least("limit", options.limit, 1)
        at_most("limit", options.limit, _LONGEST_LIST)
    with Ledger.open(load_settings().ledger_url) as ledger:
        return int(options.work(ledger, options))


def _list_runs(ledger: Ledger, options: argparse.Namespace) -> int:
    _list(ledger.runs(options.limit, options.status), options.status)
    return 0


def _show_run(ledger: Ledger, options: argparse.Namespace) -> int:
    record = ledger.run(options.run_id)
    if options.json:
        print(json.dumps(_account(record), ensure_ascii=False))
    else:
        _show(record)
    return 0


def _replay_runs(ledger: Ledger, options: argparse.Namespace) -> int:
    from curveroute.cli.replaying import replay

    return replay(ledger, options)


def _verify_runs(ledger: Ledger, options: argparse.Namespace) -> int:
    report = ledger.verify(options.run_id)
    for fault in report.disagreements:
        print(fault)
    print(f"{report.runs} run(s), {report.attempts} attempt(s), {len(report.disagreements)} disagreement(s)")
    return 0 if report.ok else 1


def _list(runs: list[RunRecord], status: str | None) -> None:
    if not runs and status:
        print(f"no run is {status}")
        return
    if not runs:
        print('no runs yet; `curveroute ask "…"` makes one')
    for one in runs:
        arm = "-" if one.arm is None else str(one.arm)
        when = one.created_at.strftime("%Y-%m-%d %H:%M")
        question = harmless(" ".join(one.query_text.split())[:60])
        print(f"{one.run_id[:12]}  {when}  {one.status:11}  {one.totals.cost_usd:.2e} USD  {arm:28}  {question}")


def _show(record: RunRecord) -> None:
    from curveroute.cli.explain import explain

    cap = "no cap" if record.max_cost_usd is None else f"cap {record.max_cost_usd:g} USD"
    second = f", a second is worth {record.seconds_usd:g} USD" if record.seconds_usd else ""
    print(
        f"run {record.run_id}, {record.created_at:%Y-%m-%d %H:%M:%S} UTC, pool {record.pool}, "
        f"tradeoff {record.tradeoff:g}, {cap}{second}{_settings(record)}"
    )
    print(harmless(f"\n{record.query_text}\n\n{record.answer or '(no answer)'}"))
    explain(_route(record), record.tradeoff)
    _tell_feedback(record)


def _tell_feedback(record: RunRecord) -> None:
    if not record.feedback:
        return
    from curveroute.agent.ledger.feedback import counted

    print(f"\nfeedback: {counted((one.source, one.score) for one in record.feedback):.2f}")
    for one in record.feedback:
        comment = harmless(f": {' '.join(one.comment.split())}" if one.comment else "")
        print(f"  {one.created_at:%Y-%m-%d %H:%M} UTC  {harmless(one.source)}  {one.score:.2f}{comment}")


def _settings(record: RunRecord) -> str:
    """Rule, promise and predictor, as far as they were set."""
    settings = record.settings
    if settings is None:
        return ""
    origin = settings.predictor
    parts = (
        f"rule {settings.policy}" if settings.policy else "",
        f"at most {settings.max_error:g} wrong" if settings.max_error else "",
        f"predictor {harmless(origin.folder)}" if origin and origin.folder else "",
    )
    return "".join(f", {part}" for part in parts if part)


def _route(record: RunRecord) -> Route:
    from curveroute.route import Route

    return Route(
        answer=record.answer or "",
        model="" if record.arm is None else record.arm.model,
        budget=None if record.arm is None else record.arm.budget,
        status=None if record.status == "running" else record.status,
        reason=record.reason,
        cost_usd=record.totals.cost_usd,
        run_id=record.run_id,
        attempts=tuple(one.attempt for one in record.attempts),
        candidates=record.candidates,
        plan=record.plan,
        decisions=tuple(one.decision for one in record.decisions),
    )


def _account(record: RunRecord) -> JsonObject:
    """The whole run as one JSON object."""
    from curveroute.agent.account import attempt_account, candidates_account, decision_account, plan_account
    from curveroute.agent.ledger import RunSettings

    settings = record.settings or RunSettings()
    origin = settings.predictor
    return {
        "run_id": record.run_id,
        "created_at": record.created_at.isoformat(),
        "pool": record.pool,
        "tradeoff": record.tradeoff,
        "max_cost_usd": record.max_cost_usd,
        "seconds_usd": record.seconds_usd,
        "policy": settings.policy,
        "max_error": settings.max_error,
        "predictor": None if origin is None else {"folder": origin.folder, "sha256": origin.sha256},
        "query": record.query_text,
        "status": record.status,
        "reason": record.reason,
        "arm": None if record.arm is None else str(record.arm),
        "answer": record.answer,
        "answer_attempt_id": record.answer_attempt_id,
        "cost_usd": record.totals.cost_usd,
        "candidates": candidates_account(record.candidates),
        "plan": None if record.plan is None else plan_account(record.plan),
        "decisions": [decision_account(one.decision) for one in record.decisions],
        "attempts": [
            {"attempt_id": one.attempt.attempt_id, "text": one.attempt.text, **attempt_account(one.attempt)}
            for one in record.attempts
        ],
        "feedback": [
            {"source": one.source, "score": one.score, "comment": one.comment, "created_at": one.created_at.isoformat()}
            for one in record.feedback
        ],
    }
