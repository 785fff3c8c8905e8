"""What judge and verifiers said counts in a replay from where it was said: on its own terms a run goes as it went."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.ledger import Ledger
from curveroute.agent.propose import Outlooker
from curveroute.agent.rethink import own_terms, rethink
from curveroute.agent.verify.found import CallableVerifier
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.agent.ledger import RunRecord
    from curveroute.agent.pool import Pool

BUDGETS = (16, 256)
VERIFIER = CallableVerifier(lambda query, text, answer: "Lisbon" in text, "knows")


def a_pool(house: type[House], seed: int, *, judged: bool) -> tuple[Pool, Callable[[Call], str]]:
    """Three models of random quality and price, with random answers; the judge, one of them, knows what is right."""
    random = np.random.default_rng(seed)
    models = {
        name: (float(random.uniform(0.2, 0.6)), float(random.uniform(0.4, 0.9)), float(10 ** random.uniform(-1.5, 0)))
        for name in "abc"
    }
    judge: dict[str, Any] = {"judge": str(random.choice(list("abc"))), "judge_reliability": 0.9} if judged else {}
    cities = {(name, budget): ["Porto", "Lisbon"][random.integers(2)] for name in "abc" for budget in BUDGETS}

    def reply(call: Call) -> str:
        if call.schema is None:
            return f"Answer: {cities[call.arm.model, call.arm.budget or 0]}"
        text = call.messages[-1]["content"]
        if "<answer_a>" in text:
            word = "A" if "Lisbon" in text.split("<answer_a>")[1].split("</answer_a>")[0] else "B"
        else:
            word = "right" if "Lisbon" in text.split("<answer>")[1] else "wrong"
        return json.dumps({"quote": "capital of Portugal", "reason": "known", "verdict": word})

    return house.pool(models, budgets=BUDGETS, **judge), reply


async def recorded(
    house: type[House], folder: Path, pool: Pool, reply: Callable[[Call], str], tradeoff: float, *, verified: bool
) -> RunRecord:
    with Ledger.open(f"sqlite:///{folder / 'l.sqlite'}") as ledger:
        context = house.context(pool, house.chat(reply), ledger=ledger, tradeoff=tradeoff, plan=False)
        assert context.parts is not None
        parts = replace(context.parts, verifiers=(VERIFIER,) if verified else ())
        route = await Router(replace(context, parts=parts)).ainvoke(house.query)
        return ledger.run(route.run_id)


@pytest.mark.parametrize("tradeoff", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("seed", [0, 7, 28, 30, 34])
@pytest.mark.parametrize(("judged", "verified"), [(True, False), (False, True), (True, True)])
async def test_words_count_from_where_they_were_said(
    house: type[House], tmp_path: Path, seed: int, tradeoff: float, judged: bool, verified: bool
) -> None:
    pool, reply = a_pool(house, seed, judged=judged)
    record = await recorded(house, tmp_path, pool, reply, tradeoff, verified=verified)
    found = await rethink(record, Outlooker(pool, None), own_terms(record))
    assert (found.now.asked, found.now.status) == (found.was.asked, found.was.status)
    assert found.reproduced
    assert found.changes == ()
    assert found.now.score == pytest.approx(found.was.score)
    assert found.now.known_usd == pytest.approx(record.totals.cost_usd)
