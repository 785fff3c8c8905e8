"""The judge in a whole run: asked once an attempt where it may change something, heard, paid, and held to the cap."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.chat.seam import Reply
from curveroute.agent.ledger import Ledger
from curveroute.agent.types import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House

    from curveroute.agent.types import Attempt
    from curveroute.route import Route

SETTINGS = {"judge": "big", "judge_reliability": 0.9}


def word(verdict: str, reason: str = "I checked it.", quote: str = "Answer:") -> str:
    return json.dumps({"quote": quote, "reason": reason, "verdict": verdict})


def run(house: type[House], reply: Any, pool_settings: dict[str, Any] = SETTINGS, **settings: Any) -> Route:
    """One answer that may be followed by another arm's, and is not when nothing is said against it."""
    chat = house.chat(lambda call: reply if call.schema is not None else "Answer: Lisbon")
    models = {"small": (0.6, 0.6, 0.1), "big": (0.5, 0.8, 1.0)}
    pool = house.pool(models, budgets=(16, 64), verifier_reliability=0.0, **pool_settings)
    return house.router(pool, chat, **{"tradeoff": 0.02, "allow": ("small",), "plan": False} | settings).invoke(
        house.query
    )


def judged(route: Route) -> list[Attempt]:
    return [attempt for attempt in route.attempts if attempt.role == "judge"]


def score(route: Route) -> float:
    verdict = route.attempts[0].verdict
    assert verdict is not None
    return verdict.score


def test_right_raises_a_verdict_wrong_lowers_it_and_unsure_leaves_it(house: type[House]) -> None:
    silent = run(house, word("right"), judge=False)
    assert not judged(silent)
    assert score(run(house, word("right"))) > score(silent) + 0.2
    assert score(run(house, word("wrong"))) < score(silent) - 0.2
    assert score(run(house, word("unsure"))) == score(silent)


def test_what_the_judge_says_is_in_the_verdict(house: type[House]) -> None:
    wrong = run(house, word("wrong", "Lisbon is not the capital."))
    verdict = wrong.attempts[0].verdict
    assert verdict is not None
    assert (verdict.reason, verdict.detail) == ("wrong", "judge: wrong: Lisbon is not the capital. (“Answer:”)")
    right = run(house, word("right", "It is.")).attempts[0].verdict
    assert right is not None
    assert (right.reason, right.detail) == ("ok", "judge: right: It is. (“Answer:”)")


@pytest.mark.parametrize("reply", ["Looks right to me.", "", "7" * 5000, word("maybe"), '{"verdict": "right"}'])
def test_prose_is_no_word_but_is_paid(house: type[House], reply: str) -> None:
    route = run(house, reply)
    assert score(route) == score(run(house, reply, judge=False))
    assert judged(route)[0].cost_usd > 0
    verdict = route.attempts[0].verdict
    assert verdict is not None
    assert "not the JSON" in verdict.detail


@pytest.mark.parametrize("reply", [word("cannot judge"), word("right", quote="")])
def test_a_judge_that_cannot_judge_or_has_no_evidence_changes_nothing(house: type[House], reply: str) -> None:
    route = run(house, reply)
    assert score(route) == score(run(house, reply, judge=False))
    assert judged(route)[0].cost_usd > 0


def test_a_judge_that_fails_changes_nothing(house: type[House]) -> None:
    route = run(house, house.dead("gone"))
    assert route.answer == "Answer: Lisbon"
    assert judged(route)[0].error == "gone"
    assert score(route) == score(run(house, "", judge=False))


