"""Train: a curve table becomes a predictor, and the calibrator of its verdicts.

Samples of one arm on one query are averaged. The calibrator learns from recorded answers set beside random others of
the same query, with the leave-one-out prediction as their prior, so that it never sees what the heads have memorised.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.columns import columns_hash, rows_of
from curveroute.agent.bench.grid import grid_of, groups_of, merged
from curveroute.agent.embed.kept import kept_embeddings
from curveroute.agent.errors import TableError
from curveroute.agent.predictor import Predictor
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.calibrate import Calibrator, fit_calibrator
from curveroute.agent.verify.signals import Answered, Signals, read_answer, signals_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from curveroute.agent.bench.columns import Columns
    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.bench.table import Row
    from curveroute.agent.decide import Floats, Mask
    from curveroute.agent.embed.seam import Embedder

FEWEST_QUERIES = 20
MOST_EXAMPLES = 40_000
USD_PER_MILLION = 1e6
_MOST_BESIDE = 3
_DRAWS = 3


async def train(
    columns: Columns,
    embedder: Embedder,
    *,
    output_prices: Mapping[str, float] | None = None,
    seed: int = 0,
    kept: Path | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Predictor:
    """Fit a predictor and its calibrator.

    Args:
        columns: the curve table.
        embedder: what the predictor will read queries with.
        output_prices: USD per million output tokens of each model, for costs expected per query; without them, as the
            recorded costs tell.
        seed: of the calibrator's random sets of answers.
        kept: folder in which embeddings are kept for the next time.
        watch: told how many of the queries are embedded.

    Raises:
        TableError: a table too small, or with a model that has no price.
        PredictorError: values that cannot be fitted, or no right and wrong answers to learn from.
    """
    grid = merged(grid_of(columns))
    if len(grid) < FEWEST_QUERIES:
        raise TableError(f"the table has {len(grid)} queries; training needs {FEWEST_QUERIES} or more")
    prices = grid.prices[:, 1] * USD_PER_MILLION if output_prices is None else _prices_of(grid.arms, output_prices)
    predictor = Predictor(embedder=embedder.name).fit(
        await kept_embeddings(grid.texts, embedder, kept, watch),
        grid.quality,
        grid.output_tokens,
        cost_usd=grid.cost_usd,
        arms=grid.arms,
        output_price=prices,
        data_hash=columns_hash(columns),
    )
    calibrator = train_calibrator(columns, grid, predictor.loo_quality_, seed=seed)
    return predictor.with_calibrator(calibrator.to_weights())


def _prices_of(arms: Sequence[Arm], output_prices: Mapping[str, float]) -> list[float]:
    unknown = sorted({str(arm.model) for arm in arms} - set(output_prices))
    if unknown:
        raise TableError(
            f"the table has answers of {unknown[0]!r}, which has no price; known are {', '.join(output_prices)}: "
            "choose the pool that the table was collected from"
        )
    return [output_prices[arm.model] for arm in arms]


def train_calibrator(columns: Columns, grid: Grid, prior: Floats, *, seed: int = 0) -> Calibrator:
    """Fit the calibrator on recorded answers, each alone and beside random others of the same query.

    Args:
        columns: the curve table; responses are read where they were kept. Of a very large one, a random part of the
            queries is enough.
        grid: the same, as arrays.
        prior: (n, A) quality predicted without having seen the query.
        seed: of the random sets.
    """
    rows = rows_of(columns.at(_enough(columns, seed)))
    signals, right = calibration_examples(rows, grid, prior, seed=seed)
    return fit_calibrator(signals, right)


def _enough(columns: Columns, seed: int) -> Mask:
    """The rows of as many random queries as make up ``MOST_EXAMPLES`` answers."""
    queries = np.random.default_rng(seed).permutation(len(columns.query_id.values))
    sizes = np.bincount(columns.query_id.codes, minlength=queries.size)[queries]
    taken = queries[np.cumsum(sizes) - sizes < MOST_EXAMPLES]
    return np.isin(columns.query_id.codes, taken)


def calibration_examples(
    rows: Sequence[Row], grid: Grid, prior: Floats, *, seed: int = 0
) -> tuple[list[Signals], list[float]]:
    """Signals and quality of recorded answers, each alone and in ``3`` random companies of up to three others."""
    random = np.random.default_rng(seed)
    arm_place = {arm: position for position, arm in enumerate(grid.arms)}
    query_place = _places(rows, grid)
    signals: list[Signals] = []
    right: list[float] = []
    by_query: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_query[row.query_id].append(row)
    for query_id, asked in by_query.items():
        answered = [(row, _read(row)) for row in asked]
        for index, (row, one) in enumerate(answered):
            others = [other for place, (_, other) in enumerate(answered) if place != index]
            expected = float(prior[query_place[query_id], arm_place[one.arm]])
            for company in _companies(others, random):
                signals.append(signals_of(one, company, expected))
                right.append(row.quality)
    return signals, right


def _places(rows: Sequence[Row], grid: Grid) -> dict[str, int]:
    """Where each query id's text stands in the grid, in which queries of one text are one."""
    ids = {row.query_id: row.query for row in rows}
    groups = groups_of([*grid.texts, *ids.values()])
    place = {int(group): position for position, group in enumerate(groups[: len(grid)])}
    return {query_id: place[int(group)] for query_id, group in zip(ids, groups[len(grid) :], strict=True)}


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
