"""One seed: split, fit every policy on the training queries, replay it on the test queries, measure, compare.

Invariant: whatever is chosen (the best single model, the constant arms, the operating point) is chosen on training
queries, those of one text as one query; the test queries are read once, by metrics. Every mean of a seed is over the
same queries: those to which the best single model's answer was recorded, for gains against it would otherwise measure
which queries are the hard ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from curveroute.agent.bench.grid import Grid, groups_of, merged, split
from curveroute.agent.errors import RunError, SetupError, TableError
from curveroute.agent.evals.baselines.constants import best_single, largest_budget_columns
from curveroute.agent.evals.bootstrap import differences, draw, interval, resampled
from curveroute.agent.evals.breakdown import by_task
from curveroute.agent.evals.calibration import Reliability, reliability
from curveroute.agent.evals.measure import (
    Yardstick,
    among,
    answered,
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

    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.evals.measure import Points
    from curveroute.agent.types import Arm

Makers: TypeAlias = Mapping[str, Callable[[int], Policy]]
Watch: TypeAlias = Callable[[str], None]

CONSTANTS = "constant-arm"
ORACLE = "oracle-curve"
OURS = "curveroute"
_FEWEST_TRAINING = 2


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
    """One fitted policy's replays, with their gaps filled.

    Attributes:
        missing: test queries to which some point of it has no recorded answer.
        chosen: its estimates of the arms it chose, beside what was recorded.
        all_arms: its estimates of all arms, likewise.
    """

    test: Replay
    training: Replay
    missing: int
    chosen: Reliability | None
    all_arms: Reliability | None


def run_trial(trial: Trial, makers: Makers, seed: int, watch: Watch = lambda _: None) -> SeedOutcome:
    """One seed.

    Args:
        trial: what is evaluated.
        makers: every policy by name, the constant arms among them.
        seed: of the split, the policies and the resamples.
        watch: told the name of each policy that is done, and ``bootstrap`` at the end.

    Raises:
        TableError: as :func:`parts`.
        SetupError: a policy refused, and the trial is not lenient.
    """
    train, test, notes = parts(trial, seed)
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


def parts(trial: Trial, seed: int) -> tuple[Grid, Grid, list[str]]:
    """Training and test queries that can be compared, and notes of what is left out.

    Training queries of one text are one query. Test queries without a recorded answer of the best single model are
    left out for every policy.

    Raises:
        TableError: nothing to split, no arm that was asked on both sides, or fewer than two texts to train on.
    """
    whole = (trial.grid, trial.test) if trial.test is not None else split(trial.grid, seed, trial.test_fraction)
    train, test, notes = _comparable(merged(whole[0]), whole[1])
    different = len(set(groups_of(train.texts).tolist()))
    if different < _FEWEST_TRAINING:
        remedy = "another --train table" if trial.test is not None else "more queries or a smaller --test-fraction"
        noun = "query" if different == 1 else "queries"
        found = f"the training part has {different} different {noun}"
        raise TableError(f"{found}; routers need {_FEWEST_TRAINING} or more: give {remedy}")
    return train, test, notes


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


def _comparable(train: Grid, test: Grid) -> tuple[Grid, Grid, list[str]]:
    """Arms with rows on both sides, and test queries of the best single model, with notes of what is left out.

    Leaving out queries may leave an arm without any, and leaving out an arm may change which model is best: until
    nothing is left to leave out.
    """
    arms: list[str] = []
    queries = 0
    while True:
        asked = np.asarray(np.isfinite(train.quality).any(axis=0) & np.isfinite(test.quality).any(axis=0))
        if not asked.any():
            raise TableError("no arm was asked on both training and test queries; collect more rows")
        arms += [str(arm) for arm, kept in zip(train.arms, asked, strict=True) if not kept]
        train, test = train.keep(np.flatnonzero(asked)), test.keep(np.flatnonzero(asked))
        train = train.take(np.flatnonzero(np.isfinite(train.quality).any(axis=1)))
        best = best_single(train)
        heard = np.isfinite(test.quality[:, best])
        if heard.all():
            return train, test, [*_without_arms(arms), *_without_queries(queries, train.arms[best])]
        queries += int((~heard).sum())
        test = test.take(np.flatnonzero(heard))


def _without_arms(arms: Sequence[str]) -> list[str]:
    return [f"without rows on both sides, and left out: {', '.join(arms)}"] if arms else []


def _without_queries(count: int, best: Arm) -> list[str]:
    few = f"{count} test {'query has' if count == 1 else 'queries have'}"
    return [f"{few} no recorded answer of the best single model, {best}: left out for every policy"] if count else []


def _replayed(name: str, makers: Makers, seed: int, train: Grid, test: Grid) -> _Replayed:
    policy = makers[name](seed).fit(train)
    replay, training = policy.replay(test), policy.replay_training()
    _check_shape(name, replay, len(test))
    _check_shape(name, training, len(train))
    if not np.isfinite(replay.quality).any():
        raise RunError(f"policy {name!r} replayed no answer that was recorded")
    estimates: Callable[[Grid], Floats] | None = getattr(policy, "estimates", None)
    return _Replayed(
        answered(replay, test),
        answered(training, train),
        missing=int((~np.isfinite(replay.quality)).any(axis=0).sum()),
        chosen=None if replay.estimate is None else reliability(replay.estimate, replay.quality),
        all_arms=None if estimates is None else reliability(estimates(test), test.quality),
    )


def _check_shape(name: str, replay: Replay, queries: int) -> None:
    shape = replay.tradeoffs.size, queries
    if replay.cost_usd.shape != shape or replay.quality.shape != shape:
        raise RunError(f"policy {name!r} replayed {replay.quality.shape} answers; expected {shape}")


def _measured(
    names: Sequence[str], replayed: Mapping[str, _Replayed], train: Grid, test: Grid, seed: int, notes: list[str]
) -> SeedOutcome:
    column = best_single(train)
    best = single(test, column)
    points = {name: points_of(one.test) for name, one in replayed.items()}
    yard = _yardstick(points, points_of(best), train, test, column)
    there = [name for name in names if name in replayed]
    notes = [*notes, *(note for name in there if (note := _gaps(name, replayed[name]))), *_one_end(yard)]
    heard = np.flatnonzero(np.isfinite(train.quality[:, column]))
    rows = {name: _operating(replayed[name], heard, yard) for name in there}
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
                chosen=replayed[name].chosen,
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
    """Cost and quality of two models at their largest budgets, the worse one first; None for any other pool.

    NaN when one of them was not asked every test query: its mean would be over other queries than the policies'.
    """
    if len({arm.model for arm in test.arms}) != 2:  # noqa: PLR2004
        return None
    columns = largest_budget_columns(test)
    cost, quality = (values[:, columns].mean(axis=0).tolist() for values in (test.cost_usd, test.quality))
    weak, strong = sorted(zip(cost, quality, strict=True), key=lambda end: end[1])
    return weak, strong


def _one_end(yard: Yardstick) -> list[str]:
    if yard.ends is None or np.isfinite(yard.ends).all():
        return []
    return ["one of the two models was not asked every test query: APGR and CPT are undefined"]


def _operating(one: _Replayed, heard: Indices, yard: Yardstick) -> int:
    """Chosen on the training queries that the best single model was asked, like its quality there."""
    return operating_row(among(one.training, heard), one.test, yard.trained_q_star)


def _gaps(name: str, one: _Replayed) -> str | None:
    if not one.missing:
        return None
    return (
        f"{name} has no recorded answer to {one.missing} of {one.test.quality.shape[1]} test queries, which count "
        "against it: as quality 0, and as the dearest answer where no cost is known"
    )
