"""A recorded run decided again: on its own terms the same, on others what was recorded, and estimates are marked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.errors import CapTooSmall, SettingError
from curveroute.agent.ledger import Ledger, RunSettings
from curveroute.agent.propose import Outlooker
from curveroute.agent.rethink import Rethought, Terms, check_policy, own_terms, rethink, why_not_rethought

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import House

    from curveroute.agent.embed.seam import Vectors
    from curveroute.agent.ledger import RunRecord
    from curveroute.agent.pool import Pool

MODELS = {"a": (0.4, 0.5, 0.1), "b": (0.4, 0.5, 0.11), "best": (0.6, 0.8, 0.5)}
SAID = {"a": "Answer: Porto", "b": "Answer: Lisbon", "best": "Answer: Lisbon"}


@pytest.fixture
def pool(house: type[House]) -> Pool:
    return house.pool(MODELS)


async def recorded(house: type[House], pool: Pool, ledger: Ledger, **settings: Any) -> RunRecord:
    chat = settings.pop("chat", None)
    rows = [row | {"response": SAID[row["model"]]} for row in house.rows(pool)]
    route = await house.router(pool, chat or house.recorded(*rows), ledger=ledger, **settings).ainvoke(house.query)
    return ledger.run(route.run_id)


async def again(record: RunRecord, pool: Pool, **terms: Any) -> Rethought:
    own = Terms(record.tradeoff, record.max_cost_usd, record.seconds_usd)
    return await rethink(record, Outlooker(pool, None), replace(own, **terms))


@pytest.mark.parametrize("tradeoff", [0.0, 0.2, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("cap", [None, 5e-4])
async def test_on_its_own_terms_a_run_goes_as_it_went(
    house: type[House], pool: Pool, ledger: Ledger, tradeoff: float, cap: float | None
) -> None:
    record = await recorded(house, pool, ledger, tradeoff=tradeoff, max_cost_usd=cap)
    found = await again(record, pool)
    assert found.reproduced
    assert found.changes == ()
    assert found.now.missing == ()
    assert found.now.known_usd == pytest.approx(record.totals.cost_usd)
    assert found.now.score == pytest.approx(found.was.score)
    assert [one.arms for one in found.now.decisions] == [one.decision.arms for one in record.decisions]


async def test_calls_that_fail_fail_again_and_are_charged(house: type[House], pool: Pool, ledger: Ledger) -> None:
    dead = house.chat(lambda call: house.dead(lost_tries=1) if call.arm.model == "a" else "Answer: Lisbon")
    record = await recorded(house, pool, ledger, tradeoff=1.0, chat=dead)
    assert any(one.attempt.error for one in record.attempts)
    found = await again(record, pool)
    assert found.reproduced
    assert found.now.known_usd == pytest.approx(record.totals.cost_usd)


async def test_a_dearer_look_stops_earlier_and_saves_what_the_rest_had_cost(house: type[House], ledger: Ledger) -> None:
    pool = house.pool(MODELS, budgets=(16,))
    record = await recorded(house, pool, ledger, tradeoff=0.0)
    assert len(record.attempts) == len(pool.arms)
    found = await again(record, pool, tradeoff=0.8)
    assert not found.now.missing
    assert len(found.now.asked) < len(found.was.asked)
    assert found.now.cost_usd == found.now.known_usd < found.was.known_usd
    saved = found.was.known_usd - found.now.known_usd
    assert any(change.startswith("stops after ") and f"saves {saved:.2e} USD" in change for change in found.changes)


async def test_an_arm_that_was_never_asked_is_an_estimate_and_says_so(
    house: type[House], pool: Pool, ledger: Ledger
) -> None:
    record = await recorded(house, pool, ledger, tradeoff=1.0)
    assert len(record.attempts) == 1
    found = await again(record, pool, tradeoff=0.0)
    estimate = next(one for one in record.candidates if one.arm == found.now.missing[0])
    assert str(estimate.arm) == "best@256"
    assert found.now.expected_usd == pytest.approx(
        sum(one.cost_usd for one in record.candidates if one.arm in found.now.missing)
    )
    assert found.now.score == pytest.approx(estimate.quality)
    assert (found.now.known_usd, found.now.answer) == (0.0, None)
    (change,) = found.changes
    assert change.startswith("asks best@256")
    assert change.endswith(" first (not recorded)")


async def test_a_single_shot_takes_its_first_answer_alone(house: type[House], pool: Pool, ledger: Ledger) -> None:
    record = await recorded(house, pool, ledger, tradeoff=0.0)
    found = await again(record, pool, policy="single")
    assert found.now.asked == found.was.asked[:1]
    assert found.now.known_usd == pytest.approx(record.attempts[0].attempt.cost_usd)
    assert found.now.answer is not None
    assert found.now.answer.verdict is not None


async def test_a_cap_that_holds_nothing_is_no_error_but_a_finding(
    house: type[House], pool: Pool, ledger: Ledger
) -> None:
    record = await recorded(house, pool, ledger, tradeoff=0.3)
    found = await again(record, pool, max_cost_usd=1e-9)
    (change,) = found.changes
    assert change.startswith("would not begin: the cap leaves")


async def test_a_run_that_never_began_is_the_same_when_it_would_not_begin_today(
    house: type[House], pool: Pool, ledger: Ledger
) -> None:
    with pytest.raises(CapTooSmall):
        await recorded(house, pool, ledger, max_cost_usd=1e-9)
    (listed,) = ledger.runs()
    found = await again(ledger.run(listed.run_id), pool)
    assert (found.reproduced, found.changes) == (True, ())


async def test_planner_and_judge_are_heard_as_they_spoke(house: type[House], ledger: Ledger) -> None:
    def answer(call: Any) -> Any:
        if call.schema is None:
            return SAID.get(call.arm.model, "Answer: Lisbon")
        if "order" in call.schema["properties"]:
            return house.json({"order": ["C", "A"], "probe": False, "criteria": "a city"})
        return house.json({"quote": "Lisbon", "reason": "checked", "verdict": "right"})

    pool = house.pool(MODELS, planner="best", judge="best", planner_lift=1.0, judge_reliability=0.8)
    record = await recorded(house, pool, ledger, tradeoff=0.01, chat=house.chat(answer))
    assert {"planner", "judge"} <= {one.attempt.role for one in record.attempts}
    found = await again(record, pool)
    assert found.reproduced
    assert found.now.known_usd == pytest.approx(record.totals.cost_usd)


async def test_pools_that_changed_are_told(house: type[House], pool: Pool, ledger: Ledger) -> None:
    record = await recorded(house, pool, ledger, tradeoff=0.5)
    assert why_not_rethought(record, pool) == ""
    assert "no longer has best@16" in why_not_rethought(record, house.pool({"a": MODELS["a"], "b": MODELS["b"]}))
    assert "no candidates on record" in why_not_rethought(replace(record, candidates=()), pool)
    assert "collection" in why_not_rethought(replace(record, kind="collect"), pool)


async def test_a_run_that_would_go_otherwise_on_its_own_terms_too_says_so(
    house: type[House], pool: Pool, ledger: Ledger
) -> None:
    record = await recorded(house, pool, ledger, tradeoff=0.9)
    dearer = house.pool({name: (low, high, 100 * price) for name, (low, high, price) in MODELS.items()})
    found = await again(record, dearer)
    assert not found.reproduced, "the unit of cost is another one"
    assert found.otherwise == "the pool's prices have changed since"


async def test_a_runs_own_terms_are_those_that_it_was_decided_on(
    house: type[House], pool: Pool, ledger: Ledger
) -> None:
    record = await recorded(house, pool, ledger, tradeoff=0.2, max_cost_usd=0.1, policy="closed-form", seconds_usd=1e-6)
    assert own_terms(record) == Terms(0.2, 0.1, 1e-6, None, "closed-form")
    assert own_terms(replace(record, settings=None)) == Terms(0.2, 0.1, 1e-6)
    kept = replace(record, settings=RunSettings(max_error=0.1))
    assert own_terms(kept).max_error == 0.1


async def test_a_run_that_would_end_otherwise_says_how(house: type[House], pool: Pool, ledger: Ledger) -> None:
    record = await recorded(house, pool, ledger, tradeoff=1.0)
    found = await again(replace(record, status="best_so_far"), pool)
    assert found.changes == (f"ends accepted instead of best_so_far: {record.reason}",)
    assert not found.reproduced
    assert found.otherwise == ("why is not known: the ledger keeps neither the pool's file nor the version of the rule")
    older = await again(replace(record, status="best_so_far", settings=None), pool)
    assert older.otherwise.startswith("why is not known: rule, promise and predictor are not on record")


async def test_nothing_is_written(house: type[House], pool: Pool, ledger: Ledger) -> None:
    record = await recorded(house, pool, ledger, tradeoff=0.0)
    await again(record, pool, tradeoff=0.7)
    assert ledger.run(record.run_id) == record
    assert len(ledger.runs()) == 1


def test_a_policy_that_was_not_learned_is_refused(pool: Pool) -> None:
    outlooker = Outlooker(pool, None)
    check_policy("single", outlooker)
    with pytest.raises(SettingError, match="no learned policy"):
        check_policy("learned", outlooker)


async def test_free_text_is_compared_by_its_meaning_as_in_the_run(
    house: type[House], pool: Pool, ledger: Ledger
) -> None:
    class Alike:
        """Finds that all texts mean the same."""

        name, dim = "alike", 4

        async def embed(self, texts: Sequence[str]) -> Vectors:
            return np.eye(4, dtype=np.float32)[np.zeros(len(texts), dtype=np.intp)]

    words = {
        "a": "the long waves of sunlight go under in the water",
        "b": "water takes the long waves of sunlight away",
    }
    chat = house.chat(lambda call: f"Answer: {words.get(call.arm.model, words['a'])}")
    record = await recorded(house, pool, ledger, chat=chat, embedder=Alike(), tradeoff=0.0)
    terms, outlooker = own_terms(record), Outlooker(pool, None)
    heard, spelled = await rethink(record, outlooker, terms, Alike()), await rethink(record, outlooker, terms)
    assert heard.reproduced
    assert heard.now.score == heard.was.score
    assert spelled.now.score != spelled.was.score, "spelling alone tells these texts apart"
