"""What one seed came to: plain values, small enough to travel between processes and to be kept.

A metric that is undefined is NaN and one that is never reached is infinite; neither leaves for JSON as such.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curveroute.agent.decide import Floats
    from curveroute.agent.evals.bootstrap import Difference
    from curveroute.agent.evals.calibration import Reliability
    from curveroute.agent.types import Arm


@dataclass(frozen=True, slots=True)
class TaskSum:
    """One task's test queries: how many, and the sums of their quality and cost in USD."""

    queries: int
    quality: float
    cost_usd: float

    def __add__(self, other: TaskSum) -> TaskSum:
        return TaskSum(self.queries + other.queries, self.quality + other.quality, self.cost_usd + other.cost_usd)


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """One policy on one seed.

    Attributes:
        metrics: name → value on the test queries.
        intervals: name → 95 % bootstrap interval of the value.
        curve: (P, 3) tradeoff (NaN for none), mean cost in USD, mean quality of the policy's own points.
        tasks: task → sums at the honest point.
        chosen: estimates of the chosen arms at every tradeoff, beside what came; None for policies that estimate none.
        all_arms: estimates of all arms, beside what was recorded; None where the policy offers none.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    curve: Floats
    tasks: Mapping[str, TaskSum]
    chosen: Reliability | None = None
    all_arms: Reliability | None = None


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    """One split, every policy.

    Attributes:
        train: training queries, those of one text as one.
        test: test queries, all with a recorded answer of the best single model.
        best: the best single model's arm, chosen on the training queries.
        q_star: its mean test quality.
        c_star: its mean test cost, USD.
        cost_range: lowest and highest mean cost of any point of any policy: what the paper's AUDC is scaled by.
        best_tasks: task → sums of the best single model.
        notes: what a reader must know: policies and arms left out, answers that are missing.
    """

    seed: int
    train: int
    test: int
    best: Arm
    q_star: float
    c_star: float
    cost_range: tuple[float, float]
    policies: Mapping[str, PolicyOutcome]
    best_tasks: Mapping[str, TaskSum]
    paired: list[Difference]
    notes: list[str] = field(default_factory=list)
