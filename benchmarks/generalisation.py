"""Does it generalise: to other subjects, fewer budgets, other embedders, less data, other heads. On a recorded table.

Usage: python benchmarks/generalisation.py TABLE --what stem|tasks|budgets|embedder|size|heads [--seeds 3] [--markdown]

A study is a series of cases: training queries, test queries, policies. Each policy is fitted, replayed and measured as
``curveroute evaluate`` does, with the constant arms of the training queries joined. Prints JSON, or a table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rivals import KINDS, Interpolated, hashed

from curveroute.agent.bench.columns import columns_hash, read_columns
from curveroute.agent.bench.grid import Grid, grid_of, merged, split
from curveroute.agent.embed import embedder_by_name
from curveroute.agent.embed.cues import cue_vectors
from curveroute.agent.embed.kept import kept_embeddings
from curveroute.agent.embed.use import USE_EMBEDDER
from curveroute.agent.errors import CurverouteError
from curveroute.agent.evals.baselines.constants import ConstantArm, best_single, unit_usd
from curveroute.agent.evals.calibration import reliability
from curveroute.agent.evals.measure import Yardstick, measure, points_of, single
from curveroute.agent.evals.metrics import audc_envelope
from curveroute.agent.evals.policies import NAMED
from curveroute.agent.evals.single import SingleShot
from curveroute.agent.predictor.model import TRADEOFFS
from curveroute.agent.settings import load_settings
from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rivals import Makers

    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.evals.measure import Points
    from curveroute.agent.evals.policy import Policy

STEM = ("biology", "chemistry", "computer science", "engineering", "math", "mathematics", "physics")
TEST_FRACTION = 0.3
OURS = "curveroute-single"
POLICIES = (OURS, "r2-ridge", "r2-ridge-tuned", "carrot-knn", "uni-r2", "two-agree", "constant-arm", "oracle-curve")
SIZES = (100, 200, 400, 800, 1600)
SHOWN = {
    "audc_envelope": "AUDC-envelope",
    "gain_at_cost_0.35": "gain at .35 c*",
    "gain_at_cost_0.5": "at .5",
    "gain_at_cost_1": "at 1",
    "peak_gain": "peak − q*",
    "qnc_ratio": "QNC-ratio",
    "utility_gain": "utility",
    "ece": "ECE",
    "brier": "Brier",
    "fit_s": "fit, s",
}
SIGNED = ("gain_at_cost_0.35", "gain_at_cost_0.5", "gain_at_cost_1", "peak_gain", "utility_gain")
PLACES = {"qnc_ratio": 2, "utility_gain": 4, "fit_s": 1}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is fitted on, and what is tested on.

    Attributes:
        name: of the row.
        train: all that a policy sees.
        tests: test queries by name: one fit may be tested on several.
        makers: the policies.
        judge: the training queries on which the best single model is chosen, and the best arm of each tradeoff, the
            same in all cases of a test so that they compare; ``train`` when not given.
    """

    name: str
    train: Grid
    tests: dict[str, Grid]
    makers: Makers
    judge: Grid | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One policy on one test of one case under one seed."""

    case: str
    policy: str
    test: str
    seed: int
    values: dict[str, float]


# Studies


def stem(grid: Grid, seed: int, options: argparse.Namespace) -> Iterator[Case]:
    """Fitted on some subjects, and on as many queries of the others; tested on the same held-out others."""
    inside = np.isin(grid.tasks, _words(options.train_tasks) or STEM)
    if not inside.any() or inside.all():
        raise SystemExit(f"name training tasks with --train-tasks; the table has {', '.join(sorted(set(grid.tasks)))}")
    rest, test = split(grid.take(np.flatnonzero(~inside)), seed, TEST_FRACTION)
    other = grid.take(np.flatnonzero(inside))
    count = min(len(rest), len(other))
    makers = _named(options)
    yield Case("trained on other subjects", _some(other, count, seed), {"": test}, makers, judge=rest)
    yield Case("trained on the same subjects", _some(rest, count, seed), {"": test}, makers, judge=rest)


def tasks(grid: Grid, seed: int, options: argparse.Namespace) -> Iterator[Case]:
    """Each task's test queries, by a policy that has seen other queries of the task, and by one that has not."""
    train, test = split(grid, seed, TEST_FRACTION)
    names, makers = sorted(set(test.tasks) & set(train.tasks)), _named(options)
    if len(names) < 2:
        raise SystemExit("the table has a single task; there is none to leave out")
    of = {name: test.take(_rows(test, name)) for name in names}
    yield Case("task seen", train, of, makers)
    for name in names:
        yield Case("task left out", train.take(_rows(train, name, there=False)), {name: of[name]}, makers, judge=train)


