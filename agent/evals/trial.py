"""One seed: split, fit every policy on the training queries, replay it on the test queries, measure, compare.

Invariant: whatever is chosen (the best single model, the constant arms, the operating point) is chosen on training
queries; the test queries are read once, by metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from curveroute.agent.bench.grid import Grid, split
from curveroute.agent.errors import RunError, SetupError, TableError
from curveroute.agent.evals.baselines.constants import best_single, largest_budget_columns
from curveroute.agent.evals.bootstrap import differences, draw, interval, resampled
from curveroute.agent.evals.breakdown import by_task
from curveroute.agent.evals.calibration import Reliability, reliability
from curveroute.agent.evals.measure import (
    Yardstick,
    joined,
    measure,
    measure_point,
    operating_row,
    points_of,
    single,
)
from curveroute.agent.evals.outcome import PolicyOutcome, SeedOutcome
from curveroute.agent.evals.policy import Policy, Replay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.decide import Floats
    from curveroute.agent.evals.measure import Points

Makers: TypeAlias = Mapping[str, Callable[[int], Policy]]
Watch: TypeAlias = Callable[[str], None]

CONSTANTS = "constant-arm"
ORACLE = "oracle-curve"
OURS = "curveroute"


@dataclass(frozen=True, slots=True)
class Trial:
    """What is evaluated, and how.

    Attributes:
        grid: all queries, or the training queries when ``test`` is given.
        names: policies, in the order of the report.
        test: queries of a fixed split; None splits ``grid`` by the seed.
        test_fraction: share of the queries to test on, in (0, 1).
        lenient: a policy that refuses (an extra is missing, the table does not suit it) is left out with a note.
    """

    grid: Grid
    names: tuple[str, ...]
    test: Grid | None = None
    test_fraction: float = 0.3
    lenient: bool = False

    @property
    def steps(self) -> int:
        """How often a run calls its watch."""
        return len(dict.fromkeys((CONSTANTS, *self.names))) + 1


@dataclass(frozen=True, slots=True, eq=False)
class _Replayed:
    """One fitted policy's replays."""

    test: Replay
    training: Replay
    all_arms: Reliability | None


def run_trial(trial: Trial, makers: Makers, seed: int, watch: Watch = lambda _: None) -> SeedOutcome:
    """One seed.

    Args:
        trial: what is evaluated.
        makers: every policy by name, the constant arms among them.
        seed: of the split, the policies and the resamples.
        watch: told the name of each policy that is done, and ``bootstrap`` at the end.

    Raises:
        TableError: nothing to split, or no arm that was asked on both sides.
        SetupError: a policy refused, and the trial is not lenient.
    """
    train, test = (trial.grid, trial.test) if trial.test is not None else split(trial.grid, seed, trial.test_fraction)
    train, test, notes = _common(train, test)
    replayed: dict[str, _Replayed] = {}
    for name in dict.fromkeys((CONSTANTS, *trial.names)):
        try:
            replayed[name] = _replayed(name, makers, seed, train, test)
        except SetupError as error:
            if not trial.lenient or name == CONSTANTS:
                raise
            notes.append(f"{name} is left out: {error}")
        watch(name)
    outcome = _measured(trial.names, replayed, train, test, seed, notes)
    watch("bootstrap")
    return outcome


