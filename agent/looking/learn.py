"""Learn to look: a jury, and for every tradeoff the panel and the course that came out best on recorded queries.

Everything that a course is judged by was made without the query it is judged on: the jury's probabilities come from
juries of other folds, the decisions from regressions on other folds. Panels are chosen at a few tradeoffs by adding
slots as long as that pays (starting from the best pair, because two that agree are worth more than either), and the
panels of all of them compete at every tradeoff: at every fourth all, in between those that won on either side.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.looking.course import MOST_SLOTS, states_of
from curveroute.agent.looking.induction import induce, panel_of
from curveroute.agent.looking.looking import Looking
from curveroute.agent.looking.recorded import follows
from curveroute.agent.verify.fit_jury import Diet, fit_jury
from curveroute.agent.verify.jury import given

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from curveroute.agent.decide import Floats, Indices, Mask, Singles
    from curveroute.agent.looking.course import Course
    from curveroute.agent.looking.induction import Panel, Walk
    from curveroute.agent.looking.recorded import Recorded
    from curveroute.agent.verify.jury import Jury

    Slots = tuple[int, ...]

JURY_FOLDS = 5
ANCHORS = 8
PER_DECADE = 32
STRIDE = 4  # tradeoffs from one at which every panel competes to the next
LEAST_GAIN = 1e-4
FEWEST_ROWS = 20
LEAST_SHARE = 0.25  # of the rows, that must hold every slot of a panel
_LEAST_PRICE = 2e-3  # of asking the dearest slot, at the first anchor, in units of quality
_MOST_PRICE = 0.5  # of asking the cheapest slot, at the last one


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What was learned, and what it came to on the queries learned from.

    Attributes:
        looking: the jury and its courses.
        walks: one for each course: (n,) quality and cost of every row, by decisions that had not seen it.
        rows: (n,) the rows of ``recorded`` that each walk went over.
        reliability: the share of the prior's Brier score that looking at an answer alone takes away.
    """

    looking: Looking
    walks: tuple[Walk, ...]
    rows: tuple[Indices, ...]
    reliability: float


def learn(
    recorded: Recorded,
    weights: Sequence[float],
    unit_usd: float,
    *,
    diet: Diet | None = None,
    most: int = MOST_SLOTS,
    watch: Callable[[int, int, str], None] = lambda *_: None,
) -> Lesson:
    """Learn from recorded answers.

    Args:
        recorded: the slots that may be on a panel.
        weights: (L,) λ / (1 − λ) of each tradeoff to learn a course for, rising.
        unit_usd: the unit of cost.
        diet: of the juries.
        most: slots on a panel.
        watch: told how many of how many steps are done, and of what: juries, then panels, then courses.
    """
    school = _School(recorded, unit_usd, most, diet or Diet())
    school.train(watch)
    anchors = _anchors(recorded, unit_usd)
    panels = []
    for done, anchor in enumerate(anchors):
        watch(done, anchors.size, "panels")
        panels.append(school.search(anchor))
    panels = sorted(set(panels))
    ahead = school.best(panels, weights[0])[0]
    courses, walks, rows = [], [], []
    for done, weight in enumerate(weights):
        watch(done, len(weights), "courses")
        if done % STRIDE == 0:
            here, ahead = ahead, school.best(panels, weights[min(done + STRIDE, len(weights) - 1)])[0]
            near = sorted({here, ahead})
        best = school.walk(school.best(near, weight)[0], weight)
        courses.append(best[0])
        walks.append(best[1])
        rows.append(best[2])
    watch(len(weights), len(weights), "courses")
    looking = Looking(school.jury, tuple(courses), unit_usd)
    return Lesson(looking, tuple(walks), tuple(rows), school.reliability())


def weights_for(recorded: Recorded, unit_usd: float) -> Floats:
    """(L,) weights of cost that make a difference: from all but free to where even the cheapest slot is dear."""
    anchors = _anchors(recorded, unit_usd)
    decades = float(np.log10(anchors[-1] / anchors[0]))
    return np.geomspace(anchors[0], anchors[-1], max(round(decades * PER_DECADE) + 1, 1))


def _anchors(recorded: Recorded, unit_usd: float) -> Floats:
    cost = np.nanmean(recorded.cost_usd, axis=0) / unit_usd
    cost = cost[cost > 0.0]
    if cost.size == 0:
        return np.ones(1)
    return np.geomspace(_LEAST_PRICE / cost.max(), max(_MOST_PRICE / cost.min(), _LEAST_PRICE / cost.max()), ANCHORS)


