"""From the ledger's feedback to rows that heads can learn from: which runs count, and their queries embedded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.grid import groups_of
from curveroute.agent.embed.kept import kept_embeddings
from curveroute.agent.errors import PredictorError
from curveroute.agent.predictor.lessons import Heard
from curveroute.agent.predictor.relearn import Exam

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Indices
    from curveroute.agent.embed.seam import Embedder
    from curveroute.agent.ledger import ScoredRun
    from curveroute.agent.predictor import Predictor

MOST_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """The runs to learn from, and those that cannot be.

    Attributes:
        runs: of models that the predictor knows, with their words, in the order of their feedback.
        strange: of other models.
        wordless: whose query the ledger no longer holds.
        waiting: for the next time.
    """

    runs: tuple[ScoredRun, ...]
    strange: int
    wordless: int
    waiting: int


def usable(scored: Sequence[ScoredRun], predictor: Predictor) -> Found:
    """The runs that a predictor can learn from; of those not learned yet, the oldest thousand.

    Raises:
        PredictorError: there are none, with what is wrong with those that there are.
    """
    if not scored:
        raise PredictorError("there is no feedback yet: give some with `curveroute feedback RUN --score …`, or in code")
    models = {arm.model for arm in predictor.arms_}
    ours = [one for one in scored if one.arm.model in models]
    if not ours:
        served = ", ".join(sorted({str(one.arm.model) for one in scored}))
        raise PredictorError(
            f"all feedback is on answers of {served}, and the predictor knows {', '.join(sorted(map(str, models)))}: "
            "name the predictor or the pool that those runs were made with"
        )
    told = [one for one in ours if one.query_text is not None]
    if not told:
        raise PredictorError(
            f"the ledger no longer holds the words of the {len(ours)} queries with feedback, and they cannot be "
            "embedded again: learn before queries are removed from it"
        )
    known = frozenset[str]() if predictor.lessons_ is None else predictor.lessons_.runs
    fresh = [one for one in told if one.run_id not in known]
    late = {one.run_id for one in fresh[MOST_AT_ONCE:]}
    kept = tuple(one for one in told if one.run_id not in late)
    return Found(kept, len(scored) - len(ours), len(ours) - len(told), len(late))


async def heard_of(
    runs: Sequence[ScoredRun],
    embedder: Embedder,
    kept: Path | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> tuple[Heard, Indices]:
    """Rows to learn from, and (n,) numbers that are the same for queries of the same words.

    Raises:
        EmbedError: the queries could not be embedded.
    """
    texts = [one.query_text or "" for one in runs]
    x = await kept_embeddings(texts, embedder, kept, watch)
    scores = np.array([one.score for one in runs], dtype=np.float64)
    return Heard(tuple(one.run_id for one in runs), tuple(one.arm for one in runs), x, scores), groups_of(texts)


def exam_of(grid: Grid, predictor: Predictor, tolerance: float) -> Exam:
    """What a table of graded answers says of the predictor's arms.

    Raises:
        PredictorError: the table and the predictor share no arm.
    """
    place = {arm: column for column, arm in enumerate(grid.arms)}
    if not any(arm in place for arm in predictor.arms_):
        raise PredictorError("the table has no answers of the predictor's arms: give one that was collected from them")
    nothing = np.full(len(grid), np.nan)
    columns = [grid.quality[:, place[arm]] if arm in place else nothing for arm in predictor.arms_]
    return Exam(grid.x, np.stack(columns, axis=1), tolerance)
