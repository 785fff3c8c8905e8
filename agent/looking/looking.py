"""What was learned about looking: the jury, and a course for every tradeoff that was learned.

Spending follows the tradeoff smoothly. Where many queries are much alike, the best course changes for all of them at
one tradeoff, and mean spending would leap from a little to a lot within a hair's breadth. So every query follows the
course of a tradeoff slightly to one side of the one that was set, a little dearer or a little cheaper, decided by a
hash of its text: the same query always goes the same way, and near a leap a part of the queries goes each way. Where
nothing leaps it makes next to no difference.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.looking.course import BASE, MOST_SLOTS
from curveroute.agent.verify.scale import Calibrator

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats, Indices, Singles
    from curveroute.agent.looking.course import Course
    from curveroute.agent.looking.recorded import Slot
    from curveroute.agent.types import Arm
    from curveroute.agent.verify.jury import Jury

SPREAD = 3  # courses to either side


@dataclass(frozen=True, slots=True, eq=False)
class Sheaf:
    """All courses of one panel: their places among all courses, their weights of cost, and their values."""

    slots: tuple[Slot, ...]
    places: tuple[int, ...]
    weight: Floats
    weights: Singles


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """All courses at once, L of S panels; panels of fewer than K = ``MOST_SLOTS`` slots are filled up with nothing.

    Attributes:
        panels: the slots of each.
        arms: that any slot asks, numbered.
        arm: (S, K) which of them each slot asks, -1 where a panel has no more slots.
        whole: (S,) the state in which all of its slots were asked.
        sample: (S, K) for the how-many-th time; where a panel has no more slots, more often than anyone is asked.
        panel: (L,) which panel each course is of.
        weight: (L,) of one unit of cost.
        weights: (L, 2^K, BASE + K, K + 1) as :class:`Course` has them.
        edges: (L + 2,) rising tradeoffs: course k is the nearest from the k-th to the next one; the last two are 1,
            where there is no course.
        beside: (2 * SPREAD + 1, L) the course that a query follows in place of each, by how far aside it goes.
    """

    panels: tuple[tuple[Slot, ...], ...]
    arms: dict[Arm, int]
    arm: Indices
    whole: Indices
    sample: Indices
    panel: Indices
    weight: Floats
    weights: Singles
    edges: Floats
    beside: Indices

    def values(self, states: Indices, summaries: Floats) -> Floats:
        """(L, K + 1) value of stopping, and of asking each slot, by every course.

        Args:
            states: (S,) the state that each panel is in.
            summaries: (S, BASE + K) what it comes to.
        """
        now = self.weights[np.arange(self.panel.size), states[self.panel]]
        return np.asarray((summaries.take(self.panel, axis=0)[:, None] @ now.astype(np.float64))[:, 0])


@dataclass(frozen=True, eq=False)
class Looking:
    """A jury and its courses.

    Attributes:
        jury: what answers are judged by.
        courses: one for each tradeoff that was learned, by rising weight of cost; none where nothing was.
        unit_usd: the unit of cost.
        calibrator: makes probabilities of the jury's.
    """

    jury: Jury
    courses: tuple[Course, ...] = ()
    unit_usd: float = 1.0
    calibrator: Calibrator = field(default_factory=Calibrator.identity)

    def course(self, tradeoff: float, query_text: str) -> Course | None:
        """The course that a query follows at a tradeoff; None where none was learned, or cost alone counts."""
        place = self.place(tradeoff, aside(query_text))
        return None if place is None else self.courses[place]

    def place(self, tradeoff: float, asides: int) -> int | None:
        """The place of that course, for a query that goes so far aside."""
        if not self.courses or tradeoff >= 1.0:
            return None
        return min(max(self.nearest(tradeoff) + asides, 0), len(self.courses) - 1)

    @cached_property
    def tradeoffs(self) -> list[float]:
        """The tradeoff of every course."""
        return [one.weight / (1.0 + one.weight) for one in self.courses]

    @cached_property
    def sheaves(self) -> tuple[Sheaf, ...]:
        """The courses by panel."""
        panels: dict[tuple[Slot, ...], list[int]] = {}
        for place, one in enumerate(self.courses):
            panels.setdefault(one.slots, []).append(place)
        return tuple(
            Sheaf(
                slots,
                tuple(places),
                np.array([self.courses[place].weight for place in places]),
                np.stack([self.courses[place].weights for place in places]),
            )
            for slots, places in panels.items()
        )

    @cached_property
    def stack(self) -> Stack:
        """The courses, all at once."""
        count, panel = len(self.courses), np.zeros(len(self.courses), dtype=np.intp)
        every = dict.fromkeys(slot.arm for sheaf in self.sheaves for slot in sheaf.slots)
        arms = {one: number for number, one in enumerate(every)}
        arm = np.full((len(self.sheaves), MOST_SLOTS), -1, dtype=np.intp)
        sample = np.full_like(arm, np.iinfo(arm.dtype).max)
        weights = np.zeros((count, 1 << MOST_SLOTS, BASE + MOST_SLOTS, MOST_SLOTS + 1), dtype=np.float32)
        for number, sheaf in enumerate(self.sheaves):
            places, (_, states, size, choices) = list(sheaf.places), sheaf.weights.shape
            panel[places] = number
            arm[number, : len(sheaf.slots)] = [arms[slot.arm] for slot in sheaf.slots]
            sample[number, : len(sheaf.slots)] = [slot.sample for slot in sheaf.slots]
            weights[places, :states, :size, :choices] = sheaf.weights
        weight = np.array([one.weight for one in self.courses])
        panels = tuple(sheaf.slots for sheaf in self.sheaves)
        whole = np.array([(1 << len(slots)) - 1 for slots in panels])
        beside = np.ascontiguousarray(sideways(count, np.arange(-SPREAD, SPREAD + 1)).T)
        return Stack(panels, arms, arm, whole, sample, panel, weight, weights, self._edges, beside)

    def nearest(self, tradeoff: float) -> int:
        """The place of the course learned at the nearest tradeoff, by the ratio of weights."""
        if tradeoff >= 1.0:
            return len(self.courses) - 1
        weight = max(tradeoff / (1.0 - tradeoff), 1e-300)
        return int(np.abs(self._logs - np.log(weight)).argmin())

    @cached_property
    def _edges(self) -> Floats:
        """The tradeoffs between which each course is the nearest one."""
        weight = np.exp((self._logs[1:] + self._logs[:-1]) / 2.0)
        return np.concatenate(((0.0,), weight / (1.0 + weight), (1.0, 1.0)))

    @cached_property
    def _logs(self) -> Floats:
        """Logarithms of the courses' weights."""
        return np.log([one.weight for one in self.courses])


def aside(query_text: str) -> int:
    """How many courses aside a query goes, from ``-SPREAD`` (dearer) to ``SPREAD`` (cheaper), all equally often."""
    digest = hashlib.blake2b(query_text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % (2 * SPREAD + 1) - SPREAD


def sideways(courses: int, asides: Indices) -> Indices:
    """(courses, n) the place of the course that each of n queries follows for every course that is nearest."""
    return np.asarray(np.clip(np.arange(courses)[:, None] + asides[None, :], 0, courses - 1), dtype=np.intp)
