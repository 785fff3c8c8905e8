"""A curve table as dense arrays: what policies are fitted on and replayed over.

Invariant: a query's rows stay together. Splitting keeps queries of the same text on one side, and nothing that is
chosen on one split has seen the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.samples import Samples, samples_of
from curveroute.agent.errors import TableError
from curveroute.agent.types import Arm, ModelId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from curveroute.agent.bench.columns import Columns
    from curveroute.agent.decide import Floats, Indices

    Codes = NDArray[np.int32]


EXACT = 1e-4  # share of a cost within which its tokens explain it


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """n queries, A arms; NaN where an arm was not asked.

    Attributes:
        quality: (n, A) mean over samples, in [0, 1].
        input_tokens: (n, A).
        output_tokens: (n, A) mean over samples.
        cost_usd: (n, A) USD, mean over samples.
        prices: (A, 2) USD per token of input and output, as the recorded costs tell.
        fees: (A,) USD per call beyond its tokens.
        samples: the single answers.
        x: (n, D) embeddings, D = 0 until embedded.
    """

    query_ids: tuple[str, ...]
    texts: tuple[str, ...]
    tasks: tuple[str, ...]
    arms: tuple[Arm, ...]
    quality: Floats
    input_tokens: Floats
    output_tokens: Floats
    cost_usd: Floats
    prices: Floats
    fees: Floats
    samples: Samples
    x: Floats

    def __len__(self) -> int:
        return len(self.query_ids)

    def take(self, rows: Indices) -> Grid:
        """The same arms on some of the queries."""
        return replace(
            self,
            query_ids=tuple(self.query_ids[row] for row in rows),
            texts=tuple(self.texts[row] for row in rows),
            tasks=tuple(self.tasks[row] for row in rows),
            quality=self.quality[rows],
            input_tokens=self.input_tokens[rows],
            output_tokens=self.output_tokens[rows],
            cost_usd=self.cost_usd[rows],
            samples=self.samples.rows(rows),
            x=self.x[rows],
        )

    def keep(self, columns: Indices) -> Grid:
        """Some of the arms on the same queries."""
        return replace(
            self,
            arms=tuple(self.arms[column] for column in columns),
            quality=self.quality[:, columns],
            input_tokens=self.input_tokens[:, columns],
            output_tokens=self.output_tokens[:, columns],
            cost_usd=self.cost_usd[:, columns],
            prices=self.prices[columns],
            fees=self.fees[columns],
            samples=self.samples.arms(columns),
        )

    def expected_cost(self, input_tokens: Floats, output_tokens: Floats) -> Floats:
        """(n, A) USD of calls with so many tokens, at this grid's prices; NaN where the tokens are."""
        return np.asarray(input_tokens * self.prices[:, 0] + output_tokens * self.prices[:, 1] + self.fees)

    def embedded(self, x: Floats) -> Grid:
        """The same grid with (n, D) embeddings."""
        return replace(self, x=x)


def grid_of(columns: Columns) -> Grid:
    """The table as arrays, queries and arms in the order of their first row.

    Raises:
        TableError: one query id with two texts.
    """
    query, first = _first_seen(columns.query_id.codes)
    keys = columns.model.codes.astype(np.int64) * (1 << 42) + np.where(
        np.isinf(columns.budget), (1 << 41), columns.budget
    ).astype(np.int64)
    arm, first_arm = _first_seen(keys)
    texts = columns.query.codes
    torn = np.flatnonzero(texts != texts[first][query])
    if torn.size:
        name = columns.query_id.values[columns.query_id.codes[torn[0]]]
        raise TableError(f"row {int(torn[0]) + 1}: query_id {name!r} stands for two different texts")
    shape = first.size, first_arm.size
    count = np.zeros(shape)
    np.add.at(count, (query, arm), 1.0)
    quality, tokens, cost, prompt = (
        _mean(values, query, arm, count)
        for values in (columns.quality, columns.output_tokens, columns.cost_usd, columns.input_tokens)
    )
    arms = tuple(_arm(columns, row) for row in first_arm)
    prices, fees = _prices(arms, prompt, tokens, cost)
    return Grid(
        query_ids=tuple(columns.query_id.values[columns.query_id.codes[row]] for row in first),
        texts=tuple(columns.query.values[texts[row]] if texts[row] >= 0 else "" for row in first),
        tasks=tuple(columns.task.values[columns.task.codes[row]] for row in first),
        arms=arms,
        quality=quality,
        input_tokens=prompt,
        output_tokens=tokens,
        cost_usd=cost,
        prices=prices,
        fees=fees,
        samples=samples_of(columns, query, arm, shape),
        x=np.zeros((first.size, 0)),
    )


