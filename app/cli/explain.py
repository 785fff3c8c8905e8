"""How an answer came about, as tables: what was considered, what was tried, what the verifiers said, why it stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from curveroute.agent.types import Attempt
    from curveroute.route import Route

_SHOWN = 16


def explain(route: Route) -> None:
    """Print the route."""
    console = Console()
    console.print()
    console.print(_candidates(route))
    if route.plan is not None:
        criteria = f"; a good answer: {route.plan.criteria}" if route.plan.criteria else ""
        console.print(f"[bold]plan[/] ({route.plan.source}): {escape(route.plan.reason + criteria)}")
    for decision in route.decisions:
        chosen = ", ".join(str(arm) for arm in decision.arms) or "stop"
        console.print(f"[bold]step {decision.step}[/]: {escape(chosen)}: {escape(decision.reason)}")
    console.print(_attempts(route))
    console.print(
        f"[bold]{escape(str(route.arm))}[/] {route.status}: {escape(route.reason)}. "
        f"{route.cost_usd:.3e} USD in {len(route.attempts)} call(s). Run {route.run_id}"
    )


def _candidates(route: Route) -> Table:
    table = Table("candidate", "quality", "±", "output tokens", "USD", title="considered, best score first")
    for one in route.candidates[:_SHOWN]:
        table.add_row(
            str(one.arm),
            f"{one.quality:.2f}",
            f"{one.quality_std:.2f}",
            f"{one.output_tokens:.0f}",
            f"{one.cost_usd:.2e}",
        )
    return table


def _attempts(route: Route) -> Table:
    table = Table("role", "arm", "answer", "tokens in/out", "USD", "s", "verdict", title="tried")
    for attempt in route.attempts:
        table.add_row(
            attempt.role,
            str(attempt.arm),
            escape((attempt.error or attempt.answer or attempt.text or "")[:60]),
            f"{attempt.usage.input_tokens}/{attempt.usage.output_tokens}",
            f"{attempt.cost_usd:.2e}",
            f"{attempt.latency_s:.1f}",
            escape(_verdict(attempt)),
        )
    return table


def _verdict(attempt: Attempt) -> str:
    verdict = attempt.verdict
    if verdict is None:
        return ""
    detail = f": {verdict.detail[:80]}" if verdict.detail else ""
    return f"{verdict.score:.2f} {verdict.reason}{detail}"
