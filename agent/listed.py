"""A run's candidates as arrays: made once, and read at every step. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.looking.course import quality_of
from curveroute.agent.verify.seen import log_odds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.types import Arm, Estimate


@dataclass(frozen=True, eq=False)
class Listed:
    """Candidates out of a pool, (A,) each.

    Attributes:
        candidates: the estimates themselves.
        index: where every arm of the pool stands in it.
        places: where the candidates' arms do.
        quality: expected quality.
        cost_usd: expected cost of one call.
        latency_s: seconds that a call is expected to take.
    """

    candidates: tuple[Estimate, ...]
    index: Mapping[Arm, int]
    places: Indices
    quality: Floats
    cost_usd: Floats
    latency_s: Floats

    @cached_property
    def arms(self) -> list[Arm]:
        """The candidates' arms."""
        return [one.arm for one in self.candidates]

    @cached_property
    def models(self) -> Indices:
        """(A,) the model of each, as a number."""
        numbers = {model: number for number, model in enumerate(dict.fromkeys(arm.model for arm in self.arms))}
        return np.array([numbers[arm.model] for arm in self.arms], dtype=np.intp)

    @cached_property
    def expected(self) -> Floats:
        """(A + 1,) expected quality of each as a course reads it, kept away from certainty; last that of none, 0."""
        return np.append(quality_of(log_odds(self.quality)), 0.0)

    @cached_property
    def here(self) -> Indices:
        """(P + 1,) where each arm of the pool stands among the candidates; -1 for one that is none, and last of all."""
        here = np.full(len(self.index) + 1, -1)
        here[self.places] = np.arange(self.places.size)
        return here

    def place(self, arm: Arm) -> int:
        """Where an arm stands among the candidates.

        Raises:
            KeyError: it is none of them.
        """
        place = int(self.here[self.index[arm]])
        if place < 0:
            raise KeyError(arm)
        return place
