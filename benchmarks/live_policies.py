"""The policies of the live check: what each one asks for a question, and what that was worth, cost and took.

All ask the same seam, one question at a time. Latency is the models' alone: calls that a policy sends together count
as the longest of them, calls that wait for one another as their sum.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from curveroute.agent.bench.grade import grade
from curveroute.agent.evals.baselines.two_agree import TwoAgree
from curveroute.agent.probe import Ask, ask_arm
from curveroute.agent.step import is_answer
from curveroute.agent.types import AttemptId, Message, Query
from curveroute.agent.verify.answers import same
from curveroute.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.bench.tasks import Task
    from curveroute.agent.types import Arm, Attempt
    from curveroute.graphs import Parts
    from curveroute.router import Router

ANOTHER_SAMPLE = 0.7  # temperature, as collections draw them


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question answered by one policy.

    Attributes:
        quality: of the answer, as its grader says.
        cost_usd: of every call.
        calls: of models, planner and judge included.
        latency_s: until the answer stood.
        route: how it came about, where the graph ran.
    """

    quality: float
    cost_usd: float
    calls: int
    latency_s: float
    route: Route | None = None


class Policy(Protocol):
    """What answers questions at one setting."""

    @property
    def family(self) -> str:
        """Points of one family make one curve."""

    @property
    def name(self) -> str:
        """Which point of the family."""

    async def answer(self, task: Task) -> Outcome:
        """Answer one question."""


@dataclass(frozen=True)
class Constant:
    """The same arm for every question."""

    parts: Parts
    arm: Arm
    family: str = "constant arm"

    @property
    def name(self) -> str:
        return str(self.arm)

    async def answer(self, task: Task) -> Outcome:
        return outcome(task, [[await asked(self.parts, task, self.arm)]])


@dataclass(frozen=True)
class SingleShot:
    """The arm that the predictor ranks first; its answer stands unseen."""

    parts: Parts
    tradeoff: float
    family: str = "single shot"

    @property
    def name(self) -> str:
        return f"λ = {self.tradeoff:g}"

    async def answer(self, task: Task) -> Outcome:
        parts = self.parts
        vector = (await parts.embedder.embed([task.query]))[0] if parts.outlooker.needs_embedding else None
        ranked = parts.outlooker.estimates(vector, query_of(task), parts.pool.arms, self.tradeoff)
        return outcome(task, [[await asked(parts, task, ranked[0].arm)]])


@dataclass(frozen=True)
class TwoAgreeLive:
    """Ask a pair; when both say the same, the better one's answer stands, else the third's.

    A third that is one of the pair is not asked and not paid again.
    """

    parts: Parts
    pair: tuple[Arm, Arm]
    better: Arm
    third: Arm
    family: str = "two agree"

    @property
    def name(self) -> str:
        return f"{self.pair[0]} + {self.pair[1]}, else {self.third}"

    async def answer(self, task: Task) -> Outcome:
        first, second = self.pair
        one = await asked(self.parts, task, first)
        two = await asked(self.parts, task, second, sample=int(first == second))
        if agree(one[-1], two[-1]):
            return outcome(task, [[one, two]], given=one if self.better == first else two)
        if self.third in self.pair:
            return outcome(task, [[one, two]], given=one if self.third == first else two)
        return outcome(task, [[one, two], [await asked(self.parts, task, self.third)]])


@dataclass(frozen=True)
class Graph:
    """The full graph, as a user runs it, but for the ledger."""

    router: Router
    tradeoff: float
    settings: Mapping[str, Any]
    family: str = "graph"

    @property
    def name(self) -> str:
        return f"λ = {self.tradeoff:g}"

    async def answer(self, task: Task) -> Outcome:
        context = replace(self.router.context, tradeoff=self.tradeoff, **self.settings)
        messages = {"messages": [Message(role="user", content=task.query)]}
        output = await self.router.graph.ainvoke(cast("Any", messages), context=context)
        route = Route.from_output(output)
        quality = grade(task, route.answer).quality
        return Outcome(quality, route.cost_usd, calls_in(route.attempts), waited_s(route), route)


def cascades(parts: Parts, train: Grid, levels: int) -> list[TwoAgreeLive]:
    """The best cascades on a training table at some costs, evenly spread from the cheapest to the dearest."""
    fitted = TwoAgree().fit(train)
    place = np.unique(np.linspace(0, fitted.levels_.size - 1, levels).round().astype(int))
    chosen = fitted.cascade_
    columns = zip(*(side[place].tolist() for side in _sides(chosen)), strict=True)
    arms = ([train.arms[column] for column in row] for row in columns)
    found = (TwoAgreeLive(parts, (first, second), better, third) for first, second, better, third in arms)
    return list({one.name: one for one in found}.values())


def _sides(cascade: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return cascade.first, cascade.second, cascade.better, cascade.third


def agree(one: Attempt, two: Attempt) -> bool:
    """Whether two attempts claim the same; what claims nothing agrees with nobody."""
    return one.answer is not None and two.answer is not None and same(one.answer, two.answer)


def query_of(task: Task) -> Query:
    return Query((Message(role="user", content=task.query),))


async def asked(parts: Parts, task: Task, arm: Arm, sample: int = 0) -> tuple[Attempt, ...]:
    """One arm's attempt, after what was lost on the way to it."""
    ask = Ask(AttemptId(f"{task.query_id}/{arm}"), "probe", arm, sample, ANOTHER_SAMPLE if sample else 0.0)
    return await ask_arm(parts.pool, parts.chat, query_of(task), ask)


def outcome(
    task: Task, rounds: Sequence[Sequence[tuple[Attempt, ...]]], *, given: tuple[Attempt, ...] | None = None
) -> Outcome:
    """What rounds of calls came to; the answer is the last one's, when no other is given."""
    answer = (given or rounds[-1][-1])[-1]
    every = list(itertools.chain.from_iterable(itertools.chain.from_iterable(rounds)))
    latency = sum(max(one[-1].latency_s for one in together) for together in rounds)
    cost = sum(attempt.cost_usd for attempt in every)
    return Outcome(0.0 if answer.error else grade(task, answer.text).quality, cost, calls_in(every), latency)


def calls_in(attempts: Iterable[Attempt]) -> int:
    """How many calls these are; lost requests are tries of one of them."""
    return sum(not attempt.attempt_id.endswith(".lost") for attempt in attempts)


def waited_s(route: Route) -> float:
    """Seconds that a run's calls took: probes of one step at once, everything else in turn."""
    together: dict[str, float] = {}
    alone = 0.0
    for attempt in route.attempts:
        if is_answer(attempt):
            step = attempt.attempt_id.removeprefix(f"{route.run_id}.").partition(".")[0]
            together[step] = max(together.get(step, 0.0), attempt.latency_s)
        else:
            alone += attempt.latency_s
    return alone + sum(together.values())