def budgets(grid: Grid, seed: int, options: argparse.Namespace) -> Iterator[Case]:
    """Few finite budgets and the unlimited one: as a pool, and as anchors from which all budgets are interpolated."""
    del options
    train, test = split(grid, seed, TEST_FRACTION)
    finite = sorted({arm.budget for arm in grid.arms if arm.budget is not None})
    for count in range(2, len(finite) + 1):
        kept = train.keep(_columns(train, spread(finite, count)))
        makers: Makers = {"only these budgets": NAMED[OURS], "interpolated": lambda _: Interpolated()}
        yield Case(f"K = {count}", kept, {"": test}, makers, judge=train)


def embedder(grid: Grid, seed: int, options: argparse.Namespace) -> Iterator[Case]:
    """The same heads on other features; ``--vectors`` adds those of any other embedder."""
    train, test = split(grid.embedded(np.arange(len(grid), dtype=np.float64)[:, None]), seed, TEST_FRACTION)
    rows = [one.x[:, 0].astype(np.intp) for one in (train, test)]
    found = {name: [x[part] for part in rows] for name, x in {USE_EMBEDDER: grid.x, **_vectors(options, grid)}.items()}
    found["character n-grams"] = list(hashed(train.texts, test.texts))
    cues = [cue_vectors(one.texts).astype(np.float64) for one in (train, test)]
    cued = {
        f"{name} + cues": [np.hstack(pair) for pair in zip(both, cues, strict=True)] for name, both in found.items()
    }
    makers: Makers = {OURS: lambda _: SingleShot(cues=False)}  # where there are cues, they are among the features
    for name, (x, y) in {**found, **cued, "cues alone": cues}.items():
        yield Case(name, train.embedded(x), {"": test.embedded(y)}, makers)


def size(grid: Grid, seed: int, options: argparse.Namespace) -> Iterator[Case]:
    """Fewer training queries; the yardstick is that of all of them."""
    train, test = split(grid, seed, TEST_FRACTION)
    for count in [*(one for one in SIZES if one < len(train)), len(train)]:
        name = f"{count:,} queries" if count < len(train) else "all queries"
        yield Case(name, _some(train, count, seed), {"": test}, _named(options), judge=train)


def heads(grid: Grid, seed: int, options: argparse.Namespace) -> Iterator[Case]:
    """Every kind of quality heads on the same features (cues beside the embedding), arms, tokens and rule."""
    del options
    cued = grid.embedded(np.hstack((grid.x, cue_vectors(grid.texts))))
    train, test = split(cued, seed, TEST_FRACTION)
    yield Case("quality heads", train, {"": test}, KINDS)


STUDIES: dict[str, Callable[[Grid, int, argparse.Namespace], Iterator[Case]]] = {
    "stem": stem, "tasks": tasks, "budgets": budgets, "embedder": embedder, "size": size, "heads": heads
}  # fmt: skip


def spread(values: Sequence[int], count: int) -> list[int]:
    """So many of the values, the least and the greatest among them, evenly in the logarithm."""
    logs = np.log(values)
    chosen = {0, len(values) - 1}
    for wanted in np.linspace(logs[0], logs[-1], count)[1:-1]:
        free = [place for place in range(len(values)) if place not in chosen]
        chosen.add(min(free, key=lambda place: abs(logs[place] - wanted)))
    return [values[place] for place in sorted(chosen)]


# Measuring


def scores(case: Case, seed: int) -> Iterator[Score]:
    """Every policy of a case on each of its tests."""
    for name, make in case.makers.items():
        start = time.process_time()
        policy = make(seed).fit(merged(case.train))
        took = getattr(policy, "fit_s", time.process_time() - start)
        for test_name, test in case.tests.items():
            values = _measured(policy, case, test)
            yield Score(case.name, name, test_name, seed, {**values, "fit_s": took})


