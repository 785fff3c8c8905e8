"""Advice: what a run's course says of asking each candidate on, and of stopping, given what was heard so far. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.escalate import choose
from curveroute.agent.looking.course import BASE, MOST_SLOTS, quality_of, summary_of
from curveroute.agent.verify.seen import log_odds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from curveroute.agent.decide import Floats, Indices, Mask, Singles
    from curveroute.agent.looking.course import Course
    from curveroute.agent.looking.looking import Looking
    from curveroute.agent.looking.recorded import Slot
    from curveroute.agent.types import Arm, Estimate
    from curveroute.agent.verify.hearing import Hearing


NO_SAY = -2
_BITS = 1 << np.arange(MOST_SLOTS)
_RUNS_KEPT = 16


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A run's candidates as arrays, (A,) each; made once, and read at every step."""

    arms: list[Arm]
    place: Mapping[Arm, int]
    quality: Floats
    prior: Singles
    cost_usd: Floats
    latency_s: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Advice:
    """Learned values for A candidates.

    Attributes:
        gain: (A,) what the answer would come to after asking each, less what it is worth now, before the price of
            asking; NaN for an arm that is not on the panel, or cannot be asked (again).
        weight: of one unit of cost against one of quality, at the tradeoff that the course was learned for.
        sample: (A,) which of an arm's answers would come next, from 0.
        last: whether there is nothing left to ask on the panel after the next slot.
        models: of the panel.
    """

    gain: Floats
    weight: float
    sample: tuple[int, ...]
    last: bool = False
    models: frozenset[str] = frozenset()


def listed(candidates: Sequence[Estimate]) -> Listed:
    """The candidates as arrays."""
    return _kept(_Same(candidates)) if isinstance(candidates, tuple) else _listed(candidates)


def advise(course: Course | None, candidates: Sequence[Estimate], hearing: Hearing | None) -> Advice | None:
    """What the course says, or None when it was not learned for such a run.

    That is when a slot of its panel is no candidate, or an answer was heard that is none of its slots.

    Args:
        course: of this query and tradeoff.
        candidates: (A,) every eligible arm's estimate.
        hearing: of all sound answers; None before the first.
    """
    if course is None:
        return None
    known, asked = listed(candidates), _asked(hearing)
    at = _places(course.slots, known)
    state = _state(course.slots, asked)
    if at is None or state is None:
        return None
    summary = summary_of(None if hearing is None else hearing.odds, known.prior[None, at])
    stop, *values = (summary @ course.weights[state].astype(np.float64))[0].tolist()
    gain = np.full(len(candidates), np.nan)
    worth = 0.0 if hearing is None else stop
    for slot, place, value in zip(course.slots, at, values, strict=True):
        if slot.sample == asked[slot.arm]:
            gain[place] = value - worth
    sample = [0] * len(candidates)
    for arm, count in asked.items():
        sample[known.place[arm]] = count
    last = asked.total() + 1 >= len(course.slots)
    return Advice(gain, course.weight, tuple(sample), last, frozenset(slot.arm.model for slot in course.slots))


def choices(
    looking: Looking, candidates: Sequence[Estimate], hearing: Hearing | None, price: Floats, may: Mask
) -> tuple[Floats, Indices]:
    """What every course would choose here: (L,) tradeoffs, rising, and for each the candidate.

    A choice of -1 is to stop, one of ``NO_SAY`` none at all: the course was not learned for such a run.

    Args:
        looking: every course that was learned.
        candidates: (A,) every eligible arm's estimate.
        hearing: of all sound answers; None before the first.
        price: (A,) of asking each, in units of the pool's reference cost.
        may: (A,) whether it may be asked.
    """
    known, asked, stack = listed(candidates), _asked(hearing), looking.stack
    real = stack.arm >= 0
    count = np.zeros(len(stack.arms), dtype=np.intp)
    for arm in asked.keys() & stack.arms.keys():
        count[stack.arms[arm]] = asked[arm]
    count = count[stack.arm]
    place = np.where(real, np.array([known.place.get(arm, -1) for arm in stack.arms])[stack.arm], 0)
    before = real & (stack.sample < count)
    heard = (place >= 0).all(axis=1) & (before.sum(axis=1) == asked.total())
    fresh, states = real & (stack.sample == count), before @ _BITS
    summaries = np.empty((len(place), BASE + MOST_SLOTS))
    summaries[:, :BASE] = summary_of(None if hearing is None else hearing.odds, np.empty((1, 0), dtype=np.float32))
    summaries[:, BASE:] = quality_of(known.prior[place])  # what fills up a narrow panel weighs nothing
    values = stack.values(states, summaries)
    dear = stack.weight[:, None] * price[place][stack.panel]
    net = np.where((fresh & may[place])[stack.panel], values[:, 1:] - dear, np.nan)
    if hearing is not None:
        net -= values[:, :1]
    slot = choose(net, dear, must=hearing is None)
    chosen = np.where(slot < 0, -1, place[stack.panel, slot])
    return stack.tradeoffs, np.where(heard[stack.panel], chosen, NO_SAY)


def _asked(hearing: Hearing | None) -> Counter[Arm]:
    """How many sound answers of each arm were heard."""
    return Counter() if hearing is None else Counter(attempt.arm for attempt in hearing.attempts)


def _places(slots: Sequence[Slot], known: Listed) -> list[int] | None:
    """(K,) where the slots' arms stand among the candidates; None when one is not there."""
    at = [known.place.get(slot.arm, -1) for slot in slots]
    return None if -1 in at else at


def _state(slots: Sequence[Slot], asked: Counter[Arm]) -> int | None:
    """The state that a panel is in; None when an answer is none of its slots."""
    bits = [1 << place for place, slot in enumerate(slots) if slot.sample < asked[slot.arm]]
    return sum(bits) if len(bits) == asked.total() else None


class _Same:
    """A value that equals itself alone, so that a cache finds it without reading all of it."""

    __slots__ = ("it",)

    def __init__(self, it: tuple[Estimate, ...]) -> None:
        self.it = it

    def __hash__(self) -> int:
        return id(self.it)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.it is other.it


@lru_cache(maxsize=_RUNS_KEPT)
def _kept(candidates: _Same) -> Listed:
    return _listed(candidates.it)


def _listed(candidates: Sequence[Estimate]) -> Listed:
    arms = [one.arm for one in candidates]
    figures = np.array([(one.quality, one.cost_usd, one.latency_s) for one in candidates]).reshape(-1, 3).T
    quality, cost, latency = np.ascontiguousarray(figures)
    place = dict(zip(arms, range(len(arms)), strict=True))
    return Listed(arms, place, quality, log_odds(quality), cost, latency)
