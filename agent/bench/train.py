"""Train: a curve table becomes a predictor, and the calibrator of its verdicts.

Samples of one arm on one query are averaged. The calibrator learns from recorded answers set beside random others of
the same query, with the leave-one-out prediction as their prior, so that it never sees what the heads have memorised.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.table import data_hash
from curveroute.agent.errors import TableError
from curveroute.agent.predictor import Predictor
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.calibrate import Calibrator, fit_calibrator
from curveroute.agent.verify.signals import Answered, Signals, read_answer, signals_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from curveroute.agent.bench.table import Row
    from curveroute.agent.embed.seam import Embedder

_FEWEST_QUERIES = 20
_MOST_BESIDE = 3
_DRAWS = 3
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Curves:
    """A curve table as arrays: n queries, A arms; NaN where an arm was not asked.

    Attributes:
        quality: (n, A), mean over samples.
        output_tokens: (n, A), mean over samples.
        cost_usd: (n, A), mean over samples.
    """

    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    arms: tuple[Arm, ...]
    quality: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    cost_usd: NDArray[np.float64]


def curves_of(rows: Sequence[Row]) -> Curves:
    """The rows as arrays, queries and arms in the order of their first row.

    Raises:
        TableError: fewer than twenty queries, or one query id with two texts.
    """
    texts: dict[str, str] = {}
    arms: dict[Arm, int] = {}
    for number, row in enumerate(rows, start=1):
        if texts.setdefault(row.query_id, row.query) != row.query:
            raise TableError(f"row {number}: query_id {row.query_id!r} stands for two different texts")
        arms.setdefault(Arm(ModelId(row.model), row.budget), len(arms))
    if len(texts) < _FEWEST_QUERIES:
        raise TableError(f"the table has {len(texts)} queries; training needs {_FEWEST_QUERIES} or more")
    place = {query_id: position for position, query_id in enumerate(texts)}
    sums, counts = np.zeros((3, len(texts), len(arms))), np.zeros((len(texts), len(arms)))
    for row in rows:
        at = place[row.query_id], arms[Arm(ModelId(row.model), row.budget)]
        sums[(slice(None), *at)] += (row.quality, row.output_tokens, row.cost_usd)
        counts[at] += 1
    with np.errstate(invalid="ignore"):
        quality, tokens, cost = sums / counts
    return Curves(tuple(texts), tuple(texts.values()), tuple(arms), quality, tokens, cost)


async def train(
    rows: Sequence[Row],
    embedder: Embedder,
    *,
    output_prices: Mapping[str, float] | None = None,
    seed: int = 0,
    watch: Callable[[int, int], None] | None = None,
) -> Predictor:
    """Fit a predictor and its calibrator.

    Args:
        rows: the curve table.
        embedder: what the predictor will read queries with.
        output_prices: USD per million output tokens of each model, for costs expected per query.
        seed: of the calibrator's random sets of answers.
        watch: told how many of the queries are embedded.

    Raises:
        TableError: a table too small, or with a model that has no price.
        PredictorError: values that cannot be fitted, or no right and wrong answers to learn from.
    """
    curves = curves_of(rows)
    prices = None if output_prices is None else _prices_of(curves.arms, output_prices)
    predictor = Predictor(embedder=embedder.name).fit(
        await _embedded(curves.queries, embedder, watch),
        curves.quality,
        curves.output_tokens,
        cost_usd=curves.cost_usd,
        arms=curves.arms,
        output_price=prices,
        data_hash=data_hash(rows),
    )
    calibrator = train_calibrator(rows, curves, predictor.loo_quality_, seed=seed)
    return predictor.with_calibrator(calibrator.to_weights())


async def _embedded(
    queries: Sequence[str], embedder: Embedder, watch: Callable[[int, int], None] | None
) -> NDArray[np.float32]:
    vectors = []
    for start in range(0, len(queries), _BATCH):
        vectors.append(await embedder.embed(queries[start : start + _BATCH]))
        if watch is not None:
            watch(min(start + _BATCH, len(queries)), len(queries))
    return np.concatenate(vectors)


def _prices_of(arms: Sequence[Arm], output_prices: Mapping[str, float]) -> list[float]:
    unknown = sorted({str(arm.model) for arm in arms} - set(output_prices))
    if unknown:
        raise TableError(
            f"the table has answers of {unknown[0]!r}, which has no price; known are {', '.join(output_prices)}: "
            "choose the pool that the table was collected from"
        )
    return [output_prices[arm.model] for arm in arms]


def train_calibrator(rows: Sequence[Row], curves: Curves, prior: NDArray[np.float64], *, seed: int = 0) -> Calibrator:
    """Fit the calibrator on every recorded answer, alone and beside random others of the same query.

    Args:
        rows: the curve table; responses are read where they were kept.
        curves: the same, as arrays.
        prior: (n, A) quality predicted without having seen the query.
        seed: of the random sets.
    """
    signals, right = calibration_examples(rows, curves, prior, seed=seed)
    return fit_calibrator(signals, right)


def calibration_examples(
    rows: Sequence[Row], curves: Curves, prior: NDArray[np.float64], *, seed: int = 0
) -> tuple[list[Signals], list[float]]:
    """Signals and quality of recorded answers, each alone and in ``3`` random companies of up to three others."""
    random = np.random.default_rng(seed)
    arm_place = {arm: position for position, arm in enumerate(curves.arms)}
    signals: list[Signals] = []
    right: list[float] = []
    by_query: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_query[row.query_id].append(row)
    for position, query_id in enumerate(curves.query_ids):
        answered = [(row, _read(row)) for row in by_query[query_id]]
        for index, (row, one) in enumerate(answered):
            others = [other for place, (_, other) in enumerate(answered) if place != index]
            expected = float(prior[position, arm_place[one.arm]])
            for company in _companies(others, random):
                signals.append(signals_of(one, company, expected))
                right.append(row.quality)
    return signals, right


def _companies(others: Sequence[Answered], random: np.random.Generator) -> list[list[Answered]]:
    companies: list[list[Answered]] = [[]]
    for _ in range(_DRAWS if others else 0):
        size = int(random.integers(1, min(_MOST_BESIDE, len(others)) + 1))
        companies.append([others[place] for place in random.choice(len(others), size=size, replace=False)])
    return companies


def _read(row: Row) -> Answered:
    text = row.response if row.response is not None else row.answer or ""
    arm = Arm(ModelId(row.model), row.budget)
    return read_answer(arm, text, row.answer, row.finish_reason, row.confidence, row.query)