def _measured(policy: Policy, case: Case, whole: Grid) -> dict[str, float]:
    judge = case.train if case.judge is None else case.judge
    place = {arm: column for column, arm in enumerate(whole.arms)}
    recorded = whole.keep(np.array([place[arm] for arm in case.train.arms], dtype=np.intp))
    best = points_of(single(whole, place[judge.arms[best_single(judge)]]))
    constants = points_of(ConstantArm().fit(case.train).replay(recorded))
    yard = Yardstick(float(best.cost[0]), float(best.quality[0]), np.nan, constants, (0.0, 1.0))
    test = whole if isinstance(policy, Interpolated) else recorded
    replay = policy.replay(test)
    found = measure(points_of(replay), yard)
    area = float(audc_envelope(constants.cost, constants.quality, yard.c_star))
    estimates = getattr(policy, "estimates", None)
    told = None if estimates is None else reliability(estimates(test), test.quality)
    return {
        **found,
        "over_constants": found["audc_envelope"] - area,
        "peak_gain": found["peak"] - yard.q_star,
        "utility_gain": utility_gain(points_of(replay), judge, whole),
        "ece": np.nan if told is None else told.error,
        "brier": np.nan if told is None else told.brier,
        "q_star": yard.q_star,
    }


def utility_gain(points: Points, train: Grid, test: Grid) -> float:
    """What (1 - t) quality - t cost / unit comes to, over the arm that has most of it on the training queries.

    Averaged over the tradeoffs t of the predictor. Nothing is chosen on test queries, so it can be negative; NaN of
    policies that follow no tradeoff.
    """
    if not np.isfinite(points.tradeoffs).all():
        return np.nan
    unit, gains = unit_usd(train), []
    expected = np.nanmean(train.quality, axis=0), np.nanmean(train.cost_usd, axis=0) / unit
    for t in TRADEOFFS:
        at = int(np.abs(points.tradeoffs - t).argmin())
        arm = int(((1.0 - t) * expected[0] - t * expected[1]).argmax())
        rival = (1.0 - t) * np.nanmean(test.quality[:, arm]) - t * np.nanmean(test.cost_usd[:, arm]) / unit
        gains.append((1.0 - t) * points.quality[at] - t * points.cost[at] / unit - rival)
    return float(np.mean(gains))


def summary(found: Sequence[Score]) -> list[dict[str, Any]]:
    """A row for each policy of each case: mean and deviation over seeds, and of several tests the worst."""
    cells: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for one in found:
        cells[one.case, one.policy].append(one)
    return [{"case": case, "policy": policy, **_row(part)} for (case, policy), part in cells.items()]


def _row(part: Sequence[Score]) -> dict[str, Any]:
    metrics = {name: _spread(part, name) for name in ("q_star", "over_constants", *SHOWN)}
    tests = list(dict.fromkeys(one.test for one in part))
    if len(tests) < 2:
        return {"metrics": metrics}
    by_test = {
        test: {name: _spread([one for one in part if one.test == test], name)["mean"] for name in SIGNED}
        for test in tests
    }
    worst = {name: _worst({test: by_test[test][name] for test in tests}) for name in SIGNED}
    return {"metrics": metrics, "worst": worst, "by_test": by_test}


def _spread(part: Sequence[Score], name: str) -> dict[str, Any]:
    """Over seeds, each the mean over its tests; where a value is missing or never reached, over the others."""
    per_seed: dict[int, list[float]] = defaultdict(list)
    for one in part:
        value = one.values[name]
        if np.isfinite(value):
            per_seed[one.seed].append(value)
    means = [float(np.mean(values)) for values in per_seed.values()]
    reached = sum(len(values) for values in per_seed.values())
    deviation = float(np.std(means, ddof=1)) if len(means) > 1 else None
    mean = float(np.mean(means)) if means else None
    return {"mean": mean, "std": deviation, "by_seed": means, "reached": reached, "of": len(part)}


def _worst(values: dict[str, float | None]) -> dict[str, Any]:
    there = {test: value for test, value in values.items() if value is not None}
    return {"test": (test := min(there, key=lambda one: there[one])), "mean": there[test]} if there else {}


