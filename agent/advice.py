"""Advice: what a run's course says of asking each candidate on, and of stopping, given what was heard so far. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.beside import joins, shortlist
from curveroute.agent.escalate import choose, price_of
from curveroute.agent.looking.course import MOST_SLOTS, filled

if TYPE_CHECKING:
    from collections.abc import Set

    from curveroute.agent.decide import Floats, Indices, Mask
    from curveroute.agent.escalate import Situation
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
        heard: the arms of all sound answers.
    """

    gain: Floats
    weight: float
    last: bool
    models: frozenset[str]
    heard: tuple[Arm, ...]


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


def advise(survey: Survey, course: int, candidates: int) -> Advice | None:
    """What one course says of so many candidates, or None when it was not learned for such a run."""
    stack, panel = survey.stack, int(survey.stack.panel[course])
    if not survey.speaks[panel]:
        return None
    fresh, slots = survey.fresh[panel], stack.panels[panel]
    stop, values = survey.values[course, 0], survey.values[course, 1:]
    gain = np.full(candidates, np.nan)
    gain[survey.place[panel, fresh]] = values[fresh] - (stop if survey.heard else 0.0)
    models = frozenset(slot.arm.model for slot in slots)
    return Advice(gain, float(stack.weight[course]), len(survey.heard) + 1 >= len(slots), models, survey.heard)


def advised(situation: Situation, advice: Advice) -> Situation:
    """The run, led by a course: an arm of its panel may be asked again."""
    may = situation.open | np.isfinite(advice.gain)
    return replace(situation, open=may, gain=advice.gain, weight=advice.weight)


def leads(survey: Survey, situation: Situation, failed: Set[str]) -> Mask:
    """(L,) whether each course leads. The closed form does where its panel fails.

    It does when the panel was not learned for such a run, when a model of it failed, and before the first answer when
    the cap holds no slot of it.

    Args:
        survey: what the courses say.
        situation: the run.
        failed: models whose calls failed.
    """
    stack, led = survey.stack, survey.speaks
    if failed:
        led = led & np.array([failed.isdisjoint(slot.arm.model for slot in panel) for panel in stack.panels])
    if situation.best is not None:
        return led[stack.panel]
    fits = situation.worst_usd <= situation.left_usd
    led = led & (survey.fresh & fits[survey.place]).any(axis=1)
    return np.asarray(led[stack.panel] & np.isfinite(survey.values[:, 0]))


def choices(survey: Survey, situation: Situation, models: Indices | None) -> Indices:
    """(2, L) the candidates that every course would choose here: an arm, and one beside it; -1 for none.

    Args:
        survey: what the courses say.
        situation: the run.
        models: (A,) the model of each candidate, as a number; None where nobody is asked beside another.
    """
    stack, place = survey.stack, survey.place
    fits = situation.worst_usd <= situation.left_usd
    dear = stack.weight[:, None] * price_of(situation)[place].take(stack.panel, axis=0)
    able = (survey.fresh & fits[place]).take(stack.panel, axis=0)
    gain = survey.values[:, 1:] - survey.values[:, :1] if survey.heard else survey.values[:, 1:]
    cost, quality = (one[place].take(stack.panel, axis=0) for one in (situation.cost_usd, situation.quality))
    slot = choose(np.where(able, gain - dear, np.nan), cost, must=situation.best is None, quality=quality)
    found = np.full((2, slot.size), -1)
    found[0] = np.where(slot < 0, -1, place[stack.panel, slot])
    if models is not None:
        found[1] = np.where(slot < 0, -1, _partners(survey, situation, models, found[0, :, None], gain, able))
    return found


def _partners(
    survey: Survey, situation: Situation, models: Indices, chosen: Indices, gain: Floats, able: Mask
) -> Indices:
    """(L,) who is asked beside each course's (L, 1) chosen arm, -1 for nobody; by (L, K) gains and who is able."""
    stack, place = survey.stack, survey.place.take(survey.stack.panel, axis=0)
    price = price_of(replace(situation, seconds_usd=0.0))  # its waiting is what is saved
    others = survey.fresh.take(stack.panel, axis=0) & (models[place] != models[chosen])
    worth = np.where(others, gain - stack.weight[:, None] * price[place], np.nan)
    row, found = np.arange(len(place))[:, None], shortlist(worth)
    partner = place[row, found]
    joined = able[row, found] & (worth[row, found] > 0.0) & joins(situation, chosen, partner)
    return np.where(joined.any(axis=1), partner[row[:, 0], joined.argmax(axis=1)], -1)
