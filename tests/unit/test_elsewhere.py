"""Flips are true: just beyond one the choice is the one told, just before it and everywhere between it is the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curveroute.agent.errors import CapTooSmall
from curveroute.agent.looking.course import BASE, Course, next_of, states_of
from curveroute.agent.looking.looking import Looking
from curveroute.agent.looking.recorded import Slot
from curveroute.agent.plan import ranking_plan
from curveroute.agent.propose import Outlooker
from curveroute.agent.step import Inquiry, next_turn
from curveroute.agent.types import Attempt, AttemptId, Message, Query, RunId, Usage, Verdict
from curveroute.agent.verify.jury import Jury
from curveroute.graphs import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import House

    from curveroute.agent.types import Arm, Decision

PROPERTY = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
QUERY = Query((Message(role="user", content="What is the capital of Portugal?"),))
NEAR = 1e-7
SEEDS = st.integers(0, 2**32 - 1)
SECONDS = [0.0, 1e-4, 1e-3]
COURSES = 16


class World:
    """A random pool of a few models, perhaps a cap, perhaps answers so far, perhaps courses, and decisions in it."""

    def __init__(self, house: type[House], seed: int, *, seconds: float, learned: bool, denied: bool) -> None:
        self.random = np.random.default_rng(seed)
        self.house, self.seconds = house, seconds
        self.pool = house.pool({name: self.priors() for name in "abcd"[: self.random.integers(2, 5)]})
        self.outlooker = Outlooker(self.pool, None)
        self.outlooker.reliability = float(self.random.uniform(0.0, 1.0))
        if learned:
            self.outlooker.looking = Looking(Jury.unfitted(), self.courses())
        arms = [arm for arm in self.pool.arms if not denied or arm.model != self.pool.arms[0].model]
        self.candidates = self.outlooker.estimates(None, QUERY, arms, 0.5)
        worst = self.outlooker.worst_usd(QUERY, self.outlooker.places(arms))
        self.cap = None if self.random.random() < 0.4 else float(worst.min() + self.random.uniform(0.0, worst.max()))

    def priors(self) -> tuple[float, float, float]:
        low, gain = self.random.uniform(0.1, 0.6), self.random.uniform(0.0, 0.4)
        return float(low), float(low + gain), float(10 ** self.random.uniform(-1.5, 0.5))

    def courses(self) -> tuple[Course, ...]:
        """Of four panels, one after the other; where the deny list takes an arm of one, the closed form decides."""
        weights, every = np.geomspace(0.01, 30.0, COURSES), [*self.pool.arms]
        panels = []
        for _ in range(4):
            first = [Slot(every[place]) for place in self.random.permutation(len(every))[:3]]
            panels.append((*first, Slot(first[0].arm, 1)))
        return tuple(self.course(panels[at // 4], float(weight)) for at, weight in enumerate(weights))

    def course(self, slots: tuple[Slot, ...], weight: float) -> Course:
        values = np.zeros((1 << len(slots), BASE + len(slots), len(slots) + 1), dtype=np.float32)
        for state in states_of(slots):
            number = sum(1 << slot for slot in state)
            values[number, 0, 0] = self.random.uniform(0.3, 0.6)
            values[number, 0, [1 + slot for slot in next_of(state, slots)]] = self.random.uniform(0.3, 0.9)
            values[number, BASE:] += self.random.normal(scale=0.2, size=values[number, BASE:].shape)
        return Course(slots, weight, values)

    def decide(self, tradeoff: float, attempts: Sequence[Attempt] = (), **knobs: Any) -> Decision:
        settled = Context(tradeoff=tradeoff, max_cost_usd=self.cap, seconds_usd=self.seconds, **knobs)
        inquiry = Inquiry(RunId("r"), QUERY, self.candidates, ranking_plan(self.candidates, ""), settled)
        return next_turn(self.outlooker, inquiry, attempts, len(attempts) + 1).decision

    def answered(self, arms: Sequence[Arm], step: int) -> list[Attempt]:
        """What these arms said: one in six of them nothing, because the call failed."""
        found = []
        for number, arm in enumerate(arms):
            score = float(self.random.uniform(0.0, 0.9))
            said = Attempt(
                AttemptId(f"r.{step}.{number}"), "probe", arm, "Answer: x", "x", Usage(), 1e-6, "stop", 0.1,
                verdict=Verdict(score, "ok"),
            )  # fmt: skip
            if self.random.random() < 1 / 6:
                said = replace(said, error="refused", text="", answer=None, verdict=Verdict(0.0, "error"))
            found.append(said)
        return found


def check(world: World, tradeoff: float, attempts: Sequence[Attempt]) -> Decision:
    """The decision at a tradeoff, whose flips are compared with decisions at many others."""

    def arms(at: float) -> tuple[Arm, ...]:
        return world.decide(at, attempts).arms

    own = world.decide(tradeoff, attempts)
    low, high = 0.0, 1.0
    assert len(own.flips) <= 2
    for place, flip in enumerate(own.flips):
        above = flip.tradeoff > tradeoff or (flip.tradeoff == tradeoff and place == 1)
        beyond = min(flip.tradeoff + NEAR, 1.0) if above else max(flip.tradeoff - NEAR, 0.0)
        assert arms(beyond) == flip.arms != own.arms
        low, high = (low, flip.tradeoff) if above else (flip.tradeoff, high)
    ends = (low, high) if own.flips else (0.0, 1.0)
    inside = np.concatenate((np.linspace(low, high, 17)[1:-1], (low + NEAR, high - NEAR)))
    for at in inside[(inside > ends[0]) & (inside < ends[1])].tolist():
        assert arms(at) == own.arms, at
    return own


@pytest.mark.parametrize("seconds", SECONDS)
@pytest.mark.parametrize(("learned", "denied"), [(False, False), (True, False), (True, True)])
@PROPERTY
@given(seed=SEEDS, tradeoff=st.floats(0.0, 1.0))
def test_a_flip_is_where_the_choice_changes_and_to_what(
    house: type[House], seed: int, tradeoff: float, seconds: float, learned: bool, denied: bool
) -> None:
    """A choice is all that is asked together; whoever decides, at any tradeoff, with caps, failures and answers."""
    world = World(house, seed, seconds=seconds, learned=learned, denied=denied)
    attempts: list[Attempt] = []
    for step in range(1, 4):
        try:
            decision = check(world, tradeoff, attempts)
        except CapTooSmall:
            return
        if not decision.arms:
            return
        attempts += world.answered(decision.arms, step)


def test_two_that_are_asked_together_are_one_choice(house: type[House]) -> None:
    pool = {"a": (0.3, 0.5, 0.1), "b": (0.4, 0.6, 0.2), "c": (0.5, 0.9, 1.0)}
    world = World(house, 0, seconds=1e-4, learned=False, denied=False)
    world.outlooker, world.cap = Outlooker(house.pool(pool), None), None
    world.candidates = world.outlooker.estimates(None, QUERY, world.outlooker.pool.arms, 0.5)
    found = [check(world, tradeoff, ()) for tradeoff in np.linspace(0.01, 0.99, 25).tolist()]
    partners = [(one.arms, flip.arms) for one in found for flip in one.flips if one.arms[:1] == flip.arms[:1]]
    assert any(len(one) == 2 and len(other) == 1 for one, other in partners)
    assert any(len(one) == 1 and len(other) == 2 for one, other in partners)


def test_where_another_rule_decides_a_flip_speaks_of_that_rule(house: type[House]) -> None:
    """The panel of the lower tradeoffs has an arm that is on the deny list; the one of the higher ones does not."""
    world = World(house, 1, seconds=0.0, learned=False, denied=True)
    denied, worst = Slot(world.pool.arms[0]), Slot(world.candidates[-1].arm)
    weights = np.zeros((2, BASE + 1, 2), dtype=np.float32)
    weights[0, 0, 1] = 0.5
    courses = [
        Course((denied if at < COURSES // 2 else worst,), float(weight), weights)
        for at, weight in enumerate(np.geomspace(0.01, 100.0, COURSES))
    ]
    world.outlooker.looking, world.cap = Looking(Jury.unfitted(), tuple(courses)), None
    edges = world.outlooker.looking.stack.edges[:-2].tolist()
    (edge, *_) = (one for one in edges if world.decide(one + NEAR).policy == "learned")
    below, above = check(world, edge - 1e-4, ()), check(world, edge + 1e-4, ())
    assert (below.policy, above.policy) == ("closed-form", "learned")
    assert below.arms != above.arms == (worst.arm,)
    assert (below.flips[-1].tradeoff, below.flips[-1].arms) == (edge, above.arms)
    assert (above.flips[0].tradeoff, above.flips[0].arms) == (edge, below.arms)


def test_at_a_tradeoff_of_1_cost_alone_counts_and_courses_do_not(house: type[House]) -> None:
    weights = np.zeros((2, BASE + 1, 2), dtype=np.float32)
    weights[0, 0, 1] = 1.0
    world = World(house, 2, seconds=0.0, learned=False, denied=False)
    cost = {one.arm: one.cost_usd for one in world.candidates}
    cheapest, dearest = min(cost, key=lambda arm: cost[arm]), max(cost, key=lambda arm: cost[arm])
    looking = Looking(Jury.unfitted(), tuple(Course((Slot(dearest),), weight, weights) for weight in (0.1, 1.0)))
    world.outlooker.looking, world.cap = looking, None
    below, at_1 = check(world, 0.5, ()), check(world, 1.0, ())
    assert [(one.tradeoff, one.arms) for one in below.flips] == [(1.0, (cheapest,))]
    assert [(one.tradeoff, one.arms) for one in at_1.flips] == [(1.0, (dearest,))]
