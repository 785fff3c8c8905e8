"""Grids: a curve table as arrays; a query's rows, and queries of one text, stay together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.bench.columns import columns_of
from curveroute.agent.bench.grid import Grid, folds, grid_of, groups_of, merged, split
from curveroute.agent.bench.table import Row
from curveroute.agent.errors import TableError
from curveroute.agent.types import Arm, ModelId

SMALL, LARGE = Arm(ModelId("small"), 16), Arm(ModelId("large"), None)
PRICES = {"small": (1e-7, 4e-7), "large": (2e-6, 8e-6)}


def rows_for(texts: list[str], samples: int = 1) -> list[Row]:
    made = []
    for number, text in enumerate(texts):
        for arm in (SMALL, LARGE):
            for sample in range(samples):
                prompt, used = 10 + number, 3 + number % 5 + sample
                price = PRICES[arm.model]
                cost = prompt * price[0] + used * price[1]
                answer = f" Right {number}." if sample % 2 == 0 else f"wrong {sample}"
                made.append(
                    Row(f"q{number}", text, f"task {number % 3}", arm.model, arm.budget, sample,
                        1.0 if sample % 2 == 0 else 0.0, answer, f"right {number}", "stop", prompt, used, cost)
                )  # fmt: skip
    return made


def grid_for(texts: list[str], samples: int = 1) -> Grid:
    return grid_of(columns_of(rows_for(texts, samples)))


def test_cells_are_means_over_samples_and_samples_are_kept() -> None:
    grid = grid_for(["a", "b", "c"], samples=3)
    assert grid.arms == (SMALL, LARGE)
    assert (grid.query_ids, grid.texts, grid.tasks[2]) == (("q0", "q1", "q2"), ("a", "b", "c"), "task 2")
    np.testing.assert_allclose(grid.quality, 2 / 3)
    np.testing.assert_allclose(grid.output_tokens[:, 0], [4.0, 5.0, 6.0])
    assert grid.samples.quality.shape == (3, 2, 3)
    assert grid.samples.quality[0, 0].tolist() == [1.0, 0.0, 1.0]


def test_prices_are_read_off_the_recorded_costs() -> None:
    np.testing.assert_allclose(grid_for(list("abcdefgh")).prices, list(PRICES.values()), rtol=1e-6)


def test_a_fee_for_each_call_is_found_where_tokens_do_not_explain_the_costs() -> None:
    grid = grid_for(list("abcdefgh"))
    dear = grid.cost_usd + np.array([0.0, 0.5])
    again = merged(replace(grid, cost_usd=dear))
    np.testing.assert_allclose(again.fees, [0.0, 0.5], atol=1e-9)
    np.testing.assert_allclose(again.expected_cost(grid.input_tokens, grid.output_tokens), dear, rtol=1e-6)


def test_a_training_part_knows_nothing_of_what_a_test_costs() -> None:
    grid = grid_for(list("abcdefgh"))
    train, test = split(grid, 0, 0.5)
    raised = replace(
        grid, cost_usd=np.where(np.isin(grid.query_ids, test.query_ids)[:, None], 50.0, 1.0) * grid.cost_usd
    )
    np.testing.assert_allclose(merged(split(raised, 0, 0.5)[0]).prices, merged(train).prices)


def test_queries_of_one_text_are_learned_from_as_one() -> None:
    grid = grid_for(["a  b", "c", "A b", "a b"]).embedded(np.arange(4.0)[:, None])
    assert groups_of(grid.texts).tolist() == [0, 1, 0, 0]
    quality = np.array(grid.quality)
    quality[2] = 0.0
    quality[3, 1] = np.nan
    one = merged(replace(grid, quality=quality))
    assert (one.query_ids, one.x.ravel().tolist()) == (("q0", "q1"), [0.0, 1.0])
    np.testing.assert_allclose(one.quality[0], [2 / 3, 1 / 2])
    assert len(merged(one)) == 2


def test_answers_agree_when_they_claim_the_same() -> None:
    rows = rows_for(["a", "b"])
    rows[1] = Row(**{**{name: getattr(rows[1], name) for name in rows[1].__slots__}, "answer": "**right 0**"})
    rows[3] = Row(**{**{name: getattr(rows[3], name) for name in rows[3].__slots__}, "answer": None})
    codes = grid_of(columns_of(rows)).samples.answer[:, :, 0]
    assert codes[0, 0] == codes[0, 1] >= 0
    assert codes[1, 1] == -1
    assert codes[1, 0] not in {codes[0, 0], -1}


def test_what_was_not_asked_is_a_gap() -> None:
    grid = grid_of(columns_of(rows_for(["a", "b"])[:-1]))
    assert np.argwhere(np.isnan(grid.quality)).tolist() == [[1, 1]]
    assert grid.samples.answer[1, 1, 0] == -1


def test_parts_are_what_they_say() -> None:
    grid = grid_for(["a", "b", "c"]).embedded(np.arange(6.0).reshape(3, 2))
    part = grid.take(np.array([2, 0])).keep(np.array([1]))
    assert (part.query_ids, part.arms, len(part)) == (("q2", "q0"), (LARGE,), 2)
    assert part.x.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert part.quality.shape == part.samples.quality.shape[:2] == (2, 1)


@given(st.lists(st.sampled_from("abcdefg"), min_size=2, max_size=30), st.integers(0, 99), st.floats(0.05, 0.95))
def test_no_text_is_on_both_sides_of_a_split(texts: list[str], seed: int, fraction: float) -> None:
    if len(set(texts)) < 2:
        return
    grid = grid_for(texts)
    train, test = split(grid, seed, fraction)
    assert train.texts
    assert test.texts
    assert not {text.casefold() for text in train.texts} & {text.casefold() for text in test.texts}
    assert sorted(train.query_ids + test.query_ids) == sorted(grid.query_ids)
    assert split(grid, seed, fraction)[1].query_ids == test.query_ids


@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=30), st.integers(2, 5))
def test_every_query_is_held_out_once_with_its_text(texts: list[str], count: int) -> None:
    if len(set(texts)) < 2:
        return
    grid = grid_for(texts)
    parts = folds(grid, count, seed=1)
    assert sorted(np.concatenate([held for _, held in parts]).tolist()) == list(range(len(texts)))
    for rest, held in parts:
        assert not {texts[row] for row in rest} & {texts[row] for row in held}


def test_one_text_cannot_be_split() -> None:
    with pytest.raises(TableError, match="1 different queries cannot be split"):
        split(grid_for(["a", "a"]), 0, 0.3)


def test_one_id_with_two_texts_is_refused() -> None:
    rows = rows_for(["a", "b"])
    rows[2] = Row(**{**{name: getattr(rows[2], name) for name in rows[2].__slots__}, "query": "else"})
    with pytest.raises(TableError, match="'q1' stands for two different texts"):
        grid_of(columns_of(rows))
