"""Heads learn from feedback: a recursive ridge update that needs no training data.

A head was fitted by ridge regression, so what it says is the mean of a Gaussian whose precision is the Gram matrix of
its training queries plus the penalty (``spread``). A score of an answer moves that mean exactly as one more training
row would: the answer to "what if this query had been in the table". What was learned before is kept as its rows and
residuals, which is all that the next block needs, so learning in any number of steps, in any order, gives the same
heads as learning all at once, and a score that its user corrects is corrected.

A score is of the arm that served. Of what it teaches, three quarters are taken to be the query's difficulty, which all
arms share and which changes no ranking; the rest goes to other arms as far as their errors went together on the
training queries. Else the arms that are asked often would be brought down to what they are worth, and those that nobody
asked would stay overrated and win (measured: Brier score better, routing worse).

With few weights, prior covariance ``C x P^-1`` and unit noise (``C`` of the arms, ``P`` of the features)::

    K = (S C S') * (X P^-1 X'),  dual = (K + belief)^-1 residual,  weights += C S' (dual * X P^-1)

where ``S`` says of which heads each served arm is mixed. ``belief`` 1 is ridge regression on old and new rows together;
more believes the training more, less forgets it (the forgetting factor of recursive least squares).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.predictor.heads import shares_of

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats, Indices, Singles
    from curveroute.agent.predictor.heads import CurveHeads
    from curveroute.agent.predictor.spread import Spread
    from curveroute.agent.types import Arm, RunId

COMMON = 0.75  # share of a lesson that is of the query, and not of the arm
MOST_ROWS = 2000  # rows that are kept; older ones stay in the heads, and can no longer be corrected


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Feedback on n runs.

    Attributes:
        runs: their ids.
        arms: those that served.
        x: (n, D) embeddings of the queries.
        scores: (n,) in [0, 1].
    """

    runs: tuple[RunId, ...]
    arms: tuple[Arm, ...]
    x: Singles
    scores: Floats

    def __len__(self) -> int:
        return len(self.runs)

    def take(self, rows: Indices) -> Heard:
        """Some of it."""
        return Heard(
            tuple(self.runs[row] for row in rows),
            tuple(self.arms[row] for row in rows),
            self.x[rows],
            self.scores[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """What a predictor has learned from feedback, as far as the next step needs it.

    Attributes:
        heard: the rows.
        residual: (n,) of each score against the heads as they were without these rows.
        belief: in the training, of the last step.
        older: runs whose rows are no longer kept, but are in the heads.
    """

    heard: Heard
    residual: Floats
    belief: float
    older: tuple[RunId, ...] = ()

    @property
    def runs(self) -> frozenset[RunId]:
        """Every run that was learned from."""
        return frozenset((*self.heard.runs, *self.older))

    def folded(self, rows: int = 0) -> Lessons:
        """Without all rows but the last so many, for heads that hold the others for good."""
        first = max(len(self.heard) - rows, 0)
        kept = self.heard.take(np.arange(first, len(self.heard)))
        return replace(self, heard=kept, residual=self.residual[first:], older=(*self.older, *self.heard.runs[:first]))


def no_lessons(dimension: int) -> Lessons:
    """Nothing learned yet."""
    nothing = Heard((), (), np.zeros((0, dimension), dtype=np.float32), np.zeros(0))
    return Lessons(nothing, np.zeros(0), 1.0)


def kinship(heads: CurveHeads) -> Floats:
    """(A, A) how far what one arm teaches holds for another: 1 on the diagonal."""
    std = heads.quality_std
    scale = np.outer(std, std)
    alike = np.divide(heads.covariance, scale, out=np.eye(std.size), where=scale > 0.0)
    return np.asarray(COMMON + (1.0 - COMMON) * alike)


class Teacher:
    """Teaches the heads of one predictor, which stay as they are.

    Args:
        heads: with the lessons in them.
        spread: of their training queries.
        lessons: that they had.
    """

    def __init__(self, heads: CurveHeads, spread: Spread, lessons: Lessons) -> None:
        self._heads, self._spread, self._lessons = heads, spread, lessons
        self._kin = kinship(heads)
        before = self._moved(lessons.heard, _solved(self.kernel(lessons.heard), lessons.residual, lessons.belief))
        count = len(heads.arms)
        self._weights = heads.weights[:count].astype(np.float64) - before[0]
        self._bias = heads.bias[:count].astype(np.float64) - before[1]

    def kernel(self, heard: Heard) -> Floats:
        """(n, n) of rows."""
        shares = shares_of(self._heads.arms, heard.arms)
        return np.asarray((shares @ self._kin @ shares.T) * self._spread.kernel(heard.x.astype(np.float64)))

    def unlearned(self, heard: Heard) -> Floats:
        """(n,) linear scores of the served arms by the heads as they were without any row that is kept."""
        shares = shares_of(self._heads.arms, heard.arms)
        every = heard.x.astype(np.float64) @ self._weights.T + self._bias
        return np.asarray((shares * every).sum(axis=1))

    def now(self, heard: Heard) -> Floats:
        """(n,) linear scores of the served arms by the heads as they are."""
        count = len(self._heads.arms)
        every = heard.x.astype(np.float64) @ self._heads.weights[:count].T + self._heads.bias[:count]
        return np.asarray((shares_of(self._heads.arms, heard.arms) * every).sum(axis=1))

    def rows(self, new: Heard) -> tuple[Heard, Floats]:
        """All rows, those of before first and as corrected since, and their residuals."""
        said = dict(zip(new.runs, new.scores.tolist(), strict=True))
        old = self._lessons.heard
        scores = np.array([said.get(run, score) for run, score in zip(old.runs, old.scores, strict=True)])
        known = self._lessons.runs
        fresh = new.take(np.flatnonzero([run not in known for run in new.runs]))
        both = Heard(
            (*old.runs, *fresh.runs),
            (*old.arms, *fresh.arms),
            np.concatenate((old.x, fresh.x)),
            np.concatenate((scores, fresh.scores)),
        )
        residual = self._lessons.residual + scores - old.scores
        return both, np.concatenate((residual, fresh.scores - self.unlearned(fresh)))

    def teach(self, new: Heard, belief: float) -> tuple[CurveHeads, Lessons]:
        """The heads with new rows, and what is to be kept for the next time.

        Args:
            new: feedback; runs that were learned are corrected where their score has changed, and not learned twice.
            belief: in the training, above 0.
        """
        heard, residual = self.rows(new)
        kernel = self.kernel(heard)
        dual = _solved(kernel, residual, belief)
        weights, bias = self._moved(heard, dual)
        count = len(self._heads.arms)
        heads = replace(
            self._heads,
            weights=np.concatenate(((self._weights + weights).astype(np.float32), self._heads.weights[count:])),
            bias=np.concatenate(((self._bias + bias).astype(np.float32), self._heads.bias[count:])),
        )
        gone = max(len(heard) - MOST_ROWS, 0)
        residual = residual - kernel[:, :gone] @ dual[:gone]  # rows that are let go of stay in the heads
        return heads, Lessons(heard, residual, belief, self._lessons.older).folded(MOST_ROWS)

    def _moved(self, heard: Heard, dual: Floats) -> tuple[Floats, Floats]:
        """(A, D) and (A,) by how much rows move the heads."""
        each = dual[:, None] * (shares_of(self._heads.arms, heard.arms) @ self._kin)
        apart = heard.x.astype(np.float64) - self._spread.centre
        weights = each.T @ self._spread.eased(apart)
        return weights, each.sum(axis=0) / self._spread.rows - weights @ self._spread.centre


def _solved(kernel: Floats, residual: Floats, belief: float) -> Floats:
    """(n,) what each row adds."""
    if not residual.size:
        return residual
    return np.asarray(np.linalg.solve(kernel + belief * np.eye(residual.size), residual))
