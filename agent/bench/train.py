"""Train: a curve table becomes a predictor, and what looking at answers is worth.

Samples of one arm on one query are averaged for the heads. Juries and courses learn from the single answers, with the
leave-one-out prediction as their prior, so that they never see what the heads have memorised.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.columns import columns_hash
from curveroute.agent.bench.grid import grid_of, merged
from curveroute.agent.bench.looked import candidates, recorded_of
from curveroute.agent.bench.meaning import heard
from curveroute.agent.embed.kept import kept_embeddings
from curveroute.agent.errors import TableError
from curveroute.agent.looking.learn import learn, weights_for
from curveroute.agent.plural import queries
from curveroute.agent.predictor import Predictor
from curveroute.agent.verify.fit_jury import Diet
from curveroute.agent.verify.scale import Calibrator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from curveroute.agent.bench.columns import Columns
    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats
    from curveroute.agent.embed.seam import Embedder
    from curveroute.agent.looking.looking import Looking
    from curveroute.agent.types import Arm

FEWEST_QUERIES = 20
MOST_QUERIES = 6000
USD_PER_MILLION = 1e6


async def train(
    columns: Columns,
    embedder: Embedder,
    *,
    output_prices: Mapping[str, float] | None = None,
    seed: int = 0,
    kept: Path | None = None,
    watch: Callable[[int, int, str], None] = lambda *_: None,
) -> Predictor:
    """Fit a predictor, and learn to look.

    Args:
        columns: the curve table.
        embedder: what the predictor will read queries with, and runs compare answers in free text with.
        output_prices: USD per million output tokens of each model, for costs expected per query; without them, as the
            recorded costs tell.
        seed: of juries and folds.
        kept: folder in which embeddings are kept for the next time.
        watch: told how many of how many steps are done, and of what: queries and answers embedded, heads, and what
            ``learn`` tells.

    Raises:
        TableError: a table too small, or with a model that has no price.
        PredictorError: values that cannot be fitted.
    """
    grid = merged(grid_of(columns))
    if len(grid) < FEWEST_QUERIES:
        raise TableError(f"the table has {queries(len(grid))}; training needs {FEWEST_QUERIES} or more")
    prices = grid.prices[:, 1] * USD_PER_MILLION if output_prices is None else _prices_of(grid.arms, output_prices)
    x = await kept_embeddings(grid.texts, embedder, kept, _of(watch, "queries embedded"))
    watch(0, len(grid.arms), "heads")
    predictor = Predictor(embedder=embedder.name).fit(
        x,
        grid.quality,
        grid.output_tokens,
        cost_usd=grid.cost_usd,
        arms=grid.arms,
        output_price=prices,
        data_hash=columns_hash(columns),
    )
    looking = await learned(grid, predictor, np.asarray(prices), embedder, seed=seed, kept=kept, watch=watch)
    return predictor.with_looking(looking)


def _prices_of(arms: Sequence[Arm], output_prices: Mapping[str, float]) -> list[float]:
    unknown = sorted({str(arm.model) for arm in arms} - set(output_prices))
    if unknown:
        raise TableError(
            f"the table has answers of {unknown[0]!r}, which has no price; known are {', '.join(output_prices)}: "
            "choose the pool that the table was collected from"
        )
    return [output_prices[arm.model] for arm in arms]


async def learned(
    grid: Grid,
    predictor: Predictor,
    output_prices: Floats,
    embedder: Embedder,
    *,
    seed: int = 0,
    kept: Path | None = None,
    watch: Callable[[int, int, str], None] = lambda *_: None,
) -> Looking:
    """What looking at recorded answers taught.

    Of a very large table a random part of the queries is enough. Where all answers are equally good the courses tell
    arms apart by cost alone, and how far verdicts can be relied on was not measured.

    Args:
        grid: queries of different texts.
        predictor: fitted on them.
        output_prices: (A,) USD per million output tokens.
        embedder: what runs will compare answers in free text with.
        seed: of juries and folds.
        kept: folder in which embeddings of answers are kept for the next time.
        watch: told how many of those answers are embedded, and what ``learn`` tells.
    """
    prices = replace(grid, prices=np.column_stack((grid.prices[:, 0], output_prices / USD_PER_MILLION)))
    rows = np.sort(np.random.default_rng(seed).permutation(len(grid))[:MOST_QUERIES])
    tokens = predictor.loo_tokens_
    expected = prices.expected_cost(grid.input_tokens, tokens)
    expected = np.where(np.isnan(expected), np.nanmean(grid.cost_usd, axis=0), expected)
    part = grid.take(rows)
    slots = candidates(part)
    asked = np.flatnonzero([arm in {slot.arm for slot in slots} for arm in grid.arms])
    (part,) = await heard(part, embedder=embedder, folder=kept, watch=_of(watch, "answers embedded"), arms=asked)
    recorded = recorded_of(part, slots, predictor.loo_quality_[rows], tokens[rows], expected[rows])
    unit = predictor.reference_cost_usd_
    lesson = learn(recorded, weights_for(recorded, unit).tolist(), unit, diet=Diet(seed=seed), watch=watch)
    told = np.nanmin(part.quality) < np.nanmax(part.quality)
    calibrator = replace(Calibrator.identity(), reliability=lesson.reliability if told else None)
    return replace(lesson.looking, calibrator=calibrator)


def _of(watch: Callable[[int, int, str], None], what: str) -> Callable[[int, int], None]:
    return lambda done, total: watch(done, total, what)
