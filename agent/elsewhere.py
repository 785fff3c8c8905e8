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

from curveroute.agent.advice import advise, choices, leads
from curveroute.agent.beside import joins, shortlist
from curveroute.agent.escalate import asked, gain_of, partners_of, price_of
from curveroute.agent.flips import Overtaking, overtaken

if TYPE_CHECKING:
    from collections.abc import Set

    from curveroute.agent.advice import Advice, Survey
    from curveroute.agent.decide import Floats, Indices, Mask
    from curveroute.agent.escalate import Situation

Choice: TypeAlias = tuple[int, ...]
Found: TypeAlias = tuple[float, Choice]

HAIR = 1e-9
_NOBODY, _NONE_SAYS = np.zeros(1, dtype=np.bool_), np.zeros((2, 0), dtype=np.intp)
_NOTHING = np.zeros(1)


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
    def advice(self) -> Advice | None:
        """What the run's own course says, where it leads."""
        if self.survey is None or not self._leads[self._here]:
            return None
        return advise(self.survey, int(self.beside[self._here]), self.plain.quality.size)

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
        other[:-1] |= self._learned[0] != arm
        if self.models is not None:
            other[:-1] |= self._learned[1] != partner
        return other

    def _nearest(self, own: Choice, edges: Floats, other: Mask, *, up: bool) -> Found | None:
        here, step = self._here, 1 if up else -1
        other, led = other[here::step], self._leads[here::step]  # from the run's tradeoff outward
        edges = edges[here:] if up else edges[here + 1 :: -1]
        place = 0
        while place < other.size and other[place := place + int(other[place:].argmax())]:
            if led[place]:
                return float(edges[place]), tuple(
                    one for one in self._learned[:, here + step * place].tolist() if one >= 0
                )
            known, near, end = place == 0, float(edges[place]), place + _run(led[place:])
            if found := self._crossed(own, self.plain.tradeoff if known else near, float(edges[end]), known=known):
                return found
            place = end
        return None

    @cached_property
    def _leads(self) -> Mask:
        """(L + 1,) whether a course leads where it is the nearest; at a tradeoff of 1 none does."""
        if self.survey is None:
            return _NOBODY
        return np.concatenate((leads(self.survey, self.plain, self.failed)[self.beside], _NOBODY))

    @cached_property
    def _here(self) -> int:
        """Between which two edges the run's tradeoff lies."""
        survey, tradeoff = self.survey, self.plain.tradeoff
        if survey is None or tradeoff >= 1.0:
            return self.beside.size
        return int(survey.stack.edges[1:-1].searchsorted(tradeoff))

    @cached_property
    def _learned(self) -> Indices:
        """(2, L) what each course chooses."""
        if self.survey is None:
            return _NONE_SAYS
        return choices(self.survey, self.plain, self.models)[:, self.beside]

    def _crossed(self, own: Choice, near: float, far: float, *, known: bool) -> Found | None:
        """Where the closed form first chooses otherwise, from near to far; ``known`` where it chooses own at near."""
        step = HAIR if far >= near else -HAIR
        if not known and (there := self._asked(_towards(near, step, far))) != own:
            return near, there
        (gain, price), watched = self._lines, own[0] if own else self.plain.quality.size
        while near != far:
            event = _within(overtaken(gain, price, near, watched, up=step > 0.0, hair=HAIR), far, step)
            if found := self._rejoined(own, near, far if event is None else event.tradeoff, step):
                return found
            if event is None:
                return None
            near = _towards(event.tradeoff, step, far)
            if (
                self.models is None and event.line is not None and HAIR < near < 1.0 - HAIR
            ):  # it alone, and ahead of all
                return event.tradeoff, (event.line,) if event.line < self.plain.quality.size else ()
            if (there := self._asked(near)) != own:
                return event.tradeoff, there
        return None

    def _rejoined(self, own: Choice, near: float, far: float, step: float) -> Found | None:
        """Where another arm than before, or none, is first asked beside the same one, from near to far.

        Whoever is asked beside it ceases to be where another is worth more, or it is worth nothing. Where nobody is,
        those worth most are looked at anew whenever they are others, or come in another order.
        """
        if not own or self.models is None or not self._joining(own[0], self.models).any():
            return None
        others = self.plain.open & (self.models != self.models[own[0]])
        gain = np.concatenate((np.where(others, gain_of(self.plain), np.nan), _NOTHING))
        price = np.concatenate((price_of(replace(self.plain, seconds_usd=0.0)), _NOTHING))
        while near != far:
            watched = own[1] if own[1:] else _foremost((1.0 - near) * gain - near * price)
            event = _within(overtaken(gain, price, near, watched, up=step > 0.0), far, step)
            if event is None:
                return None
            near = _towards(event.tradeoff, step, far)
            if (there := self._asked(near)) != own:
                return event.tradeoff, there
        return None

    def _asked(self, tradeoff: float) -> Choice:
        """What the closed form asks together at a tradeoff."""
        situation = replace(self.plain, tradeoff=tradeoff)
        return asked(situation, self.partners(situation))

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


def _foremost(worth: Floats) -> Indices:
    """(n, 1) the places of those worth most, and of being worth nothing, which is the last of (A + 1,)."""
    return np.append(shortlist(worth[None, :-1])[0], worth.size - 1)[:, None]


def _within(event: Overtaking | None, far: float, step: float) -> Overtaking | None:
    """The event, if it is no further than the far end."""
    return None if event is None or (far - event.tradeoff) * step < 0.0 else event


def _towards(at: float, step: float, far: float) -> float:
    """A step on from a tradeoff, but no further than the far end."""
    return min(at + step, far) if step > 0.0 else max(at + step, far)
