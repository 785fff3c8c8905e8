"""Whether feedback may change the heads: judged on feedback that the changed heads have not seen.

Every new score is predicted twice, by the heads as they are and by heads that learned from all the others (in five
folds; queries of the same text stay together; how much the training is believed is chosen without the fold). Learning
is refused unless the squared error falls by more than its standard error. That alone does not keep random scores out:
they pull the heads towards their own mean, and look better for it. So the scores must also go with what is predicted of
them unseen, by two and a half standard errors of the covariance, and their mean alone, one number for all, must not
predict them better by more than luck: what goes with nothing teaches nothing.
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
FIRM = 2.5  # standard errors by which scores must go with what is predicted of them
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
        told: covariance of the scores with what those that learned predict of them, in standard errors.
        belief: in the training, to learn with.
    """

    heads: Compared
    one_number: Compared
    told: float
    belief: float

    @property
    def objection(self) -> str:
        """Why the heads must stay as they are; empty where they may learn."""
        if not self.heads.better:
            return "learning would not make the error less by more than luck may"
        if self.told < FIRM or self.one_number.worse():
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
    fold = np.random.default_rng(seed).permutation(int(group.max()) + 1)[group] % FOLDS
    learned = _left_out(heads, teacher, new, fold)  # (n, beliefs)
    squared = np.square(learned - new.scores[:, None])
    taken, means = np.empty(len(new)), np.full(len(new), float(new.scores.mean()))
    for one in range(FOLDS):
        mine = fold == one
        if mine.any():
            taken[mine] = learned[mine, _chosen(squared[~mine])]
            means[mine] = new.scores[~mine].mean() if not mine.all() else means[mine]
    as_it_is = rise(heads.rising, squash(teacher.now(new)))
    return Weighed(
        compared(as_it_is, taken, new.scores, group),
        compared(means, taken, new.scores, group),
        _told(taken, new.scores, group),
        BELIEFS[_chosen(squared)],
    )


def _told(predicted: Floats, scores: Floats, group: Indices) -> float:
    """Covariance in standard errors; rows of one group share their luck."""
    together = np.bincount(group, weights=(predicted - predicted.mean()) * (scores - scores.mean()))
    error = float(np.sqrt(np.square(together).sum()))
    return float(together.sum()) / error if error > 0.0 else 0.0


def _chosen(squared: Floats) -> int:
    """The firmest belief that is as good as the best."""
    if not squared.size:
        return 0
    best = int(squared.mean(axis=0).argmin())
    behind = squared - squared[:, [best]]
    near = behind.mean(axis=0) <= NEAR * behind.std(axis=0) / np.sqrt(squared.shape[0])
    return int(np.flatnonzero(near)[0])


def _left_out(heads: CurveHeads, teacher: Teacher, new: Heard, fold: Indices) -> Floats:
    """(n, beliefs) qualities of new rows, each without having been learned from."""
    heard, residual = teacher.rows(new)
    kernel, old = teacher.kernel(heard), len(heard) - len(new)
    base = teacher.unlearned(new)
    found = np.empty((len(new), len(BELIEFS)))
    for one in range(FOLDS):
        mine = np.flatnonzero(fold == one)
        if not mine.size:
            continue
        seen = np.concatenate((np.arange(old), old + np.flatnonzero(fold != one)))
        cross = kernel[np.ix_(old + mine, seen)]
        values, vectors = np.linalg.eigh(kernel[np.ix_(seen, seen)])
        along = vectors.T @ residual[seen]
        duals = vectors @ (along[:, None] / (np.maximum(values, 0.0)[:, None] + np.array(BELIEFS)))
        found[mine] = base[mine, None] + cross @ duals
    return rise(heads.rising, squash(found))
