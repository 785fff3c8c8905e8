"""A course: what asking on and stopping are worth in every state of a panel, at one tradeoff.

A *panel* is the few slots that a run at this tradeoff may ask; its state is the set of those asked, and what the jury
made of their answers. In every state linear functions of that say how good the answer would be if the run stopped now,
and what the run would still come to (quality less later prices) after asking each other slot: the continuation values
of an optimal stopping problem, regressed on the state (Longstaff and Schwartz 2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.looking.recorded import follows
from curveroute.agent.verify.seen import EDGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.decide import Floats, Mask, Singles
    from curveroute.agent.looking.recorded import Slot

BASE = 7
EXPECTED = 1  # the column of the likeliest claim's probability
MOST_SLOTS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Values at one tradeoff for a panel of K slots.

    Attributes:
        slots: (K,).
        weight: how much one unit of cost (the pool's reference cost) weighs against one of quality: λ / (1 − λ).
        weights: (2^K, F, K + 1) by state (bit k is set when slot k was asked): column 0 is the value of stopping, the
            others of asking each slot, before its price; 0 where a slot cannot be asked.
    """

    slots: tuple[Slot, ...]
    weight: float
    weights: Singles

    def values(self, state: int, summary: Floats) -> tuple[Floats, Floats]:
        """(n,) value of stopping and (n, K) of asking each slot before its price, NaN where it cannot be asked."""
        found = summary @ self.weights[state].astype(np.float64)
        found[:, 1:][:, ~_askable(self.slots)[state]] = np.nan
        return found[:, 0], found[:, 1:]


def states_of(slots: Sequence[Slot]) -> list[tuple[int, ...]]:
    """Every set of slots that can have been asked, by size; a repeated sample comes after the one before it."""
    before = follows(slots)
    every = (chosen for size in range(len(slots) + 1) for chosen in combinations(range(len(slots)), size))
    return [chosen for chosen in every if all(before[slot] in chosen for slot in chosen)]


def next_of(state: Sequence[int], slots: Sequence[Slot]) -> list[int]:
    """The slots that can be asked next."""
    before = follows(slots)
    return [at for at in range(len(slots)) if at not in state and (before[at] == at or before[at] in state)]


@lru_cache(maxsize=256)
def _askable(slots: tuple[Slot, ...]) -> Mask:
    """(2^K, K) which slots can be asked next in each state."""
    may = np.zeros((1 << len(slots), len(slots)), dtype=np.bool_)
    for state in states_of(slots):
        may[bits(state), next_of(state, slots)] = True
    return may


def bits(state: Sequence[int]) -> int:
    """The number of a state."""
    return sum(1 << slot for slot in state)


def quality_of(prior: Singles) -> Floats:
    """The expected quality behind log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-prior.astype(np.float64))))


def summary_of(odds: Singles | None, prior: Singles) -> Floats:
    """(n, F) what a state comes to.

    Args:
        odds: (n, C + 1) the jury's probabilities, "none" last; None before the first answer.
        prior: (n, K) log-odds of every slot's expected quality.
    """
    return filled(odds, quality_of(prior))


def filled(odds: Singles | None, quality: Floats) -> Floats:
    """The same from the (n, K) expected qualities; one row of odds goes for all rows."""
    n, slots = quality.shape
    whole = np.zeros((n, BASE + slots))
    whole[:, 0], whole[:, BASE:] = 1.0, quality
    if odds is not None:
        claims = np.sort(odds[:, :-1].astype(np.float64), axis=1)
        first = claims[:, -1]
        none = odds[:, -1].astype(np.float64)
        inside = np.minimum(np.maximum(first, EDGE), 1.0 - EDGE)
        whole[:, 1], whole[:, 2], whole[:, 3] = first, first**2, np.log(inside / (1.0 - inside))
        if claims.shape[1] > 1:
            whole[:, 4] = claims[:, -2]
        whole[:, 5], whole[:, 6] = none, first * none
    return whole
