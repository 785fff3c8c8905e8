from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curveroute.agent.decide import choose
from curveroute.agent.errors import CapTooSmall, SettingError
from curveroute.agent.escalate import Situation, affordable_tokens, net_gain, next_step, price_of, why_not
from curveroute.agent.escalate import choose as choose_arm

UNIT = 0.05


def situation(quality: Any, cost: Any, **changes: Any) -> Situation:
    cost_usd = np.asarray(cost, dtype=float)
    plain = Situation(
        quality=np.asarray(quality, dtype=float),
        cost_usd=cost_usd,
        worst_usd=2 * cost_usd,
        open=np.ones(cost_usd.size, dtype=bool),
        best=None,
        tradeoff=0.3,
        reference_cost_usd=UNIT,
        left_usd=math.inf,
        reliability=0.8,
    )
    return replace(plain, **changes)


@st.composite
def situations(draw: Any) -> Situation:
    size = draw(st.integers(1, 8))
    grid = [draw(st.lists(st.integers(0, 20), min_size=size, max_size=size)) for _ in range(3)]
    cost = np.array(grid[1]) / 400
    return situation(
        np.array(grid[0]) / 20,
        cost,
        worst_usd=cost + np.array(grid[2]) / 400,
        open=np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size))),
        best=draw(st.one_of(st.none(), st.integers(0, 10).map(lambda k: k / 10))),
        tradeoff=draw(st.integers(0, 10)) / 10,
        left_usd=draw(st.one_of(st.just(math.inf), st.integers(0, 60).map(lambda k: k / 400))),
        reliability=draw(st.integers(0, 4)) / 4,
    )


@given(situations(), st.lists(st.integers(0, 7), max_size=4), st.one_of(st.none(), st.integers(0, 7)))
def test_a_step_never_asks_more_than_the_cap_holds(now: Situation, partners: list[int], first: int | None) -> None:
    size = now.quality.size
    partners = [partner for partner in partners if partner < size]
    first = first if first is not None and first < size else None
    try:
        step = next_step(now, first=first, partners=partners)
    except CapTooSmall:
        assert now.best is None
        assert not (now.open & (now.worst_usd <= now.left_usd)).any()
        return
    assert math.fsum(now.worst_usd[list(step.arms)]) <= now.left_usd
    assert now.open[list(step.arms)].all()
    assert len(set(step.arms)) == len(step.arms)
    assert (step.status is None) == bool(step.arms)
    reasons = why_not(now, step)
    assert [bool(reason) for reason in reasons] == [at not in step.arms for at in range(size)]


@given(situations())
def test_a_run_of_steps_keeps_its_cap_and_ends(now: Situation) -> None:
    assume(now.left_usd < math.inf)
    cap, spent = now.left_usd, 0.0
    now = replace(now, best=None)
    for _ in range(now.quality.size + 1):
        try:
            step = next_step(now)
        except CapTooSmall:
            break
        if step.status is not None:
            break
        spent += sum(now.worst_usd[list(step.arms)])
        still_open = now.open.copy()
        still_open[list(step.arms)] = False
        now = replace(now, open=still_open, best=0.1, left_usd=cap - spent)
    else:
        pytest.fail("asked more arms than there are")
    assert spent <= cap + 1e-12


@settings(max_examples=10_000, deadline=None)
@given(situations(), st.integers(0, 59), st.integers(0, 7), st.booleans())
def test_a_lower_cap_changes_a_step_only_where_it_does_not_hold_what_the_higher_one_sets_aside(
    now: Situation, lower: int, partner: int, hurried: bool
) -> None:
    """So up to the first step that it forbids a run is the same, and from there on the lower cap is less than that."""
    less = replace(now, left_usd=min(lower / 400, now.left_usd))
    if hurried:
        now, less = (replace(one, latency_s=np.ones(one.quality.size), seconds_usd=0.1) for one in (now, less))
    partners = [partner] if partner < now.quality.size else []
    try:
        above = next_step(now, partners=partners)
    except CapTooSmall:
        with pytest.raises(CapTooSmall):
            next_step(less, partners=partners)
        return
    if math.fsum(now.worst_usd[list(above.arms)]) <= less.left_usd:
        below = next_step(less, partners=partners)
        assert below.arms == above.arms
        assert below.status in {above.status, "best_so_far"}


