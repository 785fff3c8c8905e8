"""How an answer came about, as a story: what was considered, and step by step what was chosen and what came back.

Each thing is told once, where it happened. What others wrote (answers, reasons) is folded and never read as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from curveroute.agent.account import agreements
from curveroute.cli.losers import first_table, later_table
from curveroute.cli.terminal import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from curveroute.agent.types import Attempt, AttemptId, Decision, Flip
    from curveroute.route import Route

    Counts = Mapping[AttemptId, tuple[int, int]]

_LONGEST_ANSWER = 160


def explain(route: Route, tradeoff: float) -> None:
    """Print the story of a route that was decided at this tradeoff."""
    console = Console(highlight=False, emoji=False)
    first = route.decisions[0] if route.decisions else None
    console.print(Text(f"\nconsidered {len(route.candidates)}, best score first", style="italic"))
    console.print(first_table(route.candidates, first))
    if route.plan is not None:
        criteria = f"; a good answer: {route.plan.criteria}" if route.plan.criteria else ""
        console.print(_titled(f"\nplan ({route.plan.source})", route.plan.reason + criteria))
    counts, told = agreements(route.attempts), _by_step(route)
    for attempt in told[0]:
        console.print(_attempt(attempt, counts, quiet=route.plan is not None and route.plan.source == "planner"))
    for decision in route.decisions:
        console.print(_titled(f"\nstep {decision.step}", _decided(decision)))
        if flips := _flips(decision.flips, tradeoff):
            console.print(Padding(Text(flips, overflow="fold"), (0, 0, 0, 2)))
        if decision is not first:
            console.print(later_table(decision))
        for attempt in told.get(decision.step, []):
            console.print(_attempt(attempt, counts, quiet=attempt.role == "judge"))
    console.print()
    console.print(_titled("no answer" if route.arm is None else str(route.arm), _ended(route)))


def _by_step(route: Route) -> dict[int, list[Attempt]]:
    """The calls of each step; 0 holds the planner's, and those of runs that take no decisions."""
    told: dict[int, list[Attempt]] = {0: []}
    steps = {decision.step for decision in route.decisions}
    for attempt in route.attempts:
        word = attempt.attempt_id.removeprefix(f"{route.run_id}.").partition(".")[0]
        step = int(word) if word.isdecimal() and int(word) in steps else 0
        told.setdefault(step, []).append(attempt)
    return told


def _attempt(attempt: Attempt, counts: Counts, *, quiet: bool) -> Padding:
    """One call: who was asked and what it took, then what came back, then what the verifiers said of it.

    What a planner or judge said that was understood is told in the plan and in the verdict: it is ``quiet`` here.
    """
    usage = attempt.usage
    took = f"{usage.input_tokens} in, {usage.output_tokens} out, {attempt.cost_usd:.2e} USD, {attempt.latency_s:.1f} s"
    head = Text.assemble(f"{attempt.role} ", (str(attempt.arm), "bold"), f"  {took}", overflow="fold")
    said = [
        Text(harmless(part), overflow="fold")
        for part in (
            "" if quiet and not attempt.error else _said(attempt),
            verdict_line(attempt, counts.get(attempt.attempt_id)),
        )
        if part
    ]
    return Padding(Group(head, *(Padding(part, (0, 0, 0, 4)) for part in said)), (0, 2))


def _said(attempt: Attempt) -> str:
    """The extracted answer; of planner, judge and answers without one the text; of failed calls the error."""
    words = " ".join((attempt.error or attempt.answer or attempt.text).split())
    return words if attempt.error or len(words) <= _LONGEST_ANSWER else words[:_LONGEST_ANSWER] + " …"


def verdict_line(attempt: Attempt, counts: tuple[int, int] | None) -> str:
    """The probability that it is right, the reason, who agrees, and what else was said."""
    verdict = attempt.verdict
    if verdict is None:
        return ""
    parts = [_counted(counts), *(part for part in verdict.detail.split("; ") if not _is_counted(part))]
    detail = "; ".join(part for part in parts if part and part != attempt.error)
    return f"→ {verdict.score:.2f} {verdict.reason}{f': {detail}' if detail else ''}"


def _counted(counts: tuple[int, int] | None) -> str:
    if counts is None or not any(counts):
        return ""
    agree, differ = counts
    words = (f"{agree} agree{'s' * (agree == 1)}", f"{differ} differ{'s' * (differ == 1)}")
    return ", ".join(word for word, number in zip(words, counts, strict=True) if number)


def _is_counted(part: str) -> bool:
    """Whether a part of a verdict's detail says in words what the counts say in numbers."""
    return all(word.endswith((" agrees", " differs", " itself")) for word in part.split(", "))


def _decided(decision: Decision) -> str:
    chosen = " and ".join(str(arm) for arm in decision.arms)
    by = "" if decision.policy == "closed-form" else f" ({decision.policy})"
    shown = ", shown as it is written" if decision.committed and chosen else ""
    return f"{f'ask {chosen}' if chosen else 'stop'}{by}: {decision.reason}{shown}"


def _flips(flips: Sequence[Flip], tradeoff: float) -> str:
    """At which tradeoffs the choice would be another one: less favours quality, more favours cost."""
    words = []
    for flip in flips:
        side = "less" if flip.tradeoff < tradeoff else "more"
        would = f"ask {' and '.join(str(arm) for arm in flip.arms)}" if flip.arms else "stop"
        why = f" ({flip.reason})" if flip.reason else ""
        words.append(f"at a tradeoff of {flip.tradeoff:g} or {side} it would {would}{why}")
    return "; ".join(words)


def _ended(route: Route) -> str:
    calls = "1 call" if len(route.attempts) == 1 else f"{len(route.attempts)} calls"
    told = bool(route.decisions) and route.decisions[-1].reason == route.reason
    how = ", ".join(part for part in (route.status or "running", "" if told else route.reason) if part)
    return f"{how}; {route.cost_usd:.3e} USD in {calls}, run {route.run_id}"


def _titled(title: str, text: str) -> Text:
    return Text.assemble((title, "bold"), ": ", harmless(text), overflow="fold")
