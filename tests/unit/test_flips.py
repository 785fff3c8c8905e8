"""Flips: what is named differs from what was chosen, a thousandth nearer does not, and nothing nearer is missed."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curveroute.agent.flips import FINEST, GRID, crossings, flips_from, flips_of, named_flips, rejections
from curveroute.agent.types import Arm, Flip, ModelId, Rejection

if TYPE_CHECKING:
    from collections.abc import Callable

PROPERTY = settings(max_examples=200, deadline=None)
UNIT = st.floats(0, 1)
EDGES = st.lists(UNIT, max_size=4).map(sorted)
HUNDREDTHS = st.integers(0, 100).map(lambda whole: whole / 100)
LINES = st.lists(st.tuples(HUNDREDTHS, HUNDREDTHS), min_size=1, max_size=8)
ARMS = tuple(Arm(ModelId(name), 16) for name in "abc")


def steps_at(edges: list[float]) -> Callable[[float], int]:
    """A choice that changes at every edge and never comes back."""
    return lambda tradeoff: bisect_right(edges, tradeoff)


@PROPERTY
@given(edges=EDGES, tradeoff=UNIT)
def test_a_flip_differs_and_one_thousandth_nearer_does_not(edges: list[float], tradeoff: float) -> None:
    choose = steps_at(edges)
    for at, choice in flips_of(choose, tradeoff):
        assert choice == choose(at) != choose(tradeoff)
        assert at == round(at * FINEST) / FINEST
        nearer = round(at * FINEST + math.copysign(1, tradeoff - at)) / FINEST  # as it is told, in thousandths
        if abs(at - tradeoff) >= 1 / FINEST:
            assert choose(nearer) == choose(tradeoff) or abs(nearer - tradeoff) < 1e-9


@PROPERTY
@given(edges=EDGES, tradeoff=UNIT)
def test_between_the_flips_nothing_on_the_grid_differs(edges: list[float], tradeoff: float) -> None:
    choose = steps_at(edges)
    found = flips_of(choose, tradeoff)
    below = max((at for at, _ in found if at < tradeoff), default=-1.0)
    above = min((at for at, _ in found if at > tradeoff), default=2.0)
    assert len(found) <= 2
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    assert {choose(point) for point in GRID if below < point < above} <= {choose(tradeoff)}


def test_a_choice_that_nothing_changes_has_no_flip_and_costs_few_looks() -> None:
    looks: list[float] = []

    def choose(tradeoff: float) -> int:
        looks.append(tradeoff)
        return 7

    assert flips_of(choose, 0.3) == ()
    assert len(looks) <= len(GRID) + 1


@pytest.mark.parametrize("tradeoff", [0.0, 0.3, 0.3004, 1.0])
def test_a_change_right_beside_the_tradeoff_is_found_to_the_thousandth(tradeoff: float) -> None:
    edges = [tradeoff - 0.0001, tradeoff + 0.0015]
    found = flips_of(steps_at(edges), tradeoff)
    for at, _ in found:
        assert abs(at - tradeoff) <= 0.003


def test_choices_on_a_grid_flip_at_the_nearest_point_of_it() -> None:
    grid = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert flips_from("aabbcc", 0.5, grid, own="b") == ((0.2, "a"), (0.8, "c"))
    assert flips_from("bbbbbb", 0.5, grid, own="b") == ()
    assert flips_from("xbbbbb", 0.5, grid, own="b") == ((0.0, "x"),)


@PROPERTY
@given(lines=LINES, tradeoff=UNIT, may_stop=st.booleans())
def test_crossings_are_the_flips_of_the_linear_rule(
    lines: list[tuple[float, float]], tradeoff: float, may_stop: bool
) -> None:
    gain, price = np.array(lines).T

    def choose(at: float) -> int | None:
        net = (1 - at) * gain - at * price
        chosen = int(np.argmax(net))
        return None if may_stop and net[chosen] <= 0 else chosen

    chosen = choose(tradeoff)
    exact = crossings(gain, price, tradeoff, chosen, may_stop=may_stop)
    own = -1 if chosen is None else chosen
    values = np.append(gain, 0.0), np.append(price, 0.0)

    def lead(at: float) -> float:
        net = (1 - at) * values[0] - at * values[1]
        return float(net[own] - (net if may_stop else net[:-1]).max())

    for point in np.linspace(0, 1, 101):
        inside = (exact.below is None or point > exact.below[0]) and (exact.above is None or point < exact.above[0])
        if inside:
            assert lead(point) >= -1e-9
    for crossing, far in ((exact.below, 0.0), (exact.above, 1.0)):
        if crossing is not None and abs(crossing[0] - far) > 0.01:
            beyond = crossing[0] + (0.5 * (far - crossing[0]))
            assert lead(beyond) < 1e-9


def test_crossings_tell_who_overtakes() -> None:
    gain, price = np.array([0.3, 0.6, np.nan]), np.array([0.05, 0.8, 0.0])
    found = crossings(gain, price, 0.5, 0)
    assert found.below == (pytest.approx(0.3 / 1.05), 1)
    assert found.above == (pytest.approx(0.3 / 0.35), None)
    assert crossings(gain, price, 0.5, 0, may_stop=False).above is None
    stopped = crossings(gain, price, 0.95, None)
    assert stopped.below is not None
    assert stopped.below[1] == 0
    assert stopped.above is None


@settings(max_examples=50, deadline=None)
@given(lines=LINES, tradeoff=st.integers(0, FINEST))
def test_crossings_and_the_scan_agree_to_a_thousandth(lines: list[tuple[float, float]], tradeoff: int) -> None:
    gain, price = np.array(lines).T
    at = tradeoff / FINEST

    def choose(one: float) -> int | None:
        net = (1 - one) * gain - one * price
        return int(np.argmax(net)) if net.max() > 1e-9 else None

    exact, scanned = (
        crossings(gain, price, at, choose(at)),
        flips_of(choose, at, [k / FINEST for k in range(FINEST + 1)]),
    )
    found = {"below": [one for one, _ in scanned if one < at], "above": [one for one, _ in scanned if one > at]}
    for side, crossing in (("below", exact.below), ("above", exact.above)):
        assume(crossing is None or abs(crossing[0] - at) > 2e-3)
        for one in found[side]:
            assert crossing is not None
            assert (one <= crossing[0] + 1.1e-3) if side == "below" else (one >= crossing[0] - 1.1e-3)


def test_flips_are_told_in_the_words_of_a_run() -> None:
    told = named_flips([(0.2, (1, 2)), (0.9, ())], ARMS, lambda chosen: "more" if chosen else "too dear")
    assert told == (Flip(0.2, ARMS[1:], "more"), Flip(0.9, (), "too dear"))
    assert named_flips([(0.9, ())], ARMS) == (Flip(0.9, ()),)


def test_every_loser_keeps_its_figures_and_the_chosen_are_left_out() -> None:
    figures: dict[str, Any] = {
        "net_gain": np.array([0.123456, -0.00001, np.nan]),
        "gain": np.array([0.5, 0.1, np.inf]),
        "price": np.array([0.1, 0.2, 0.3]),
        "probability": np.array([0.7, 0.8, np.nan]),
    }
    lost = rejections(ARMS, ["", "dear", "no estimate"], **figures)
    assert lost == (
        Rejection(ARMS[1], "dear", 0.0, 0.1, 0.2, 0.8),
        Rejection(ARMS[2], "no estimate", None, None, 0.3, None),
    )
    assert math.copysign(1.0, lost[0].net_gain or 0.0) == 1.0
