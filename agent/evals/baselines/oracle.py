"""What could be known: the rule of the single shot with every answer's true quality and cost.

Not a policy anyone can run, but the ceiling of those that choose once: over each model's largest budget for routers
that choose a model, over all arms for routers that choose a budget as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.evals.baselines.constants import unit_usd
from curveroute.agent.evals.policy import Replay, sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Indices


class Oracle:
    """The best arm of each query, at every tradeoff.

    Args:
        columns: the arms it may choose from, given the training queries.
    """

    def __init__(self, columns: Callable[[Grid], Indices]) -> None:
        self._columns = columns

    def fit(self, train: Grid) -> Self:
        """Only which arms there are, and the unit of cost."""
        self._train, self._open, self._unit = train, self._columns(train), unit_usd(train)
        return self

    def replay(self, test: Grid) -> Replay:
        """Choose by what was recorded."""
        known = test.keep(self._open)
        cost = np.where(np.isnan(known.cost_usd), self._unit, known.cost_usd)  # such an arm is closed anyway
        return sweep(known, known.quality, cost, self._unit)

    def replay_training(self) -> Replay:
        """Choose by what was recorded."""
        return self.replay(self._train)
