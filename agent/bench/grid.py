"""A curve table as dense arrays: what policies are fitted on and replayed over.

Invariant: a query's rows stay together. Splitting keeps queries of the same text on one side, and nothing that is
chosen on one split has seen the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.errors import TableError
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.answers import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from curveroute.agent.bench.columns import Columns
    from curveroute.agent.decide import Floats, Indices

    Codes = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Single answers: n queries, A arms, up to S samples each.

    Attributes:
        quality: (n, A, S), NaN where there is no such sample.
        cost_usd: (n, A, S) USD, NaN likewise.
        answer: (n, A, S) codes of normalised answers, equal where two answers agree; -1 where none was given.
    """

    quality: NDArray[np.float32]
    cost_usd: NDArray[np.float32]
    answer: Codes


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """n queries, A arms; NaN where an arm was not asked.

    Attributes:
        quality: (n, A) mean over samples, in [0, 1].
        input_tokens: (n, A).
        output_tokens: (n, A) mean over samples.
        cost_usd: (n, A) USD, mean over samples.
        prices: (A, 2) USD per token of input and output.
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
            samples=Samples(self.samples.quality[rows], self.samples.cost_usd[rows], self.samples.answer[rows]),
            x=self.x[rows],
        )

    def keep(self, columns: Indices) -> Grid:
        """Some of the arms on the same queries."""
        one = self.samples
        return replace(
            self,
            arms=tuple(self.arms[column] for column in columns),
            quality=self.quality[:, columns],
            input_tokens=self.input_tokens[:, columns],
            output_tokens=self.output_tokens[:, columns],
            cost_usd=self.cost_usd[:, columns],
            prices=self.prices[columns],
            samples=Samples(one.quality[:, columns], one.cost_usd[:, columns], one.answer[:, columns]),
        )

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
    return Grid(
        query_ids=tuple(columns.query_id.values[columns.query_id.codes[row]] for row in first),
        texts=tuple(columns.query.values[texts[row]] if texts[row] >= 0 else "" for row in first),
        tasks=tuple(columns.task.values[columns.task.codes[row]] for row in first),
        arms=tuple(_arm(columns, row) for row in first_arm),
        quality=quality,
        input_tokens=prompt,
        output_tokens=tokens,
        cost_usd=cost,
        prices=_prices(columns, first_arm),
        samples=_samples(columns, query, arm, shape),
        x=np.zeros((first.size, 0)),
    )


def split(grid: Grid, seed: int, test_fraction: float) -> tuple[Grid, Grid]:
    """Training and test queries; queries with the same text stay together.

    Args:
        grid: all queries.
        seed: of the shuffle.
        test_fraction: share of the queries to test on, in (0, 1).

    Raises:
        TableError: too few different texts for both sides to have one.
    """
    _, group = np.unique(np.array(grid.texts, dtype=object), return_inverse=True)
    groups = int(group.max()) + 1 if group.size else 0
    if groups < 2:  # noqa: PLR2004
        raise TableError(f"{groups} different queries cannot be split: give two or more, or --train and --test tables")
    order = np.random.default_rng(seed).permutation(groups)
    tested = np.zeros(groups, dtype=np.bool_)
    tested[order[: min(max(round(groups * test_fraction), 1), groups - 1)]] = True
    return grid.take(np.flatnonzero(~tested[group])), grid.take(np.flatnonzero(tested[group]))


def folds(grid: Grid, count: int, seed: int) -> list[tuple[Indices, Indices]]:
    """Rows to fit on and rows to predict, ``count`` times; queries with the same text stay together."""
    _, group = np.unique(np.array(grid.texts, dtype=object), return_inverse=True)
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


def _arm(columns: Columns, row: int) -> Arm:
    budget = columns.budget[row]
    model = columns.model.values[columns.model.codes[row]]
    return Arm(ModelId(model), None if np.isinf(budget) else int(budget))


def _prices(columns: Columns, first_arm: Indices) -> Floats:
    """(A, 2) USD per input and output token, as the recorded costs tell (least squares over each model's rows)."""
    models = columns.model.codes[first_arm]
    prices = np.zeros((first_arm.size, 2))
    for model in np.unique(models):
        rows = columns.model.codes == model
        tokens = np.column_stack((columns.input_tokens[rows], columns.output_tokens[rows]))
        prices[models == model] = np.maximum(np.linalg.lstsq(tokens, columns.cost_usd[rows], rcond=None)[0], 0.0)
    return prices


def _samples(columns: Columns, query: Indices, arm: Indices, shape: tuple[int, int]) -> Samples:
    cell = query * shape[1] + arm
    order = np.lexsort((columns.sample, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    lengths = np.diff(np.append(starts, cell.size))
    number = np.empty(cell.size, dtype=np.intp)
    number[order] = np.arange(cell.size) - np.repeat(starts, lengths)
    full = (*shape, int(lengths.max()))
    quality, cost = np.full(full, np.nan, dtype=np.float32), np.full(full, np.nan, dtype=np.float32)
    answer = np.full(full, -1, dtype=np.int32)
    quality[query, arm, number] = columns.quality
    cost[query, arm, number] = columns.cost_usd
    answer[query, arm, number] = _normalised(columns.answer.values)[columns.answer.codes]
    return Samples(quality, cost, answer)


def _normalised(values: Sequence[str]) -> Codes:
    """Codes of answers that agree; the last entry is that of no answer (code -1)."""
    seen: dict[str, int] = {}
    codes = [seen.setdefault(word, len(seen)) if (word := normalise(value)) else -1 for value in values]
    return np.array([*codes, -1], dtype=np.int32)
