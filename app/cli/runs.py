"""``curveroute runs``: the runs in the ledger, and whether its sums agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curveroute.cli.terminal import harmless

if TYPE_CHECKING:
    import argparse

    from curveroute.agent.ledger import Ledger, RunRecord


_LONGEST_LIST = 1_000_000


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("action", choices=("list", "show", "verify"), help="what to do")
    parser.add_argument("run_id", nargs="?", help="a run's id, or the beginning of it")
    parser.add_argument("--limit", type=int, default=20, help="runs to list (default: 20)")
    parser.add_argument("--status", choices=("running", "accepted", "best_so_far", "failed"), help="list only these")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List, show or verify."""
    from curveroute.agent.errors import SettingError
    from curveroute.agent.ledger import Ledger
    from curveroute.cli.checks import at_least, at_most
    from curveroute.compose import load_settings

    at_least("limit", options.limit, 1)
    at_most("limit", options.limit, _LONGEST_LIST)
    if options.action == "show" and options.run_id is None:
        raise SettingError("runs show needs a run's id; `curveroute runs list` shows them")
    with Ledger.open(load_settings().ledger_url) as ledger:
        if options.action == "verify":
            return _verify(ledger, options.run_id)
        if options.action == "show":
            _show(ledger.run(options.run_id))
        else:
            _list(ledger.runs(options.limit, options.status))
    return 0


def _list(runs: list[RunRecord]) -> None:
    if not runs:
        print('no runs yet; `curveroute ask "…"` makes one')
    for one in runs:
        arm = "-" if one.arm is None else str(one.arm)
        when = one.created_at.strftime("%Y-%m-%d %H:%M")
        question = harmless(" ".join(one.query_text.split())[:60])
        print(f"{one.run_id[:12]}  {when}  {one.status:11}  {one.totals.cost_usd:.2e} USD  {arm:28}  {question}")


def _show(record: RunRecord) -> None:
    from curveroute.cli.explain import explain
    from curveroute.route import Route

    cap = "no cap" if record.max_cost_usd is None else f"cap {record.max_cost_usd:g} USD"
    print(
        f"run {record.run_id}, {record.created_at:%Y-%m-%d %H:%M:%S} UTC, pool {record.pool}, "
        f"tradeoff {record.tradeoff:g}, {cap}"
    )
    print(harmless(f"\n{record.query_text}\n\n{record.answer or '(no answer)'}"))
    explain(
        Route(
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
    )


def _verify(ledger: Ledger, run_id: str | None) -> int:
    report = ledger.verify(run_id)
    for fault in report.disagreements:
        print(fault)
    print(f"{report.runs} run(s), {report.attempts} attempt(s), {len(report.disagreements)} disagreement(s)")
    return 0 if report.ok else 1