def pairs_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared: each of ours with every other policy; without one of ours, the first with every other."""
    ours = [name for name in names if name.startswith(OURS)] or list(names[:1])
    met: set[frozenset[str]] = set()
    pairs = []
    for a in ours:
        for b in names:
            if a != b and frozenset((a, b)) not in met:
                met.add(frozenset((a, b)))
                pairs.append((a, b))
    return pairs


def _common(train: Grid, test: Grid) -> tuple[Grid, Grid, list[str]]:
    """Only the arms that have rows on both sides, with a note of the others."""
    asked = np.asarray(np.isfinite(train.quality).any(axis=0) & np.isfinite(test.quality).any(axis=0))
    if not asked.any():
        raise TableError("no arm was asked on both training and test queries; collect more rows")
    notes = []
    if not asked.all():
        gone = [str(arm) for arm, kept in zip(train.arms, asked, strict=True) if not kept]
        notes.append(f"without rows on both sides, and left out: {', '.join(gone)}")
        train, test = train.keep(np.flatnonzero(asked)), test.keep(np.flatnonzero(asked))
    heard = np.isfinite(train.quality).any(axis=1), np.isfinite(test.quality).any(axis=1)
    return train.take(np.flatnonzero(heard[0])), test.take(np.flatnonzero(heard[1])), notes


def _replayed(name: str, makers: Makers, seed: int, train: Grid, test: Grid) -> _Replayed:
    policy = makers[name](seed).fit(train)
    replay = policy.replay(test)
    shape = replay.tradeoffs.size, len(test)
    if replay.cost_usd.shape != shape or replay.quality.shape != shape or not np.isfinite(replay.quality).any():
        raise RunError(f"policy {name!r} replayed {replay.quality.shape} answers; expected {shape}")
    estimates: Callable[[Grid], Floats] | None = getattr(policy, "estimates", None)
    every = None if estimates is None else reliability(estimates(test), test.quality)
    return _Replayed(replay, policy.replay_training(), every)


def _measured(
    names: Sequence[str], replayed: Mapping[str, _Replayed], train: Grid, test: Grid, seed: int, notes: list[str]
) -> SeedOutcome:
    column = best_single(train)
    best = single(test, column)
    points = {name: points_of(one.test) for name, one in replayed.items()}
    yard = _yardstick(points, points_of(best), train, test, column)
    there = [name for name in names if name in replayed]
    notes = [*notes, *(note for name in there if (note := _gaps(name, replayed[name].test)))]
    rows = {name: _operating(replayed[name], yard) for name in there}
    metrics = {
        name: measure(points[name], yard) | measure_point(replayed[name].test, rows[name], yard) for name in there
    }
    replays = {name: replayed[name].test for name in there}
    samples = resampled(replays, replayed[CONSTANTS].test, best, draw(len(test), seed))
    return SeedOutcome(
        seed=seed,
        train=len(train),
        test=len(test),
        best=test.arms[column],
        q_star=yard.q_star,
        c_star=yard.c_star,
        cost_range=yard.cost_range,
        policies={
            name: PolicyOutcome(
                metrics=metrics[name],
                intervals={key: interval(metrics[name][key], values) for key, values in samples[name].items()},
                curve=np.column_stack((points[name].tradeoffs, points[name].cost, points[name].quality)),
                tasks=by_task(test.tasks, replays[name].quality[rows[name]], replays[name].cost_usd[rows[name]]),
                chosen=_chosen(replays[name]),
                all_arms=replayed[name].all_arms,
            )
            for name in there
        },
        best_tasks=by_task(test.tasks, best.quality[0], best.cost_usd[0]),
        paired=differences(metrics, samples, pairs_of(there)),
        notes=notes,
    )


def _yardstick(points: Mapping[str, Points], best: Points, train: Grid, test: Grid, column: int) -> Yardstick:
    costs = np.concatenate([one.cost for one in points.values()])
    constants = points[CONSTANTS]
    return Yardstick(
        c_star=float(best.cost[0]),
        q_star=float(best.quality[0]),
        trained_q_star=float(points_of(single(train, column)).quality[0]),
        constants=constants,
        cost_range=(float(costs.min()), float(costs.max())),
        oracle=joined(points[ORACLE], constants) if ORACLE in points else None,
        ends=_ends(test),
    )


def _ends(test: Grid) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Cost and quality of two models at their largest budgets, the worse one first; None for any other pool."""
    if len({arm.model for arm in test.arms}) != 2:  # noqa: PLR2004
        return None
    alone = [points_of(single(test, int(column))) for column in largest_budget_columns(test)]
    weak, strong = sorted(((float(one.cost[0]), float(one.quality[0])) for one in alone), key=lambda end: end[1])
    return weak, strong


def _operating(one: _Replayed, yard: Yardstick) -> int:
    return operating_row(one.training, one.test, yard.trained_q_star)


def _chosen(replay: Replay) -> Reliability | None:
    return None if replay.estimate is None else reliability(replay.estimate, replay.quality)


def _gaps(name: str, replay: Replay) -> str | None:
    missing = int((~np.isfinite(replay.quality)).any(axis=0).sum())
    if not missing:
        return None
    return f"{name} has no recorded answer to {missing} of {replay.quality.shape[1]} queries; its means leave them out"
