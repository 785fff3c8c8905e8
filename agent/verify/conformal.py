"""Promises: above which score accepted answers are wrong at most ε of the time, and how often they really were.

The error *among accepted answers* need not fall when the threshold rises, so a quantile will not do. Learn then Test
(Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv 2110.01052) does: a few thresholds, fixed beforehand, are
tested from a strict one downwards, each at level δ, until one fails; the last that passed is promised. With
probability 1 − δ over the queries tested on, the promise holds. Where to begin is read off other queries (split fixed
sequence testing), and the measured error comes from a third part, so that each number has seen no other's queries.

One query counts once, however often it was answered. An answer is wrong by 1 − quality: where all are right or wrong
the p-value is the exact binomial tail (the selective guarantee of Geifman and El-Yaniv 2017), otherwise that of
Hoeffding and Bentkus (Bates et al. 2021, arXiv 2101.02703), which holds for any loss in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.errors import PredictorError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from curveroute.agent.types import JsonObject, JsonValue

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

DELTA = 0.1
FEWEST_ACCEPTED = 30
COVERAGE = 0.95
_STEPS = 40
_ENOUGH = 1.5 * FEWEST_ACCEPTED
_HOPELESS = 1e6
_SURE = 1.3  # standard errors below ε at which a start is thought to pass
_BISECTIONS = 50
_OUT_OF_REACH = 100_000  # answers


@dataclass(frozen=True, slots=True, eq=False)
class Stopped:
    """The answers given to g queries, one each.

    Attributes:
        score: (g,) calibrated probability that the answer is right; NaN where there is none.
        loss: (g,) 1 − quality; NaN likewise.
    """

    score: Floats
    loss: Floats

    def __len__(self) -> int:
        return len(self.score)

    def queries(self, queries: Indices) -> Stopped:
        """Some of the queries."""
        return Stopped(self.score[queries], self.loss[queries])

    def accepted(self, threshold: float) -> Floats:
        """The losses of the answers accepted."""
        return self.loss[self.score >= threshold]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a threshold came to on queries that nothing was learned from.

    Attributes:
        queries: measured on.
        accepted: answers accepted.
        error: mean loss of the accepted; None where none was.
        low: lower end of its 95 % Clopper–Pearson interval (partly wrong answers count down to whole ones).
        high: upper end (they count up).
    """

    queries: int
    accepted: int
    error: float | None
    low: float
    high: float

    @property
    def share(self) -> float:
        """Of the queries, that got an accepted answer."""
        return self.accepted / self.queries if self.queries else 0.0


@dataclass(frozen=True, slots=True)
class Promise:
    """Accepted answers are wrong at most ``epsilon`` of the time at a tradeoff, with probability ``1 - delta``.

    Attributes:
        tradeoff: of the courses that the answers came from.
        epsilon: the error promised, in (0, 1).
        delta: the chance that the promise is broken, in (0, 1).
        threshold: answers with this calibrated score or more are accepted; None where nothing can be promised.
        why: why nothing can be promised; empty otherwise.
        tested: queries that the threshold was tested on.
        measured: what it came to on others; None without a threshold.
    """

    tradeoff: float
    epsilon: float
    delta: float
    threshold: float | None
    why: str
    tested: int
    measured: Measured | None = None

    def to_json(self) -> JsonObject:
        """What is stored."""
        stored: JsonObject = {name: getattr(self, name) for name in Promise.__slots__ if name != "measured"}
        one = self.measured
        return {
            **stored,
            "measured": None if one is None else {name: getattr(one, name) for name in Measured.__slots__},
        }

    @classmethod
    def from_json(cls, stored: JsonValue) -> Self:
        """From what :meth:`to_json` gives.

        Raises:
            PredictorError: a value that is missing or out of range.
        """
        if not isinstance(stored, dict):
            raise _damaged("a promise", stored)
        why, measured = stored.get("why"), stored.get("measured")
        if not isinstance(why, str):
            raise _damaged("why", why)
        tradeoff, epsilon, delta = (share_in(stored, name) for name in ("tradeoff", "epsilon", "delta"))
        threshold = None if stored.get("threshold") is None else share_in(stored, "threshold")
        found = None if measured is None else _measured(measured)
        if (threshold is None) != (found is None):
            raise _damaged("what was measured", measured)
        return cls(tradeoff, epsilon, delta, threshold, why, _count(stored, "tested"), found)


