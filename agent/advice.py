"""Advice: what a run's course says of asking each candidate on, and of stopping, given what was heard so far. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.escalate import choose
from curveroute.agent.looking.course import MOST_SLOTS, filled

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats, Indices, Mask
    from curveroute.agent.listed import Listed
    from curveroute.agent.looking.looking import Stack
    from curveroute.agent.types import Arm
    from curveroute.agent.verify.hearing import Hearing


_BITS = 1 << np.arange(MOST_SLOTS)
_HEARD = np.array([state.bit_count() for state in range(1 << MOST_SLOTS)])


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What all L courses, of S panels with up to K slots, say in one state of a run.

    Attributes:
        stack: the courses.
        place: (S, K) the candidate that each slot asks.
        fresh: (S, K) whether it can be asked next.
        speaks: (S,) whether the panel was learned for such a run: its slots are candidates, and only they were heard.
        values: (L, K + 1) of stopping, and of asking each slot.
        heard: the arms of all sound answers.
    """

    stack: Stack
    place: Indices
    fresh: Mask
    speaks: Mask
    values: Floats
    heard: tuple[Arm, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Advice:
    """Learned values for A candidates.

    Attributes:
        gain: (A,) what the answer would come to after asking each, less what it is worth now, before the price of
            asking; NaN for an arm that is not on the panel, or cannot be asked (again).
        weight: of one unit of cost against one of quality, at the tradeoff that the course was learned for.
        last: whether there is nothing left to ask on the panel after the next slot.
        models: of the panel.
        survey: what all courses say.
        beside: (L,) the course that this query follows in place of each.
    """

    gain: Floats
    weight: float
    last: bool
    models: frozenset[str]
    survey: Survey
    beside: Indices


def surveyed(stack: Stack, slots: Indices, known: Listed, hearing: Hearing | None) -> Survey:
    """What every course says.

    Args:
        stack: the courses.
        slots: (S, K) where the slots' arms stand in the pool, -1 for none.
        known: every eligible arm's estimate.
        hearing: of all sound answers; None before the first.
    """
    heard = () if hearing is None else tuple(attempt.arm for attempt in hearing.attempts)
    times = np.zeros(len(stack.arms) + 1, dtype=np.intp)
    for arm in heard:
        times[stack.arms.get(arm, -1)] += 1
    count, place = times[stack.arm], known.here[slots]
    there, state = place >= 0, (stack.sample < count) @ _BITS
    speaks = (there @ _BITS == stack.whole) & (_HEARD[state] == len(heard))
    summaries = filled(None if hearing is None else hearing.odds, known.expected[place])
    return Survey(stack, place, stack.sample == count, speaks, stack.values(state, summaries), heard)


def advise(survey: Survey, course: int, candidates: int, beside: Indices) -> Advice | None:
    """What one course says of so many candidates, or None when it was not learned for such a run."""
    stack, panel = survey.stack, int(survey.stack.panel[course])
    if not survey.speaks[panel]:
        return None
    fresh, slots = survey.fresh[panel], stack.panels[panel]
    stop, values = survey.values[course, 0], survey.values[course, 1:]
    gain = np.full(candidates, np.nan)
    gain[survey.place[panel, fresh]] = values[fresh] - (stop if survey.heard else 0.0)
    models = frozenset(slot.arm.model for slot in slots)
    return Advice(gain, float(stack.weight[course]), len(survey.heard) + 1 >= len(slots), models, survey, beside)


def choices(advice: Advice, price: Floats, may: Mask, unsaid: int) -> Indices:
    """(L,) the candidate that every course would choose here for this query, -1 to stop; one for each tradeoff.

    Args:
        advice: what the courses say.
        price: (A,) of asking each candidate, in units of the pool's reference cost.
        may: (A,) whether it may be asked.
        unsaid: the choice of a course that says nothing.
    """
    survey, stack, place = advice.survey, advice.survey.stack, advice.survey.place
    must = not survey.heard
    dear = stack.weight[:, None] * price[place].take(stack.panel, axis=0)
    able = (survey.fresh & may[place]).take(stack.panel, axis=0)
    net = np.where(able, survey.values[:, 1:] - dear, np.nan)
    if not must:
        net -= survey.values[:, :1]
    slot = choose(net, dear, must=must)
    chosen = np.where(slot < 0, -1, place[stack.panel, slot])
    return np.where(survey.speaks[stack.panel], chosen, unsaid)[advice.beside]
