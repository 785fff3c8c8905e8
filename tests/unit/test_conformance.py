"""The vectorised rule decides as the published rule does: against recorded decisions, and against a plain loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curveroute.agent.decide import LinearDecider

HERE = Path(__file__)
RECORDED = HERE.parents[2].parent / "shared" / "data"
HEADS = RECORDED / "r2_router_heads.npz"
SMALL = json.loads((HERE.parents[1] / "data" / "conformance_small.json").read_text())


def plain_loop(document: dict[str, Any], case: dict[str, Any]) -> int:
    """The rule as one would write it on paper; shares no code with the library."""
    embedding = document["embeddings"][case["embedding"]]
    raw = [
        sum(w * e for w, e in zip(row, embedding, strict=True)) + b
        for row, b in zip(document["coef"], document["intercept"], strict=True)
    ]
    unit = document["reference_cost_usd"] if case["cost_unit"] == "pool" else 1.0
    token_head, keys = len(document["arms"]), []
    for index, (model, budget) in enumerate(document["arms"]):
        quality, tokens = min(max(raw[index], 0.0), 1.0), budget
        if budget is None:
            tokens, token_head = max(raw[token_head], 0.0), token_head + 1
        input_price, output_price = document["prices_usd_per_million"][model]
        cost = (case["input_tokens"] * input_price + tokens * output_price) / 1e6
        score = (1 - case["tradeoff"]) * quality - case["tradeoff"] * cost / unit
        keys.append((-score, cost, -quality, index))
    return min(keys)[-1]


def small_decider(cost_unit: Any) -> LinearDecider:
    prices = np.array([SMALL["prices_usd_per_million"][model] for model, _ in SMALL["arms"]])
    return LinearDecider(
        SMALL["coef"],
        SMALL["intercept"],
        input_price=prices[:, 0],
        output_price=prices[:, 1],
        tokens=[np.nan if budget is None else budget for _, budget in SMALL["arms"]],
        cost_unit=cost_unit,
        reference_cost_usd=SMALL["reference_cost_usd"],
    )


@pytest.mark.parametrize("cost_unit", ["usd", "pool"])
def test_synthetic_decisions_match_the_stored_ones_and_the_plain_loop(cost_unit: str) -> None:
    decider = small_decider(cost_unit)
    cases = [case for case in SMALL["cases"] if case["cost_unit"] == cost_unit]
    assert cases
    for case in cases:
        embedding = SMALL["embeddings"][case["embedding"]]
        made = decider.decide(embedding, input_tokens=case["input_tokens"], tradeoff=case["tradeoff"])
        assert made == case["arm"] == plain_loop(SMALL, case)


def test_a_batch_decides_like_its_rows() -> None:
    decider = small_decider("pool")
    embeddings = np.tile(SMALL["embeddings"], (60, 1))
    inputs = np.arange(embeddings.shape[0])
    many = decider.decide_many(embeddings, input_tokens=inputs, tradeoff=0.3)
    single = [decider.decide(e, input_tokens=n, tradeoff=0.3) for e, n in zip(embeddings, inputs, strict=True)]
    assert many.tolist() == single


@pytest.mark.skipif(
    not (RECORDED / "r2_router_heads.npz").is_file(), reason="no recorded R2-Router heads beside the project"
)
def test_recorded_decisions_of_r2_router_are_reproduced() -> None:
    with np.load(HEADS, allow_pickle=False) as arrays:
        coef, intercept, embeddings = arrays["coef"], arrays["intercept"], arrays["embeddings"]
    document = json.loads((RECORDED / "r2_router_decisions.json").read_text())
    budgets = [budget for _, budget in document["arms"]]
    quality = [index for index, budget in enumerate(budgets) if budget != "unlimited_tokens"]
    heads = quality + [index for index, budget in enumerate(budgets) if budget == "unlimited_tokens"]
    arms = [document["arms"][index] for index in quality]
    prices = np.array([document["prices_usd_per_million"][model] for model, _ in arms])
    decider = LinearDecider(
        coef[heads],
        intercept[heads],
        input_price=prices[:, 0],
        output_price=prices[:, 1],
        tokens=[np.nan if budget == "unlimited" else budget for _, budget in arms],
        cost_unit="usd",
    )
    wrong = 0
    for case in document["cases"]:
        at, tokens, tradeoff = case["embedding"], case["input_tokens"], case["lambda"]
        made = arms[decider.decide(embeddings[at], input_tokens=tokens, tradeoff=tradeoff)]
        many = decider.decide_many(embeddings[[at, at]], input_tokens=tokens, tradeoff=tradeoff)
        wrong += made not in case["acceptable"] or any(arms[index] not in case["acceptable"] for index in many)
    assert len(document["cases"]) == 720
    assert wrong == 0