def promises_of(
    tradeoff: float, parts: tuple[Stopped, Stopped, Stopped], epsilons: Sequence[float], delta: float = DELTA
) -> tuple[Promise, ...]:
    """A promise for each ε, rising; what is accepted for a smaller ε is accepted for a larger one.

    Args:
        tradeoff: of the courses that the answers came from.
        parts: queries that say where to begin (the calibrator may have been fitted on them), those that thresholds
            are tested on, and those that the outcome is measured on; no query may be in two.
        epsilons: errors to promise, each in (0, 1).
        delta: the chance that a promise is broken, of each on its own.
    """
    first, second, third = parts
    rising = sorted(set(epsilons))
    thresholds = _candidates(first)
    thresholds = thresholds[_begin(first, thresholds, rising, len(second)) :]
    exact = bool(np.isin(second.loss[np.isfinite(second.loss)], (0.0, 1.0)).all())
    found = []
    for epsilon in rising:
        passed = None
        for threshold in thresholds:
            if p_value(second.accepted(threshold), epsilon, exact=exact) > delta:
                break
            passed = threshold
        measured = None if passed is None else measure(third, passed)
        why = "" if passed is not None else _why(parts, thresholds[0], epsilon, delta, exact=exact)
        found.append(Promise(tradeoff, epsilon, delta, passed, why, len(second), measured))
    return tuple(found)


def measure(stopped: Stopped, threshold: float) -> Measured:
    """What a threshold comes to on these queries."""
    loss = stopped.accepted(threshold)
    low, high = clopper_pearson(float(loss.sum()), loss.size)
    return Measured(len(stopped), loss.size, float(loss.mean()) if loss.size else None, low, high)


def p_value(loss: Floats, epsilon: float, *, exact: bool) -> float:
    """Of "the mean loss exceeds ``epsilon``", given (n,) independent losses in [0, 1]; 1 for fewer than 30 of them.

    Args:
        loss: of the answers accepted.
        epsilon: in (0, 1).
        exact: whether every loss is 0 or 1.
    """
    n, total = int(loss.size), float(loss.sum())
    if n < FEWEST_ACCEPTED:
        return 1.0
    if exact:
        return binomial_tail(round(total), n, epsilon)
    mean: float = min(total / n, epsilon)
    bentkus = math.e * binomial_tail(math.ceil(total - 1e-9), n, epsilon)
    return float(min(math.exp(-n * _divergence(mean, epsilon)), bentkus, 1.0))


def fewest_answers(epsilon: float, delta: float) -> int:
    """How many answers pass the test where none of them is wrong; fewer promise nothing.

    Args:
        epsilon: the error promised, in (0, 1).
        delta: the chance that the promise is broken, in (0, 1).
    """
    return max(math.ceil(math.log(delta) / math.log1p(-epsilon)), FEWEST_ACCEPTED)


def binomial_tail(k: int, n: int, probability: float) -> float:
    """P(X ≤ k) for X binomial with ``n`` trials."""
    if k >= n or probability <= 0.0:
        return 1.0
    if k < 0 or probability >= 1.0:
        return 0.0
    wrong = np.arange(k + 1)
    factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))
    chosen = factorial[n] - factorial[wrong] - factorial[n - wrong]
    logs = chosen + wrong * math.log(probability) + (n - wrong) * math.log1p(-probability)
    return float(min(np.exp(logs).sum(), 1.0))


def clopper_pearson(wrong: float, n: int) -> tuple[float, float]:
    """The 95 % interval of an error rate; of a broken number of errors that of the whole ones around it."""
    side = (1.0 - COVERAGE) / 2.0
    few, many = math.floor(wrong + 1e-9), math.ceil(wrong - 1e-9)
    low = 0.0 if few <= 0 else _solve(lambda p: 1.0 - binomial_tail(few - 1, n, p) > side)
    high = 1.0 if many >= n else _solve(lambda p: binomial_tail(many, n, p) < side)
    return low, high


def share_in(stored: JsonObject, name: str) -> float:
    """A stored number from 0 to 1.

    Raises:
        PredictorError: it is not.
    """
    value = stored.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise _damaged(name, value)
    return float(value)


