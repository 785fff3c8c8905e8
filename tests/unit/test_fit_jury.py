"""A jury learns from recorded answers whose vote counts, and how far agreement is to be believed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.types import ModelId
from curveroute.agent.verify.fit_jury import MOST, Diet, fit_jury, targets
from curveroute.agent.verify.jury import Jury
from curveroute.agent.verify.seen import Seen, features_of, log_odds

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORT = Diet(hidden=8, steps=150)
MODELS = tuple(map(ModelId, ("good", "bad", "fair")))
ALONE = np.arange(3)


@dataclass(frozen=True)
class World:
    seen: Seen
    quality: NDArray[np.float32]


def world(rates: tuple[float, ...] = (0.9, 0.1, 0.6), rows: int = 1200, seed: int = 0, **changes: Any) -> World:
    """Models that are right this often, whatever is expected of them; two that are wrong seldom agree."""
    random = np.random.default_rng(seed)
    right = random.random((rows, len(rates))) < np.array(rates)
    claim = np.where(right, 0, random.integers(1, 12, right.shape))
    nothing = np.zeros(right.shape, dtype=np.float32)
    plain = Seen(
        claim=claim,
        asked=np.ones(right.shape, dtype=np.bool_),
        model=np.broadcast_to(np.arange(len(rates)), right.shape),
        prior=log_odds(np.full(right.shape, 0.5)),
        length=nothing,
        cut=nothing,
        malformed=nothing,
        confidence=nothing,
        chance=np.full(rows, 3.0, dtype=np.float32),
        models=MODELS[: len(rates)],
    )
    return World(replace(plain, **changes), right.astype(np.float32))


@pytest.fixture(scope="module")
def fitted() -> Jury:
    return fit_jury(world().seen, world().quality, ALONE, SHORT)


def said(jury: Jury, claim: list[int], columns: list[int]) -> list[float]:
    """The probability of what each of these models' answers claims, once."""
    few = world(rows=1).seen.columns(np.array(columns))
    odds, number = jury.probabilities(replace(few, claim=np.array([claim])))
    return [float(odds[0, place]) for place in number[0].tolist()]


def test_an_unreliable_models_vote_counts_less(fitted: Jury) -> None:
    good, bad = said(fitted, [0, 1], [0, 1])
    assert good > 0.7
    assert bad < 0.3
    assert said(fitted, [0], [0])[0] == pytest.approx(0.9, abs=0.1)
    assert said(fitted, [0], [1])[0] == pytest.approx(0.1, abs=0.1)
    first, second = said(Jury.unfitted(), [0, 1], [0, 1])
    assert first == pytest.approx(second), "before, they were alike"


def test_an_unreliable_model_is_outvoted_and_does_not_outvote(fitted: Jury) -> None:
    alone = said(fitted, [0], [0])[0]
    assert said(fitted, [0, 0, 1], [0, 2, 1])[0] > alone
    assert said(fitted, [0, 1, 1], [0, 1, 2])[0] < alone


def test_what_it_says_of_new_answers_comes_true(fitted: Jury) -> None:
    new = world(seed=9)
    odds, number = fitted.probabilities(new.seen)
    score = np.take_along_axis(odds, np.maximum(number, 0), axis=1)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (score >= low) & (score < low + 0.2)
        if inside.sum() > 100:
            assert score[inside].mean() == pytest.approx(new.quality[inside].mean(), abs=0.12)
    before, number = Jury.unfitted().probabilities(new.seen)
    plain = np.take_along_axis(before, np.maximum(number, 0), axis=1)
    assert np.square(score - new.quality).mean() < 0.6 * np.square(plain - new.quality).mean()


def test_two_models_that_agree_count_for_more_than_two_answers_of_one() -> None:
    """Three models alike, each asked twice: it says the same again, mistakes too, two times in three."""
    one, random = world((0.6, 0.6, 0.6)), np.random.default_rng(5)
    other = world((0.6, 0.6, 0.6), seed=3)
    again = np.where(random.random(one.seen.claim.shape) < 0.67, one.seen.claim, other.seen.claim)
    wide = {
        name: np.concatenate([getattr(one.seen, name)] * 2, axis=1)
        for name in ("asked", "model", "prior", "length", "cut", "malformed", "confidence")
    }
    claim = np.concatenate((one.seen.claim, again), axis=1)
    jury = fit_jury(
        replace(one.seen, claim=claim, **wide), (claim == 0).astype(np.float32), np.array([0, 1, 2, 0, 1, 2]), SHORT
    )
    alone, both, twice = said(jury, [0], [0])[0], said(jury, [0, 0], [0, 1])[0], said(jury, [0, 0], [0, 0])[0]
    assert alone < twice < both - 0.05


