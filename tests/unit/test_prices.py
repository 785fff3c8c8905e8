"""Money: what a call costs, and that no call within its bounds costs more than was reserved for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from genai_prices import Usage as PricedUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import PoolError
from curveroute.agent.pool import Pool, PoolSpec, PriceSpec, load_pool
from curveroute.agent.types import Arm, ModelId, Usage

if TYPE_CHECKING:
    from pathlib import Path

ARM = Arm(ModelId("m"), None)
PRICE = st.floats(0, 1000) | st.sampled_from([0.0, 0.1, 0.3, 0.07, 1e-9])
COUNT = st.integers(0, 10_000_000)


def pool_of(price: PriceSpec) -> Pool:
    spec = PoolSpec.model_validate(
        {
            "name": "one",
            "system": "s",
            "budgets": [{"name": "free", "style": ""}],
            "models": [
                {"id": "m", "endpoint": "https://example.org", "prices": price.model_dump(), "context_window": 10_000}
            ],
        }
    )
    return Pool(spec, prices={"m": price})


PRICES = st.builds(PriceSpec, input=PRICE, output=PRICE, cached_input=st.none() | PRICE)


@given(PRICES, COUNT, COUNT, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_no_usage_within_bounds_costs_more_than_the_worst_case(
    price: PriceSpec, most_in: int, most_out: int, share_in: float, share_out: float, share_cached: float
) -> None:
    pool = pool_of(price)
    sent = int(share_in * most_in)
    usage = Usage(sent, int(share_out * most_out), int(share_cached * sent))
    assert 0 <= pool.cost_usd("m", usage) <= pool.worst_case_usd(ARM, most_in, most_out)


@given(PRICES, COUNT, COUNT, st.integers(0, 1000), st.integers(0, 1000))
def test_the_worst_case_grows_with_its_bounds(price: PriceSpec, sent: int, made: int, more: int, longer: int) -> None:
    pool = pool_of(price)
    assert pool.worst_case_usd(ARM, sent, made) <= pool.worst_case_usd(ARM, sent + more, made + longer)


@given(PRICES, COUNT, COUNT, COUNT)
def test_each_token_is_paid_once_at_its_own_price(price: PriceSpec, fresh: int, cached: int, made: int) -> None:
    cached_price = price.input if price.cached_input is None else price.cached_input
    owed = (fresh * price.input + cached * cached_price + made * price.output) / 1e6
    found = pool_of(price).cost_usd("m", Usage(fresh + cached, made, cached))
    assert found == pytest.approx(owed, rel=1e-9, abs=1e-18)


def test_a_prompt_without_a_cached_price_is_paid_in_full() -> None:
    pool = pool_of(PriceSpec(input=2, output=8))
    assert pool.prices("m") == (2, 8, 2)
    assert pool.cost_usd("m", Usage(1_000_000, 500_000, 400_000)) == pytest.approx(6)


def test_a_cached_prefix_is_cheaper_where_the_pool_says_so() -> None:
    pool = pool_of(PriceSpec(input=2, output=8, cached_input=0.5))
    assert pool.cost_usd("m", Usage(1_000_000, 0, 400_000)) == pytest.approx(1.4)


def test_a_count_of_more_cached_than_sent_tokens_costs_no_less_than_nothing() -> None:
    pool = pool_of(PriceSpec(input=2, output=8, cached_input=0.5))
    assert pool.cost_usd("m", Usage(10, 0, 40)) == pytest.approx(20e-6)


def test_a_model_that_is_not_there_has_no_price() -> None:
    with pytest.raises(PoolError, match="unknown model 'n' in pool 'one'; it has: m"):
        pool_of(PriceSpec(input=1, output=1)).prices("n")


@pytest.mark.parametrize("model", load_pool("openai").models)
def test_a_price_reference_is_the_price_of_the_data(model: str) -> None:
    pool = load_pool("openai")
    usage = Usage(1000, 300, 200)
    price = calc_price(
        PricedUsage(input_tokens=1000, output_tokens=300, cache_read_tokens=200), model_ref=model, provider_id="openai"
    )
    assert pool.cost_usd(model, usage) == pytest.approx(float(price.total_price))
    input_price, output_price, cached_price = pool.prices(model)
    assert 0 < cached_price < input_price < output_price


def test_a_reference_without_a_cached_price_charges_the_prompt_in_full(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text(
        """
        name = "old"
        system = "s"
        budgets = [{ name = "free", style = "" }]
        models = [{ id = "gpt-4", endpoint = "https://example.org", price_ref = "openai/gpt-4", context_window = 8192 }]
        """
    )
    assert load_pool(str(path)).prices("gpt-4") == (30, 60, 30)


def test_local_prices_are_the_machines_time() -> None:
    pool = load_pool("local-large")
    usd_a_second = 0.05 / 3600
    speeds = {"smollm2-135m": (306, 42), "qwen2.5-coder-0.5b": (154, 25), "qwen2.5-coder-1.5b": (75, 20)}
    for model, (prompt, generation) in speeds.items():
        owed = (usd_a_second / prompt * 1e6, usd_a_second / generation * 1e6)
        assert pool.prices(model)[:2] == pytest.approx(owed, rel=0.03)
