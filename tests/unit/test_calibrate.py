"""The calibrator: from signals to a probability that can be taken at its word."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import PredictorError
from curveroute.agent.verify.calibrate import Calibrator, fit_calibrator
from curveroute.agent.verify.signals import Signals, log_odds

UNFITTED = Calibrator.unfitted()
GOOD = ("prior", "agree_other", "agree_same", "judged")
BAD = ("truncated", "malformed", "refused", "disagree_other", "disagree_same")


def examples(count: int = 4000, seed: int = 0) -> tuple[list[Signals], list[float]]:
    """Answers whose log-odds of being right are prior + 2 agree - 2 disagree - 3 truncated."""
    rng = np.random.default_rng(seed)
    signals, right = [], []
    for _ in range(count):
        prior = log_odds(float(rng.uniform(0.2, 0.8)))
        kind = int(rng.integers(0, 4))
        signal = Signals(prior=prior, agree_other=kind == 1, disagree_other=kind == 2, truncated=kind == 3)
        chance = prior + 2 * signal.agree_other - 2 * signal.disagree_other - 3 * signal.truncated
        signals.append(signal)
        right.append(float(rng.random() < 1 / (1 + math.exp(-chance))))
    return signals, right


@given(st.lists(st.floats(-50, 50), min_size=10, max_size=10))
def test_a_probability_is_one(values: list[float]) -> None:
    assert 0 < UNFITTED.probability(Signals(*values)) < 1


@given(st.floats(0.05, 0.95))
def test_without_signals_the_prior_stands(prior: float) -> None:
    assert UNFITTED.probability(Signals(prior=log_odds(prior))) == pytest.approx(prior)


@pytest.mark.parametrize("name", GOOD + BAD)
def test_unfitted_every_signal_points_the_usual_way(name: str) -> None:
    moved = UNFITTED.probability(Signals()._replace(**{name: 1.0}))
    assert (moved > 0.5) == (name in GOOD)
    assert moved != 0.5


def test_fitting_finds_how_much_each_signal_says() -> None:
    fitted = fit_calibrator(*examples())
    assert fitted.weights["prior"] == pytest.approx(1, abs=0.15)
    assert fitted.weights["agree_other"] == pytest.approx(2, abs=0.35)
    assert fitted.weights["disagree_other"] == pytest.approx(-2, abs=0.35)
    assert fitted.weights["truncated"] == pytest.approx(-3, abs=0.5)


def test_what_it_says_can_be_taken_at_its_word() -> None:
    """In ten bins of new answers, as many are right as it says."""
    fitted = fit_calibrator(*examples())
    signals, right = examples(seed=1)
    said = np.array([fitted.probability(one) for one in signals])
    edges = np.quantile(said, np.linspace(0, 1, 11))
    for low, high in pairwise(edges):
        inside = (said >= low) & (said <= high)
        assert abs(said[inside].mean() - np.array(right)[inside].mean()) < 0.08


def test_a_signal_that_never_varies_keeps_its_usual_weight() -> None:
    fitted = fit_calibrator(*examples(200))
    for name in ("judged", "confidence", "refused", "agree_same"):
        assert fitted.weights[name] == UNFITTED.weights[name]


def test_reliability_is_the_share_of_doubt_that_looking_takes_away() -> None:
    signals, right = examples()
    measured = fit_calibrator(signals, right).reliability
    assert measured is not None
    assert 0.1 < measured < 0.9
    rng = np.random.default_rng(2)
    lucky = [float(rng.random() < 1 / (1 + math.exp(-one.prior))) for one in signals]
    blind = fit_calibrator([Signals(prior=one.prior) for one in signals], lucky).reliability
    assert blind == pytest.approx(0, abs=0.02)
    sure = fit_calibrator([Signals(agree_other=value) for value in right], right).reliability
    assert sure is not None
    assert sure > 0.95


def test_qualities_between_right_and_wrong_are_learned_from_too() -> None:
    fitted = fit_calibrator([Signals(agree_other=1.0)] * 50 + [Signals()] * 50, [0.75] * 50 + [0.25] * 50)
    assert fitted.probability(Signals(agree_other=1.0)) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("right", [[], [1.0, 1.0], [0.0, 0.0, 0.0]])
def test_nothing_is_learned_from_one_kind_of_answer(right: list[float]) -> None:
    with pytest.raises(PredictorError, match="needs right and wrong answers"):
        fit_calibrator([Signals()] * len(right), right)


def test_weights_survive_being_stored() -> None:
    fitted = fit_calibrator(*examples(300))
    assert Calibrator.from_weights(fitted.to_weights()) == fitted
    assert Calibrator.from_weights(UNFITTED.to_weights()) == UNFITTED


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"charm": 1.0}, "unknown signal.* charm"),
        ({"prior": math.nan}, "not finite"),
        ({"prior": math.inf}, "not finite"),
        ({"reliability": math.nan}, "reliability is nan"),
        ({"reliability": 1.5}, "outside 0 to 1"),
    ],
)
def test_damaged_weights_are_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(PredictorError, match=match):
        Calibrator.from_weights({**UNFITTED.to_weights(), **change})