def test_a_confidence_that_nobody_told_is_as_usual_and_agreement_counts_all_the_same() -> None:
    """All are sure, and a little surer where they are right: of an answer that tells nothing neither is believed."""
    plain, random = world((0.6, 0.6, 0.6)), np.random.default_rng(6)
    sure = (random.normal(2.0, 0.5, plain.quality.shape) + 0.8 * plain.quality).astype(np.float32)
    jury = fit_jury(replace(plain.seen, confidence=sure), plain.quality, ALONE, SHORT)
    assert jury.usual == pytest.approx(sure.mean(axis=0), abs=1e-3)

    def told(columns: list[int], confidence: float) -> float:
        few = world(rows=1).seen.columns(np.array(columns))
        claim = np.zeros((1, len(columns)), dtype=np.intp)
        known = np.full(claim.shape, confidence, dtype=np.float32)
        odds, _ = jury.probabilities(replace(few, claim=claim, confidence=known))
        return float(odds[0, 0])

    assert told([0], 1.5) < told([0], np.nan) < told([0], 3.5)
    assert told([0], np.nan) == pytest.approx(0.6, abs=0.1)
    assert told([0], np.nan) < told([0, 1], np.nan), "two that agree are righter than one"
    gaps = np.where(random.random(sure.shape) < 0.5, np.float32(np.nan), sure)
    holed = fit_jury(replace(plain.seen, confidence=gaps), plain.quality, ALONE, SHORT)
    assert np.isfinite(holed.probabilities(plain.seen)[0]).all()


def test_an_agreement_of_models_that_err_together_is_not_believed() -> None:
    """Models 1 and 2 say the same always, and are right half of the time."""
    one = world((0.6, 0.5, 0.5))
    claim, quality = one.seen.claim.copy(), one.quality.copy()
    claim[:, 2], quality[:, 2] = claim[:, 1], quality[:, 1]
    jury = fit_jury(replace(one.seen, claim=claim), quality, ALONE, SHORT)
    apart = fit_jury(one.seen, one.quality, ALONE, SHORT)
    assert said(jury, [0, 0], [1, 2])[0] == pytest.approx(0.5, abs=0.12)
    assert said(apart, [0, 0], [1, 2])[0] > 0.75


def test_the_same_seed_gives_the_same_jury_to_the_bit_and_another_another() -> None:
    one, diet = world(rows=200), Diet(hidden=4, steps=20)
    first, second, other = (fit_jury(one.seen, one.quality, ALONE, replace(diet, seed=seed)) for seed in (1, 1, 2))
    for name, tensor in first.to_tensors().items():
        assert second.to_tensors()[name].tobytes() == tensor.tobytes()
    assert any(other.to_tensors()[name].tobytes() != tensor.tobytes() for name, tensor in first.to_tensors().items())
    assert first.models == MODELS


def test_gaps_and_wide_tables_are_no_obstacle() -> None:
    one = world((0.9, 0.6, 0.4) * 3, rows=60)
    asked = np.random.default_rng(1).random(one.seen.asked.shape) < 0.4
    asked[:, 0] = True
    seen = replace(one.seen, asked=asked, models=tuple(ModelId(f"m{place}") for place in range(9)))
    jury = fit_jury(seen, np.where(asked, one.quality, 0.0).astype(np.float32), np.arange(9), Diet(4, 10))
    assert len(jury.models) == 9 > MOST
    odds, _ = jury.probabilities(seen)
    assert np.isfinite(odds).all()
    np.testing.assert_allclose(odds.sum(axis=1), 1.0, rtol=1e-5)


def test_penalties_hold_weights_back() -> None:
    one, diet = world(rows=200), Diet(hidden=4, steps=60)
    free, held = (fit_jury(one.seen, one.quality, ALONE, replace(diet, ridge_own=penalty)) for penalty in (0.1, 1000.0))
    assert np.abs(held.own).mean() < 0.5 * np.abs(free.own).mean()


def test_the_target_is_how_right_each_claim_is_and_none_as_far_as_none_is() -> None:
    seen = world(rows=1).seen
    for claim, quality, expected in (
        ([0, 1, 1], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]),
        ([0, 1, 1], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]),
        ([0, 1, 1], [0.0, 0.25, 0.75], [0.0, 0.75, 0.0, 0.25]),
        ([0, 1, -1], [1.0, 1.0, 1.0], [0.5, 0.5, 0.0, 0.0]),
        ([-1, -1, -1], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]),
    ):
        features = features_of(replace(seen, claim=np.array([claim])))
        assert targets(features, np.array([quality], dtype=np.float32))[0].tolist() == pytest.approx(expected)