def test_the_judge_is_charged_under_its_role(house: type[House], tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        route = run(house, Reply(word("right"), Usage(100, 20), "stop", 0.1), ledger=ledger, max_cost_usd=1.0)
        (call,) = judged(route)
        assert call.arm.model == "big"
        assert call.cost_usd == pytest.approx((100 * 1.0 + 20 * 4.0) * 1e-6)
        assert route.cost_usd == pytest.approx(sum(attempt.cost_usd for attempt in route.attempts))
        assert [one.attempt.role for one in ledger.run(route.run_id).attempts] == ["probe", "judge"]
        assert ledger.verify().ok


@pytest.mark.parametrize("reply", [word("right"), word("wrong"), word("unsure"), "prose"])
def test_every_attempt_is_judged_at_most_once(house: type[House], reply: str) -> None:
    chat = house.chat(lambda call: reply if call.schema is not None else "Answer: Lisbon")
    route = house.router(house.pool(**SETTINGS), chat, tradeoff=0.05, plan=False).invoke(house.query)
    counted = Counter(attempt.attempt_id for attempt in judged(route))
    assert counted
    assert max(counted.values()) == 1
    assert len(judged(route)) == sum(call.schema is not None for call in chat.calls)


def test_a_judges_word_stays_while_the_run_goes_on(house: type[House]) -> None:
    def reply(call: Any) -> str:
        if call.schema is None:
            return f"Answer: {call.arm.model}"
        beside = "neither" in call.schema["properties"]["verdict"]["enum"]
        return word("neither" if beside else "wrong")

    route = house.router(house.pool(**SETTINGS), house.chat(reply), tradeoff=0.05, plan=False).invoke(house.query)
    names = [call.attempt_id.removesuffix(".swapped").partition(".judge") for call in judged(route)]
    spoken_of = {name for one, _, other in names for name in (one, other.removeprefix(".vs.")) if name}
    assert len(spoken_of) > 1
    for attempt in route.attempts:
        if attempt.attempt_id in spoken_of:
            assert attempt.verdict is not None
            assert dict(attempt.verdict.signals)["judged"] < 0


def test_an_answer_that_stands_whatever_is_said_of_it_is_not_judged(house: type[House]) -> None:
    """No other arm could follow: it was shown as it was written."""
    pool = house.pool({"small": (0.6, 0.6, 0.1)}, budgets=(16,), judge="small", judge_reliability=0.9)
    chat = house.chat(lambda call: word("wrong") if call.schema is not None else "Answer: Lisbon")
    route = house.router(pool, chat, tradeoff=0.02, plan=False).invoke(house.query)
    assert route.decisions[0].committed
    assert not judged(route)


def test_a_cap_that_does_not_hold_the_judge_does_without_it(house: type[House]) -> None:
    cap = 4e-4
    assert judged(run(house, word("right"), max_cost_usd=1.0))
    route = run(house, word("right"), max_cost_usd=cap)
    assert not judged(route)
    assert route.answer


def test_long_criteria_of_the_planner_cannot_break_the_cap(house: type[House]) -> None:
    plan = json.dumps({"order": ["A"], "probe": False, "criteria": "é" * 600})

    def reply(call: Any) -> str:
        if call.schema is None:
            return "Answer: Lisbon"
        return plan if "order" in call.schema["properties"] else word("right")

    pool = house.pool(budgets=(16,), planner="small", planner_lift=1.0, **SETTINGS)
    for cap in [4e-4 + step * 2e-5 for step in range(60)]:
        route = house.router(pool, house.chat(reply), tradeoff=0.0, max_cost_usd=cap).invoke(house.query)
        assert route.cost_usd <= cap
        assert route.answer


def test_cost_alone_never_pays_for_a_judge(house: type[House]) -> None:
    assert not judged(run(house, word("right"), tradeoff=1.0))


def test_a_pool_without_a_judge_or_with_one_of_no_worth_asks_none(house: type[House]) -> None:
    assert not judged(run(house, word("right"), {}))
    assert not judged(run(house, word("right"), {"judge": "big", "judge_reliability": 0.0}))


def test_a_failed_or_cut_answer_is_not_shown_to_the_judge(house: type[House]) -> None:
    pool = house.pool(budgets=(16,), **SETTINGS)
    chat = house.chat(lambda call: word("right") if call.schema is not None else house.cut())
    route = house.router(pool, chat, tradeoff=0.05, plan=False).invoke(house.query)
    assert not judged(route)
