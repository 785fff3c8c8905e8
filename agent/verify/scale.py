"""The scale of verdicts: for each kind of query a line that makes probabilities of the jury's.

A jury learns from random sets of answers, and what it says of the answer that a run stops at is a little off: a run
stops where the jury is sure. So its log-odds are put on a line, ``slope · log-odds + intercept`` (Platt 1999), fitted
on answers that runs did stop at. Each kind of query has its own line, as far as its answers tell it from the common
one. A slope is never negative, so the order of scores never turns; and a line that does not clearly help on queries it
has not seen is left out. A flat line (slope 0) says that the jury's sureness means nothing: every answer given to such
a query then has one and the same score. Which answer is given is decided before the scale, by the jury's own numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, get_args

import numpy as np

from curveroute.agent.errors import PredictorError
from curveroute.agent.verify.answers import QueryKind
from curveroute.agent.verify.conformal import Promise, share_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from curveroute.agent.types import JsonObject, JsonValue

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]
    Mask = NDArray[np.bool_]

KINDS: tuple[QueryKind, ...] = get_args(QueryKind)
EDGE = 1e-4
_DIGITS = 9  # a threshold and the score it was read off are one number, whoever's exponential made them
RIDGE = 5.0  # what about 30 answers of middling certainty say
FOLDS = 5
_NEWTON = 30
_TOLERANCE = 1e-9
_LARGEST = 30.0


@dataclass(frozen=True, slots=True)
class Line:
    """``slope`` (0 or more) times the log-odds plus ``intercept``; ``answers`` is the queries it was fitted on."""

    slope: float = 1.0
    intercept: float = 0.0
    answers: int = 0

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return (self.slope, self.intercept) == (1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A line for each kind of query, and what may be promised on their scale.

    Attributes:
        lines: by kind.
        common: for kinds that have none.
        reliability: the share of the prior's Brier score that looking at answers takes away: 0 when verdicts tell
            nothing new, 1 when they are always right. ``None`` when it was not measured.
        promises: which scores accepted answers must have to be wrong at most so often.
    """

    lines: Mapping[QueryKind, Line]
    common: Line = Line()
    reliability: float | None = None
    promises: tuple[Promise, ...] = ()

    @classmethod
    def identity(cls) -> Self:
        """Leaves every score as it is, and promises nothing."""
        return cls({})

    def scaled(self, score: float, kind: QueryKind) -> float:
        """The probability that the answer given is right; 0 (it claims nothing) stays 0.

        Args:
            score: the jury's probability of its claim.
            kind: of the query.
        """
        line = self.lines.get(kind, self.common)
        if not 0.0 < score <= 1.0 or line.is_identity:
            return score
        inside = min(max(score, EDGE), 1.0 - EDGE)
        moved = line.slope * math.log(inside / (1.0 - inside)) + line.intercept
        return round(1.0 / (1.0 + math.exp(-min(max(moved, -_LARGEST), _LARGEST))), _DIGITS)

    def scaled_many(self, scores: Floats, kinds: Sequence[QueryKind]) -> Floats:
        """(…, n) scores of n queries, each of its kind; NaN stays NaN."""
        rows = scores.reshape(-1, len(kinds)).tolist()
        scaled = [[self.scaled(*one) for one in zip(row, kinds, strict=True)] for row in rows]
        return np.array(scaled, dtype=np.float64).reshape(scores.shape)

    def promise(self, max_error: float, tradeoff: float) -> Promise | None:
        """The promise that keeps errors within ``max_error`` at a tradeoff; None where there is none.

        Answers whose scaled score reaches its ``threshold`` are accepted. Between two tradeoffs that promises were made
        at, the stricter threshold holds; beyond them nothing is promised.
        """
        made = {one.tradeoff for one in self.promises}
        below = max((one for one in made if one <= tradeoff), default=None)
        above = min((one for one in made if one >= tradeoff), default=None)
        if below is None or above is None:
            return None
        found = [self._laxest(max_error, one) for one in (below, above)]
        kept = [one for one in found if one is not None]
        return max(kept, key=lambda one: one.threshold or 0.0) if len(kept) == len(found) else None

    def _laxest(self, max_error: float, tradeoff: float) -> Promise | None:
        kept = (one for one in self.promises if one.tradeoff == tradeoff and one.threshold is not None)
        return max((one for one in kept if one.epsilon <= max_error), key=lambda one: one.epsilon, default=None)

    def to_json(self) -> JsonObject:
        """What is stored."""
        promises: list[JsonValue] = [one.to_json() for one in self.promises]
        return {
            "lines": {kind: _stored(line) for kind, line in self.lines.items()},
            "common": _stored(self.common),
            "reliability": self.reliability,
            "promises": promises,
        }

    @classmethod
    def from_json(cls, stored: JsonValue) -> Self:
        """From what :meth:`to_json` gives.

        Raises:
            PredictorError: a value that is missing or out of range.
        """
        if not isinstance(stored, dict):
            raise _damaged("it", stored)
        lines, promises = stored.get("lines"), stored.get("promises")
        if not isinstance(lines, dict):
            raise _damaged("lines", lines)
        if not isinstance(promises, list):
            raise _damaged("promises", promises)
        unknown = sorted(set(lines) - set(KINDS))
        if unknown:
            raise _damaged("the kind of a line", unknown[0])
        reliability = None if stored.get("reliability") is None else share_in(stored, "reliability")
        known = {kind: _line(lines[kind]) for kind in KINDS if kind in lines}
        return cls(known, _line(stored.get("common")), reliability, tuple(map(Promise.from_json, promises)))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A calibrator, and what it makes of its own examples without having seen their queries.

    Attributes:
        calibrator: fitted on all examples, without promises.
        left_out: (n,) probability of every example by lines of other queries.
    """

    calibrator: Calibrator
    left_out: Floats


def fit_calibrator(
    scores: Floats,
    right: Floats,
    kinds: Sequence[QueryKind],
    groups: Indices,
    *,
    seed: int = 0,
) -> Fit:
    """Fit a line for each kind.

    The common line maximises ``Σ w (y log p + (1 − y) log(1 − p)) − κ/2 ((slope − 1)² + intercept²)`` over all
    examples, and a kind's line the same over its own with the common line in the place of (1, 0); κ is 5. A query
    weighs 1 in all, however many examples it has. An answer that claims nothing (score 0) is no example.

    Args:
        scores: (n,) the jury's probabilities, NaN where there is no answer.
        right: (n,) quality of each answer, in [0, 1].
        kinds: (n,) of its query.
        groups: (n,) which query it belongs to.
        seed: of the folds.
    """
    there = np.isfinite(scores) & np.isfinite(right) & (scores > 0.0)
    left_out = np.array(scores, dtype=np.float64)
    if not there.any():
        return Fit(Calibrator.identity(), left_out)
    some = _Examples.of(
        scores[there], right[there], [kinds[row] for row in np.flatnonzero(there).tolist()], groups[there]
    )
    held = some.left_out(seed)
    whole = some.fitted()
    lines = dict(whole.lines)
    for kind, line in whole.lines.items():
        rows = np.array([one == kind for one in some.kinds])
        if not some.helps(held, rows):
            lines[kind] = Line(answers=line.answers)
            held[rows] = some.scores[rows]
    helps = some.helps(some.left_out(seed, own=False), np.ones(len(held), dtype=np.bool_))
    left_out[there] = held
    common = whole.common if helps else Line(answers=whole.common.answers)
    return Fit(Calibrator(lines, common), left_out)


def reliability_of(verdict: Floats, right: Floats, prior: Floats) -> float:
    """1 − Brier(verdict) / Brier(prior), in [0, 1], over the answers there are; 0 of none.

    Args:
        verdict: (…) probabilities that answers are right.
        right: (…) their quality.
        prior: (…) quality that was expected of them before looking.
    """
    there = np.isfinite(verdict) & np.isfinite(right) & np.isfinite(prior)
    before = float(np.mean((right[there] - prior[there]) ** 2)) if there.any() else 0.0
    after = float(np.mean((right[there] - verdict[there]) ** 2)) if there.any() else 0.0
    return 0.0 if before == 0.0 else min(max(1.0 - after / before, 0.0), 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Examples:
    """Answers with claims: (n,) each; ``weight`` makes every query count once."""

    scores: Floats
    odds: Floats
    right: Floats
    kinds: tuple[QueryKind, ...]
    groups: Indices
    weight: Floats

    @classmethod
    def of(cls, scores: Floats, right: Floats, kinds: Sequence[QueryKind], groups: Indices) -> Self:
        _, place, count = np.unique(groups, return_inverse=True, return_counts=True)
        inside = np.clip(scores.astype(np.float64), EDGE, 1.0 - EDGE)
        odds = np.log(inside / (1.0 - inside))
        return cls(scores.astype(np.float64), odds, right.astype(np.float64), tuple(kinds), groups, 1.0 / count[place])

    def rows(self, rows: Indices) -> _Examples:
        kinds = tuple(self.kinds[row] for row in rows.tolist())
        return _Examples(
            self.scores[rows], self.odds[rows], self.right[rows], kinds, self.groups[rows], self.weight[rows]
        )

    def fitted(self) -> Calibrator:
        common = self.line(Line())
        parts = {kind: np.flatnonzero([one == kind for one in self.kinds]) for kind in dict.fromkeys(self.kinds)}
        return Calibrator({kind: self.rows(rows).line(common) for kind, rows in parts.items()}, common)

    def left_out(self, seed: int, *, own: bool = True) -> Floats:
        """(n,) scores scaled by lines that were fitted on other folds' queries; by their common one without ``own``."""
        names, place = np.unique(self.groups, return_inverse=True)
        fold = (np.random.default_rng(seed).permutation(names.size) % FOLDS)[place]
        found = self.scores.copy()
        for one in range(min(FOLDS, names.size) if names.size > 1 else 0):
            held = np.flatnonzero(fold == one)
            lines = self.rows(np.flatnonzero(fold != one)).fitted()
            lines = lines if own else replace(lines, lines={})
            found[held] = lines.scaled_many(self.scores[held], [self.kinds[row] for row in held.tolist()])
        return found

    def helps(self, scores: Floats, rows: Mask) -> bool:
        """Whether these scores have a lower Brier score than the jury's, by more than one standard error."""
        gain = (self.scores - self.right) ** 2 - (scores - self.right) ** 2
        _, place = np.unique(self.groups[rows], return_inverse=True)
        each = np.bincount(place, weights=(gain * self.weight)[rows])
        return float(each.sum()) > float(np.sqrt(np.square(each - each.mean()).sum()))

    def line(self, towards: Line) -> Line:
        """The penalised maximum likelihood, by Newton's method; the best flat line where it would fall."""
        answers = int(np.unique(self.groups).size)
        start = np.array([towards.slope, towards.intercept])
        slope, intercept = _newton(np.column_stack((self.odds, np.ones_like(self.odds))), self, start)
        if slope < 0.0:
            slope, (intercept,) = 0.0, _newton(np.ones((len(self.odds), 1)), self, start[1:])
        return Line(float(slope), float(intercept), answers)


