"""Elsewhere: what a step would choose at other tradeoffs, and the nearest of them at which that is another choice.

The choice is all that is asked together. It changes with the tradeoff in three ways: another course is the nearest one,
and courses are followed from one tradeoff to the next; a course gives way to the closed form, or the other way round;
and in the closed form two arms cross, each a straight line in λ. The first two are known from what all courses say. Of
the third every crossing that may matter is looked at in turn, and the rule itself is asked just beyond it, so what is
told is what would be chosen. Tradeoffs nearer to each other than ``HAIR`` are not told apart. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from curveroute.agent.advice import choices, leads
from curveroute.agent.beside import joins, shortlist
from curveroute.agent.escalate import asked, gain_of, partners_of, price_of
from curveroute.agent.flips import Overtaking, overtaken

if TYPE_CHECKING:
    from collections.abc import Set

    from curveroute.agent.advice import Survey
    from curveroute.agent.decide import Floats, Indices, Mask
    from curveroute.agent.escalate import Situation

Choice: TypeAlias = tuple[int, ...]
Found: TypeAlias = tuple[float, Choice]

HAIR = 1e-9
_NOBODY, _NONE_SAYS = np.zeros(1, dtype=np.bool_), np.zeros((0, 2), dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """A step of a run, at whatever tradeoff.

    Attributes:
        plain: the run as the closed form sees it.
        models: (A,) the model of each candidate, as a number; None where nobody is asked beside another.
        survey: what all courses say; None where none has a say.
        beside: (L,) the course that the query follows in place of each; L = 0 without a survey.
        failed: models whose calls failed.
    """

    plain: Situation
    models: Indices | None = None
    survey: Survey | None = None
    beside: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    failed: Set[str] = frozenset()

    @cached_property
    def led(self) -> Mask:
        """(L,) whether each course leads."""
        return _NOBODY[:0] if self.survey is None else leads(self.survey, self.plain, self.failed)

    def partners(self, situation: Situation, first: int | None = None) -> tuple[int, ...]:
        """Who may be asked beside what a step chooses."""
        return () if self.models is None else partners_of(situation, self.models, first=first)

    def flips(self, own: Choice) -> tuple[Found, ...]:
        """The nearest tradeoffs below and above the run's at which the choice is not ``own``, and what it is there."""
        if self.survey is None:
            found = tuple(self._crossed(own, self.plain.tradeoff, far, known=True) for far in (0.0, 1.0))
        else:
            edges, other = self.survey.stack.edges, self._other(own)
            found = tuple(self._nearest(own, edges, other, up=up) for up in (False, True))
        return tuple(one for one in found if one is not None)

    def _other(self, own: Choice) -> Mask:
        """(L + 1,) where no course leads, or one that chooses otherwise."""
        arm, partner = (*own, -1, -1)[:2]
        other = ~self._leads
        other[:-1] |= (self._learned[:, 0] != arm) | (self._learned[:, 1] != partner)
        return other

    def _nearest(self, own: Choice, edges: Floats, other: Mask, *, up: bool) -> Found | None:
        here, step = self._here, 1 if up else -1
        other, led = other[here::step], self._leads[here::step]  # from the run's tradeoff outward
        edges = edges[here:] if up else edges[here + 1 :: -1]
        place = 0
        while place < other.size and other[place := place + int(other[place:].argmax())]:
            if led[place]:
                return float(edges[place]), tuple(
                    one for one in self._learned[here + step * place].tolist() if one >= 0
                )
            known, near, end = place == 0, float(edges[place]), place + _run(led[place:])
            if found := self._crossed(own, self.plain.tradeoff if known else near, float(edges[end]), known=known):
                return found
            place = end
        return None

    @cached_property
    def _leads(self) -> Mask:
        """(L + 1,) whether a course leads where it is the nearest; at a tradeoff of 1 none does."""
        return np.concatenate((self.led[self.beside], _NOBODY))

    @cached_property
    def _here(self) -> int:
        """Between which two edges the run's tradeoff lies."""
        survey, tradeoff = self.survey, self.plain.tradeoff
        if survey is None or tradeoff >= 1.0:
            return self.beside.size
        return int(survey.stack.edges[1:-1].searchsorted(tradeoff))

    @cached_property
    def _learned(self) -> Indices:
        """(L, 2) what each course chooses."""
        if self.survey is None:
            return _NONE_SAYS
        return choices(self.survey, self.plain, self.models)[self.beside]

    def _crossed(self, own: Choice, near: float, far: float, *, known: bool) -> Found | None:
        """Where the closed form first chooses otherwise, from near to far; ``known`` where it chooses own at near."""
        step = HAIR if far >= near else -HAIR
        if not known and (there := self._asked(_towards(near, step, far))) != own:
            return near, there
        while near != far and (event := self._event(own, near, up=step > 0.0)) and (far - event.tradeoff) * step >= 0.0:
            near = _towards(event.tradeoff, step, far)
            if event.line is not None and HAIR < near < 1.0 - HAIR:  # it is alone, and ahead of all others from here on
                return event.tradeoff, (event.line,) if event.line < self.plain.quality.size else ()
            if (there := self._asked(near)) != own:
                return event.tradeoff, there
        return None

    def _asked(self, tradeoff: float) -> Choice:
        """What the closed form asks together at a tradeoff."""
        situation = replace(self.plain, tradeoff=tradeoff)
        return asked(situation, self.partners(situation))

    def _event(self, own: Choice, here: float, *, up: bool) -> Overtaking | None:
        """The nearest tradeoff from here on at which another choice than ``own`` is possible; which, if it is sure."""
        gain, price = self._lines
        lead = overtaken(gain, price, here, own[0] if own else gain.size - 1, up=up, hair=HAIR)
        if self.models is None:
            return lead
        beside = self._reordered(own[0], self.models, here, up=up) if own else None
        found = [one.tradeoff for one in (lead, beside) if one is not None]
        return Overtaking((min if up else max)(found), None) if found else None

    def _reordered(self, lead: int, models: Indices, here: float, *, up: bool) -> Overtaking | None:
        """Where next those worth most beside an arm are others, or in another order, or cease to be worth anything."""
        if not self._joining(lead, models).any():
            return None
        gain = np.where(self.plain.open & (models != models[lead]), gain_of(self.plain), np.nan)
        price = price_of(replace(self.plain, seconds_usd=0.0))
        most = shortlist(((1.0 - here) * gain - here * price)[None])[0]
        watched = np.append(most, gain.size)[:, None]
        return overtaken(np.append(gain, 0.0), np.append(price, 0.0), here, watched, up=up)

    def _joining(self, lead: int, models: Indices) -> Mask:
        """(A,) who would be asked beside an arm, if it were worth enough at some tradeoff."""
        able = self.plain.open & (self.plain.worst_usd <= self.plain.left_usd) & (models != models[lead])
        return np.asarray(able & joins(self.plain, lead, np.arange(able.size)))

    @cached_property
    def _lines(self) -> tuple[Floats, Floats]:
        """(A + 1,) gain and price of whom the closed form may choose, NaN for all others; last those of stopping."""
        may = self.plain.open & (self.plain.worst_usd <= self.plain.left_usd)
        gain = np.where(may, gain_of(self.plain), np.nan)
        stop = (0.0 if self.plain.best is not None else np.nan,)
        return np.concatenate((gain, stop)), np.concatenate((price_of(self.plain), stop))


def _run(led: Mask) -> int:
    """How many there are up to the next that leads."""
    return int(led.argmax()) if led.any() else led.size


def _towards(at: float, step: float, far: float) -> float:
    """A step on from a tradeoff, but no further than the far end."""
    return min(at + step, far) if step > 0.0 else max(at + step, far)