# Printing


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table of the metrics that some row has; of several tests the worst stands behind the mean."""
    names = [name for name in SHOWN if any(row["metrics"][name]["reached"] for row in rows)]
    lines = [["case", "policy", *(SHOWN[name] for name in names)], ["---"] * (len(names) + 2)]
    lines += [[row["case"], row["policy"], *(_cell(row, name) for name in names)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(row: dict[str, Any], name: str) -> str:
    one = row["metrics"][name]
    if one["mean"] is None:
        return "never" if name == "qnc_ratio" else "–"
    text = _number(one["mean"], name)
    if name == "qnc_ratio" and one["reached"] < one["of"]:
        return f"{text} ({one['reached']}/{one['of']})"
    worst = row.get("worst", {}).get(name)
    return f"{text} ({_number(worst['mean'], name)})" if worst else text


def _number(value: float, name: str) -> str:
    places = PLACES.get(name, 3)
    text = f"{value:{'+' if name in SIGNED else ''}.{places}f}".replace("-", "−")
    return text.replace("0.", ".", 1) if abs(value) < 1.0 and places > 1 else text


# Reading


def read(table: Path, vectors: str | None) -> tuple[Grid, str]:
    """The table with embeddings, and its hash."""
    columns = read_columns(table)
    grid, sha256 = grid_of(columns), columns_hash(columns)
    if vectors is not None:
        return grid.embedded(np.load(vectors).astype(np.float64)), sha256
    watch, folder = _line(f"embedding {table.name}"), load_settings().cache_dir / "embeddings"
    x = asyncio.run(kept_embeddings(grid.texts, embedder_by_name(USE_EMBEDDER), folder, watch))
    return grid.embedded(x.astype(np.float64)), sha256


def _line(what: str) -> Callable[[int, int], None]:
    def watch(done: int, total: int) -> None:
        print(f"\r{what}: {done}/{total}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return watch


def _vectors(options: argparse.Namespace, grid: Grid) -> dict[str, Floats]:
    found = {}
    for word in options.vectors:
        name, _, file = word.partition("=")
        x = np.load(file).astype(np.float64)
        if x.shape[:1] != (len(grid),):
            raise SystemExit(f"{file} has {x.shape} numbers; give one row for each of the table's {len(grid)} queries")
        found[name] = x
    return found


def _named(options: argparse.Namespace) -> Makers:
    return {name: NAMED[name] for name in _words(options.policies)}


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _rows(grid: Grid, task: str, *, there: bool = True) -> Indices:
    return np.flatnonzero((np.array(grid.tasks) == task) == there)


def _columns(grid: Grid, kept: Sequence[int]) -> Indices:
    return np.flatnonzero([arm.budget is None or arm.budget in kept for arm in grid.arms])


def _some(grid: Grid, count: int, seed: int) -> Grid:
    rows = np.random.default_rng(seed).permutation(len(grid))[:count]
    return grid.take(np.sort(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("table", type=table_path, help="a curve table, or a shipped one by name: local")
    add("--what", choices=tuple(STUDIES), required=True)
    add("--seeds", type=int, default=3)
    add("--policies", default=",".join(POLICIES), help="of stem, tasks and size")
    add("--train-tasks", default="", help="of stem: tasks a,b,… to train on")
    add("--vectors", action="append", default=[], metavar="NAME=FILE.npy", help="of embedder: a row for each query")
    add("--base", default=None, metavar="FILE.npy", help=f"vectors in the place of {USE_EMBEDDER}'s")
    add("--markdown", action="store_true")
    options = parser.parse_args(arguments)
    grid, sha256 = read(options.table, options.base)
    found: list[Score] = []
    for seed in range(options.seeds):
        for case in STUDIES[options.what](grid, seed, options):
            print(f"seed {seed}: {case.name}", file=sys.stderr)
            found += scores(case, seed)
    rows = summary(found)
    about = {"table": options.table.stem, "data_sha256": sha256, "what": options.what, "seeds": options.seeds}
    print(markdown(rows) if options.markdown else json.dumps({**about, "rows": rows}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    try:
        main()
    except (CurverouteError, OSError) as error:
        sys.exit(str(error))
