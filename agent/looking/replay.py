"""Replay courses over recorded queries, many at a time: what the graph would do, answer by answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.escalate import choose
from curveroute.agent.looking.course import bits, states_of, summary_of
from curveroute.agent.verify.jury import given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.decide import Floats, Indices, Singles
    from curveroute.agent.looking.course import Course
    from curveroute.agent.looking.recorded import Recorded, Slot
    from curveroute.agent.verify.jury import Jury

    State = tuple[int, ...]

_LIKELIEST = 1  # where a summary has the probability of the likeliest claim, which is that of the answer given


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """What following a course came to, (n,) each.

    Attributes:
        quality: of the answer given; NaN where none of the course's slots was recorded.
        cost_usd: USD of everything asked.
        estimate: quality that was expected of the answer when the run stopped.
        state: the slots asked, bit k for the course's slot k.
        answer: the slot whose answer was given, -1 for none.
        score: the jury's probability, before calibration, of the answer given; NaN for none.
    """

    quality: Floats
    cost_usd: Floats
    estimate: Floats
    state: Indices
    answer: Indices
    score: Floats


class Replayer:
    """Follows courses over n rows; the jury hears every state of a panel once, for all courses of that panel.

    Args:
        jury: that judges the answers.
        recorded: the rows, with at least the slots of the courses.
        unit_usd: the unit of cost.
    """

    def __init__(self, jury: Jury, recorded: Recorded, unit_usd: float) -> None:
        self._jury = jury
        self._recorded = recorded
        self._unit = unit_usd
        self._heard: dict[tuple[Slot, ...], tuple[Recorded, dict[State, tuple[Floats, Indices]]]] = {}

    def follow(self, course: Course) -> Followed:
        """Follow one course on every row."""
        panel, heard = self._panel(course.slots)
        n = len(panel)
        quality, estimate, score, cost = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
        state, gives = np.zeros(n, dtype=np.intp), np.full(n, -1, dtype=np.intp)
        price = course.weight * panel.expected_usd / self._unit
        running = np.ones(n, dtype=np.bool_)
        for asked in states_of(course.slots):
            rows = np.flatnonzero(running & (state == bits(asked)))
            if rows.size == 0:
                continue
            summary, answer = heard[asked]
            stop, values = course.values(bits(asked), summary[rows])
            net = np.where(panel.seen.asked[rows], values - price[rows], np.nan)
            action = choose(net - stop[:, None] if asked else net, price[rows], must=not asked)
            done = rows[action < 0]
            if asked:
                gives[done] = answer[done]
                quality[done] = panel.quality[done, answer[done]]
                estimate[done] = np.clip(stop[action < 0], 0.0, 1.0)
                score[done] = summary[done, _LIKELIEST]
            running[done] = False
            going, slot = rows[action >= 0], action[action >= 0]
            cost[going] += panel.cost_usd[going, slot]
            state[going] |= 1 << slot
        return Followed(quality, cost, estimate, state, gives, score)

    def _panel(self, slots: tuple[Slot, ...]) -> tuple[Recorded, dict[State, tuple[Floats, Indices]]]:
        if slots not in self._heard:
            place = {slot: at for at, slot in enumerate(self._recorded.slots)}
            panel = self._recorded.columns([place[slot] for slot in slots])
            self._heard[slots] = panel, {state: self._hear(panel, state) for state in states_of(slots)}
        return self._heard[slots]

    def _hear(self, panel: Recorded, state: State) -> tuple[Floats, Indices]:
        prior = panel.seen.prior
        if not state:
            return summary_of(None, prior), np.zeros(len(panel), dtype=np.intp)
        columns = np.asarray(state, dtype=np.intp)
        seen = panel.seen.columns(columns)
        odds, number = self._jury.probabilities(seen)
        return summary_of(odds, prior), columns[given(odds, number, seen)]


def mean_by_query(values: Sequence[Floats] | Floats, query: Indices, queries: int) -> Singles:
    """(…, queries) means over the rows of each query."""
    rows = np.asarray(values, dtype=np.float64)
    count = np.bincount(query, minlength=queries).astype(np.float64)
    total = np.stack([np.bincount(query, weights=one, minlength=queries) for one in np.atleast_2d(rows)])
    return np.asarray(total / count, dtype=np.float32).reshape((*rows.shape[:-1], queries))