def _candidates(first: Stopped) -> list[float]:
    """Thresholds from strict to lax, at equal steps of the share that they accept; the last accepts every answer."""
    scores = first.score[np.isfinite(first.score)]
    if scores.size == 0:
        return [0.0]
    shares = np.arange(1, _STEPS) / _STEPS
    return [*sorted({float(one) for one in np.quantile(scores, shares)} - {0.0}, reverse=True), 0.0]


def _begin(first: Stopped, thresholds: Sequence[float], epsilons: Sequence[float], queries: int) -> int:
    """Where to begin: what passes most surely for the smallest ε that seems within reach.

    One start for all ε, so that a larger one passes wherever a smaller one does.
    """
    place = 0
    for epsilon in epsilons:
        hopes = [_hope(first.accepted(one), queries / max(len(first), 1), epsilon) for one in thresholds]
        place = int(np.argmax(hopes))
        if hopes[place] >= _SURE:
            break
    return place


def _hope(loss: Floats, times: float, epsilon: float) -> float:
    """How many standard errors below ε the errors among ``times`` as many queries would probably be."""
    accepted = loss.size * times
    if accepted < _ENOUGH:
        return accepted - _HOPELESS
    expected = (float(loss.sum()) + epsilon) / (loss.size + 1.0)
    return (epsilon - expected) * math.sqrt(accepted / (epsilon * (1.0 - epsilon)))


def _why(parts: Sequence[Stopped], threshold: float, epsilon: float, delta: float, *, exact: bool) -> str:
    """Why not even the first threshold passed, and what a table would have to hold for it to."""
    second, needed = parts[1], fewest_answers(epsilon, delta)
    answers, loss = int(np.isfinite(second.score).sum()), second.accepted(threshold)
    if answers < needed:
        return (
            f"it takes {needed} answers without an error, and {answers} were there to test on"
            f"{_larger_table(parts, answers, needed)}"
        )
    if loss.size < needed:
        return (
            f"it takes {needed} answers without an error, and only {loss.size} scored {threshold:.3f} or more"
            f"{_larger_table(parts, loss.size, needed)}"
        )
    words = f"of the {loss.size} answers that scored {threshold:.3f} or more, {loss.mean():.1%} were wrong"
    enough = _enough(float(loss.mean()), loss.size, epsilon, delta, exact=exact)
    if enough is None:
        return words
    return f"{words}, too few to be sure of {epsilon:g}: it takes {enough}{_larger_table(parts, loss.size, enough)}"


def _larger_table(parts: Sequence[Stopped], have: int, needed: int) -> str:
    """How large a table like this one would have that many; empty where there are none to go by."""
    queries = sum(len(part) for part in parts)
    return f", that is a table of about {math.ceil(queries * needed / have)} queries, not {queries}" if have else ""


def _enough(rate: float, least: int, epsilon: float, delta: float, *, exact: bool) -> int | None:
    """How many answers of which that share is wrong pass the test; None where no number of them does in reach."""
    if rate >= epsilon:
        return None

    def passes(n: int) -> bool:
        wrong = np.zeros(n)
        wrong[: math.ceil(rate * n - 1e-9)] = 1.0
        return p_value(wrong if exact else np.full(n, rate), epsilon, exact=exact) <= delta

    low, high = least, 2 * least
    while not passes(high):
        if high > _OUT_OF_REACH:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def _solve(beyond: Callable[[float], bool]) -> float:
    """Where in [0, 1] a condition begins to hold, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high


def _divergence(mean: float, epsilon: float) -> float:
    """Kullback–Leibler divergence between coins, in nats."""
    parts = ((mean, epsilon), (1.0 - mean, 1.0 - epsilon))
    return sum(one * math.log(one / other) for one, other in parts if one > 0.0)


def _measured(stored: JsonValue) -> Measured:
    if not isinstance(stored, dict):
        raise _damaged("what was measured", stored)
    error = None if stored.get("error") is None else share_in(stored, "error")
    low, high = share_in(stored, "low"), share_in(stored, "high")
    return Measured(_count(stored, "queries"), _count(stored, "accepted"), error, low, high)


def _count(stored: JsonObject, name: str) -> int:
    value = stored.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _damaged(name, value)
    return value


def _damaged(name: str, value: JsonValue) -> PredictorError:
    return PredictorError(f"the predictor's promises are damaged: {name} is {value!r:.80}; calibrate it again")
