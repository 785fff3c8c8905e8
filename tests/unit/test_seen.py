"""What is seen of answers beside each other, and what a jury makes of it before and after it was fitted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given as having
from hypothesis import settings
from hypothesis import strategies as st

from curveroute.agent.errors import PredictorError
from curveroute.agent.types import ModelId
from curveroute.agent.verify.jury import ROWS, Jury, given
from curveroute.agent.verify.seen import (
    ANSWER_FEATURES,
    CLAIM_FEATURES,
    Seen,
    features_of,
    log_odds,
    numbered,
    surprise,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MODELS = tuple(map(ModelId, "abcd"))
PROPERTY = settings(max_examples=50, deadline=None)


def seen_of(claim: Any, model: Any, quality: Any = 0.5, *, chance: float = 3.0, **changes: Any) -> Seen:
    """Rows of answers: claims by number (-1: none), models by place, expected qualities."""
    claims = np.atleast_2d(np.asarray(claim, dtype=np.intp))
    nothing = np.zeros(claims.shape, dtype=np.float32)
    plain = Seen(
        claim=claims,
        asked=np.ones(claims.shape, dtype=np.bool_),
        model=np.broadcast_to(np.asarray(model, dtype=np.intp), claims.shape),
        prior=log_odds(np.broadcast_to(np.asarray(quality, dtype=float), claims.shape)),
        length=nothing,
        cut=nothing,
        malformed=nothing,
        confidence=nothing,
        chance=np.full(len(claims), chance, dtype=np.float32),
        models=MODELS,
    )
    return replace(plain, **changes)


def random_jury(seed: int, hidden: int = 4, models: Sequence[ModelId] = MODELS[:2]) -> Jury:
    random = np.random.default_rng(seed)
    rows, answer = len(ANSWER_FEATURES) + len(CLAIM_FEATURES), len(ANSWER_FEATURES)
    shapes = ((rows, hidden + 1), (len(models), answer, hidden + 1), (hidden,), (hidden,), (len(models),))
    return Jury(*(random.normal(0, 0.5, shape).astype(np.float32) for shape in shapes), tuple(models))


@st.composite
def rows(draw: Any, count: int = 3) -> Seen:
    random, width = np.random.default_rng(draw(st.integers(0, 10_000))), draw(st.integers(1, 5))
    shape = (count, width)
    asked = random.random(shape) < 0.8
    asked[:, 0] = True
    traits = {name: random.normal(size=shape).astype(np.float32) for name in ("prior", "length", "confidence")}
    flags = {name: (random.random(shape) < 0.3).astype(np.float32) for name in ("cut", "malformed")}
    return seen_of(random.integers(-1, 3, shape), random.integers(0, 4, shape), asked=asked, **traits, **flags)


juries = st.one_of(st.just(Jury.unfitted()), st.integers(0, 1000).map(random_jury))


def scores(jury: Jury, seen: Seen) -> Any:
    """(n, J) probability of what each answer claims, 0 where it claims nothing."""
    odds, number = jury.probabilities(seen)
    return np.where(number >= 0, np.take_along_axis(odds, np.maximum(number, 0), axis=1), 0.0)


def one(claim: Sequence[int], model: Sequence[int], quality: Any = 0.5, **changes: Any) -> Any:
    """Of one row by an unfitted jury."""
    return scores(Jury.unfitted(), seen_of(claim, model, quality, **changes))[0]


# --- what is seen ----------------------------------------------------------------------------------------------------


@PROPERTY
@having(st.lists(st.lists(st.integers(-1, 3), min_size=4, max_size=4), min_size=1, max_size=5), st.integers(0, 15))
def test_claims_are_numbered_by_their_first_appearance(claims: list[list[int]], mask: int) -> None:
    there = [bool(mask >> place & 1) for place in range(4)]
    found = numbered(np.array(claims), np.tile(there, (len(claims), 1))).tolist()
    for row, numbers in zip(claims, found, strict=True):
        known: dict[int, int] = {}
        speaks = [asked and claim >= 0 for claim, asked in zip(row, there, strict=True)]
        expected = [known.setdefault(claim, len(known)) if ok else -1 for claim, ok in zip(row, speaks, strict=True)]
        assert numbers == expected


def test_every_answer_counts_for_the_inverse_of_its_models_number() -> None:
    features = features_of(seen_of([0, 0, 0, 1], [0, 0, 1, 0]))
    agrees = features.answers[0, :, :, ANSWER_FEATURES.index("agrees")]
    np.testing.assert_allclose(agrees[:, 0], [1 / 3, 1 / 3, 1.0, 0.0])
    np.testing.assert_allclose(agrees[:, 1], [0.0, 0.0, 0.0, 1 / 3])
    voices = features.claims[0, :, CLAIM_FEATURES.index("models")]
    np.testing.assert_allclose(voices, [5 / 3, 1 / 3, 0.0, 0.0, 0.0], atol=1e-6)
    assert features.present[0].tolist() == [True, True, False, False, True]


def test_who_claims_nothing_speaks_for_none_alone() -> None:
    features = features_of(seen_of([0, -1], [0, 1]))
    assert features.number.tolist() == [[0, -1]]
    silent = features.answers[0, :, :, ANSWER_FEATURES.index("silent")]
    assert silent.tolist() == [[0, 0, 0], [0, 0, 1]]
    others = [place for place, name in enumerate(ANSWER_FEATURES) if name != "silent"]
    assert not features.answers[0, 1][:, others].any()


@PROPERTY
@having(rows())
def test_an_answer_that_was_not_asked_is_not_there(seen: Seen) -> None:
    other = replace(seen, **{
        name: np.where(seen.asked, getattr(seen, name), 1.0).astype(np.float32)
        for name in ("prior", "length", "cut", "malformed", "confidence")
    })  # fmt: skip
    features, same = features_of(seen), features_of(other)
    for name in ("answers", "present", "number"):
        np.testing.assert_array_equal(getattr(features, name), getattr(same, name))


@PROPERTY
@having(st.floats(0, 1))
def test_log_odds_are_finite_and_odd(share: float) -> None:
    assert abs(float(log_odds(np.array(share)))) < 4
    assert float(log_odds(np.array(share))) == pytest.approx(-float(log_odds(np.array(1 - share))), abs=1e-5)


@PROPERTY
@having(st.floats(0, 1e6), st.floats(0, 1e6))
def test_surprise_is_bounded_and_grows_with_the_answer(used: float, expected: float) -> None:
    found = float(surprise(np.array(used), np.array(expected)))
    assert -2 <= found <= 2
    assert found <= float(surprise(np.array(used + 10), np.array(expected)))
    assert (found > 0) == (np.float32(found) > 0 and used > expected) or abs(used - expected) < 1e-3


def test_rows_columns_and_picks_are_those_of_every_array() -> None:
    seen = seen_of([[0, 1, 2], [2, -1, 0]], [0, 1, 2], [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    assert seen.rows(np.array([1])).claim.tolist() == [[2, -1, 0]]
    assert len(seen.rows(np.array([True, False]))) == 1
    assert seen.columns(np.array([2, 0])).model.tolist() == [[2, 0], [2, 0]]
    picked = seen.pick(np.array([[2, 0], [1, 1]]), np.array([[True, False], [True, True]]))
    assert picked.claim.tolist() == [[2, 0], [-1, -1]]
    assert picked.asked.tolist() == [[True, False], [True, True]]
    assert picked.chance.shape == (2,)


# --- any jury --------------------------------------------------------------------------------------------------------


@PROPERTY
@having(rows(), juries)
def test_probabilities_sum_to_one_and_nobodys_claim_has_none(seen: Seen, jury: Jury) -> None:
    odds, number = jury.probabilities(seen)
    assert odds.shape == (3, seen.claim.shape[1] + 1)
    np.testing.assert_allclose(odds.sum(axis=1), 1.0, rtol=1e-5)
    assert (odds >= 0).all()
    for row in range(3):
        made = {claim for claim in number[row].tolist() if claim >= 0}
        assert {claim for claim in range(odds.shape[1] - 1) if odds[row, claim] > 0} <= made


@PROPERTY
@having(rows(), juries, st.randoms(use_true_random=False))
def test_the_order_of_the_answers_does_not_matter(seen: Seen, jury: Jury, random: Any) -> None:
    order = list(range(seen.claim.shape[1]))
    random.shuffle(order)
    found = scores(jury, seen.columns(np.array(order)))
    np.testing.assert_allclose(found, scores(jury, seen)[:, order], atol=1e-5)


@PROPERTY
@having(rows(), juries)
def test_the_names_of_claims_do_not_matter(seen: Seen, jury: Jury) -> None:
    renamed = replace(seen, claim=np.where(seen.claim >= 0, 7 * (5 - seen.claim), -1))
    np.testing.assert_array_equal(scores(jury, renamed), scores(jury, seen))


@PROPERTY
@having(rows(), st.integers(0, 100))
def test_a_model_it_does_not_know_is_weighed_by_what_all_share(seen: Seen, seed: int) -> None:
    jury = random_jury(seed)
    strangers = replace(seen, models=tuple(map(ModelId, "wxyz")))
    shared = replace(jury, own=np.zeros_like(jury.own))
    np.testing.assert_allclose(scores(jury, strangers), scores(shared, seen), atol=1e-6)
    half = replace(seen, models=(MODELS[0], *map(ModelId, "xyz")))
    alone = replace(jury, own=jury.own * np.array([1.0, 0.0], dtype=np.float32)[:, None, None])
    np.testing.assert_allclose(scores(jury, half), scores(alone, seen), atol=1e-6)


@PROPERTY
@having(rows())
def test_models_may_stand_in_any_order(seen: Seen) -> None:
    jury, order = random_jury(3, models=MODELS), [2, 0, 3, 1]
    other = replace(jury, own=jury.own[order], models=tuple(MODELS[place] for place in order))
    np.testing.assert_allclose(scores(jury, seen), scores(other, seen), atol=1e-6)


def test_very_many_rows_are_judged_as_few_are() -> None:
    seen = seen_of(np.tile([0, 1, 0], (ROWS + 5, 1)), [0, 1, 2], [0.3, 0.6, 0.8])
    odds, number = Jury.unfitted().probabilities(seen)
    assert odds.shape == (ROWS + 5, 4)
    assert number.shape == (ROWS + 5, 3)
    assert np.ptp(odds, axis=0).max() == 0.0
    assert Jury.unfitted().probabilities(seen.rows(np.arange(0)))[0].shape == (0, 4)


def test_the_answer_given_makes_the_likeliest_claim_and_was_expected_to_be_best_of_those() -> None:
    seen = seen_of(
        [[0, 1, 1], [0, -1, -1], [-1, -1, -1]], [0, 1, 2], [[0.9, 0.3, 0.4], [0.1, 0.9, 0.9], [0.2, 0.3, 0.1]]
    )
    odds = np.array([[0.2, 0.7, 0, 0.1], [0.1, 0, 0, 0.9], [0, 0, 0, 1]], dtype=np.float32)
    assert given(odds, numbered(seen.claim, seen.asked), seen).tolist() == [2, 0, 1]


@PROPERTY
@having(st.permutations(range(4)))
def test_of_equally_likely_claims_the_better_expected_answer_is_given_in_whatever_order_they_came(order: Any) -> None:
    quality = np.array([0.3, 0.9, 0.5, 0.8])[order]
    seen = seen_of([np.array([0, 1, 0, -1])[order]], [0, 1, 2, 3], [quality])
    odds = np.array([[0.4, 0.4, 0, 0, 0.2]], dtype=np.float32)
    assert quality[given(odds, numbered(seen.claim, seen.asked), seen)].tolist() == [0.9]


# --- without recorded answers ----------------------------------------------------------------------------------------


@PROPERTY
@having(st.floats(0.05, 0.95))
def test_an_only_answer_is_as_likely_as_its_arm_was_expected_to_be_right(quality: float) -> None:
    assert one([0], [0], quality)[0] == pytest.approx(quality, abs=1e-5)


@PROPERTY
@having(st.floats(0.5, 0.95), st.floats(0.5, 0.95), st.floats(1.05, 3.0))
def test_two_models_that_agree_say_more_than_two_answers_of_one(first: float, second: float, chance: float) -> None:
    both = one([0, 0], [0, 1], [first, second], chance=chance)[0]
    for quality in (first, second):
        twice = one([0, 0], [0, 0], quality, chance=chance)[0]
        assert twice >= one([0], [0], quality, chance=chance)[0]
        assert both > twice or twice == pytest.approx(both, abs=1e-6)


def test_on_yes_or_no_too() -> None:
    assert one([0, 0], [0, 1], 0.5, chance=0.2)[0] > one([0, 0], [0, 0], 0.5, chance=0.2)[0]


@PROPERTY
@having(st.floats(0.28, 0.95), st.floats(0.28, 0.95))
def test_an_agreement_raises_a_claim(first: float, second: float) -> None:
    """To models expected right less often than that, each agreement speaks against what they say."""
    assert one([0, 0], [0, 1], [first, second])[0] > max(one([0], [0], first)[0], one([0], [0], second)[0])


@PROPERTY
@having(st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_an_answer_that_differs_lowers_a_claim(own: float, other: float) -> None:
    alone = one([0], [0], own)[0]
    assert one([0, 1], [0, 1], [own, other])[0] < alone


def test_an_agreement_on_what_many_wrong_answers_share_says_less() -> None:
    rare, common = (one([0, 0], [0, 1], 0.5, chance=chance)[0] for chance in (3.0, 0.2))
    assert rare > common > 0.5


@pytest.mark.parametrize("trait", ["cut", "malformed"])
def test_a_faulty_answer_is_less_likely(trait: str) -> None:
    plain = one([0], [0], 0.6)[0]
    assert one([0], [0], 0.6, **{trait: np.ones((1, 1), dtype=np.float32)})[0] < plain


@PROPERTY
@having(rows(count=1))
def test_refusals_claim_nothing_and_help_nobody(seen: Seen) -> None:
    """Who claims nothing has probability 0, whatever others say, and makes every claim less likely."""
    found = scores(Jury.unfitted(), seen)[0]
    silent = ~seen.asked[0] | (seen.claim[0] < 0)
    assert (found[silent] == 0.0).all()
    assert (found[~silent] > 0.0).all()
    width = seen.claim.shape[1]
    refusing = np.append(np.arange(width), 0)
    more = replace(
        seen.columns(refusing),
        claim=np.append(seen.claim, [[-1]], axis=1),
        asked=np.append(seen.asked, [[True]], axis=1),
        model=np.append(seen.model, [[3 if (seen.model[0] != 3).all() else 0]], axis=1),
    )
    assert (scores(Jury.unfitted(), more)[0, :width] <= found + 1e-6).all()


@PROPERTY
@having(st.lists(st.floats(0.1, 0.95), min_size=1, max_size=3), st.floats(0.5, 0.97), st.floats(0.0, 6.0))
def test_weaker_models_never_outvote_a_strong_one_unfitted(weak: list[float], strong: float, chance: float) -> None:
    """However many there are, and however rarely wrong answers agree: nothing recorded says that it would pay."""
    weak = [min(one, strong - 0.06) for one in weak]
    found = one([*[0] * len(weak), 1], range(len(weak) + 1), [*weak, strong], chance=chance)
    assert found[0] < found[len(weak)]


def test_contradicted_by_many_a_strong_answer_is_unsure_and_is_given() -> None:
    alone, found = one([1], [3], [0.9]), one([0, 0, 0, 1], [0, 1, 2, 3], [0.6, 0.6, 0.6, 0.9])
    assert found[0] < found[3] < 0.5 < alone[0]


def test_models_about_as_strong_outvote_another_unfitted() -> None:
    found = one([0, 0, 1], [0, 1, 2], [0.72, 0.73, 0.75])
    assert found[0] > found[2]


def test_a_strong_model_that_was_cut_off_stands_in_nobodys_way() -> None:
    found = one([0, 0, 1], [0, 1, 2], [0.6, 0.6, 0.9], cut=np.array([[0, 0, 1]], dtype=np.float32))
    assert found[0] > found[2]


def test_what_says_nothing_lowers_no_other_answer_unfitted() -> None:
    """An answer that was cut off before it claimed anything speaks of its budget, an empty one of its model."""
    alone, beside = one([0], [0], [0.7]), one([0, -1], [0, 1], [0.7, 0.8], cut=np.array([[0, 1]], dtype=np.float32))
    assert beside[0] == pytest.approx(alone[0])


# --- as data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jury", [Jury.unfitted(), random_jury(1), random_jury(2, hidden=0, models=MODELS)])
def test_a_jury_comes_back_from_its_tensors_bit_for_bit(jury: Jury) -> None:
    back = Jury.from_tensors(jury.to_tensors(), jury.models)
    assert back.models == jury.models
    for name, tensor in jury.to_tensors().items():
        assert back.to_tensors()[name].tobytes() == tensor.tobytes()
        assert back.to_tensors()[name].dtype == np.float32


@pytest.mark.parametrize("name", ["shared", "own", "bias", "out"])
@pytest.mark.parametrize("damage", ["missing", "narrow", "nan", "infinite"])
def test_damaged_tensors_are_refused_by_name(name: str, damage: str) -> None:
    tensors = dict(random_jury(1).to_tensors())
    if damage == "missing":
        del tensors[name]
    elif damage == "narrow":
        tensors[name] = tensors[name][:-1]
    else:
        tensors[name] = np.full_like(tensors[name], np.nan if damage == "nan" else np.inf)
    with pytest.raises(PredictorError, match=r"the jury's .*train the predictor again"):
        Jury.from_tensors(tensors, MODELS[:2])


def test_tensors_of_other_models_are_refused() -> None:
    with pytest.raises(PredictorError, match="the jury's own"):
        Jury.from_tensors(random_jury(1).to_tensors(), MODELS)
