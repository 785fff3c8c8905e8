"""Whatever models charge, say and break: no run spends more than its cap, and every cent of it is in the ledger.

The models here are as dear and as unreliable as a server may be: they use anything up to their bounds, fail, are cut
off, agree and disagree, plan and judge, and resend what may have been billed as long as the cap allows it.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curveroute.agent.chat.seam import Reply
from curveroute.agent.errors import CapTooSmall, ModelCallError
from curveroute.agent.ledger import Ledger
from curveroute.agent.pool.pool import input_tokens_bound
from curveroute.agent.types import Usage
from curveroute.graphs import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.agent.ledger import RunRecord

NAMES = ("a", "b", "c")
GRAPH = build().compile()


class Wild:
    """Does anything that a server may do, and asks before it sends again what may have been billed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.calls = 0

    async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Reply:
        self.calls += 1
        lost = 0
        while self._chance(0.1) and may_resend():
            lost += 1
        if self._chance(0.2):
            raise ModelCallError("broken", lost_tries=lost + self._upto(1))
        sent = self._upto(input_tokens_bound(call.messages))
        usage = Usage(sent, self._upto(call.max_tokens), self._upto(sent))
        return Reply(self._text(call), usage, self._one_of("stop", "length"), 0.0, lost_tries=lost)

    async def aclose(self) -> None:
        """Nothing is held."""

    def _text(self, call: Call) -> str:
        if call.schema is None:
            return self._one_of("Answer: 4", "Answer: 5", "", "I cannot answer that.")
        if "order" in call.schema["properties"]:
            order = [self._one_of(*"ABCDEFGHZ") for _ in range(1 + self._upto(2))]
            return json.dumps({"order": order, "probe": self._chance(0.5), "criteria": "right"})
        verdict = self._one_of("right", "wrong", "unsure", "A", "B", "?")
        return json.dumps({"quote": "Answer", "reason": "so", "verdict": verdict})

    def _chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _upto(self, most: int) -> int:
        """Any number, the bounds themselves more often than not."""
        return int(self._rng.choice([0, most, most, self._rng.integers(0, most + 1)]))

    def _one_of(self, *choices: Any) -> Any:
        return choices[self._rng.integers(0, len(choices))]


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    share = st.floats(0, 1)
    price = st.one_of(st.just(0.0), st.floats(1e-3, 100))
    names = NAMES[: draw(st.integers(1, 3))]
    return {
        "models": {name: (draw(share), draw(share), draw(price)) for name in names},
        "budgets": draw(st.sampled_from([(16,), (16, 64), (8, 32, None)])),
        "pool": {
            "planner": draw(st.sampled_from([None, *names])),
            "judge": draw(st.sampled_from([None, *names])),
            "planner_lift": draw(share),
            "judge_reliability": draw(share),
            "verifier_reliability": draw(share),
        },
        "tradeoff": draw(share),
        "max_cost_usd": draw(st.one_of(st.none(), st.floats(1e-6, 0.2))),
    }


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('caps') / 'l.sqlite'}") as opened:
        yield opened


def run(house: type[House], case: dict[str, Any], chat: Wild, ledger: Ledger) -> tuple[dict[str, Any] | None, str]:
    """The output, or the refusal."""
    pool = house.pool(case["models"], case["budgets"], 2048, **case["pool"])
    context = house.context(pool, chat, tradeoff=case["tradeoff"], max_cost_usd=case["max_cost_usd"], ledger=ledger)
    given = {"messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    try:
        return asyncio.run(GRAPH.ainvoke(given, context=context)), ""
    except CapTooSmall as error:
        return None, str(error)


def check_ledger(record: RunRecord, output: dict[str, Any]) -> None:
    spent = math.fsum(one.attempt.cost_usd for one in record.attempts)
    assert record.totals.cost_usd == pytest.approx(spent)
    assert output["cost_usd"] == pytest.approx(spent)
    assert {one.attempt.attempt_id for one in record.attempts} == set(output["attempts"])
    assert record.status == output["status"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), case=cases())
def test_no_run_spends_more_than_its_cap_and_every_run_ends(
    house: type[House], ledger: Ledger, seed: int, case: dict[str, Any]
) -> None:
    chat = Wild(seed)
    output, refusal = run(house, case, chat, ledger)
    if output is None:
        assert chat.calls == 0, f"something was sent before it was refused: {refusal}"
        return
    cap = case["max_cost_usd"]
    if cap is not None:
        assert output["cost_usd"] <= cap * (1 + 1e-12)
    assert output["status"] in {"accepted", "best_so_far", "failed"}
    answered = [one for one in output["attempts"].values() if one.role in {"probe", "escalation"} and not one.error]
    assert (output["status"] == "failed") == (not answered)
    assert len(output["decisions"]) <= 9
    check_ledger(ledger.run(output["run_id"]), output)


def test_the_whole_ledger_adds_up(ledger: Ledger) -> None:
    assert ledger.verify().disagreements == []
