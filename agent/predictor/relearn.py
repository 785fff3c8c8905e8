"""A predictor learns from feedback: judged first, changed only if that pays, and never twice by the same run."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.errors import PredictorError
from curveroute.agent.plural import counted
from curveroute.agent.predictor.lessons import Teacher, no_lessons
from curveroute.agent.predictor.spread import flat_spread
from curveroute.agent.predictor.weigh import compared, weigh
from curveroute.agent.types import PredictorOrigin

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.predictor.heads import CurveHeads
    from curveroute.agent.predictor.lessons import Heard, Lessons
    from curveroute.agent.predictor.model import Predictor
    from curveroute.agent.predictor.spread import Spread
    from curveroute.agent.predictor.weigh import Compared, Weighed

FEWEST_ROWS = 20
USUAL_ROWS = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """Graded answers to queries that the heads must not become worse at.

    Attributes:
        x: (m, D) embeddings.
        quality: (m, A) of the predictor's arms in [0, 1], NaN where not known.
        tolerance: the share by which the error may rise beyond luck.
    """

    x: Floats
    quality: Floats
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Relearned:
    """What came of it.

    Attributes:
        predictor: with what was learned; the old one where it was refused.
        weighed: what the feedback is worth.
        exam: the heads as they were against those that learned, on the table that was given.
        objection: why nothing was changed; empty where the heads learned.
        corrected: how many scores that were learned before had changed since.
    """

    predictor: Predictor
    weighed: Weighed
    exam: Compared | None
    objection: str
    corrected: int


def relearn(
    predictor: Predictor, heard: Heard, group: Indices, *, exam: Exam | None = None, seed: int = 0
) -> Relearned:
    """Learn from feedback, if that makes the error on feedback not learned from less.

    Args:
        predictor: it is left as it is.
        heard: all feedback there is on its arms; what was learned before is only looked at for corrections.
        group: a number for each row, the same for queries of the same text.
        exam: what must not become worse.
        seed: of the folds.

    Raises:
        PredictorError: embeddings of another size, or fewer than twenty runs to learn from.
    """
    heads = predictor.heads_
    if heard.x.shape[1] != heads.dimension:
        raise PredictorError(
            f"embeddings of {heard.x.shape[1]} dimensions do not fit a predictor of {heads.dimension}: "
            "embed with the embedder it was trained with"
        )
    lessons = predictor.lessons_ or no_lessons(heads.dimension)
    rows = unlearned(lessons, heard)
    if rows.size < FEWEST_ROWS:
        raise PredictorError(
            f"{counted(int(rows.size), 'run')} with feedback to learn from, and {FEWEST_ROWS} are needed: "
            "give more feedback"
        )
    new = heard.take(rows)
    _, numbers = np.unique(group[rows], return_inverse=True)
    spread = predictor.spread_ or flat_spread(new.x.astype(np.float64), _usual_rows(predictor))
    teacher = Teacher(heads, spread, lessons)
    weighed = weigh(heads, teacher, new, numbers, seed)
    learned, kept = teacher.teach(heard, weighed.belief)
    tested = None if exam is None else _examined(heads, learned, exam)
    objection = weighed.objection
    if not objection and exam is not None and tested is not None and tested.worse(exam.tolerance):
        objection = "the error on the table would rise by more than luck may"
    changed = predictor if objection else _with(predictor, learned, spread, kept)
    return Relearned(changed, weighed, tested, objection, _corrected(lessons, heard))


def unlearned(lessons: Lessons, heard: Heard) -> Indices:
    """The rows of feedback that were never learned from."""
    known = lessons.runs
    return np.flatnonzero([run not in known for run in heard.runs])


def _corrected(lessons: Lessons, heard: Heard) -> int:
    before = dict(zip(lessons.heard.runs, lessons.heard.scores.tolist(), strict=True))
    return sum(before.get(run, score) != score for run, score in zip(heard.runs, heard.scores.tolist(), strict=True))


def _usual_rows(predictor: Predictor) -> float:
    counts = [known.get("queries") for known in predictor.metrics_.values()]
    return max(float(np.median([one for one in counts if one is not None] or [USUAL_ROWS])), 1.0)


def _examined(old: CurveHeads, new: CurveHeads, exam: Exam) -> Compared:
    seen = ~np.isnan(exam.quality)
    query = np.broadcast_to(np.arange(seen.shape[0])[:, None], seen.shape)[seen]
    first, second = (heads.predict(exam.x).quality[seen] for heads in (old, new))
    return compared(first, second, exam.quality[seen], query)


def _with(predictor: Predictor, heads: CurveHeads, spread: Spread, lessons: Lessons) -> Predictor:
    changed = copy(predictor)
    changed.heads_, changed.spread_, changed.lessons_ = heads, spread, lessons
    changed.metrics_ = {**predictor.metrics_, **_metrics(predictor, heads, spread)}
    changed.origin_ = PredictorOrigin()
    for name in ("loo_quality_", "loo_tokens_"):  # of heads that are no more
        changed.__dict__.pop(name, None)
    return changed


def _metrics(predictor: Predictor, heads: CurveHeads, spread: Spread) -> dict[str, dict[str, float | None]]:
    """An arm's mean quality moves with its head at the mean query: models that join later are measured against it."""
    before, centre = predictor.heads_, spread.centre
    count = len(heads.arms)
    rise = (heads.weights - before.weights)[:count] @ centre + (heads.bias - before.bias)[:count]
    found = {}
    for arm, more in zip(heads.arms, rise.tolist(), strict=True):
        known = predictor.metrics_.get(str(arm), {})
        quality = known.get("quality")
        if quality is not None:
            found[str(arm)] = {**known, "quality": float(np.clip(quality + more, 0.0, 1.0))}
    return found
