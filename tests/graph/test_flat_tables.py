"""A table in which every answer is right, or every one wrong, still makes a predictor that runs can follow."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest

from curveroute.agent.bench.columns import columns_of
from curveroute.agent.bench.table import Row
from curveroute.agent.bench.train import train
from curveroute.agent.ledger import Ledger
from curveroute.agent.predictor import load_predictor, save_predictor

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House

    from curveroute.agent.pool import Pool

QUERIES = 24


def rows_of(pool: Pool, quality: float) -> list[Row]:
    """Every arm's answer to sums: all the same and right, or each another one and wrong."""
    rows = []
    for number in range(QUERIES):
        for place, arm in enumerate(pool.arms):
            said = str(2 * number if quality == 1.0 else 1000 * place + number)
            tokens = 4 + place
            price, output_price = pool.prices(arm.model)[:2]
            rows.append(
                Row(
                    query_id=f"q{number}", query=f"What is {number} plus {number}?", task="sums", model=arm.model,
                    budget=arm.budget, sample=0, quality=quality, answer=said, reference=str(2 * number),
                    finish_reason="stop", input_tokens=30, output_tokens=tokens,
                    cost_usd=(30 * price + tokens * output_price) * 1e-6, response=f"Answer: {said}",
                )
            )  # fmt: skip
    return rows


@pytest.mark.parametrize("quality", [0.0, 1.0], ids=["all wrong", "all right"])
async def test_it_is_trained_on_and_followed(house: type[House], tmp_path: Path, quality: float) -> None:
    pool = house.pool(budgets=(16, 256))
    rows = rows_of(pool, quality)
    trained = await train(columns_of(rows), house.embedder())
    predictor = load_predictor(save_predictor(trained, tmp_path / "predictor"))
    assert all(np.isfinite(values).all() for values in (predictor.heads_.weights, predictor.heads_.covariance))
    chat = house.recorded(*map(asdict, rows))
    said = {(row.model, row.budget): row.response for row in rows if row.query == rows[0].query}
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        for tradeoff in (0.0, 0.02, 0.5, 1.0):
            for cap in (None, 1e-3, 1e-4):
                router = house.router(
                    pool, chat, predictor=predictor, ledger=ledger, tradeoff=tradeoff, max_cost_usd=cap, plan=False
                )
                route = await router.ainvoke(rows[0].query)
                assert route.answer == said[route.model, route.budget]
                assert route.status in {"accepted", "best_so_far"}
                assert route.reason
                assert all(0.0 <= one.verdict.score <= 1.0 for one in route.attempts if one.verdict is not None)
                assert cap is None or route.cost_usd <= cap
        assert ledger.verify().ok
