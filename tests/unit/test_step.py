"""One step of a run: from attempts to the rule and back to asks, whose reserves the cap always holds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curveroute.agent.errors import CapTooSmall
from curveroute.agent.looking.course import BASE, Course
from curveroute.agent.looking.looking import Looking
from curveroute.agent.looking.recorded import Slot
from curveroute.agent.plan import ranking_plan
from curveroute.agent.propose import Outlooker
from curveroute.agent.step import AGAIN, MAX_STEPS, Inquiry, is_answer, left_usd, next_turn, spent_usd
from curveroute.agent.types import Arm, Attempt, AttemptId, Message, ModelId, Plan, Query, RunId, Usage, Verdict
from curveroute.agent.verify.conformal import Measured, Promise
from curveroute.agent.verify.jury import Jury
from curveroute.agent.verify.scale import Calibrator, Line
from curveroute.graphs import Context

if TYPE_CHECKING:
    from conftest import House

    from curveroute.agent.pool import Pool
    from curveroute.agent.step import Turn

PROPERTY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
QUERY = Query((Message(role="user", content="What is the capital of Portugal?"),))
TWINS = {"a": (0.3, 0.5, 0.1), "b": (0.3, 0.5, 0.1)}
WORLD = {"a": (0.3, 0.5, 0.1), "b": (0.4, 0.6, 0.2), "c": (0.5, 0.9, 1.0)}


class Table:
    """A pool, its estimates, and turns over attempts that are named by arm."""

    def __init__(self, pool: Pool, **knobs: Any) -> None:
        self.knobs = Context(**{"tradeoff": 0.3} | knobs)
        self.outlooker = Outlooker(pool, None)
        self.candidates = self.outlooker.estimates(None, QUERY, pool.arms, self.knobs.tradeoff)
        self.plan = ranking_plan(self.candidates, "test")
        worst = self.outlooker.worst_usd(QUERY, self.outlooker.places(pool.arms)).tolist()
        self.worst = dict(zip(pool.arms, worst, strict=True))

    def turn(self, *attempts: Attempt, step: int = 1, plan: Plan | None = None, committed: bool = False) -> Turn:
        inquiry = Inquiry(RunId("r"), QUERY, self.candidates, plan or self.plan, self.knobs)
        return next_turn(self.outlooker, inquiry, attempts, step, committed=committed)


def arm(text: str) -> Arm:
    model, _, budget = text.partition("@")
    return Arm(ModelId(model), int(budget))


def tried(text: str, score: float | None = 0.5, reason: Any = "ok", cost: float = 1e-5, **changes: Any) -> Attempt:
    verdict = None if score is None else Verdict(score, reason)
    attempt = Attempt(
        AttemptId(f"r.1.{text}"), "probe", arm(text), "Answer: x", "x", Usage(), cost, "stop", 0.1, verdict=verdict
    )
    return replace(attempt, **changes)


def dead(text: str, **changes: Any) -> Attempt:
    return tried(text, 0.0, "error", 0.0, error="down", **changes)


def names(turn: Turn) -> list[str]:
    return [str(one) for one in turn.decision.arms]


def test_money_is_summed_exactly_and_never_owed() -> None:
    attempts = [tried("a@16", cost=0.1) for _ in range(10)]
    assert spent_usd(attempts) == 1.0
    assert left_usd(None, attempts) == math.inf
    assert left_usd(1.5, attempts) == pytest.approx(0.5, abs=1e-15)
    assert left_usd(0.5, attempts) == 0.0


@given(st.floats(1e-9, 10), st.lists(st.floats(0, 1), max_size=12))
def test_what_is_left_and_what_was_spent_never_add_up_to_more_than_the_cap(cap: float, costs: list[float]) -> None:
    left = left_usd(cap, [tried("a@16", cost=cost) for cost in costs])
    assert left >= 0.0
    assert math.fsum((*costs, left)) <= max(cap, math.fsum(costs))
    assert left == pytest.approx(max(cap - math.fsum(costs), 0.0), abs=1e-12)


@pytest.mark.parametrize(
    ("role", "name", "answers"),
    [
        ("probe", "r.1.1", True),
        ("escalation", "r.2.1", True),
        ("planner", "r.plan", False),
        ("judge", "r.1.1.judge", False),
        ("probe", "r.1.1.lost", False),
    ],
)
def test_only_probes_and_escalations_that_came_back_are_answers(role: Any, name: str, answers: bool) -> None:
    assert is_answer(tried("a@16", role=role, attempt_id=AttemptId(name))) is answers


class TestReserves:
    @PROPERTY
    @given(
        tradeoff=st.floats(0, 1),
        cap=st.none() | st.floats(1e-6, 5e-3),
        asked=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([16, 64, 256]), st.floats(0, 1)), max_size=5),
        broken=st.booleans(),
    )
    def test_what_a_step_may_spend_is_left(
        self, house: type[House], tradeoff: float, cap: float | None, asked: list[Any], broken: bool
    ) -> None:
        table = Table(house.pool(WORLD), tradeoff=tradeoff, max_cost_usd=cap)
        make = dead if broken else tried
        attempts = {(model, budget): make(f"{model}@{budget}") for model, budget, _ in asked}.values()
        left = left_usd(cap, list(attempts))
        try:
            turn = table.turn(*attempts, step=2 if asked else 1)
        except CapTooSmall:
            assert not asked
            assert all(worst > left for worst in table.worst.values())
            return
        assert math.fsum(ask.reserve_usd for ask in turn.asks) <= left or math.isinf(left)
        for ask in turn.asks:
            assert ask.reserve_usd >= table.worst[ask.arm]
            assert ask.arm not in {attempt.arm for attempt in attempts}
        assert [ask.arm for ask in turn.asks] == list(turn.decision.arms)

    def test_what_is_left_over_is_for_repeated_requests_of_who_is_asked_alone(self, house: type[House]) -> None:
        (ask,) = Table(house.pool(WORLD), tradeoff=0.05, max_cost_usd=0.01).turn().asks
        assert ask.reserve_usd == pytest.approx(0.01)
        assert ask.reserve_usd <= 0.01

    def test_who_is_asked_beside_another_has_its_worst_case_and_no_more(self, house: type[House]) -> None:
        table = Table(house.pool(TWINS), tradeoff=0.05, max_cost_usd=0.01, seconds_usd=1e-4)
        asks = table.turn().asks
        assert len(asks) == 2
        assert [ask.reserve_usd for ask in asks] == [table.worst[ask.arm] for ask in asks]

    def test_without_a_cap_nothing_is_reserved(self, house: type[House]) -> None:
        assert {ask.reserve_usd for ask in Table(house.pool(WORLD)).turn().asks} == {math.inf}


class TestFirstStep:
    def test_asks_are_probes_with_names_of_their_own(self, house: type[House]) -> None:
        turn = Table(house.pool(TWINS), tradeoff=0.05, seconds_usd=1e-4).turn()
        assert [(ask.attempt_id, ask.role) for ask in turn.asks] == [("r.1.1", "probe"), ("r.1.2", "probe")]
        assert len({ask.arm for ask in turn.asks}) == 2

    @pytest.mark.parametrize(("tradeoff", "count"), [(0.05, 2), (1.0, 1)])
    def test_a_partner_is_asked_where_a_second_is_dear_and_it_gains(
        self, house: type[House], tradeoff: float, count: int
    ) -> None:
        assert len(Table(house.pool(TWINS), tradeoff=tradeoff, seconds_usd=1e-4).turn().asks) == count

    def test_where_waiting_costs_nothing_one_arm_is_asked_at_a_time(self, house: type[House]) -> None:
        table = Table(house.pool(WORLD), tradeoff=0.05)
        assert len(table.turn().asks) == 1
        assert len(table.turn(tried("a@16", 0.1), step=2).asks) == 1

    def test_later_steps_may_ask_a_partner_too(self, house: type[House]) -> None:
        table = Table(house.pool(TWINS), tradeoff=0.05, seconds_usd=1e-4)
        turn = table.turn(tried("a@16", 0.1), step=2)
        assert [(ask.attempt_id, ask.role) for ask in turn.asks] == [("r.2.1", "escalation"), ("r.2.2", "escalation")]

    def test_no_partner_is_asked_when_the_plan_says_so(self, house: type[House]) -> None:
        table = Table(house.pool(TWINS), tradeoff=0.05, seconds_usd=1e-4)
        assert len(table.turn(plan=replace(table.plan, probe=False)).asks) == 1

    def test_the_planners_first_arm_comes_first(self, house: type[House]) -> None:
        table = Table(house.pool(WORLD))
        plan = Plan((arm("b@16"), arm("a@16")), False, "", "planner", "")
        assert names(table.turn(plan=plan)) == ["b@16"]
        assert "b@16" not in names(table.turn(plan=replace(plan, source="ranking", arms=table.plan.arms)))

    def test_a_plan_that_the_cap_does_not_hold_gives_way(self, house: type[House]) -> None:
        table = Table(house.pool(WORLD), max_cost_usd=1e-4)
        plan = Plan((arm("c@256"),), False, "", "planner", "")
        assert table.worst[arm("c@256")] > 1e-4
        (first,) = names(table.turn(plan=plan))
        assert table.worst[arm(first)] <= 1e-4

    @pytest.mark.parametrize("cap", [6e-5, 8e-5, 1e-4, 2e-4, 5e-4, 1e-3])
    def test_partners_fit_under_the_cap_together(self, house: type[House], cap: float) -> None:
        table = Table(house.pool(WORLD), tradeoff=0.01, max_cost_usd=cap, seconds_usd=1e-4)
        asked = table.turn().asks
        assert len({ask.arm for ask in asked}) == len(asked)
        assert math.fsum(table.worst[ask.arm] for ask in asked) <= cap

    def test_nothing_that_fits_is_an_error(self, house: type[House]) -> None:
        with pytest.raises(CapTooSmall, match="raise the cap"):
            Table(house.pool(WORLD), max_cost_usd=1e-7).turn()

    def test_every_other_arm_is_told_why_it_lost(self, house: type[House]) -> None:
        pool = house.pool(WORLD)
        turn = Table(pool).turn()
        assert {one.arm for one in turn.decision.rejected} | set(turn.decision.arms) == set(pool.arms)
        assert all(one.reason for one in turn.decision.rejected)

    def test_of_very_many_losers_all_are_told(self, house: type[House]) -> None:
        many = {f"m{number}": (0.3, 0.5, 0.1) for number in range(40)}
        decision = Table(house.pool(many)).turn().decision
        assert len(decision.rejected) == 120 - len(decision.arms)


class TestAfterAnswers:
    def test_escalations_are_numbered_by_their_step(self, house: type[House]) -> None:
        turn = Table(house.pool(WORLD), tradeoff=0.0).turn(tried("a@16", 0.1), step=3)
        assert [(ask.attempt_id, ask.role) for ask in turn.asks] == [("r.3.1", "escalation")]

    def test_a_sure_answer_is_accepted(self, house: type[House]) -> None:
        turn = Table(house.pool(WORLD)).turn(tried("a@16", 1.0), step=2)
        assert (turn.asks, turn.decision.status) == ((), "accepted")

    def test_a_cut_answer_speaks_of_its_budget_and_not_of_longer_ones(self, house: type[House]) -> None:
        table = Table(house.pool({"solo": (0.5, 0.9, 0.2)}), tradeoff=0.2)
        turn = table.turn(tried("solo@64", 0.0, "truncated"), step=2)
        assert names(turn) == ["solo@256"]

    def test_what_the_plan_leaves_out_is_not_asked(self, house: type[House]) -> None:
        plan = Plan((arm("a@16"), arm("a@64")), True, "", "planner", "")
        turn = Table(house.pool(WORLD), tradeoff=0.0).turn(tried("a@16", 0.1), step=2, plan=plan)
        assert names(turn) == ["a@64"]
        turn = Table(house.pool(WORLD), tradeoff=0.0).turn(tried("a@16", 0.1), tried("a@64", 0.1), step=2, plan=plan)
        assert (turn.asks, turn.decision.reason) == ((), "every arm was tried")

    def test_after_enough_steps_it_ends(self, house: type[House]) -> None:
        table = Table(house.pool(WORLD), tradeoff=0.0)
        assert table.turn(tried("a@16", 0.1), step=MAX_STEPS).asks
        turn = table.turn(tried("a@16", 0.1), step=MAX_STEPS + 1)
        assert (turn.asks, turn.decision.status) == ((), "best_so_far")

    def test_who_would_have_been_asked_next_lost_to_the_end_and_not_for_want_of_an_estimate(
        self, house: type[House]
    ) -> None:
        table = Table(house.pool(WORLD), tradeoff=0.0)
        (next_arm,) = names(table.turn(tried("a@16", 0.1), step=MAX_STEPS))
        for turn in (
            table.turn(tried("a@16", 0.1), step=MAX_STEPS + 1),
            table.turn(tried("a@16", 0.1), step=2, committed=True),
        ):
            lost = {str(one.arm): one.reason for one in turn.decision.rejected}
            assert lost[next_arm] == "the run had ended"
            assert not any("estimate" in reason or "panel" in reason for reason in lost.values())

    def test_what_is_worth_it_but_does_not_fit_is_said(self, house: type[House]) -> None:
        turn = Table(house.pool(WORLD), tradeoff=0.0, max_cost_usd=1e-4).turn(tried("a@16", 0.1, cost=1e-4), step=2)
        assert (turn.asks, turn.decision.status) == ((), "best_so_far")
        assert "does not fit under the cap" in turn.decision.reason

    def test_a_checkpoints_lists_are_as_good_as_tuples(self, house: type[House]) -> None:
        table = Table(house.pool(WORLD))
        plan = replace(table.plan, arms=list(table.plan.arms))  # type: ignore[arg-type]
        assert table.turn(tried("a@16"), step=2, plan=plan) == table.turn(tried("a@16"), step=2)


class TestFailures:
    @pytest.mark.parametrize("tradeoff", [0.0, 0.5, 1.0])
    def test_someone_else_is_asked_whatever_the_price(self, house: type[House], tradeoff: float) -> None:
        turn = Table(house.pool(WORLD), tradeoff=tradeoff).turn(dead("a@16"), step=2)
        assert [ask.role for ask in turn.asks] == ["escalation"]
        assert turn.asks[0].arm.model != "a"

    def test_a_failed_model_is_left_alone_once_there_is_an_answer(self, house: type[House]) -> None:
        table = Table(house.pool(WORLD), tradeoff=0.0)
        others = [tried(f"{model}@{budget}", 0.1) for model in "bc" for budget in (16, 64, 256)]
        turn = table.turn(dead("a@16"), *others, step=2)
        assert (turn.asks, turn.decision.status) == ((), "best_so_far")

    def test_its_other_budgets_are_better_than_nothing(self, house: type[House]) -> None:
        turn = Table(house.pool(WORLD)).turn(*[dead(f"{model}@16") for model in "abc"], step=2)
        assert len(turn.asks) == 1

    def test_who_was_left_out_by_the_plan_is_better_than_nothing(self, house: type[House]) -> None:
        plan = Plan((arm("a@16"),), True, "", "planner", "")
        turn = Table(house.pool(WORLD)).turn(dead("a@16"), step=2, plan=plan)
        assert turn.asks[0].arm.model in {"b", "c"}

    def test_when_all_have_failed_it_ends(self, house: type[House]) -> None:
        pool = house.pool(WORLD)
        turn = Table(pool).turn(*[dead(str(one)) for one in pool.arms], step=2)
        assert (turn.asks, turn.decision.status) == ((), "best_so_far")
        assert turn.decision.reason == "every arm was tried"

    def test_when_the_cap_holds_nobody_else_it_ends_without_an_error(self, house: type[House]) -> None:
        table = Table(house.pool(WORLD), max_cost_usd=1e-4)
        turn = table.turn(replace(dead("a@16"), cost_usd=1e-4), step=2)
        assert turn.asks == ()
        assert "the cap holds no other arm" in turn.decision.reason

    def test_a_failure_says_nothing_about_quality(self, house: type[House]) -> None:
        table = Table(house.pool(WORLD), tradeoff=0.1)
        with_failure = table.turn(dead("a@16"), tried("b@16", 0.3), step=2)
        without = table.turn(tried("b@16", 0.3), step=2)
        assert names(with_failure)[0] == names(without)[0]


class TestFlips:
    """Where the decision would have been another one."""

    @pytest.mark.parametrize("tradeoff", [0.05, 0.3, 0.6, 0.95])
    @pytest.mark.parametrize("score", [None, 0.2, 0.7])
    def test_at_a_flip_the_choice_is_the_one_told(
        self, house: type[House], tradeoff: float, score: float | None
    ) -> None:
        attempts = [] if score is None else [tried("a@16", score)]
        pool = house.pool(WORLD)
        own = Table(pool, tradeoff=tradeoff).turn(*attempts, step=2)
        assert own.decision.flips
        for flip in own.decision.flips:
            side = 1 if flip.tradeoff > tradeoff else -1
            beyond, before = (min(max(flip.tradeoff + side * step, 0.0), 1.0) for step in (1e-6, -1e-6))
            assert Table(pool, tradeoff=beyond).turn(*attempts, step=2).decision.arms == flip.arms
            assert Table(pool, tradeoff=before).turn(*attempts, step=2).decision.arms == own.decision.arms

    def test_a_planners_first_arm_and_an_early_end_have_none(self, house: type[House]) -> None:
        table = Table(house.pool(WORLD))
        plan = Plan((arm("b@16"), arm("a@16")), False, "", "planner", "")
        decision = table.turn(plan=plan).decision
        assert (decision.flips, decision.policy) == ((), "plan")
        assert table.turn(tried("a@16", 0.1), step=MAX_STEPS + 1).decision.flips == ()


class TestCommitted:
    """The answer was shown as it was written: it stands."""

    def test_a_sound_one_is_accepted(self, house: type[House]) -> None:
        turn = Table(house.pool(WORLD), tradeoff=0.0).turn(tried("a@16", 0.1), step=2, committed=True)
        assert (turn.asks, turn.decision.status) == ((), "accepted")

    @pytest.mark.parametrize(("score", "reason"), [(0.1, "ok"), (0.0, "refused")])
    def test_a_cap_that_held_nothing_else_is_told_and_the_answer_is_the_best_so_far(
        self, house: type[House], score: float, reason: str
    ) -> None:
        cap = Table(house.pool(WORLD)).worst[arm("a@16")] * 1.01
        table = Table(house.pool(WORLD), tradeoff=0.1, max_cost_usd=cap)
        first = table.turn()
        assert (names(first), first.decision.committed) == (["a@16"], True)
        turn = table.turn(tried("a@16", score, reason), step=2, committed=True)
        assert (turn.asks, turn.decision.status) == ((), "best_so_far")
        assert "does not fit under the cap" in turn.decision.reason

    def test_a_cap_that_kept_nothing_worth_its_price_away_is_not_told(self, house: type[House]) -> None:
        cap = Table(house.pool(WORLD)).worst[arm("a@16")] * 1.01
        turn = Table(house.pool(WORLD), tradeoff=0.1, max_cost_usd=cap).turn(tried("a@16", 1.0), step=2, committed=True)
        assert turn.decision.status == "accepted"
        assert "cap" not in turn.decision.reason

    @pytest.mark.parametrize("reason", ["refused", "truncated", "malformed", "disagreement"])
    def test_one_that_is_no_answer_ends_the_run_as_the_best_so_far(self, house: type[House], reason: str) -> None:
        turn = Table(house.pool(WORLD), tradeoff=0.0).turn(tried("a@16", 0.0, reason), step=2, committed=True)
        assert (turn.asks, turn.decision.status) == ((), "best_so_far")
        assert "no answer" in turn.decision.reason

    def test_a_failed_call_is_nothing_that_was_shown(self, house: type[House]) -> None:
        assert Table(house.pool(WORLD)).turn(dead("a@16"), step=2, committed=True).asks


class TestLearned:
    """Over a course: who is on its panel, in which order, and when it has no say."""

    SLOTS = (Slot(arm("a@16")), Slot(arm("b@16")), Slot(arm("a@16"), 1))

    def table(self, house: type[House], stop: float = 0.5, *, slots: Any = SLOTS, **knobs: Any) -> Table:
        """Asking is worth 0.3, 0.8, and 0.7 in the order of the slots; an answer in hand is worth ``stop``."""
        weights = np.zeros((1 << len(slots), BASE + len(slots), len(slots) + 1), dtype=np.float32)
        weights[:, 0] = np.array([stop, 0.3, 0.8, 0.7][: len(slots) + 1])
        courses = tuple(Course(slots, weight, weights) for weight in (1e-4, 1e-3))
        table = Table(house.pool(WORLD), **knobs)
        table.outlooker.looking = Looking(Jury.unfitted(), courses)
        return table

    def test_the_best_of_the_panel_is_asked(self, house: type[House]) -> None:
        turn = self.table(house).turn()
        assert names(turn) == ["b@16"]
        assert turn.decision.policy == "learned"
        lost = {str(one.arm): one.reason for one in turn.decision.rejected}
        assert "panel" in lost["c@256"]
        assert "panel" not in lost["a@16"]

    def test_samples_of_one_arm_come_in_their_order(self, house: type[House]) -> None:
        table = self.table(house, stop=0.1)
        turn = table.turn(tried("b@16"), step=2)
        assert [(str(ask.arm), ask.sample, ask.temperature) for ask in turn.asks] == [("a@16", 0, 0.0)]
        turn = table.turn(tried("b@16"), tried("a@16"), step=3)
        assert [(str(ask.arm), ask.sample, ask.temperature) for ask in turn.asks] == [("a@16", 1, AGAIN)]
        again = replace(tried("a@16"), attempt_id=AttemptId("r.3.1"))
        turn = table.turn(tried("b@16"), tried("a@16"), again, step=4)
        assert (turn.asks, turn.decision.status) == ((), "accepted")

    def test_it_stops_when_nothing_is_worth_more_than_what_it_has(self, house: type[House]) -> None:
        turn = self.table(house, stop=0.9).turn(tried("b@16"), step=2)
        assert (turn.asks, turn.decision.status, turn.decision.policy) == ((), "accepted", "learned")

    def test_a_policy_and_a_planner_go_before_it(self, house: type[House]) -> None:
        assert self.table(house, policy="closed-form").turn().decision.policy == "closed-form"
        table = self.table(house)
        assert table.turn(plan=replace(table.plan, source="planner")).decision.policy == "plan"
        after = table.turn(tried("b@16"), step=2, plan=replace(table.plan, source="planner"))
        assert after.decision.policy == "closed-form"
        narrow = replace(table.plan, arms=table.plan.arms[:4])
        assert table.turn(plan=narrow).decision.policy == "closed-form"

    @pytest.mark.parametrize("other", ["d@16", "a@32"])
    def test_a_panel_with_an_arm_that_is_no_candidate_has_no_say(self, house: type[House], other: str) -> None:
        table = self.table(house, slots=(Slot(arm("a@16")), Slot(arm(other))))
        assert table.turn().decision.policy == "closed-form"

    def test_an_answer_that_is_none_of_its_slots_ends_its_say(self, house: type[House]) -> None:
        assert self.table(house).turn(tried("c@256"), step=2).decision.policy == "closed-form"

    def test_when_the_panel_fails_anyone_is_better_than_nobody(self, house: type[House]) -> None:
        turn = self.table(house).turn(dead("a@16"), dead("b@16"), step=2)
        assert [ask.arm.model for ask in turn.asks] == ["c"]
        assert turn.decision.policy == "closed-form"

    def test_when_a_model_of_the_panel_fails_the_closed_form_goes_on_without_it(self, house: type[House]) -> None:
        turn = self.table(house).turn(dead("b@16"), step=2)
        assert turn.decision.policy == "closed-form"
        assert [ask.arm.model for ask in turn.asks] in (["a"], ["c"])

    def test_what_the_cap_does_not_hold_gives_way_on_the_panel_too(self, house: type[House]) -> None:
        worst = self.table(house).worst
        cap = (worst[arm("a@16")] + worst[arm("b@16")]) / 2
        assert names(self.table(house, max_cost_usd=cap).turn()) == ["a@16"]

    @pytest.mark.parametrize("committed", [True, False])
    @pytest.mark.parametrize(("score", "status", "told"), [(0.6, "best_so_far", True), (0.9, "accepted", False)])
    def test_a_course_that_the_cap_does_not_hold_is_told_where_it_is_worth_more_than_the_answer(
        self, house: type[House], score: float, status: str, committed: bool, told: bool
    ) -> None:
        """Asking b is worth 0.8 by the course; by the closed form, of verdicts that tell nothing, no one beats 0.6."""
        slots = (Slot(arm("b@16")), Slot(arm("b@64")))
        cap = self.table(house).worst[arm("a@16")] * 1.01
        table = self.table(house, slots=slots, max_cost_usd=cap, tradeoff=0.6)
        table.outlooker.reliability = 0.0
        assert names(table.turn()) == ["a@16"]
        turn = table.turn(tried("a@16", score), step=2, committed=committed)
        assert turn.decision.policy == "closed-form"
        assert (turn.asks, turn.decision.status) == ((), status)
        assert ("does not fit under the cap" in turn.decision.reason) is told

    @pytest.mark.parametrize("line", [Line(0.0, 1.2), Line(0.7, 0.3), Line()])
    def test_a_promise_takes_the_score_that_it_begins_at_and_none_below(self, house: type[House], line: Line) -> None:
        """On a flat line every answer has that score; none is lost to the last bit of it."""
        for jury in (0.3, 0.8, 0.97):
            score = Calibrator({}, line).scaled(jury, "text")
            for threshold, status in ((score, "accepted"), (np.nextafter(score, 1.0), "best_so_far")):
                measured = Measured(100, 90, 0.05, 0.01, 0.1)
                promise = Promise(0.3, 0.1, 0.1, float(threshold), "", 200, measured)
                table = self.table(house, stop=0.9, max_error=0.1)
                table.outlooker.looking = replace(
                    table.outlooker.looking, calibrator=Calibrator({}, line, promises=(promise,))
                )
                decision = table.turn(tried("b@16", score), step=2).decision
                assert (decision.arms, decision.status) == ((), status)
                assert ("of the promise" in decision.reason) == (status != "accepted")

    def test_a_committed_first_slot_is_only_an_only_one(self, house: type[House]) -> None:
        assert not self.table(house).turn().decision.committed
        assert self.table(house, slots=self.SLOTS[:1]).turn().decision.committed