def split(grid: Grid, seed: int, test_fraction: float) -> tuple[Grid, Grid]:
    """Training and test queries; queries with the same text (but for its spaces and case) stay together.

    Args:
        grid: all queries.
        seed: of the shuffle.
        test_fraction: share of the queries to test on, in (0, 1).

    Raises:
        TableError: too few different texts for both sides to have one.
    """
    group = groups_of(grid.texts)
    groups = int(group.max()) + 1 if group.size else 0
    if groups < 2:  # noqa: PLR2004
        raise TableError(f"{groups} different queries cannot be split: give two or more, or --train and --test tables")
    order = np.random.default_rng(seed).permutation(groups)
    tested = np.zeros(groups, dtype=np.bool_)
    tested[order[: min(max(round(groups * test_fraction), 1), groups - 1)]] = True
    return grid.take(np.flatnonzero(~tested[group])), grid.take(np.flatnonzero(tested[group]))


def merged(grid: Grid) -> Grid:
    """Queries with the same text as one query, as they must be for learning: none is then left out of itself.

    Cells are means over the queries that have them, and single answers those of the first query. Prices are read off
    these queries alone, so that a training part knows nothing of the costs of a test.
    """
    group = groups_of(grid.texts)
    _, first = np.unique(group, return_index=True)
    one = grid if first.size == len(grid) else grid.take(first)
    if first.size < len(grid):
        cells = (grid.quality, grid.input_tokens, grid.output_tokens, grid.cost_usd)
        quality, prompt, tokens, cost = (_mean_of_groups(values, group, first.size) for values in cells)
        one = replace(one, quality=quality, input_tokens=prompt, output_tokens=tokens, cost_usd=cost)
    prices, fees = _prices(one.arms, one.input_tokens, one.output_tokens, one.cost_usd)
    return replace(one, prices=prices, fees=fees)


def groups_of(texts: Sequence[str]) -> Indices:
    """(n,) a number for each text, the same for texts that differ in spaces and case alone, by first appearance."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(" ".join(text.split()).casefold(), len(seen)) for text in texts], dtype=np.intp)


def folds(grid: Grid, count: int, seed: int) -> list[tuple[Indices, Indices]]:
    """Rows to fit on and rows to predict, ``count`` times; queries with the same text stay together."""
    group = groups_of(grid.texts)
    groups = int(group.max()) + 1
    fold = np.random.default_rng(seed).permutation(groups) % min(count, groups)
    return [
        (np.flatnonzero(fold[group] != one), np.flatnonzero(fold[group] == one)) for one in range(min(count, groups))
    ]


def _first_seen(codes: NDArray[np.integer]) -> tuple[Indices, Indices]:
    """Each row's place in the order of first appearance, and the rows where each code appears first."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return np.asarray(place[inverse], dtype=np.intp), np.asarray(first[order], dtype=np.intp)


def _mean(values: Floats, query: Indices, arm: Indices, count: Floats) -> Floats:
    total = np.zeros_like(count)
    np.add.at(total, (query, arm), values)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)


def _mean_of_groups(values: Floats, group: Indices, groups: int) -> Floats:
    seen = ~np.isnan(values)
    total, count = np.zeros((2, groups, values.shape[1]))
    np.add.at(total, group, np.where(seen, values, 0.0))
    np.add.at(count, group, seen)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)


def _arm(columns: Columns, row: int) -> Arm:
    budget = columns.budget[row]
    model = columns.model.values[columns.model.codes[row]]
    return Arm(ModelId(model), None if np.isinf(budget) else int(budget))


def _prices(arms: Sequence[Arm], prompt: Floats, tokens: Floats, cost: Floats) -> tuple[Floats, Floats]:
    """(A, 2) USD per input and output token and (A,) USD per call, by least squares over each model's cells.

    A fee is looked for only where tokens alone do not explain the costs.
    """
    models = np.array([arm.model for arm in arms], dtype=object)
    prices, fees = np.zeros((len(arms), 2)), np.zeros(len(arms))
    for model in dict.fromkeys(models):
        columns = np.flatnonzero(models == model)
        seen = ~np.isnan(cost[:, columns])
        paid, used = cost[:, columns][seen], np.column_stack((prompt[:, columns][seen], tokens[:, columns][seen]))
        found = np.linalg.lstsq(used, paid, rcond=None)[0]
        if (found < 0.0).any() or not np.allclose(used @ found, paid, rtol=EXACT, atol=EXACT * np.abs(paid).mean()):
            found = np.linalg.lstsq(np.column_stack((used, np.ones(paid.size))), paid, rcond=None)[0]
        prices[columns] = np.maximum(found[:2], 0.0)
        fees[columns] = max(float(found[2]), 0.0) if found.size > 2 else 0.0  # noqa: PLR2004
    return prices, fees