@given(situations())
def test_the_first_step_is_the_single_shot_choice_among_what_fits(now: Situation) -> None:
    now = replace(now, best=None, reliability=1.0)
    fits = now.open & (now.worst_usd <= now.left_usd)
    assume(fits.any())
    expected = choose(now.quality, now.cost_usd, tradeoff=now.tradeoff, reference_cost_usd=UNIT, eligible=fits)
    assert next_step(now).arms == (expected,)


@given(situations(), st.integers(0, 10))
def test_a_better_answer_in_hand_never_makes_more_worth_asking(now: Situation, better: int) -> None:
    now = replace(now, best=now.best or 0.0)
    higher = replace(now, best=max(better / 10, now.best or 0.0))
    assert (net_gain(higher) <= net_gain(now) + 1e-12).all()


@given(situations(), st.floats(0, 1))
def test_a_committed_arm_is_the_last_one_whatever_its_verdict(now: Situation, verdict: float) -> None:
    now = replace(now, best=None, open=np.ones_like(now.open))
    assume((now.worst_usd <= now.left_usd).any())
    step = next_step(now)
    assume(step.committed)
    still_open = now.open.copy()
    still_open[step.arms[0]] = False
    for left in (now.left_usd, now.left_usd - now.worst_usd[step.arms[0]]):
        after = next_step(replace(now, open=still_open, best=verdict, left_usd=left))
        assert after.arms == ()


def test_a_perfect_verifier_pays_for_any_arm_a_useless_one_only_for_a_better_one() -> None:
    now = situation([0.6, 0.5], [0.0, 0.0], best=0.6, tradeoff=0.0)
    np.testing.assert_allclose(net_gain(replace(now, reliability=1.0)), [0.24, 0.2])
    np.testing.assert_allclose(net_gain(replace(now, reliability=0.0)), [0.0, 0.0])
    np.testing.assert_allclose(net_gain(replace(now, reliability=0.0, best=0.55)), [0.05, 0.0])


def test_a_good_answer_is_accepted_and_a_bad_one_escalated() -> None:
    still_open = np.array([False, True])
    good = next_step(situation([0.9, 0.9], [0.01, 0.05], open=still_open, best=0.95))
    assert (good.arms, good.status) == ((), "accepted")
    bad = next_step(situation([0.1, 0.9], [0.01, 0.05], open=still_open, best=0.1))
    assert (bad.arms, bad.status) == ((1,), None)


def test_the_rule_falls_back_to_what_fits_before_it_stops() -> None:
    now = situation([0.0, 0.9, 0.8], [0.0, 0.05, 0.02], open=np.array([False, True, True]), best=0.0)
    assert next_step(now).arms == (2,)
    assert next_step(replace(now, tradeoff=0.0)).arms == (1,)
    assert next_step(replace(now, tradeoff=0.0, left_usd=0.05)).arms == (2,)
    stopped = next_step(replace(now, tradeoff=0.0, left_usd=0.03))
    assert (stopped.arms, stopped.status) == ((), "best_so_far")


@given(situations())
def test_a_search_that_the_cap_ended_is_never_accepted_and_says_so(now: Situation) -> None:
    now = replace(now, best=now.best or 0.0)
    stopped = next_step(now)
    assume(stopped.status is not None)
    goes_on_without = bool(next_step(replace(now, left_usd=math.inf)).arms)
    assert goes_on_without == ("does not fit under the cap" in stopped.reason)
    assert not (goes_on_without and stopped.status == "accepted")


def test_when_every_arm_was_tried_the_best_answer_stands() -> None:
    stopped = next_step(situation([0.5], [0.01], open=np.array([False]), best=0.2))
    assert (stopped.arms, stopped.status) == ((), "best_so_far")


def test_the_first_step_asks_even_when_nothing_is_worth_its_price() -> None:
    step = next_step(situation([0.1, 0.2], [0.05, 0.05], tradeoff=0.9))
    assert step.arms == (1,)
    assert (step.net < 0).all()
    assert step.committed


def test_an_arm_is_not_committed_while_another_could_follow() -> None:
    assert not next_step(situation([0.9, 0.5], [0.01, 0.01])).committed
    assert next_step(situation([0.9, 0.5], [0.01, 0.01], worst_usd=np.array([0.01, 0.09]), left_usd=0.02)).committed


