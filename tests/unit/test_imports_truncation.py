"""Cutting recorded answers gives the tables that were made by cutting them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curveroute.agent.bench.columns import Columns, Words, columns_hash, columns_of, read_columns
from curveroute.agent.bench.imports import expand
from curveroute.agent.bench.table import Row
from curveroute.agent.errors import TableError

pytest.importorskip("pyarrow")

RECORDED = Path(__file__).parents[2].parent / "shared" / "data"
PRICES = {"small": (1.0, 5.0)}


def a_row(number: int = 0, tokens: int = 100, **changes: Any) -> Row:
    cost = (7 + number) * 1e-6 + tokens * 5e-6
    row = Row(
        f"q{number}", f"{number}?", "t", "small", None, 0, 1.0, "4", "4", "stop", 7 + number, tokens, cost, "4!", 2.0
    )
    return replace(row, **changes)


def keyed(columns: Columns) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    keys = zip(columns.query_id.texts(), columns.model.texts(), columns.budget, columns.sample, strict=True)
    cells = zip(
        columns.quality, columns.answer.texts(), columns.truncated, columns.output_tokens, columns.cost_usd, strict=True
    )
    return dict(zip(keys, cells, strict=True))


def test_an_answer_that_fits_is_the_same_and_one_that_does_not_is_cut() -> None:
    columns = expand(columns_of([a_row(0, 100), a_row(1, 20)]), [20, 99, 100], PRICES)
    table = keyed(columns)
    assert len(table) == len(columns) == 8
    assert table["q0", "small", np.inf, 0] == table["q0", "small", 100, 0] == (1, "4", False, 100, 7e-6 + 500e-6)
    assert table["q0", "small", 99, 0] == (0, None, True, 99, pytest.approx(7e-6 + 495e-6))
    assert table["q0", "small", 20, 0] == (0, None, True, 20, pytest.approx(7e-6 + 100e-6))
    assert table["q1", "small", 20, 0] == table["q1", "small", np.inf, 0]
    response, latency = columns.optional["response"], columns.optional["latency_s"]
    assert isinstance(response, Words)
    assert [text is None for text in response.texts()] == columns.truncated.tolist()
    assert np.isnan(np.asarray(latency)).tolist() == columns.truncated.tolist()


def test_prices_are_inferred_where_costs_are_linear_in_tokens() -> None:
    rows = [a_row(number, 50 + 7 * number) for number in range(4)]
    given, inferred = expand(columns_of(rows), [10], PRICES), expand(columns_of(rows), [10])
    np.testing.assert_allclose(inferred.cost_usd, given.cost_usd, rtol=1e-12)
    with pytest.raises(TableError, match=r"no price for small; .*not exactly linear"):
        expand(columns_of([*rows, a_row(9, cost_usd=1.0)]), [10])
    with pytest.raises(TableError, match="no price for small"):
        expand(columns_of(rows[:1]), [10])
    assert len(expand(columns_of(rows[:1]), [1000])) == 2  # nothing is cut: no price is needed


def test_what_was_recorded_under_a_budget_stays() -> None:
    columns = expand(columns_of([a_row(0), a_row(0, 18, budget=20, quality=0.5)]), [20, 50], PRICES)
    table = keyed(columns)
    assert len(table) == len(columns) == 3
    assert table["q0", "small", 20, 0][0] == 0.5


def test_what_cannot_be_cut_is_told() -> None:
    with pytest.raises(TableError, match="a budget of 0 output tokens"):
        expand(columns_of([a_row()]), [0], PRICES)
    with pytest.raises(TableError, match="no unlimited answers to cut"):
        expand(columns_of([a_row(budget=5)]), [3], PRICES)
    with pytest.raises(TableError, match="output price 50 of 'small' is more than its answers cost"):
        expand(columns_of([a_row()]), [3], {"small": (1.0, 50.0)})


@pytest.mark.parametrize("name", ["mmlu_pro", "gsm8k"])
def test_recorded_tables_are_what_cutting_their_full_answers_gives(name: str) -> None:
    path = RECORDED / f"{name}.parquet"
    if not path.is_file():
        pytest.skip("no recorded tables beside the project")
    columns = read_columns(path)
    budgets = [int(budget) for budget in np.unique(columns.budget) if np.isfinite(budget)]
    made = expand(columns.at(np.isinf(columns.budget)), budgets)
    assert columns_hash(made) == columns_hash(columns)
    expected = keyed(columns)
    for key, cells in keyed(made).items():
        assert cells[:4] == expected[key][:4]
        assert cells[4] == pytest.approx(expected[key][4], rel=1e-9)
