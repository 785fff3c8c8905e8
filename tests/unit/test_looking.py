"""Looking: courses learned by backward induction, how a query comes by its own, and what is kept of them."""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given as having
from hypothesis import settings
from hypothesis import strategies as st

from curveroute.agent.errors import PredictorError
from curveroute.agent.looking.course import BASE, Course, bits, next_of, states_of, summary_of
from curveroute.agent.looking.induction import induce, panel_of
from curveroute.agent.looking.keep import looking_document, looking_tensors, read_looking
from curveroute.agent.looking.learn import JURY_FOLDS, learn, weights_for
from curveroute.agent.looking.looking import SPREAD, Looking, aside, sideways
from curveroute.agent.looking.recorded import Recorded, Slot, follows
from curveroute.agent.looking.replay import Replayer, mean_by_query
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.fit_jury import Diet
from curveroute.agent.verify.jury import Jury, given
from curveroute.agent.verify.scale import Calibrator, Line
from curveroute.agent.verify.seen import Seen, log_odds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROPERTY = settings(max_examples=40, deadline=None)
CHEAP, OTHER, BEST = (Slot(Arm(ModelId(name), 16)) for name in ("cheap", "other", "best"))
WORLD = (CHEAP, OTHER, BEST)
UNIT = 0.01  # what the best one costs
slots = st.sampled_from(
    [
        WORLD,
        (CHEAP, Slot(CHEAP.arm, 1), OTHER),
        (Slot(CHEAP.arm, 1), BEST, CHEAP, Slot(CHEAP.arm, 2)),
        (CHEAP,),
        (OTHER, Slot(OTHER.arm, 1), CHEAP, Slot(CHEAP.arm, 1), BEST),
    ]
)