def test_a_cap_too_small_names_the_cheapest_worst_case() -> None:
    with pytest.raises(CapTooSmall, match=r"0\.01 USD.*0\.04 USD"):
        next_step(situation([0.5, 0.5], [0.05, 0.02], left_usd=0.01))
    with pytest.raises(CapTooSmall, match="no arm is open"):
        next_step(situation([0.5], [0.05], open=np.array([False])))


def test_a_partner_is_asked_beside_the_first_where_waiting_is_dear() -> None:
    now = situation([0.6, 0.5, 0.4], [0.01, 0.01, 0.01], tradeoff=0.1, latency_s=np.full(3, 2.0), seconds_usd=0.01)
    assert next_step(now, partners=[0, 1, 2]).arms == (0, 1)
    assert next_step(replace(now, best=0.1), partners=[1]).arms == (0, 1)
    assert not next_step(now, partners=[1]).committed
    assert next_step(replace(now, left_usd=0.03), partners=[1]).arms == (0,)
    assert next_step(replace(now, open=np.array([True, False, True])), partners=[1, 2]).arms == (0, 2)


@pytest.mark.parametrize("changes", [{"seconds_usd": 0.0}, {"latency_s": None}, {"seconds_usd": 0.007}])
def test_no_partner_is_asked_where_waiting_is_cheap(changes: dict[str, Any]) -> None:
    """Waiting for the second would cost 0.4 · 0.007 · 2 USD; asking it in vain 0.6 · 0.01."""
    now = situation([0.6, 0.5], [0.01, 0.01], tradeoff=0.1, latency_s=np.full(2, 2.0), seconds_usd=0.01)
    assert next_step(now, partners=[1]).arms == (0, 1)
    assert next_step(replace(now, **changes), partners=[1]).arms == (0,)


@given(st.floats(0, 1), st.floats(1e-4, 0.1), st.floats(0, 0.1), st.floats(0, 5), st.floats(0, 5))
def test_a_partner_pays_when_the_wait_it_saves_is_worth_more_than_its_price(
    right: float, price: float, worth: float, own: float, other: float
) -> None:
    now = situation([right, right], [1e-9, price], tradeoff=0.0, latency_s=np.array([own, other]), seconds_usd=worth)
    pays = (1 - right) * worth * min(own, other) > right * price
    (first, *rest) = next_step(now, first=0, partners=[1]).arms
    assert (first, bool(rest)) == (0, pays)


def test_waiting_is_part_of_the_price() -> None:
    now = situation([0.6, 0.6], [0.01, 0.005], latency_s=np.array([1.0, 9.0]))
    assert next_step(now).arms == (1,)
    assert next_step(replace(now, seconds_usd=0.001)).arms == (0,)
    np.testing.assert_allclose(price_of(replace(now, seconds_usd=0.001)), np.array([0.011, 0.014]) / UNIT)


@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
def test_the_arm_of_highest_net_is_chosen_and_of_equals_the_cheaper_then_the_first(
    seed: int, width: int, must: bool
) -> None:
    random = np.random.default_rng(seed)
    net = random.integers(-2, 3, (20, width)) / 2.0
    net[random.random(net.shape) < 0.2] = np.nan
    price = random.integers(0, 3, net.shape) / 2.0
    for chosen, gains, prices in zip(choose_arm(net, price, must=must).tolist(), net, price, strict=True):
        able = [at for at in range(width) if not math.isnan(gains[at]) and (must or gains[at] > 0)]
        expected = min(able, key=lambda at: (-gains[at], prices[at], at), default=-1)
        assert chosen == expected


def test_of_no_arms_none_is_chosen() -> None:
    assert choose_arm(np.zeros((2, 0)), np.zeros((2, 0)), must=True).tolist() == [-1, -1]