def _newton(design: Floats, some: _Examples, start: Floats) -> Floats:
    """(d,) coefficients of a logistic regression, shrunk towards ``start``."""

    def loss(at: Floats) -> float:
        moved = design @ at
        fit = np.logaddexp(0.0, moved) - some.right * moved
        return float(some.weight @ fit + RIDGE / 2.0 * ((at - start) ** 2).sum())

    at, now = start.copy(), loss(start)
    for _ in range(_NEWTON):
        mean = 1.0 / (1.0 + np.exp(-np.clip(design @ at, -_LARGEST, _LARGEST)))
        curve = design.T @ (design * (some.weight * mean * (1.0 - mean))[:, None]) + RIDGE * np.eye(len(at))
        step = np.linalg.solve(curve, design.T @ (some.weight * (some.right - mean)) - RIDGE * (at - start))
        size = 1.0
        while size > _TOLERANCE and loss(at + size * step) > now:
            size /= 2.0
        at = at + size * step
        now = loss(at)
        if float(np.abs(size * step).max()) < _TOLERANCE:
            break
    return at


def _stored(line: Line) -> JsonObject:
    return {"slope": line.slope, "intercept": line.intercept, "answers": line.answers}


def _line(stored: JsonValue) -> Line:
    if not isinstance(stored, dict):
        raise _damaged("a line", stored)
    slope, intercept, answers = (stored.get(name) for name in ("slope", "intercept", "answers"))
    if isinstance(answers, bool) or not isinstance(answers, int) or answers < 0:
        raise _damaged("answers", answers)
    line = Line(_number("slope", slope), _number("intercept", intercept), answers)
    if line.slope < 0.0:
        raise _damaged("slope", line.slope)
    return line


def _number(name: str, value: JsonValue) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _damaged(name, value)
    return float(value)


def _damaged(name: str, value: JsonValue) -> PredictorError:
    return PredictorError(f"the predictor's calibrator is damaged: {name} is {value!r:.80}; calibrate it again")