def world(rows: int = 400, seed: int = 0, turns: int = 1) -> Recorded:
    """Two cheap models are right 6 times in 10 and wrong each in its own way; the best is always right.

    So where the cheap ones agree they are right, and where they do not only the best one's answer is sure.
    """
    random = np.random.default_rng(seed)
    right = np.column_stack((random.random((rows, 2)) < 0.6, np.ones(rows, dtype=bool)))
    claim = np.where(right, 0, np.array([1, 2, 3]))
    nothing = np.zeros(right.shape, dtype=np.float32)
    seen = Seen(
        claim=claim,
        asked=np.ones(right.shape, dtype=bool),
        model=np.broadcast_to(np.arange(3), right.shape),
        prior=log_odds(np.broadcast_to([0.6, 0.6, 0.97], right.shape)),
        length=nothing,
        cut=nothing,
        malformed=nothing,
        confidence=nothing,
        chance=np.full(rows, 3.0, dtype=np.float32),
        models=tuple(slot.arm.model for slot in WORLD),
    )
    cost = np.broadcast_to([0.01 * UNIT, 0.01 * UNIT, UNIT], right.shape).astype(float)
    return Recorded(WORLD, seen, right.astype(np.float32), cost, cost, np.repeat(np.arange(rows // turns), turns))


def heard(recorded: Recorded, jury: Jury) -> tuple[dict[tuple[int, ...], Any], dict[tuple[int, ...], Any]]:
    """What a jury makes of every state, and the quality of the answer that it would give."""
    odds, right = {}, {}
    for state in states_of(recorded.slots):
        if state:
            one = recorded.columns(state)
            odds[state], number = jury.probabilities(one.seen)
            right[state] = one.quality[np.arange(len(one)), given(odds[state], number, one.seen)]
    return odds, right


def learned(weight: float = 0.3, recorded: Recorded | None = None) -> Course:
    one = recorded or world()
    return induce(panel_of(one, *heard(one, Jury.unfitted())), weight, UNIT)[0]


def random_courses(panel: Sequence[Slot], weights: Sequence[float], seed: int = 0) -> tuple[Course, ...]:
    random, count = np.random.default_rng(seed), len(panel)
    shape = (1 << count, BASE + count, count + 1)
    return tuple(Course(tuple(panel), weight, random.normal(size=shape).astype(np.float32)) for weight in weights)


# --- states ----------------------------------------------------------------------------------------------------------


@PROPERTY
@having(slots)
def test_repeated_samples_come_in_order(panel: tuple[Slot, ...]) -> None:
    states = states_of(panel)
    assert len(set(states)) == len(states)
    assert states[0] == ()
    assert states[-1] == tuple(range(len(panel)))
    for state in states:
        asked = {panel[place] for place in state}
        assert all(slot.sample == 0 or Slot(slot.arm, slot.sample - 1) in asked for slot in asked)
        after = [bits((*state, slot)) for slot in next_of(state, panel)]
        assert set(after) <= {bits(other) for other in states}
    reached = {0} | {bits((*state, slot)) for state in states for slot in next_of(state, panel)}
    assert reached == {bits(state) for state in states}


@PROPERTY
@having(slots, st.integers(0, 100))
def test_values_of_slots_that_cannot_be_asked_are_nan(panel: tuple[Slot, ...], seed: int) -> None:
    (course,) = random_courses(panel, [1.0], seed)
    summary = np.random.default_rng(seed).normal(size=(3, BASE + len(panel)))
    for state in states_of(panel):
        stop, values = course.values(bits(state), summary)
        assert np.isfinite(stop).all()
        able = np.isin(np.arange(len(panel)), next_of(state, panel))
        assert (np.isnan(values) == ~able).all()


def test_a_slot_follows_the_sample_before_it() -> None:
    panel = (Slot(CHEAP.arm, 2), OTHER, CHEAP, Slot(CHEAP.arm, 1))
    assert follows(panel).tolist() == [3, 1, 2, 2]
    assert [str(slot) for slot in panel] == ["cheap@16#3", "other@16", "cheap@16", "cheap@16#2"]


@PROPERTY
@having(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_a_summary_does_not_depend_on_the_order_of_claims(shares: list[float], random: Any) -> None:
    odds = np.array([shares], dtype=np.float32)
    shuffled = list(odds[0, :-1])
    random.shuffle(shuffled)
    prior = np.zeros((1, 2), dtype=np.float32)
    other = np.array([[*shuffled, odds[0, -1]]], dtype=np.float32)
    np.testing.assert_array_equal(summary_of(odds, prior), summary_of(other, prior))
    assert summary_of(odds, prior).shape == summary_of(None, prior).shape == (1, BASE + 2)
    assert summary_of(odds, prior)[0, 1] == max(odds[0, :-1])


# --- induction -------------------------------------------------------------------------------------------------------


def test_where_agreement_is_right_the_course_stops_at_it_and_otherwise_asks_the_best() -> None:
    new = world(seed=5)
    agree = new.seen.claim[:, 0] == new.seen.claim[:, 1]
    found = Replayer(Jury.unfitted(), new, UNIT).follow(learned())
    np.testing.assert_array_equal(found.state, np.where(agree, 0b011, 0b111))
    assert (found.quality == 1.0).all()
    np.testing.assert_allclose(found.cost_usd, np.where(agree, 0.02, 1.02) * UNIT)
    assert (np.isin(found.answer, (0, 1)) == agree).all()
    assert np.abs(found.estimate - 1.0).max() < 0.1


@pytest.mark.parametrize(("weight", "state"), [(1e-6, None), (50.0, 0b001)])
def test_where_cost_is_nothing_or_everything_quality_or_cost_is_best(weight: float, state: int | None) -> None:
    new = world(seed=5)
    found = Replayer(Jury.unfitted(), new, UNIT).follow(learned(weight))
    if state is None:
        assert found.quality.mean() == 1.0
    else:
        assert found.cost_usd.max() == pytest.approx(0.01 * UNIT)
        assert set(found.state.tolist()) <= {0b001, 0b010}


@pytest.mark.parametrize("weight", [0.01, 0.3, 2.0])
def test_a_walk_is_worth_its_quality_less_what_it_paid(weight: float) -> None:
    one = world()
    course, walk = induce(panel_of(one, *heard(one, Jury.unfitted())), weight, UNIT)
    assert course.weight == weight
    assert walk.worth == pytest.approx(walk.quality.mean() - weight * walk.cost_usd.mean() / UNIT)
    found = Replayer(Jury.unfitted(), one, UNIT).follow(course)
    assert walk.quality.mean() == pytest.approx(found.quality.mean(), abs=0.02), "it was learned on others"
    assert walk.cost_usd.mean() == pytest.approx(found.cost_usd.mean(), rel=0.1)


def test_dearer_looking_never_spends_more() -> None:
    one = world()
    panel = panel_of(one, *heard(one, Jury.unfitted()))
    costs = [induce(panel, weight, UNIT)[1].cost_usd.mean() for weight in (1e-3, 0.1, 0.5, 1.5, 5.0)]
    assert all(later <= before * (1 + 1e-9) for before, later in pairwise(costs))


def test_the_rows_of_one_query_are_in_one_fold() -> None:
    one = world(turns=4)
    panel = panel_of(one, *heard(one, Jury.unfitted()), seed=3)
    folds = np.searchsorted(panel.bounds, np.arange(len(one)), side="right")
    for query in range(int(one.query.max()) + 1):
        assert np.unique(folds[panel.recorded.query == query]).size == 1
    np.testing.assert_array_equal(one.query[panel.order], panel.recorded.query)


def test_a_query_does_not_help_to_decide_its_own_case() -> None:
    """What is made of a fold is the same whatever came out on it."""
    one = world()
    odds, right = heard(one, Jury.unfitted())
    order = panel_of(one, odds, right).order
    first = order[: panel_of(one, odds, right).bounds[1]]
    flipped = {state: values.copy() for state, values in right.items()}
    for values in flipped.values():
        values[first] = 1.0 - values[first]
    walks = [induce(panel_of(one, odds, outcome), 0.3, UNIT)[1] for outcome in (right, flipped)]
    np.testing.assert_array_equal(walks[0].cost_usd[: first.size], walks[1].cost_usd[: first.size])
    assert (walks[0].quality[: first.size] != walks[1].quality[: first.size]).all()


def test_a_slot_without_a_recording_is_passed_over_in_replay() -> None:
    new = world(rows=50, seed=5)
    asked = new.seen.asked.copy()
    asked[:, 2], asked[:10] = False, False
    gaps = replace(
        new,
        seen=replace(new.seen, asked=asked, claim=np.where(asked, new.seen.claim, -1)),
        quality=np.where(asked, new.quality, np.nan).astype(np.float32),
        cost_usd=np.where(asked, new.cost_usd, np.nan),
    )
    found = Replayer(Jury.unfitted(), gaps, UNIT).follow(learned())
    assert np.isnan(found.quality[:10]).all()
    assert (found.answer[:10] == -1).all()
    assert np.isfinite(found.quality[10:]).all()
    assert (found.state[10:] == 0b011).all()
    assert np.isfinite(found.cost_usd).all()


def test_means_over_the_rows_of_a_query_are_means_over_luck() -> None:
    values = np.array([[1.0, 0.0, 1.0, 1.0]])
    assert mean_by_query(values, np.array([0, 0, 1, 1]), 2).tolist() == [[0.5, 1.0]]
    assert mean_by_query(values[0], np.array([0, 0, 1, 1]), 2).tolist() == [0.5, 1.0]


# --- a whole lesson --------------------------------------------------------------------------------------------------

DIET = Diet(hidden=4, steps=40)


def test_a_lesson_finds_panel_and_course_and_is_the_same_each_time() -> None:
    one, told = world(rows=300), list[tuple[int, int, str]]()
    lesson = learn(one, [0.02, 0.3, 3.0], UNIT, diet=DIET, watch=lambda *now: told.append(now))
    assert list(dict.fromkeys(what for _, _, what in told)) == ["juries", "panels", "courses"]
    assert [done for done, _, what in told if what == "juries"] == list(range(JURY_FOLDS + 1))
    assert told[-1] == (3, 3, "courses")
    assert [course.weight for course in lesson.looking.courses] == [0.02, 0.3, 3.0]
    middle = lesson.looking.courses[1]
    assert set(middle.slots) == set(WORLD)
    new = world(seed=7)
    found = Replayer(lesson.looking.jury, new, UNIT).follow(middle)
    agree = new.seen.claim[:, 0] == new.seen.claim[:, 1]
    assert found.quality.mean() > 0.98
    assert found.cost_usd.mean() == pytest.approx((0.02 + (~agree).mean()) * UNIT, rel=0.15)
    assert 0.2 < lesson.reliability <= 1.0
    again = learn(one, [0.02, 0.3, 3.0], UNIT, diet=DIET)
    assert kept(again.looking) == kept(lesson.looking)


def test_weights_reach_from_all_but_free_to_where_the_cheapest_is_dear() -> None:
    weights = weights_for(world(), UNIT)
    assert (np.diff(weights) > 0).all()
    assert weights[0] * 1.0 == pytest.approx(2e-3), "of asking the dearest"
    assert weights[-1] * 0.01 == pytest.approx(0.5), "of asking the cheapest"
    free = replace(world(), cost_usd=np.zeros((400, 3)))
    assert weights_for(free, 1.0).tolist() == [1.0]


# --- how a query comes by its course ---------------------------------------------------------------------------------

WEIGHTS = tuple(np.geomspace(1e-3, 1e3, 25).tolist())
LOOKING = Looking(Jury.unfitted(), random_courses((CHEAP,), WEIGHTS))


@PROPERTY
@having(st.floats(0, 1), st.text(max_size=40))
def test_a_query_follows_a_course_near_its_tradeoff_and_always_the_same(tradeoff: float, text: str) -> None:
    course = LOOKING.course(tradeoff, text)
    assert course is LOOKING.course(tradeoff, text)
    if course is None:
        assert tradeoff == 1.0, "cost alone counts: nothing is learned for that"
        return
    place, near = LOOKING.courses.index(course), LOOKING.nearest(tradeoff)
    assert place == min(max(near + aside(text), 0), len(WEIGHTS) - 1)
    assert abs(place - near) <= SPREAD


@PROPERTY
@having(st.floats(0, 1))
def test_the_nearest_course_is_so_by_the_ratio_of_weights(tradeoff: float) -> None:
    near = LOOKING.nearest(tradeoff)
    if tradeoff in {0.0, 1.0}:
        assert near == (0 if tradeoff == 0.0 else len(WEIGHTS) - 1)
        return
    ratios = [max(weight * (1 - tradeoff) / tradeoff, tradeoff / (1 - tradeoff) / weight) for weight in WEIGHTS]
    assert ratios[near] == pytest.approx(min(ratios))


@pytest.mark.parametrize("place", [0, 7, 24])
def test_a_courses_own_tradeoff_leads_to_it(place: int) -> None:
    assert LOOKING.nearest(LOOKING.tradeoffs[place]) == place


@PROPERTY
@having(st.floats(0, 0.999), st.floats(0, 0.999), st.text(max_size=20))
def test_a_dearer_tradeoff_never_leads_to_a_course_that_spends_more_freely(one: float, other: float, text: str) -> None:
    low, high = (LOOKING.course(tradeoff, text) for tradeoff in sorted((one, other)))
    assert low is not None
    assert high is not None
    assert low.weight <= high.weight


def test_queries_go_aside_by_their_text_all_ways_equally_often() -> None:
    counts = Counter(aside(f"query {number}") for number in range(7000))
    assert sorted(counts) == list(range(-SPREAD, SPREAD + 1))
    assert all(abs(count - 1000) < 150 for count in counts.values())
    assert aside("query 1") == aside("query 1")
    assert aside("\ud800") in counts, "half a surrogate is a text too"
    assert (aside("What is 2 + 2?"), aside("")) == (aside("What is 2 + 2?"), aside(""))


def test_many_queries_go_aside_as_each_does() -> None:
    texts = [f"query {number}" for number in range(30)]
    places = sideways(len(WEIGHTS), np.array([aside(text) for text in texts]))
    for near, tradeoff in enumerate(LOOKING.tradeoffs):
        for text, place in zip(texts, places[near].tolist(), strict=True):
            assert LOOKING.course(tradeoff, text) is LOOKING.courses[place]


def test_where_nothing_was_learned_there_is_no_course() -> None:
    assert Looking(Jury.unfitted()).course(0.5, "any") is None
    assert Looking(Jury.unfitted()).sheaves == ()


# --- as data ---------------------------------------------------------------------------------------------------------


def of_two_panels() -> Looking:
    """Courses of two panels, taking turns."""
    first = random_courses((CHEAP, Slot(CHEAP.arm, 1)), [0.1, 0.7], seed=1)
    second = random_courses((OTHER, Slot(Arm(ModelId("best"), None))), [0.3], seed=2)
    jury = replace(
        Jury.unfitted(),
        own=np.random.default_rng(0).normal(size=(2, 14, 1)).astype(np.float32),
        usual=np.array([1.5, 2.5], dtype=np.float32),
        models=("x", "y"),
    )
    calibrator = Calibrator({"number": Line(0.5, -0.25, 40)}, reliability=0.375)
    return Looking(jury, (first[0], second[0], first[1]), 0.0123456789, calibrator)


def kept(looking: Looking) -> Any:
    tensors = looking_tensors(looking)
    return json.dumps(looking_document(looking)), {name: tensor.tobytes() for name, tensor in tensors.items()}


def test_what_is_kept_comes_back_bit_for_bit() -> None:
    looking = of_two_panels()
    document, tensors = looking_document(looking), looking_tensors(looking)
    back = read_looking(json.loads(json.dumps(document)), tensors)
    assert back is not None
    assert kept(back) == kept(looking)
    assert [(one.slots, one.weight) for one in back.courses] == [(one.slots, one.weight) for one in looking.courses]
    for one, other in zip(back.courses, looking.courses, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
    assert back.calibrator == looking.calibrator
    assert back.unit_usd == looking.unit_usd


def test_nothing_is_kept_as_nothing_and_no_courses_as_none() -> None:
    assert (looking_document(None), looking_tensors(None), read_looking(None, {})) == (None, {}, None)
    bare = Looking(Jury.unfitted())
    back = read_looking(looking_document(bare), looking_tensors(bare))
    assert back is not None
    assert back.courses == ()


def set_at(*path: Any, to: Any) -> Callable[[Any, Any], None]:
    def damage(document: Any, tensors: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = to

    return damage


def tensor(name: str, change: Callable[[Any], Any] | None) -> Callable[[Any, Any], None]:
    def damage(document: Any, tensors: Any) -> None:
        whole = tensors.pop(name)
        if change is not None:
            tensors[name] = change(whole)

    return damage


A_SLOT = {"model": "cheap", "budget": 16, "sample": 0}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (set_at("models", to="x"), "its models are str"),
        (set_at("models", to=["x"]), "the jury's own"),
        (set_at("panels", to=None), "its panels are NoneType"),
        (set_at("panels", 0, to=3), "a panel is 3"),
        (set_at("panels", 0, "slots", to=None), "its slots are NoneType"),
        (set_at("panels", 0, "slots", to=[]), "cannot all be asked"),
        (set_at("panels", 0, "slots", to=[A_SLOT, A_SLOT]), "cannot all be asked"),
        (set_at("panels", 0, "slots", 0, to=7), "7 is not a slot"),
        (set_at("panels", 0, "slots", 0, "model", to=None), "is not a slot"),
        (set_at("panels", 0, "slots", 0, "budget", to=0), "is not a slot"),
        (set_at("panels", 0, "slots", 0, "budget", to=True), "is not a slot"),
        (set_at("panels", 0, "slots", 0, "sample", to=-1), "is not a slot"),
        (set_at("panels", 0, "slots", 0, "sample", to="0"), "is not a slot"),
        (set_at("panels", 0, "places", to=[0]), "values of a panel's courses"),
        (set_at("panels", 0, "places", to=[0, 3]), "without gaps"),
        (set_at("panels", 0, "places", to=[0, 0]), "without gaps"),
        (set_at("panels", 0, "places", to=[0, 1]), "without gaps"),
        (set_at("panels", 0, "places", to=[0, "2"]), "a course has place '2'"),
        (set_at("panels", 0, "places", to=[0, True]), "a course has place True"),
        (set_at("panels", 0, "weights", to=[0.1]), "weights"),
        (set_at("panels", 0, "weights", to=[0.1, 0.0]), "weight 0.0"),
        (set_at("panels", 0, "weights", to=[0.1, None]), "weight None"),
        (set_at("panels", 0, "weights", to=[0.1, 0.2]), "order of their tradeoffs"),
        (set_at("unit_usd", to=0.0), "unit of cost is 0.0"),
        (set_at("unit_usd", to=None), "unit of cost is None"),
        (set_at("unit_usd", to=True), "unit of cost is True"),
        (set_at("calibrator", to=None), "calibrator is NoneType"),
        (set_at("calibrator", "reliability", to=2.0), "reliability"),
        (tensor("courses.1", None), "courses are missing"),
        (tensor("courses.0", lambda whole: whole[:, :-1]), "expected"),
        (tensor("courses.0", lambda whole: whole * np.nan), "finite"),
        (tensor("jury.out", None), "the jury's out is missing"),
        (tensor("jury.shared", lambda whole: whole[1:]), "the jury's shared"),
    ],
)
def test_each_damage_is_refused_in_words(damage: Callable[[Any, Any], None], words: str) -> None:
    looking = of_two_panels()
    document, tensors = copy.deepcopy(looking_document(looking)), dict(looking_tensors(looking))
    damage(document, tensors)
    with pytest.raises(PredictorError, match=words):
        read_looking(document, tensors)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(PredictorError, match="looking part is list"):
        read_looking([], {})


def simple(right: Any, asked: Any, cost: tuple[float, ...]) -> Recorded:
    """Models m0, m1, … that answer right or each its own wrong answer, at a price; nothing is expected beforehand."""
    n, count = right.shape
    nothing = np.zeros((n, count), dtype=np.float32)
    seen = Seen(
        claim=np.where(asked, np.where(right, 0, 1 + np.arange(count)), -1),
        asked=asked,
        model=np.broadcast_to(np.arange(count), (n, count)),
        prior=nothing,
        length=nothing,
        cut=nothing,
        malformed=nothing,
        confidence=nothing,
        chance=np.full(n, 3.0, dtype=np.float32),
        models=tuple(ModelId(f"m{place}") for place in range(count)),
    )
    paid = np.where(asked, np.asarray(cost), np.nan)
    slots = tuple(Slot(Arm(name, 64)) for name in seen.models)
    quality = np.where(asked, right, np.nan).astype(np.float32)
    return Recorded(slots, seen, quality, paid, np.broadcast_to(np.asarray(cost), (n, count)), np.arange(n))


def test_panels_that_were_recorded_on_other_queries_are_compared_on_their_own() -> None:
    """A model that was asked easy questions alone is not taken for a good one."""
    random = np.random.default_rng(0)
    n = 200
    easy = np.arange(n) < n // 2
    right = np.column_stack(
        (random.random(n) < np.where(easy, 0.95, 0.35), random.random(n) < np.where(easy, 0.9, 0.9))
    )
    asked = np.column_stack((np.ones(n, dtype=bool), easy))
    one = simple(right, asked, cost=(1.0, 3.0))
    lesson = learn(one, [0.05], 3.0, diet=Diet(steps=60), most=2)
    assert lesson.looking.courses[0].slots[0].arm.model == one.slots[0].arm.model


def test_a_slot_that_hardly_anyone_was_asked_is_on_no_panel() -> None:
    random = np.random.default_rng(1)
    right = np.column_stack((random.random(120) < 0.6, np.ones(120, dtype=bool)))
    asked = np.column_stack((np.ones(120, dtype=bool), np.arange(120) < 2))
    lesson = learn(simple(right, asked, cost=(1.0, 1.0)), [0.01, 1.0], 1.0, diet=Diet(steps=60))
    assert {slot.arm.model for course in lesson.looking.courses for slot in course.slots} == {"m0"}