class TestLearnedGains:
    """With a course: gains are given, and only slots of the panel have one."""

    NOW = situation([0.5, 0.5, 0.9], [0.01, 0.02, 0.05], best=0.4, gain=np.array([0.1, 0.5, np.nan]), weight=0.5)

    def test_they_stand_in_the_place_of_the_closed_form(self) -> None:
        expected = (np.array([0.1, 0.5]) - 0.5 * np.array([0.2, 0.4])) * 0.7
        np.testing.assert_allclose(net_gain(self.NOW)[:2], expected, atol=1e-15)
        assert next_step(self.NOW).arms == (1,)

    def test_an_arm_that_is_not_on_the_panel_is_never_asked(self) -> None:
        step = next_step(replace(self.NOW, gain=np.array([-1.0, -1.0, np.nan])))
        assert (step.arms, step.status) == ((), "accepted")
        assert why_not(self.NOW, step)[2] == "not on the panel learned for this tradeoff"

    def test_an_arm_without_an_estimate_is_told_from_one_off_the_panel(self) -> None:
        now = replace(self.NOW, quality=np.array([0.5, math.nan, 0.9]), gain=np.array([0.1, math.nan, math.nan]))
        assert why_not(now, next_step(now))[1:] == ["no estimate of it", "not on the panel learned for this tradeoff"]

    def test_when_the_panel_is_done_the_answer_is_accepted(self) -> None:
        step = next_step(replace(self.NOW, gain=np.full(3, np.nan)))
        assert (step.arms, step.status) == ((), "accepted")


def test_the_plans_first_arm_goes_first_if_it_fits() -> None:
    now = situation([0.9, 0.5], [0.01, 0.02])
    assert next_step(now, first=1).arms == (1,)
    assert next_step(replace(now, left_usd=0.03), first=1).arms == (0,)


def test_an_arm_without_an_estimate_is_never_asked() -> None:
    now = situation([math.nan, 0.1], [0.01, 0.05], tradeoff=0.9)
    step = next_step(now)
    assert step.arms == (1,)
    assert why_not(now, step)[0] == "no estimate of it"
    timeless = situation([0.5, 0.5], [0.01, 0.01], latency_s=np.array([math.nan, 1.0]), seconds_usd=0.01)
    assert why_not(timeless, next_step(timeless))[0] == "no estimate of it"


def test_each_arm_that_lost_is_told_why() -> None:
    now = situation(
        [0.9, 0.8, 0.5, 0.7, 0.99, 0.01, 0.9, 0.9],
        [0.01, 0.001, 0.002, 0.01, 0.05, 0.04, 0.01, 0.01],
        open=np.array([False, True, True, True, True, True, False, False]),
        asked=np.arange(8) == 0,
        failed=np.arange(8) == 6,
        best=0.2,
        left_usd=0.09,
    )
    step = next_step(now)
    assert why_not(now, step) == [
        "asked already",
        "",
        "another arm is no dearer and better",
        "another arm is no dearer and better",
        "its worst case does not fit under the cap",
        "dearer than its expected gain",
        "a call of its model failed",
        "left out by the plan",
    ]


def test_where_cost_weighs_nothing_no_word_is_said_of_price() -> None:
    now = situation([0.9, 0.8, 0.5], [0.01, 0.02, 0.001], tradeoff=0.0, best=0.6, reliability=0.0)
    assert why_not(now, next_step(now)) == ["", "worth less than the chosen arm", "nothing is gained by it"]
    sure = situation([0.9, 0.8], [0.01, 0.02], tradeoff=0.0, best=0.95, reliability=0.0)
    step = next_step(sure)
    assert (step.arms, step.reason) == ((), "no other arm is expected to gain anything")
    assert why_not(sure, step) == ["nothing is gained by it"] * 2
    priced = situation([0.9, 0.8], [0.01, 0.02], tradeoff=0.9, best=0.5, reliability=0.0)
    assert next_step(priced).reason == "no other arm's expected gain is worth its price"


@pytest.mark.parametrize("changes", [{"tradeoff": 1.5}, {"tradeoff": math.nan}, {"reference_cost_usd": 0.0}])
def test_settings_out_of_range_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        next_step(situation([0.5], [0.01], **changes))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1e-3, 100))
def test_affordable_tokens_fit_and_one_more_does_not(left: float, prompt: float, price: float) -> None:
    tokens = affordable_tokens(left, input_usd=prompt, output_price=price)
    assert tokens is not None
    if tokens:
        assert prompt + tokens * price * 1e-6 <= left
    assert prompt + (tokens + 2) * price * 1e-6 > left or left < prompt


def test_without_a_cap_any_number_of_tokens_fits() -> None:
    assert affordable_tokens(math.inf, input_usd=0.1, output_price=3.0) is None
    assert affordable_tokens(1.0, input_usd=1.0, output_price=3.0) == 0
    assert affordable_tokens(0.5, input_usd=1.0, output_price=0.0) == 0
    assert affordable_tokens(3.0, input_usd=0.0, output_price=3.0) == 1_000_000
