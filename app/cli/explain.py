"""How an answer came about, as a story: what was considered, and step by step what was chosen and what came back.

Each thing is told once, where it happened. What others wrote (answers, reasons) is folded and never read as markup.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
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
_DIGITS = 3
_NO_MORE_SAID = {"it would be asked", "it would stop"}


def explain(route: Route, tradeoff: float) -> None:
    """Print the story of a route that was decided at this tradeoff."""
    console = Console(highlight=False, emoji=False)
    first = route.decisions[0] if route.decisions else None
    console.print(Text(f"\nconsidered {len(route.candidates)}, best score first", style="italic"))
    console.print(first_table(route.candidates, first))
    if route.plan is not None:
        criteria = f"; a good answer: {route.plan.criteria}" if route.plan.criteria else ""
        console.print(_titled(f"\nplan ({route.plan.source})", route.plan.reason + criteria))
    counts, told, elsewhere = agreements(route.attempts), _by_step(route), _Elsewhere(tradeoff)
    for attempt in told[0]:
        console.print(_attempt(attempt, counts, quiet=route.plan is not None and route.plan.source == "planner"))
    for decision in route.decisions:
        console.print(_titled(f"\nstep {decision.step}", _decided(decision)))
        if flips := elsewhere.told(decision.flips):
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


class _Elsewhere:
    """At which tradeoffs a run would have gone another way: less favours quality, more favours cost.

    Each is told once. Beyond a flip the run had left this way already, so of a later step only nearer ones are told.
    """

    def __init__(self, tradeoff: float) -> None:
        self._tradeoff = tradeoff
        self._below, self._above = -math.inf, math.inf

    def told(self, flips: Sequence[Flip]) -> str:
        """The flips of the next step, in words; empty where there is nothing new."""
        where: dict[str, list[str]] = {}
        for place, flip in enumerate(flips):
            below = self._is_below(flip, alone=len(flips) == 1, first=place == 0)
            if not (flip.tradeoff > self._below if below else flip.tradeoff < self._above):
                continue
            self._below, self._above = (flip.tradeoff, self._above) if below else (self._below, flip.tradeoff)
            where.setdefault(_otherwise(flip), []).append(_beyond(flip.tradeoff, below=below))
        return "; ".join(f"at a tradeoff of {' and of '.join(at)} it would {would}" for would, at in where.items())

    def _is_below(self, flip: Flip, *, alone: bool, first: bool) -> bool:
        """Which side of the run's tradeoff a flip is on; one of two at the tradeoff itself is told by its place."""
        if flip.tradeoff == self._tradeoff:
            return self._tradeoff >= 1.0 if alone else first
        return flip.tradeoff < self._tradeoff


def _otherwise(flip: Flip) -> str:
    """What would be done, and why where that is not all that the reason says, as in older runs."""
    would = f"ask {' and '.join(str(arm) for arm in flip.arms)}" if flip.arms else "stop"
    return would if not flip.reason or flip.reason in _NO_MORE_SAID else f"{would} ({flip.reason})"


def _beyond(tradeoff: float, *, below: bool) -> str:
    """A flip to three digits, rounded away from the run's tradeoff: what is told holds there, and beyond."""
    digits = Context(prec=_DIGITS, rounding=ROUND_FLOOR if below else ROUND_CEILING)
    at = float(digits.create_decimal(repr(tradeoff)))
    if (at <= 0.0) if below else (at >= 1.0):
        return f"{at:.3g}"
    if at in {0.0, 1.0}:
        return f"{'less' if below else 'more'} than {at:.3g}"
    return f"{at:.3g} or {'less' if below else 'more'}"


def _ended(route: Route) -> str:
    calls = "1 call" if len(route.attempts) == 1 else f"{len(route.attempts)} calls"
    told = bool(route.decisions) and route.decisions[-1].reason == route.reason
    how = ", ".join(part for part in (route.status or "running", "" if told else route.reason) if part)
    return f"{how}; {route.cost_usd:.3e} USD in {calls}, run {route.run_id}"


def _titled(title: str, text: str) -> Text:
    return Text.assemble((title, "bold"), ": ", harmless(text), overflow="fold")
