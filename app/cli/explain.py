"""How an answer came about, as tables: what was considered, what was tried, what the verifiers said, why it stopped.

Names are never cut, on a narrow terminal either; what others wrote (answers, reasons) is folded and never read as
markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from curveroute.cli.terminal import harmless

if TYPE_CHECKING:
    from curveroute.agent.types import Attempt, Decision
    from curveroute.route import Route

_SHOWN = 16
_NAME_WIDTH = 32
_LONGEST_ANSWER = 160
_CHOSEN = "asked first"


def explain(route: Route) -> None:
    """Print the route."""
    console = Console(highlight=False, emoji=False)
    console.print(_candidates(route))
    if route.plan is not None:
        criteria = f"; a good answer: {route.plan.criteria}" if route.plan.criteria else ""
        console.print(_titled(f"plan ({route.plan.source})", route.plan.reason + criteria))
    for decision in route.decisions:
        console.print(_titled(f"step {decision.step}", _decided(decision)))
    console.print("\ntried, in order", style="italic", justify="center")
    for attempt in route.attempts:
        console.print(_attempt(attempt))
    console.print()
    console.print(_titled("no answer" if route.arm is None else str(route.arm), _ended(route)))


def _candidates(route: Route) -> Table:
    longest = max((len(str(one.arm)) for one in route.candidates[:_SHOWN]), default=0)
    table = Table(
        Column("candidate", overflow="fold", width=max(min(longest, _NAME_WIDTH), len("candidate"))),
        Column("quality", justify="right", no_wrap=True),
        Column("tokens", justify="right", no_wrap=True),
        Column("USD", justify="right", no_wrap=True),
        Column("at first", overflow="fold"),
        title="considered, best score first",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    first = route.decisions[0] if route.decisions else None
    why = {} if first is None else {one.arm: one.reason for one in first.rejected}
    why |= {} if first is None else dict.fromkeys(first.arms, _CHOSEN)
    for one in route.candidates[:_SHOWN]:
        table.add_row(
            str(one.arm),
            f"{one.quality:.2f} ± {one.quality_std:.2f}",
            f"{one.output_tokens:.0f}",
            f"{one.cost_usd:.2e}",
            Text(why.get(one.arm, "")),
        )
    if len(route.candidates) > _SHOWN:
        table.caption = f"and {len(route.candidates) - _SHOWN} more"
    return table


def _attempt(attempt: Attempt) -> Padding:
    """One call: who was asked and what it took, then what came back, then what the verifiers said of it."""
    usage = attempt.usage
    took = f"{usage.input_tokens} in, {usage.output_tokens} out, {attempt.cost_usd:.2e} USD, {attempt.latency_s:.1f} s"
    head = Text.assemble(f"{attempt.role} ", (str(attempt.arm), "bold"), f"  {took}", overflow="fold")
    said = [Text(harmless(part), overflow="fold") for part in (_said(attempt), _verdict(attempt)) if part]
    return Padding(Group(head, *(Padding(part, (0, 0, 0, 4)) for part in said)), (0, 1))


def _said(attempt: Attempt) -> str:
    """The extracted answer; of planner, judge and answers without one the text; of failed calls the error."""
    words = " ".join((attempt.error or attempt.answer or attempt.text).split())
    return words if attempt.error or len(words) <= _LONGEST_ANSWER else words[:_LONGEST_ANSWER] + " …"


def _verdict(attempt: Attempt) -> str:
    verdict = attempt.verdict
    if verdict is None:
        return ""
    detail = f": {verdict.detail}" if verdict.detail and verdict.detail != attempt.error else ""
    return f"→ {verdict.score:.2f} {verdict.reason}{detail}"


def _decided(decision: Decision) -> str:
    chosen = " and ".join(str(arm) for arm in decision.arms)
    return f"{f'ask {chosen}' if chosen else 'stop'}: {decision.reason}"


def _ended(route: Route) -> str:
    calls = "1 call" if len(route.attempts) == 1 else f"{len(route.attempts)} calls"
    how = ", ".join(part for part in (route.status or "running", route.reason) if part)
    return f"{how}; {route.cost_usd:.3e} USD in {calls}, run {route.run_id}"


def _titled(title: str, text: str) -> Text:
    return Text.assemble((title, "bold"), ": ", harmless(text), overflow="fold")
