"""Replays of what the ledger keeps no words of: a conversation's history and the form of its answers, under a cap."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.errors import CapTooSmall
from curveroute.agent.pool import Pool
from curveroute.agent.pool.spec import PriceSpec
from curveroute.agent.probe import request_bounds
from curveroute.agent.propose import Outlooker
from curveroute.agent.rethink import own_terms, rethink
from curveroute.agent.types import Form, Message, Query, Tool, Toolbox

if TYPE_CHECKING:
    from conftest import House

    from curveroute.agent.ledger import Ledger, RunRecord
    from curveroute.agent.types import JsonObject

MODELS = {"a": (0.4, 0.5, 0.1), "b": (0.4, 0.5, 0.11), "best": (0.6, 0.8, 0.5)}
SAID = {"a": "Answer: Porto", "b": "Answer: Lisbon", "best": "Answer: Lisbon"}
CONVERSATION: list[Any] = [
    {"role": "system", "content": "Be brief. " * 30},
    {"role": "user", "content": "Tell me about Portugal. " * 30},
    {"role": "assistant", "content": "It is a country. " * 60},
    {"role": "user", "content": "What is its capital?"},
]
SCHEMA: JsonObject = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
LOOK_UP = Tool("look_up", "Looks a word up. " * 20, {"type": "object", "properties": {"word": {"type": "string"}}})
FORMS = {
    "plain": Form(),
    "short": Form(max_tokens=5),
    "schema": Form(schema=SCHEMA),
    "tools": Form(toolbox=Toolbox((LOOK_UP,))),
}
CAPS = [1e-5 * 2.0**step for step in range(10)]


@pytest.fixture
def pool(house: type[House]) -> Pool:
    """Models that can do everything, one budget of theirs unlimited."""
    made = house.pool(MODELS, budgets=(16, 256, None))
    models = [one.model_copy(update={"capabilities": frozenset({"tools", "json"})}) for one in made.spec.models]
    able = made.spec.model_copy(update={"models": models})
    return Pool(able, prices={one.id: one.prices or PriceSpec(input=0, output=0) for one in models})


async def recorded(house: type[House], pool: Pool, ledger: Ledger, question: Any, **settings: Any) -> RunRecord | None:
    """A run as the ledger has it; None where the cap holds nothing."""
    router = house.router(pool, house.chat(lambda call: SAID[call.arm.model]), ledger=ledger, **settings)
    try:
        return ledger.run((await router.ainvoke(question)).run_id)
    except CapTooSmall:
        return None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("question", [CONVERSATION, CONVERSATION[-1:]], ids=["conversation", "question"])
async def test_under_a_cap_a_run_goes_as_it_went(
    house: type[House], pool: Pool, ledger: Ledger, question: Any, form: str
) -> None:
    ran = 0
    for cap in CAPS:
        for tradeoff in (0.0, 0.1):
            settings = {"max_cost_usd": cap, "tradeoff": tradeoff, "form": FORMS[form]}
            record = await recorded(house, pool, ledger, question, **settings)
            if record is None:
                continue
            ran += 1
            found = await rethink(record, Outlooker(pool, None), own_terms(record))
            assert (found.reproduced, found.changes, found.otherwise) == (True, (), ""), (cap, tradeoff)
    assert ran >= len(CAPS) // 2


async def test_where_an_older_ledger_lacks_the_bounds_it_is_they_that_are_told(
    house: type[House], pool: Pool, ledger: Ledger
) -> None:
    told = set()
    for cap in CAPS:
        record = await recorded(house, pool, ledger, CONVERSATION, max_cost_usd=cap, tradeoff=0.05)
        if record is None:
            continue
        older = tuple(replace(one, input_bound=None, output_limit=None) for one in record.candidates)
        found = await rethink(replace(record, candidates=older), Outlooker(pool, None), own_terms(record))
        assert found.reproduced == (found.otherwise == "")
        told.add(found.otherwise)
    (why,) = told - {""}
    assert why.startswith("why is not known: the ledger does not say how long conversation and form were (an older ")
    assert "the pool" not in why


async def test_bounds_of_an_estimate_are_those_of_a_request(house: type[House], pool: Pool, ledger: Ledger) -> None:
    record = await recorded(house, pool, ledger, CONVERSATION, tradeoff=0.3, form=FORMS["tools"])
    assert record is not None
    query = Query(tuple(Message(role=one["role"], content=one["content"]) for one in CONVERSATION), FORMS["tools"])
    for one in record.candidates:
        bounds = request_bounds(pool, one.arm, pool.messages(query, one.arm), query.form)
        assert (one.input_bound, one.output_limit) == (bounds.input_tokens, bounds.output_tokens)
