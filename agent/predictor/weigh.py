"""Whether feedback may change the heads: judged on feedback that the changed heads have not seen.

Every new score is predicted twice, by the heads as they are and by heads that learned from all the others (in five
folds; queries of the same text stay together; how much the training is believed is chosen without the fold). Learning
is refused unless the squared error falls by more than its standard error. That alone does not keep random scores out:
they pull the heads towards their own mean, and look better for it. So the scores must also go with what is predicted of
them unseen more than they do when they are dealt out anew among the queries (a permutation test, at one in a hundred),
and their mean alone, one number for all, must not predict them better by more than luck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.predictor.rising import rise
from curveroute.agent.predictor.squash import squash

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.predictor.heads import CurveHeads
    from curveroute.agent.predictor.lessons import Heard, Teacher

BELIEFS = (10.0, 3.0, 1.0, 0.3, 0.1)
FOLDS = 5
NEAR = 0.5  # standard errors behind the best within which believing the training more is as good
DEALS = 199  # how often the scores are dealt out anew
MOST_LUCK = 0.01  # share of the deals that may go with predictions as well as the scores as they were given
EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Compared:
    """Two predictions of the same scores.

    Attributes:
        rows: how many scores.
        brier: mean squared error of the first, and of the second.
        log_loss: of the first and the second, nats.
        gain: by how much the squared error of the second is less, and ``gain_se`` its standard error over queries.
    """

    rows: int
    brier: tuple[float, float]
    log_loss: tuple[float, float]
    gain: float
    gain_se: float

    @property
    def better(self) -> bool:
        """Whether the second is better by more than luck."""
        return self.gain > self.gain_se

    def worse(self, tolerance: float = 0.0) -> bool:
        """Whether it is worse by more than luck and a tolerated share of the first's error."""
        return -self.gain > self.gain_se + tolerance * self.brier[0]


def compared(first: Floats, second: Floats, scores: Floats, group: Indices) -> Compared:
    """Two (n,) predictions of (n,) scores; rows of one group share their luck."""
    less = np.square(first - scores) - np.square(second - scores)
    apart = np.bincount(group, weights=less - less.mean())
    return Compared(
        scores.size,
        (float(np.square(first - scores).mean()), float(np.square(second - scores).mean())),
        (_log_loss(first, scores), _log_loss(second, scores)),
        float(less.mean()),
        float(np.sqrt(np.square(apart).sum()) / scores.size),
    )


def _log_loss(chance: Floats, scores: Floats) -> float:
    inside = np.clip(chance, EDGE, 1.0 - EDGE)
    return float(-(scores * np.log(inside) + (1.0 - scores) * np.log1p(-inside)).mean())


@dataclass(frozen=True, slots=True)
class Weighed:
    """What feedback is worth.

    Attributes:
        heads: the heads as they are, against those that learned.
        one_number: the mean score, against those that learned.
        luck: share of deals of the same scores to other queries that go as well with what is predicted of them.
        belief: in the training, to learn with.
    """

    heads: Compared
    one_number: Compared
    luck: float
    belief: float

    @property
    def objection(self) -> str:
        """Why the heads must stay as they are; empty where they may learn."""
        if not self.heads.better:
            return "learning would not make the error less by more than luck may"
        if self.luck > MOST_LUCK or self.one_number.worse():
            return "the scores go with nothing that the heads read, as random ones would"
        return ""


def weigh(heads: CurveHeads, teacher: Teacher, new: Heard, group: Indices, seed: int = 0) -> Weighed:
    """Judge feedback that was never learned from.

    Args:
        heads: as they are.
        teacher: theirs.
        new: n rows.
        group: (n,) numbers from 0, the same for queries of the same text.
        seed: of the folds.
    """
    rng = np.random.default_rng(seed)
    fold = rng.permutation(int(group.max()) + 1)[group] % FOLDS
    unseen = _Unseen(heads, teacher, new, fold)
    taken, means = unseen.predict(new.scores), np.full(len(new), float(new.scores.mean()))
    for one in range(FOLDS):
        mine = fold == one
        if mine.any() and not mine.all():
            means[mine] = new.scores[~mine].mean()
    as_it_is = rise(heads.rising, squash(teacher.now(new)))
    return Weighed(
        compared(as_it_is, taken, new.scores, group),
        compared(means, taken, new.scores, group),
        _luck(unseen, new.scores, group, rng),
        BELIEFS[_chosen(np.square(unseen.each(new.scores) - new.scores[:, None]))],
    )


def _luck(unseen: _Unseen, scores: Floats, group: Indices, rng: np.random.Generator) -> float:
    """The scores against the same scores dealt out anew; queries of the same text keep together."""
    count = np.bincount(group)
    mean = np.bincount(group, weights=scores) / np.maximum(count, 1)
    least = _together(unseen.predict(scores), scores)
    dealt = (np.clip(scores + (rng.permutation(mean) - mean)[group], 0.0, 1.0) for _ in range(DEALS))
    return (1 + sum(_together(unseen.predict(one), one) >= least for one in dealt)) / (1 + DEALS)


def _together(predicted: Floats, scores: Floats) -> float:
    return float(((predicted - predicted.mean()) * (scores - scores.mean())).mean())


def _chosen(squared: Floats) -> int:
    """The firmest belief that is as good as the best."""
    if not squared.size:
        return 0
    best = int(squared.mean(axis=0).argmin())
    behind = squared - squared[:, [best]]
    near = behind.mean(axis=0) <= NEAR * behind.std(axis=0) / np.sqrt(squared.shape[0])
    return int(np.flatnonzero(near)[0])


class _Unseen:
    """What is predicted of new rows, each without having been learned from: linear in their scores, but for the map."""

    def __init__(self, heads: CurveHeads, teacher: Teacher, new: Heard, fold: Indices) -> None:
        heard, residual = teacher.rows(new)
        kernel, old = teacher.kernel(heard), len(heard) - len(new)
        self._rising, self._fold, self._base = heads.rising, fold, teacher.unlearned(new)
        self._constant = np.repeat(self._base[:, None], len(BELIEFS), axis=1)
        self._maps = np.zeros((len(BELIEFS), len(new), len(new)))
        for one in range(FOLDS):
            mine, others = np.flatnonzero(fold == one), np.flatnonzero(fold != one)
            if not mine.size:
                continue
            seen = np.concatenate((np.arange(old), old + others))
            values, vectors = np.linalg.eigh(kernel[np.ix_(seen, seen)])
            cross = kernel[np.ix_(old + mine, seen)] @ vectors
            for at, belief in enumerate(BELIEFS):
                found = (cross / (np.maximum(values, 0.0) + belief)) @ vectors.T
                self._constant[mine, at] += found[:, :old] @ residual[:old]
                self._maps[at][np.ix_(mine, others)] = found[:, old:]

    def each(self, scores: Floats) -> Floats:
        """(n, beliefs) qualities, had the rows these scores."""
        moved = np.stack([one @ (scores - self._base) for one in self._maps], axis=1)
        return rise(self._rising, squash(self._constant + moved))

    def predict(self, scores: Floats) -> Floats:
        """(n,) qualities by the belief that is chosen without the fold."""
        every = self.each(scores)
        squared, taken = np.square(every - scores[:, None]), np.empty(scores.size)
        for one in range(FOLDS):
            mine = self._fold == one
            if mine.any():
                taken[mine] = every[mine, _chosen(squared[~mine])]
        return taken
