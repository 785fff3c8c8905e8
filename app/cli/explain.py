"""How an answer came about, as a story: what was considered, and step by step what was chosen and what came back.

Each thing is told once, where it happened. What others wrote (answers, reasons) is folded and never read as markup.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from curveroute.agent.account import agreements
from curveroute.agent.step import is_answer
from curveroute.cli.losers import first_table, later_table
from curveroute.cli.terminal import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from curveroute.agent.types import Attempt, AttemptId, Decision, Flip
    from curveroute.route import Route

    Counts = Mapping[AttemptId, tuple[int, int]]

_LONGEST_ANSWER = 160
_COUNTED = re.compile(r"\d+ (agrees?|differs?)")
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
    last = _last_answered(told)
    for attempt in told[0]:
        console.print(_attempt(attempt, counts, quiet=route.plan is not None and route.plan.source == "planner"))
    for decision in route.decisions:
        console.print(_titled(f"\nstep {decision.step}", _decided(decision)))
        if flips := elsewhere.told(decision.flips):
            console.print(Padding(Text(flips, overflow="fold"), (0, 0, 0, 2)))
        if decision is not first:
            console.print(later_table(decision))
        for attempt in told.get(decision.step, []):
            final = decision.step < last and not attempt.error
            console.print(_attempt(attempt, counts, quiet=attempt.role == "judge", final=final))
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


def _last_answered(told: Mapping[int, Sequence[Attempt]]) -> int:
    """The last step that brought an answer: it may have changed the verdicts on all those before."""
    return max(
        (step for step, calls in told.items() if any(is_answer(one) and not one.error for one in calls)), default=0
    )


def _attempt(attempt: Attempt, counts: Counts, *, quiet: bool, final: bool = False) -> Padding:
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
            verdict_line(attempt, counts.get(attempt.attempt_id), final=final),
        )
        if part
    ]
    return Padding(Group(head, *(Padding(part, (0, 0, 0, 4)) for part in said)), (0, 2))


def _said(attempt: Attempt) -> str:
    """The extracted answer; of planner, judge and answers without one the text; of failed calls the error."""
    words = " ".join((attempt.error or attempt.answer or attempt.text).split())
    return words if attempt.error or len(words) <= _LONGEST_ANSWER else words[:_LONGEST_ANSWER] + " …"


def verdict_line(attempt: Attempt, counts: tuple[int, int] | None, *, final: bool = False) -> str:
    """The probability that it is right, the reason, who agrees, and what else was said.

    A verdict is given anew with every answer, and a run keeps the last one. Where later answers may have changed it, it
    is ``final``, and says so.
    """
    verdict = attempt.verdict
    if verdict is None:
        return ""
    said = verdict.detail.split("; ")
    parts = [_counted(counts, said), *(part for part in said if not _is_counted(part))]
    detail = "; ".join(part for part in parts if part and part != attempt.error)
    end = "in the end " if final else ""
    return f"→ {end}{verdict.score:.2f} {verdict.reason}{f': {detail}' if detail else ''}"


def _counted(counts: tuple[int, int] | None, said: Sequence[str]) -> str:
    """Who agrees: as the verdict has it, which may know free texts of one meaning, else as the words have it."""
    if own := next((part for part in said if all(_COUNTED.fullmatch(word) for word in part.split(", "))), ""):
        return own
    if counts is None or not any(counts):
        return ""
    agree, differ = counts
    words = (f"{agree} agree{'s' * (agree == 1)}", f"{differ} differ{'s' * (differ == 1)}")
    return ", ".join(word for word, number in zip(words, counts, strict=True) if number)


def _is_counted(part: str) -> bool:
    """Whether a part of a verdict's detail says how many agree, in numbers or, in older runs, in words."""
    words = part.split(", ")
    return all(_COUNTED.fullmatch(word) or word.endswith((" agrees", " differs", " itself")) for word in words)


def _decided(decision: Decision) -> str:
    chosen = " and ".join(str(arm) for arm in decision.arms)
    by = "" if decision.policy == "closed-form" else f" ({decision.policy})"
    shown = ", shown as it is written" if decision.committed and chosen else ""
    return f"{f'ask {chosen}' if chosen else 'stop'}{by}: {decision.reason}{shown}"


class _Elsewhere:
    """At which tradeoffs a run would have gone another way: lower ones favour quality, higher ones cost.

    What is known is the nearest change on either side, not what lies beyond it. Each is told once. Beyond a flip the
    run had left this way already, so of a later step only nearer ones are told.
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
            where.setdefault(_otherwise(flip), []).append(self._moved(flip.tradeoff, below=below))
        told = "; ".join(f"{' or '.join(at)} it would {would}" for would, at in where.items())
        return f"with the tradeoff {told}" if told else ""

    def _moved(self, tradeoff: float, *, below: bool) -> str:
        """How far the tradeoff must move, rounded away from the run's, so that what is told holds there."""
        digits = Context(prec=_DIGITS, rounding=ROUND_FLOOR if below else ROUND_CEILING)
        way, to = "lowered" if below else "raised", f"{float(digits.create_decimal(repr(tradeoff))):.{_DIGITS}g}"
        return f"{way} a little" if to == f"{self._tradeoff:.{_DIGITS}g}" else f"{way} to {to}"

    def _is_below(self, flip: Flip, *, alone: bool, first: bool) -> bool:
        """Which side of the run's tradeoff a flip is on; one of two at the tradeoff itself is told by its place."""
        if flip.tradeoff == self._tradeoff:
            return self._tradeoff >= 1.0 if alone else first
        return flip.tradeoff < self._tradeoff


def _otherwise(flip: Flip) -> str:
    """What would be done, and why where that is not all that the reason says, as in older runs."""
    would = f"ask {' and '.join(str(arm) for arm in flip.arms)}" if flip.arms else "stop"
    return would if not flip.reason or flip.reason in _NO_MORE_SAID else f"{would} ({flip.reason})"


def _ended(route: Route) -> str:
    calls = "1 call" if len(route.attempts) == 1 else f"{len(route.attempts)} calls"
    told = bool(route.decisions) and route.decisions[-1].reason == route.reason
    how = ", ".join(part for part in (route.status or "running", "" if told else route.reason) if part)
    return f"{how}; {route.cost_usd:.3e} USD in {calls}, run {route.run_id}"


def _titled(title: str, text: str) -> Text:
    return Text.assemble((title, "bold"), ": ", harmless(text), overflow="fold")
