"""What was recorded of many queries, slot by slot: what looking is learned from and replayed over.

A *slot* is an arm and how often it was asked before: its second sample is another slot than its first, and comes after
it. Rows are queries; where arms were sampled several times a query may stand in several rows, each with other samples
in the same slots, so that means over rows are means over luck.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.decide import Floats, Indices, Mask, Singles
    from curveroute.agent.types import Arm
    from curveroute.agent.verify.seen import Seen


@dataclass(frozen=True, slots=True)
class Slot:
    """An arm, asked for the ``sample``-th time, from 0."""

    arm: Arm
    sample: int = 0

    def __str__(self) -> str:
        return f"{self.arm}" if self.sample == 0 else f"{self.arm}#{self.sample + 1}"


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """n rows of K slots.

    Attributes:
        slots: (K,).
        seen: (n, K) answers; ``asked`` where there is a recording.
        quality: (n, K) of each answer; NaN where there is none.
        cost_usd: (n, K) USD that each cost; NaN likewise.
        expected_usd: (n, K) USD that each was expected to cost.
        query: (n,) which query a row belongs to.
    """

    slots: tuple[Slot, ...]
    seen: Seen
    quality: Singles
    cost_usd: Floats
    expected_usd: Floats
    query: Indices

    def __len__(self) -> int:
        return len(self.query)

    def rows(self, rows: Indices | Mask) -> Recorded:
        """Some of the rows."""
        return replace(
            self,
            seen=self.seen.rows(rows),
            quality=self.quality[rows],
            cost_usd=self.cost_usd[rows],
            expected_usd=self.expected_usd[rows],
            query=self.query[rows],
        )

    def columns(self, columns: Sequence[int]) -> Recorded:
        """Some of the slots, in the order given."""
        places = np.asarray(columns, dtype=np.intp)
        return replace(
            self,
            slots=tuple(self.slots[place] for place in places),
            seen=self.seen.columns(places),
            quality=self.quality[:, places],
            cost_usd=self.cost_usd[:, places],
            expected_usd=self.expected_usd[:, places],
        )


def follows(slots: Sequence[Slot]) -> Indices:
    """(K,) for each slot the one that must be asked before it (the sample before); its own place where none is."""
    place = {slot: at for at, slot in enumerate(slots)}
    return np.array([place.get(Slot(slot.arm, slot.sample - 1), at) for at, slot in enumerate(slots)], dtype=np.intp)
