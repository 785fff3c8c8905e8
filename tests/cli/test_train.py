"""``curveroute train`` on tables that hold next to nothing to learn: it trains, and says what that means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curveroute.agent.bench.table import Row, write_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ran

    Cli = Callable[..., Ran]


def flat_rows(quality: float) -> list[Row]:
    """Four arms, twenty sums, and one quality."""
    return [
        Row(
            query_id=f"q{number}", query=f"What is {number} plus 2?", task="sums", model=model, budget=budget, sample=0,
            quality=quality, answer=str(number + 2), reference=str(number + 2), finish_reason="stop", input_tokens=20,
            output_tokens=4, cost_usd=24 * price * 1e-6,
        )
        for number in range(20)
        for model, price in (("weak", 1.0), ("strong", 4.0))
        for budget in (16, 256)
    ]  # fmt: skip


@pytest.mark.parametrize("quality", [0.0, 1.0], ids=["all wrong", "all right"])
def test_a_table_of_one_quality_is_trained_on_and_said_to_be_one(cli: Cli, pool: str, quality: float) -> None:
    write_table(Path("flat.jsonl"), flat_rows(quality))
    trained = cli("train", "flat.jsonl", "--out", "predictor", "--pool", pool)
    assert (trained.status, "Traceback" in trained.err) == (0, False)
    told = f"every answer in the table has quality {quality:g}: what is learned tells arms apart by their cost alone"
    assert trained.out.count(told) == 1
    asked = cli("ask", "What is 7 plus 2?", "--pool", pool, "--predictor", "predictor", "--no-plan", "--json")
    assert asked.status == 0, asked.err
    route = json.loads(asked.out)
    assert route["model"] == "weak", "nothing speaks for the dearer one"


def test_what_stands_at_the_place_of_the_predictor_is_not_lost_unasked(cli: Cli, pool: str) -> None:
    write_table(Path("flat.jsonl"), flat_rows(1.0))
    words = ("train", "flat.jsonl", "--out", "predictor", "--pool", pool)
    assert cli(*words).status == 0
    before = {path.name: path.read_bytes() for path in Path("predictor").iterdir()}
    again = cli(*words, "--seed", "1")
    assert again.status == 2
    assert "predictor holds a predictor already: choose another path, or replace it with --overwrite" in again.complaint
    assert {path.name: path.read_bytes() for path in Path("predictor").iterdir()} == before
    assert cli(*words, "--seed", "1", "--overwrite").status == 0
    Path("photos").mkdir()
    Path("photos", "1.jpg").touch()
    for more in ((), ("--overwrite",)):
        refused = cli("train", "flat.jsonl", "--out", "photos", *more)
        assert (refused.status, "photos exists and holds no predictor" in refused.complaint) == (2, True)
    assert [path.name for path in Path("photos").iterdir()] == ["1.jpg"]
