"""Calibrate: a curve table that a predictor was not trained on becomes the scale of its verdicts, and its promises.

The courses of a few tradeoffs are followed over the table's queries, and the score of each answer that a run stops at
is set beside its quality. Queries (not rows) are cut in three at random: a quarter fits the calibrator and says where
thresholds begin, a half tests them, and a quarter measures what they come to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.grid import groups_of
from curveroute.agent.bench.looked import recorded_of
from curveroute.agent.errors import PredictorError, TableError
from curveroute.agent.evals.calibration import reliability
from curveroute.agent.looking.looking import aside
from curveroute.agent.looking.replay import Replayer
from curveroute.agent.verify.answers import query_kind
from curveroute.agent.verify.conformal import DELTA, Stopped, fewest_answers, promises_of
from curveroute.agent.verify.scale import fit_calibrator, reliability_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.looking.looking import Looking
    from curveroute.agent.looking.recorded import Recorded, Slot
    from curveroute.agent.predictor import Predictor
    from curveroute.agent.types import JsonObject, JsonValue
    from curveroute.agent.verify.answers import QueryKind
    from curveroute.agent.verify.scale import Calibrator

TRADEOFFS = (0.1, 0.3, 0.5)
EPSILONS = (0.05, 0.1, 0.2)
FEWEST_QUERIES = 20
_PARTS = (0.25, 0.75)  # where the parts end: calibrator, thresholds, measurement
_ROUNDINGS = 8  # queries after which halves and quarters are rounded alike again


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The answers that runs stopped at: T tradeoffs, n rows (a query may have several, with other samples).

    Attributes:
        tradeoffs: (T,).
        score: (T, n) the jury's probability, before calibration; NaN where no answer was given.
        quality: (T, n) NaN likewise.
        prior: (T, n) quality expected of the arm that gave the answer; NaN likewise.
        query: (n,) which query a row belongs to, from 0; queries of one text are one.
        kinds: of the queries.
    """

    tradeoffs: tuple[float, ...]
    score: Floats
    quality: Floats
    prior: Floats
    query: Indices
    kinds: tuple[QueryKind, ...]


