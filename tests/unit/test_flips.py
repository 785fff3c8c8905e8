"""Flips: where a straight line is overtaken, by which, and how what lost is told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.flips import named_flips, overtaken, rejections
from curveroute.agent.types import Arm, Flip, ModelId, Rejection

PROPERTY = settings(max_examples=200, deadline=None)
UNIT = st.floats(0, 1)
HUNDREDTHS = st.integers(0, 100).map(lambda whole: whole / 100)
LINES = st.lists(st.tuples(HUNDREDTHS, HUNDREDTHS), min_size=1, max_size=8)
ARMS = tuple(Arm(ModelId(name), 16) for name in "abc")


@PROPERTY
@given(lines=LINES, tradeoff=UNIT, up=st.booleans())
def test_the_best_line_is_ahead_until_it_is_overtaken_and_behind_then(
    lines: list[tuple[float, float]], tradeoff: float, up: bool
) -> None:
    gain, price = np.array(lines).T
    own = int(np.argmax((1 - tradeoff) * gain - tradeoff * price))
    found = overtaken(gain, price, tradeoff, own, up=up)
    far = 1.0 if up else 0.0

    def lead(at: float) -> float:
        net = (1 - at) * gain - at * price
        return float(net[own] - net.max())

    end = far if found is None else found.tradeoff
    assert min(map(lead, np.linspace(tradeoff, end, 20))) >= -1e-9
    if found is not None and abs(found.tradeoff - far) > 0.01:
        beyond = (found.tradeoff + far) / 2
        assert lead(beyond) < 1e-9
        if found.line is not None:
            just = found.tradeoff + (far - found.tradeoff) * 1e-6
            net = (1 - just) * gain - just * price
            assert net[found.line] >= net.max() - 1e-12


def test_a_line_is_overtaken_by_one_or_by_several_at_once() -> None:
    gain, price = np.array([0.3, 0.6, np.nan, 0.0]), np.array([0.05, 0.8, 0.0, 0.0])
    assert overtaken(gain, price, 0.5, 0, up=False) == (pytest.approx(0.3 / 1.05), 1)
    assert overtaken(gain, price, 0.5, 0, up=True) == (pytest.approx(0.3 / 0.35), 3)
    assert overtaken(gain[:3], price[:3], 0.5, 0, up=True) is None
    assert overtaken(gain, price, 0.95, 3, up=True) is None
    twice = np.append(gain, 0.6), np.append(price, 0.8)
    assert overtaken(*twice, 0.5, 0, up=False) == (pytest.approx(0.3 / 1.05), None)


def test_of_several_lines_that_are_watched_the_first_to_be_overtaken_counts() -> None:
    gain, price = np.array([0.9, 0.6, 0.0]), np.array([0.9, 0.1, 0.0])
    alone = [overtaken(gain, price, 0.0, line, up=True) for line in (0, 1)]
    assert alone == [(pytest.approx(0.3 / 1.1), 1), (pytest.approx(0.6 / 0.7), 2)]
    assert overtaken(gain, price, 0.0, np.array([[1], [0]]), up=True) == alone[0]


def test_flips_are_told_in_the_words_of_a_run() -> None:
    assert named_flips([(0.2, (1, 2)), (0.9, ())], ARMS) == (Flip(0.2, ARMS[1:]), Flip(0.9, ()))


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