@dataclass(slots=True)
class _School:
    """The work of one lesson: juries, and panels as they are tried."""

    recorded: Recorded
    unit_usd: float
    most: int
    diet: Diet
    jury: Jury = field(init=False)
    _juries: list[tuple[Jury, Indices]] = field(init=False, default_factory=list)
    _odds: dict[Slots, tuple[Singles, Singles]] = field(init=False, default_factory=dict)
    _panels: dict[Slots, tuple[Panel, Indices]] = field(init=False, default_factory=dict)

    def train(self, watch: Callable[[int, int, str], None]) -> None:
        """The jury for runs to come, and one for each fold that has not seen its queries."""
        one, before = self.recorded, follows(self.recorded.slots)
        quality = np.nan_to_num(one.quality)
        queries = int(one.query.max()) + 1
        fold = (np.random.default_rng(self.diet.seed + 1).permutation(queries) % JURY_FOLDS)[one.query]
        folds = min(JURY_FOLDS, queries)
        for held in range(folds):
            watch(held, folds + 1, "juries")
            rest = np.flatnonzero(fold != held)
            jury = fit_jury(one.seen.rows(rest), quality[rest], before, replace(self.diet, seed=self.diet.seed + held))
            self._juries.append((jury, np.flatnonzero(fold == held)))
        watch(folds, folds + 1, "juries")
        self.jury = fit_jury(one.seen, quality, before, self.diet)

    def search(self, weight: float) -> Slots:
        """The panel at a tradeoff: the best of a chain of panels that grows slot by slot.

        The chain begins with the best pair, and goes on when a slot does not pay, because two may; in the end every
        slot must have earned its place.
        """
        count = len(self.recorded.slots)
        singles: list[Slots] = [(slot,) for slot in range(count) if self._lawful((slot,))]
        pairs: list[Slots] = [pair for pair in combinations(range(count), 2) if self._lawful(pair)]
        chain = [self.best(panels, weight) for panels in (singles, pairs) if panels]
        while len(chain[-1][0]) < self.most:
            last = chain[-1][0]
            wider = [tuple(sorted((*last, slot))) for slot in range(count) if slot not in last]
            wider = [slots for slots in wider if self._lawful(slots)]
            if not wider:
                break
            chain.append(self.best(wider, weight))
        return max(chain, key=lambda one: one[1] - LEAST_GAIN * len(one[0]))[0]

    def walk(self, slots: Slots, weight: float) -> tuple[Course, Walk, Indices]:
        panel, rows = self._panel(slots)
        course, walk = induce(panel, weight, self.unit_usd)
        return course, walk, rows

    def reliability(self) -> float:
        """1 − Brier(verdict) / Brier(prior) of all answers, each heard beside the others, by juries of other folds."""
        one = self.recorded
        pairs: list[Slots] = [pair for pair in combinations(range(len(one.slots)), 2) if self._lawful(pair)]
        pairs = pairs or [(0,)]
        before = after = 0.0
        for slots in pairs:
            odds, right = self._judged(slots)
            rows = np.flatnonzero(one.seen.asked[:, list(slots)].all(axis=1))
            top = odds[rows, :-1].max(axis=1)
            prior = 1.0 / (1.0 + np.exp(-one.seen.prior[rows][:, list(slots)].max(axis=1)))
            before += float(np.square(right[rows] - prior).sum())
            after += float(np.square(right[rows] - top).sum())
        return 0.0 if before <= 0.0 else min(max(1.0 - after / before, 0.0), 1.0)

    def best(self, panels: Sequence[Slots], weight: float) -> tuple[Slots, float]:
        """The panel with the largest lead, and its lead."""
        leads = [self.lead(slots, weight) for slots in panels]
        place = int(np.argmax(leads))
        return panels[place], leads[place]

    def lead(self, slots: Slots, weight: float) -> float:
        """How much more a panel is worth than the reference slot alone, on the same rows; panels differ in theirs.

        Minus infinity for a panel of which too few rows hold every slot, unless no panel has enough.
        """
        alone = self._alone(weight)
        if int(self._complete(slots).sum()) < self._fewest:
            return -np.inf
        _, walk, rows = self.walk(slots, weight)
        ahead = walk.quality - weight * walk.cost_usd / self.unit_usd - alone[rows]
        return float(np.nanmean(ahead)) if np.isfinite(ahead).any() else -np.inf

    @property
    def _fewest(self) -> int:
        """Rows that a panel needs: a share of all, or what the slot recorded most often has, if that is less."""
        asked = self.recorded.seen.asked.sum(axis=0)
        return int(min(max(FEWEST_ROWS, LEAST_SHARE * len(self.recorded)), asked.max(initial=0)))

    def _alone(self, weight: float) -> Floats:
        """(n,) worth of the slot that was recorded most often, as it came out."""
        one = self.recorded
        slot = int(one.seen.asked.sum(axis=0).argmax())
        return np.asarray(one.quality[:, slot] - weight * one.cost_usd[:, slot] / self.unit_usd)

    def _complete(self, slots: Slots) -> Mask:
        return np.asarray(self.recorded.seen.asked[:, list(slots)].all(axis=1))

    def _lawful(self, slots: Sequence[int]) -> bool:
        before = follows(self.recorded.slots)
        return all(before[slot] in slots for slot in slots)

    def _panel(self, slots: Slots) -> tuple[Panel, Indices]:
        if slots not in self._panels:
            self._panels[slots] = self._prepared(slots)
        return self._panels[slots]

    def _prepared(self, slots: Slots) -> tuple[Panel, Indices]:
        one = self.recorded.columns(slots)
        rows = np.flatnonzero(self._complete(slots))
        odds, right = {}, {}
        for state in states_of(one.slots):
            if state:
                found = self._judged(tuple(slots[place] for place in state))
                odds[state], right[state] = found[0][rows], found[1][rows]
        panel = panel_of(one.rows(rows), odds, right)
        return panel, rows[panel.order]

    def _judged(self, slots: Slots) -> tuple[Singles, Singles]:
        """(n, C + 1) probabilities of claims by juries of other folds, and (n,) quality of the answer given."""
        if slots not in self._odds:
            one = self.recorded.columns(slots)
            odds = np.zeros((len(one), len(slots) + 1), dtype=np.float32)
            answer = np.zeros(len(one), dtype=np.intp)
            for jury, rows in self._juries:
                odds[rows], number = jury.probabilities(one.seen.rows(rows))
                answer[rows] = given(odds[rows], number, one.seen.rows(rows))
            self._odds[slots] = odds, one.quality[np.arange(len(one)), answer]
        return self._odds[slots]