@dataclass(frozen=True, slots=True)
class KindFit:
    """How far scores of one kind of query could be believed, on queries that the lines had not seen.

    Attributes:
        kind: of the queries; "all" for all of them.
        queries: that it was measured on.
        slope: of the line; 1 where scores stay as they are, as for "all".
        intercept: of the line.
        ece_before: expected calibration error of the jury's probabilities, in ten bins.
        ece_after: of the calibrated ones.
        brier_before: Brier score of the jury's probabilities.
        brier_after: of the calibrated ones.
    """

    kind: str
    queries: int
    slope: float
    intercept: float
    ece_before: float
    ece_after: float
    brier_before: float
    brier_after: float


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A calibrator with its promises, and how it was fitted.

    Attributes:
        calibrator: what the predictor will use.
        fits: by kind of query, then of all.
        parts: queries that fitted the calibrator, tested thresholds, and measured them.
    """

    calibrator: Calibrator
    fits: tuple[KindFit, ...]
    parts: tuple[int, int, int]

    def to_json(self) -> JsonObject:
        """Everything that was found."""
        fits: list[JsonValue] = [{name: getattr(one, name) for name in KindFit.__slots__} for one in self.fits]
        names = ("calibrator", "thresholds", "measured")
        parts: JsonObject = dict(zip(names, self.parts, strict=True))
        return {"queries": parts, "fits": fits, **self.calibrator.to_json()}


def answers_of(
    looking: Looking, grid: Grid, quality: Floats, tokens: Floats, expected_usd: Floats, tradeoffs: Sequence[float]
) -> Answers:
    """Follow the courses of some tradeoffs over recorded queries, each a little aside, as runs do.

    Args:
        looking: a jury, and at least one course.
        grid: n queries, with the arms of the courses.
        quality: (n, A) expected of each of the grid's arms.
        tokens: (n, A) output tokens expected, likewise.
        expected_usd: (n, A) USD expected, likewise.
        tradeoffs: in [0, 1].

    Raises:
        TableError: the table lacks an arm that the courses ask.
    """
    asides = np.array([aside(text) for text in grid.texts], dtype=np.intp)
    last = len(looking.courses) - 1
    places = np.clip(np.array([looking.nearest(one) for one in tradeoffs])[:, None] + asides, 0, last)
    slots = _slots(looking, grid, np.unique(places))
    recorded = recorded_of(grid, slots, quality, tokens, expected_usd)
    score, good, prior = _followed(looking, recorded, places[:, recorded.query])
    kinds = tuple(query_kind(text) for text in grid.texts)
    group = groups_of(grid.texts)
    _, first = np.unique(group, return_index=True)
    named = tuple(kinds[place] for place in first.tolist())
    return Answers(tuple(tradeoffs), score, good, prior, group[recorded.query], named)


def calibrate_predictor(
    predictor: Predictor,
    grid: Grid,
    *,
    tradeoffs: Sequence[float] = TRADEOFFS,
    epsilons: Sequence[float] = EPSILONS,
    delta: float = DELTA,
    seed: int = 0,
) -> tuple[Predictor, Calibration]:
    """The same predictor with its scale and promises, and how they were found.

    What training measured of its verdicts' reliability stays: it speaks of all answers, not of those runs stop at.

    Args:
        predictor: with a looking part; it stays as it is.
        grid: n embedded queries that it was not trained on.
        tradeoffs: whose courses are followed, in [0, 1].
        epsilons: errors to promise, each in (0, 1).
        delta: the chance that a promise is broken, in (0, 1).
        seed: of the parts.

    Raises:
        TableError: too few queries, or none of the arms that are asked at these tradeoffs.
        PredictorError: the predictor has learned nothing of looking, or reads other embeddings.
    """
    looking = predictor.looking_
    if looking is None or not looking.courses:
        raise PredictorError("the predictor has learned no courses to follow: train it again, on a larger table")
    place = {arm: column for column, arm in enumerate(predictor.arms_)}
    shared = [(column, place[arm]) for column, arm in enumerate(grid.arms) if arm in place]
    if not shared:
        raise TableError("the table has no answers of the predictor's arms: give one collected from the same pool")
    there, known = np.array(shared, dtype=np.intp).T
    grid = grid.keep(there)
    expected = predictor.predict(grid.x)
    quality, tokens = expected.quality[:, known], expected.output_tokens[:, known]
    cost = grid.expected_cost(grid.input_tokens, tokens)
    cost = np.where(np.isnan(cost), np.nanmean(grid.cost_usd, axis=0), cost)
    found = calibrate(answers_of(looking, grid, quality, tokens, cost, tradeoffs), epsilons, delta, seed)
    told = looking.calibrator.reliability
    calibrator = found.calibrator if told is None else replace(found.calibrator, reliability=told)
    return predictor.with_looking(replace(looking, calibrator=calibrator)), replace(found, calibrator=calibrator)


def calibrate(
    answers: Answers, epsilons: Sequence[float] = EPSILONS, delta: float = DELTA, seed: int = 0
) -> Calibration:
    """Fit the scale and find the promises.

    Args:
        answers: of queries that the predictor was not trained on.
        epsilons: errors to promise, each in (0, 1).
        delta: the chance that a promise is broken, in (0, 1).
        seed: of the parts.

    Raises:
        TableError: too few queries to have all three parts.
    """
    queries = len(answers.kinds)
    if queries < FEWEST_QUERIES:
        enough, easiest = fewest_queries(max(epsilons), delta), max(epsilons)
        raise TableError(
            f"the table has {queries} different queries; calibration needs {FEWEST_QUERIES} or more to fit a scale, "
            f"and {enough} or more to promise an error of {easiest:g}, if no answer is wrong"
        )
    random = np.random.default_rng(seed)
    parts = np.split(random.permutation(queries), _ends(queries))
    calibrator, fits = _fitted(answers, parts[0], seed)
    verdict = calibrator.scaled_many(answers.score, [answers.kinds[query] for query in answers.query.tolist()])
    told = reliability_of(verdict, answers.quality, answers.prior)
    stopped = one_of_each(answers, calibrator, random)
    promises = tuple(
        promise
        for tradeoff, one in zip(answers.tradeoffs, stopped, strict=True)
        for promise in promises_of(
            tradeoff, (one.queries(parts[0]), one.queries(parts[1]), one.queries(parts[2])), epsilons, delta
        )
    )
    sizes = parts[0].size, parts[1].size, parts[2].size
    return Calibration(replace(calibrator, promises=promises, reliability=told), fits, sizes)


def fewest_queries(epsilon: float, delta: float) -> int:
    """How many queries a table needs for a promise, where each gets an answer and none is wrong; more never hurt.

    Args:
        epsilon: the error promised, in (0, 1).
        delta: the chance that the promise is broken, in (0, 1).
    """
    answers = fewest_answers(epsilon, delta)
    queries = max(FEWEST_QUERIES, 2 * answers - _ROUNDINGS)  # half of them are tested on
    while min(_tested(queries + more) for more in range(_ROUNDINGS)) < answers:
        queries += 1
    return queries


def _ends(queries: int) -> list[int]:
    """Where the first two of the three parts end."""
    return [round(queries * one) for one in _PARTS]


def _tested(queries: int) -> int:
    first, second = _ends(queries)
    return second - first


def _slots(looking: Looking, grid: Grid, places: Indices) -> list[Slot]:
    slots = list(dict.fromkeys(slot for place in places.tolist() for slot in looking.courses[place].slots))
    there = set(grid.arms)
    missing = [slot for slot in slots if slot.arm not in there]
    if missing:
        raise TableError(
            f"the table has no answers of {missing[0].arm}, which the predictor's courses ask: "
            "collect them, or calibrate at another tradeoff"
        )
    return slots


def _followed(looking: Looking, recorded: Recorded, places: Indices) -> tuple[Floats, Floats, Floats]:
    """(T, n) score, quality and prior of the answers given, each row by the course of its place (T, n)."""
    replayer = Replayer(looking.jury, recorded, looking.unit_usd)
    column = {slot: at for at, slot in enumerate(recorded.slots)}
    score, quality, prior = np.full((3, *places.shape), np.nan)
    for place in np.unique(places).tolist():
        course = looking.courses[place]
        walk = replayer.follow(course)
        asked = np.array([column[slot] for slot in course.slots], dtype=np.intp)[walk.answer]
        before = 1.0 / (1.0 + np.exp(-recorded.seen.prior[np.arange(len(recorded)), asked]))
        for target, values in ((score, walk.score), (quality, walk.quality), (prior, before)):
            np.copyto(target, np.where(walk.answer >= 0, values, np.nan), where=places == place)
    return score, quality, prior


def _fitted(answers: Answers, queries: Indices, seed: int) -> tuple[Calibrator, tuple[KindFit, ...]]:
    """The calibrator of some queries, and what cross-fitting says of it."""
    rows = np.flatnonzero(np.isin(answers.query, queries))
    score, right = answers.score[:, rows].ravel(), answers.quality[:, rows].ravel()
    group = np.tile(answers.query[rows], len(answers.tradeoffs))
    kinds = [answers.kinds[query] for query in group.tolist()]
    fit = fit_calibrator(score, right, kinds, group, seed=seed)
    fits = []
    for kind in (*fit.calibrator.lines, None):
        part = np.array([kind in {one, None} for one in kinds]) & np.isfinite(score)
        before, after = reliability(score[part], right[part]), reliability(fit.left_out[part], right[part])
        line = None if kind is None else fit.calibrator.lines[kind]
        slope, intercept = (1.0, 0.0) if line is None else (line.slope, line.intercept)
        seen = int(np.unique(group[part]).size)
        fits.append(
            KindFit(kind or "all", seen, slope, intercept, before.error, after.error, before.brier, after.brier)
        )
    return fit.calibrator, tuple(fits)


def one_of_each(answers: Answers, calibrator: Calibrator, random: np.random.Generator) -> list[Stopped]:
    """By tradeoff, one random row of every query: its others are no further evidence."""
    order = random.permutation(answers.query.size)
    _, first = np.unique(answers.query[order], return_index=True)
    rows = order[first]
    score = calibrator.scaled_many(answers.score[:, rows], answers.kinds)
    loss = 1.0 - answers.quality[:, rows]
    return [Stopped(*one) for one in zip(score, loss, strict=True)]
