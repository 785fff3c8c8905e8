"""The study of what bounds looking: on made-up answers whose bounds are known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.columns import columns_of
from curveroute.agent.bench.grid import grid_of
from curveroute.agent.bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curveroute.agent.bench.grid import Grid

QUERIES = 240
MODELS = (("weak", 0.5, 1e-7), ("middle", 0.65, 3e-7), ("strong", 0.8, 4e-6))


def script(name: str) -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def bounds() -> Iterator[Any]:
    yield from script("bounds")


@pytest.fixture(scope="module")
def relaxed(bounds: Any) -> Iterator[Any]:
    pytest.importorskip("lightgbm")
    yield from script("relaxed")


@pytest.fixture(scope="module")
def grid() -> Grid:
    """Models err independently, and two that are wrong never say the same: agreement is proof."""
    rng = np.random.default_rng(0)
    rows = []
    for query in range(QUERIES):
        for model, skill, price in MODELS:
            right = bool(rng.uniform() < skill)
            rows.append(
                Row(
                    query_id=f"q{query}",
                    query=f"question {query}",
                    task="sums" if query % 2 else "facts",
                    model=model,
                    budget=None,
                    sample=0,
                    quality=float(right),
                    answer="42" if right else f"{model} {query}",
                    reference="42",
                    finish_reason="stop",
                    input_tokens=20,
                    output_tokens=50,
                    cost_usd=price * 100,
                )
            )
    x = np.random.default_rng(1).normal(size=(QUERIES, 6))
    return grid_of(columns_of(rows)).embedded(x)


@pytest.fixture(scope="module")
def split(bounds: Any, grid: Grid) -> Any:
    return bounds.split_of(grid, 0)


def test_the_best_single_model_is_what_everything_is_measured_against(split: Any) -> None:
    assert [slot.arm.model for slot in split.test.answers.slots] == ["weak", "middle", "strong"]
    assert split.q_star == pytest.approx(split.test.right[:, -1].mean())
    assert split.c_star == pytest.approx(MODELS[-1][2] * 100)


def test_a_perfect_verifier_is_right_wherever_anyone_on_its_chain_is(bounds: Any, split: Any) -> None:
    found = bounds.perfect(split)
    places = [["weak", "middle", "strong"].index(name) for name in found["chain"].split(" > ")]
    assert places[-1] == 2
    assert found["gain"] + split.q_star == pytest.approx(split.test.right[:, places].any(axis=1).mean())
    assert 0.0 < found["cost"] < 1.0


def test_where_agreement_is_proof_it_says_most_and_the_text_says_nothing(bounds: Any, split: Any) -> None:
    losses = bounds.signals(split)["best cheap model right"]
    assert losses["+ agreement"] < losses["nothing"] - 0.05
    assert abs(losses["+ text (embedding)"] - losses["+ agreement"]) < 0.05


def test_more_money_never_makes_the_best_two_stage_rule_worse(bounds: Any, split: Any) -> None:
    gains = list(bounds.two_stage(split).values())
    assert gains == sorted(gains)
    assert gains[-1] > 0.0
    assert gains[-1] <= bounds.perfect(split)["gain"] + 1e-9


def test_a_jury_of_everyone_cannot_beat_a_perfect_verifier(bounds: Any, split: Any) -> None:
    found = bounds.everything(split, 0)
    assert found["cost"] > 1.0
    assert found["gain"] <= float(split.test.right.any(axis=1).mean()) - split.q_star + 1e-9


def test_spreads_stand_beside_means_and_words_as_they_were_most_often(bounds: Any) -> None:
    told = bounds.together([{"gain": 0.1, "chain": "a"}, {"gain": 0.3, "chain": "a"}, {"gain": 0.2, "chain": "b"}])
    assert told == {"gain": {"mean": 0.2, "sd": 0.0816, "count": 3}, "chain": "a"}
    assert bounds.together([0.5, float("nan")]) == {"mean": 0.5, "sd": 0.0, "count": 1}
    assert bounds.together([float("nan")]) == {"mean": None, "sd": None, "count": 0}


def test_where_agreement_is_proof_and_free_the_best_model_is_asked_less_and_gained_on(relaxed: Any, grid: Grid) -> None:
    train, test = relaxed.sides_of(grid, 0, every_budget=False)
    assert [slot.arm.model for slot in train.answers.slots] == ["strong", "middle", "weak"]
    found = relaxed.relaxed(train, test)
    right = (test.answers.quality > 0).any(axis=1).mean() - found["q_star"]
    free, paid = found["free"], found["paid"]
    assert 0.0 < found["everyone"]["gain"] <= right + 1e-9
    assert list(free.values())[:3] == sorted(list(free.values())[:3])
    assert all(free[share] >= paid[share] for share in ("0.35", "0.5", "1"))
    assert free["qnc"] < paid["qnc"] < 1.0


def test_a_claim_is_as_right_as_its_answers_and_the_likeliest_is_given(relaxed: Any, grid: Grid) -> None:
    _, test = relaxed.sides_of(grid, 0, every_budget=False)
    claims = relaxed.claims_of(test, [0, 1, 2])
    quality = relaxed.given(claims, claims.quality, len(test.answers))
    assert quality.tolist() == (test.answers.quality > 0).any(axis=1).astype(float).tolist()
    top = relaxed.likeliest(claims, claims.quality, len(test.answers))
    assert top[:, 0].tolist() == quality.tolist()
    assert (top[:, 0] >= top[:, 1]).all()
