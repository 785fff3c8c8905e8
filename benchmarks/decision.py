"""How long one decision takes: 187 heads over 1,024 dimensions, as in R2-Router's released model.

Run ``python benchmarks/decision.py``. The data are synthetic, so it runs anywhere; the comparison is one scikit-learn
Ridge regressor per head, asked in a loop, as the reference code does. Prints JSON; times are milliseconds.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import Ridge

from curveroute.agent.decide import LinearDecider
from curveroute.agent.escalate import Situation, next_step, why_not
from curveroute.agent.posterior import Heard, believed
from curveroute.agent.predictor import CurveHeads
from curveroute.agent.types import Arm, ModelId

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS, BUDGETS, DIMENSIONS, BATCH, TRADEOFF = 11, 16, 1024, 8192, 0.3
ARMS = MODELS * BUDGETS
TOKEN_HEADS = MODELS


def median_ms(action: Callable[[], object], repeats: int) -> float:
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def make_decider(rng: np.random.Generator) -> tuple[LinearDecider, np.ndarray, np.ndarray]:
    coef = rng.normal(scale=0.01, size=(ARMS + TOKEN_HEADS, DIMENSIONS))
    intercept = np.concatenate((rng.uniform(0.2, 0.8, ARMS), np.full(TOKEN_HEADS, 300.0)))
    tokens = np.tile([*(2.0 ** np.arange(1, BUDGETS)), np.nan], MODELS)
    prices = np.repeat(rng.uniform(0.02, 1.0, (MODELS, 2)), BUDGETS, axis=0)
    decider = LinearDecider(
        coef,
        intercept,
        input_price=prices[:, 0],
        output_price=prices[:, 1],
        tokens=tokens,
        reference_cost_usd=0.001,
    )
    return decider, coef, intercept


def make_regressors(coef: np.ndarray, intercept: np.ndarray) -> list[Ridge]:
    blank = Ridge().fit(np.eye(2, DIMENSIONS), [0.0, 1.0])
    regressors = []
    for row, bias in zip(coef, intercept, strict=True):
        one = Ridge().set_params(**blank.get_params())
        one.coef_, one.intercept_, one.n_features_in_ = row, bias, DIMENSIONS
        regressors.append(one)
    return regressors


def make_heads(rng: np.random.Generator) -> CurveHeads:
    arms = tuple(Arm(ModelId(f"m{model}"), 2**budget) for model in range(MODELS) for budget in range(BUDGETS + 1))
    count = len(arms)
    return CurveHeads(
        arms=arms,
        weights=rng.normal(scale=0.01, size=(2 * count, DIMENSIONS)).astype(np.float32),
        bias=rng.uniform(0.2, 0.8, 2 * count).astype(np.float32),
        covariance=0.2 * np.eye(count) + 0.02,
        most_tokens=np.full(count, 1024.0),
        reference_cost_usd=0.001,
    )


def looking_ms(heads: CurveHeads, embedding: np.ndarray) -> float:
    """One verdict taken in, the next step chosen and explained."""
    count = len(heads.arms)
    expected = heads.predict(embedding).quality
    cost = np.linspace(1e-5, 1e-3, count)
    still_open = np.arange(count) != 0

    def step() -> object:
        after = believed(expected, heads.covariance, [Heard(0, 0.1)], heads.arms)
        now = Situation(after, cost, 2 * cost, still_open, 0.1, TRADEOFF, 1e-3, 1.0, 0.8)
        return why_not(now, next_step(now))

    return median_ms(step, 300)


def main() -> None:
    rng = np.random.default_rng(0)
    decider, coef, intercept = make_decider(rng)
    regressors = make_regressors(coef, intercept)
    heads = make_heads(rng)
    embedding = rng.normal(size=DIMENSIONS).astype(np.float32)
    batch = rng.normal(size=(BATCH, DIMENSIONS)).astype(np.float32)
    row = embedding[None, :].astype(np.float64)
    single = median_ms(lambda: decider.decide(embedding, input_tokens=100, tradeoff=TRADEOFF), 2000)
    loop = median_ms(lambda: [float(one.predict(row)[0]) for one in regressors], 15)
    many = median_ms(lambda: decider.decide_many(batch, input_tokens=100, tradeoff=TRADEOFF), 7)
    result = {
        "heads": len(regressors),
        "dimensions": DIMENSIONS,
        "decision_ms": round(single, 4),
        "scikit_learn_loop_ms": round(loop, 3),
        "times_faster": round(loop / single, 1),
        "batch": BATCH,
        "batch_decisions_per_s": round(BATCH / many * 1e3),
        "predict_187_arms_quality_and_tokens_ms": round(median_ms(lambda: heads.predict(embedding), 1000), 4),
        "verdict_and_next_step_187_arms_ms": round(looking_ms(heads, embedding), 4),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
