"""A model joins from few answers: nothing that was there changes, and luck alone earns no belief."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.errors import PredictorError
from curveroute.agent.looking.looking import Looking
from curveroute.agent.predictor import Predictor, load_predictor, save_predictor
from curveroute.agent.predictor.appended import appended_covariance
from curveroute.agent.predictor.onboard import FEWEST_QUERIES, onboard
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.jury import Jury

if TYPE_CHECKING:
    from pathlib import Path

    from curveroute.agent.decide import Floats

MODELS = tuple(map(ModelId, ("red", "green", "blue", "grey")))
BUDGETS = (32, 256, None)
ARMS = tuple(Arm(model, budget) for model in MODELS for budget in BUDGETS)
NEW = tuple(Arm(ModelId("new"), budget) for budget in BUDGETS)
LEVEL = np.array([0.35, 0.5, 0.6])
LOOKING = Looking(Jury.unfitted())
TASTES = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


def queries(rows: int, seed: int) -> Floats:
    return np.asarray(np.random.default_rng(seed).normal(size=(rows, 8)) / np.sqrt(8))


def chance(x: Floats, taste: Floats) -> Floats:
    """(n, 3) of one model: what is easy for all, and what only this one likes."""
    return np.asarray(np.clip(LEVEL + 0.25 * x[:, [2]] + 0.5 * (x[:, :2] @ taste)[:, None], 0.02, 0.98))


def answers(x: Floats, taste: Floats, seed: int) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    right = chance(x, taste)
    tokens = np.round(np.exp(rng.normal([3.0, 4.5, 5.0] + 0.5 * x[:, [3]], 0.2, right.shape)))
    tokens = np.minimum(tokens, [32, 256, np.inf])
    quality = (rng.uniform(size=right.shape) < right).astype(float)
    return {"quality": quality, "output_tokens": tokens, "cost_usd": tokens * 1e-6}


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    x = queries(1200, 0)
    parts = [answers(x, taste, seed) for seed, taste in enumerate(TASTES)]
    return {"x": x, **{name: np.hstack([part[name] for part in parts]) for name in parts[0]}}


@pytest.fixture(scope="module")
def predictor(table: dict[str, Any]) -> Predictor:
    fitted = Predictor(embedder="toy").fit(**table, arms=ARMS, data_hash="abc")
    return fitted.with_looking(LOOKING)


def newcomer(rows: int, seed: int = 7, taste: tuple[float, float] = (0.7, 0.7)) -> dict[str, Any]:
    x = queries(rows, seed)
    return {"x": x, **answers(x, np.array(taste), seed + 1), "arms": NEW}


def constant(rows: int, value: float) -> dict[str, Any]:
    given_answers = newcomer(rows)
    return {**given_answers, "quality": np.full((rows, 3), value)}


# --- what was there stays ---------------------------------------------------------------------------------------------


def test_every_entry_of_the_old_arms_stays_bit_for_bit(predictor: Predictor) -> None:
    before = {name: getattr(predictor.heads_, name).tobytes() for name in ("weights", "bias", "covariance")}
    grown = onboard(predictor, **newcomer(100), others=np.full((100, 12), 0.5))
    old, new = predictor.heads_, grown.heads_
    for rows_then, rows_now in ((slice(12), slice(12)), (slice(12, 24), slice(15, 27))):
        assert new.weights[rows_now].tobytes() == old.weights[rows_then].tobytes()
        assert new.bias[rows_now].tobytes() == old.bias[rows_then].tobytes()
    assert new.covariance[:12, :12].tobytes() == old.covariance.tobytes()
    assert new.most_tokens[:12].tobytes() == old.most_tokens.tobytes()
    assert new.rising.tobytes() == old.rising.tobytes()
    assert (new.reference_cost_usd, new.arms) == (old.reference_cost_usd, (*ARMS, *NEW))
    assert {str(arm): grown.metrics_[str(arm)] for arm in ARMS} == predictor.metrics_
    assert (grown.data_hash_, grown.shrinkage_) == ("abc", predictor.shrinkage_)
    assert grown.looking_ is not None
    assert (grown.looking_.jury, grown.looking_.courses) == (LOOKING.jury, ())
    assert {name: getattr(predictor.heads_, name).tobytes() for name in before} == before
    assert predictor.arms_ == ARMS


def test_old_arms_are_predicted_as_before(predictor: Predictor) -> None:
    grown, x = onboard(predictor, **newcomer(60)), queries(40, 3)
    then, now = predictor.predict(x), grown.predict(x)
    np.testing.assert_allclose(now.quality[:, :12], then.quality, atol=1e-6)
    np.testing.assert_allclose(now.output_tokens[:, :12], then.output_tokens, rtol=1e-5)


def test_estimates_of_the_training_queries_do_not_outlive_the_old_pool(predictor: Predictor) -> None:
    grown = onboard(predictor, **newcomer(60))
    assert predictor.loo_quality_.shape[1] == 12
    assert not hasattr(grown, "loo_quality_")
    assert not hasattr(grown, "loo_tokens_")


# --- what is learned --------------------------------------------------------------------------------------------------


def error_of(grown: Predictor, taste: tuple[float, float]) -> float:
    x = queries(2000, 99)
    return float(np.square(grown.predict(x).quality[:, 12:] - chance(x, np.array(taste))).mean())


@pytest.mark.parametrize("taste", [(0.7, 0.7), (1.0, 0.0), (-0.7, 0.7)])
def test_a_planted_signal_is_learned_better_than_the_mean(predictor: Predictor, taste: tuple[float, float]) -> None:
    given_answers = newcomer(200, taste=taste)
    x = queries(2000, 99)
    mean = given_answers["quality"].mean(axis=0)
    of_mean = float(np.square(mean - chance(x, np.array(taste))).mean())
    assert error_of(onboard(predictor, **given_answers), taste) < 0.7 * of_mean


def test_the_quality_it_tells_is_what_it_predicts_on_average(predictor: Predictor) -> None:
    grown = onboard(predictor, **newcomer(100))
    told = [grown.metrics_[str(arm)]["quality"] for arm in NEW]
    np.testing.assert_allclose(grown.predict(queries(2000, 99)).quality[:, 12:].mean(axis=0), told, atol=0.02)


def test_more_answers_are_better(predictor: Predictor) -> None:
    errors = [
        np.mean([error_of(onboard(predictor, **newcomer(rows, seed)), (0.7, 0.7)) for seed in range(20, 26)])
        for rows in (25, 100, 800)
    ]
    assert errors == sorted(errors, reverse=True)


def test_a_model_like_one_that_is_there_gets_about_its_head(table: dict[str, Any], predictor: Predictor) -> None:
    rows = slice(800)
    twin = {name: table[name][rows, 3:6] for name in ("quality", "output_tokens", "cost_usd")}
    grown = onboard(predictor, table["x"][rows], **twin, arms=NEW, others=table["quality"][rows])
    x = queries(500, 5)
    quality, tokens = grown.predict(x).quality, grown.predict(x).output_tokens
    assert np.abs(quality[:, 12:] - quality[:, 3:6]).mean() < 0.04
    for new, old in ((12, 3), (13, 4), (14, 5)):
        assert np.corrcoef(quality[:, new], quality[:, old])[0, 1] > 0.9
    assert np.abs(np.log(tokens[:, 12:] / tokens[:, 3:6])).mean() < 0.05
    covariance = grown.heads_.covariance
    correlation = covariance / np.sqrt(np.outer(np.diagonal(covariance), np.diagonal(covariance)))
    assert np.diagonal(correlation[12:, 3:6]).min() > 0.8
    assert np.abs(correlation[12:, 6:9]).max() < 0.4


def test_tokens_are_learned(predictor: Predictor) -> None:
    given_answers, x = newcomer(200), queries(500, 5)
    expected = np.exp([4.5, 5.0] + 0.5 * x[:, [3]])
    tokens = onboard(predictor, **given_answers).predict(x).output_tokens[:, 13:]
    assert np.abs(np.log(tokens / expected)).mean() < 0.08


def test_the_luck_of_the_others_on_the_same_queries_is_taken_out(predictor: Predictor) -> None:
    """Answers that go along with the others' residuals: an unlucky draw of queries no longer looks like a bad model."""
    found = []
    for seed in range(12):
        given_answers = newcomer(60, seed, (0.0, 0.0))
        rng = np.random.default_rng(seed)
        luck = rng.uniform(size=(60, 1))
        level = chance(given_answers["x"], np.zeros(2))
        given_answers["quality"] = (luck < level).astype(float)
        others = (luck < predictor.predict(given_answers["x"]).quality).astype(float)
        x = queries(500, 99)
        truth = chance(x, np.zeros(2)).mean(axis=0)
        found.append(
            [
                np.square(onboard(predictor, **given_answers, others=known).predict(x).quality[:, 12:].mean(0) - truth)
                for known in (None, others)
            ]
        )
    blind, knowing = np.mean(found, axis=(0, 2))
    assert knowing < 0.5 * blind


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("rows", [FEWEST_QUERIES, 200])
@pytest.mark.parametrize("known", [np.nan, 0.5])
def test_constant_answers_are_expected_again(predictor: Predictor, value: float, rows: int, known: float) -> None:
    grown = onboard(predictor, **constant(rows, value), others=np.full((rows, 12), known))
    said = grown.predict(queries(300, 5))
    assert np.isfinite(said.quality).all()
    assert np.abs(said.quality[:, 12:].mean(axis=0) - value).max() < 0.2
    assert (grown.heads_.quality_std[12:] > 0.0).all()
    assert grown.metrics_["new@32"]["explained"] is None


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_model_beyond_all_others_is_expected_to_be(predictor: Predictor, value: float) -> None:
    said = onboard(predictor, **constant(200, value)).predict(queries(300, 5)).quality
    gap = (
        (said[:, 12:] - said[:, :12].max(axis=1, keepdims=True))
        if value
        else (said[:, :12].min(axis=1) - said[:, 12:].T)
    )
    assert (gap > 0.0).mean() > 0.9


def test_noise_is_hardly_believed(predictor: Predictor) -> None:
    rng = np.random.default_rng(0)
    believed = []
    for seed in range(10):
        given_answers = newcomer(100, seed)
        given_answers["quality"] = (rng.uniform(size=(100, 1)) < LEVEL).astype(float)
        believed.append([onboard(predictor, **given_answers).metrics_[str(arm)]["believed"] for arm in NEW])
    signal = [onboard(predictor, **newcomer(400, seed)).metrics_["new@256"]["believed"] for seed in range(10)]
    assert np.mean(believed) < 0.5 * np.mean(signal)  # type: ignore[arg-type]


def test_few_lucky_answers_are_drawn_towards_the_usual(predictor: Predictor) -> None:
    few, many = (
        onboard(predictor, **constant_share(rows)).predict(queries(300, 5)).quality[:, 14].mean() for rows in (20, 800)
    )
    assert LEVEL[2] < few < many


def constant_share(rows: int) -> dict[str, Any]:
    """Nine in ten right, whatever the query."""
    return {**newcomer(rows), "quality": np.tile((np.arange(rows) % 10 > 0)[:, None].astype(float), 3)}


# --- covariance -------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(FEWEST_QUERIES, 80),
    seed=st.integers(0, 1000),
    known=st.sampled_from(["nothing", "some", "same"]),
)
def test_covariance_stays_positive_semidefinite(predictor: Predictor, rows: int, seed: int, known: str) -> None:
    rng = np.random.default_rng(seed)
    given_answers = newcomer(rows, seed)
    others = rng.integers(0, 2, (rows, 12)).astype(float)
    if known == "same":
        others[:] = given_answers["quality"][:, [0]]
    others[rng.uniform(size=others.shape) < {"nothing": 1.0, "some": 0.5, "same": 0.0}[known]] = np.nan
    covariance = onboard(predictor, **given_answers, others=others).heads_.covariance
    np.testing.assert_array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > -1e-10
    assert np.isfinite(covariance).all()


def test_errors_of_strangers_go_together_as_usual_when_nothing_is_known(predictor: Predictor) -> None:
    rng = np.random.default_rng(1)
    covariance = appended_covariance(predictor.heads_, rng.normal(0, 0.4, (100, 2)), np.full((100, 12), np.nan))
    std = np.sqrt(np.diagonal(covariance))
    correlation = covariance / np.outer(std, std)
    models = np.repeat(np.arange(4), 3)
    usual = correlation[:12, :12][models[:, None] != models].mean()
    np.testing.assert_allclose(correlation[12:, :12], usual, atol=1e-9)


# --- as any other predictor -------------------------------------------------------------------------------------------


def test_it_saves_and_loads_as_any_other(predictor: Predictor, tmp_path: Path) -> None:
    grown = onboard(predictor, **newcomer(50))
    loaded = load_predictor(save_predictor(grown, tmp_path / "grown"))
    for name in ("weights", "bias", "covariance", "most_tokens", "rising"):
        assert getattr(loaded.heads_, name).tobytes() == getattr(grown.heads_, name).tobytes()
    assert (loaded.arms_, loaded.metrics_, loaded.shrinkage_) == (grown.arms_, grown.metrics_, grown.shrinkage_)
    assert loaded.metrics_["new@32"]["queries"] == 50.0


def test_a_loaded_predictor_takes_a_model_and_then_another(predictor: Predictor, tmp_path: Path) -> None:
    loaded = load_predictor(save_predictor(predictor, tmp_path / "old"))
    once, direct = onboard(loaded, **newcomer(50)), onboard(predictor, **newcomer(50))
    assert once.heads_.weights.tobytes() == direct.heads_.weights.tobytes()
    other = tuple(Arm(ModelId("other"), budget) for budget in BUDGETS)
    twice = onboard(once, **{**newcomer(80, 3), "arms": other})
    assert twice.arms_ == (*ARMS, *NEW, *other)
    assert twice.heads_.weights[:15].tobytes() == once.heads_.weights[:15].tobytes()


def test_budgets_in_between_are_interpolated(predictor: Predictor) -> None:
    grown, x = onboard(predictor, **newcomer(100)), queries(5, 5)
    model = NEW[0].model
    low, middle, high, _ = grown.for_arms(
        [Arm(model, 32), Arm(model, 144), Arm(model, 256), Arm(MODELS[0], None)]
    ).bias[:4]
    assert middle == pytest.approx((low + high) / 2, abs=1e-6)
    assert grown.for_arms([Arm(model, 999)]).predict(x).quality.shape == (5, 1)


def test_a_single_arm_of_a_budget_nobody_has_joins(predictor: Predictor) -> None:
    given_answers = newcomer(60)
    one = {name: given_answers[name][:, 1:2] for name in ("quality", "output_tokens", "cost_usd")}
    grown = onboard(predictor, given_answers["x"], **one, arms=[Arm(ModelId("new"), 77)])
    assert grown.heads_.most_tokens[12] >= 77


def test_queries_with_a_gap_are_left_out(predictor: Predictor) -> None:
    given_answers = newcomer(60)
    gaps = {**given_answers, "quality": given_answers["quality"].copy()}
    gaps["quality"][40:, 1] = np.nan
    whole = {name: value if name == "arms" else value[:40] for name, value in given_answers.items()}
    one, other = onboard(predictor, **gaps), onboard(predictor, **whole)
    assert one.heads_.weights.tobytes() == other.heads_.weights.tobytes()
    assert one.metrics_["new@32"]["queries"] == 40.0


# --- what cannot be added ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"arms": ARMS[:3]}, "already knows model 'red': to replace what it knows, train again"),
        ({"arms": (*NEW[:2], Arm(ModelId("else"), 32))}, r"2 models \(else, new\): onboard one at a time"),
        ({"arms": ()}, r"0 models \(none\)"),
        ({"arms": NEW[:2]}, "do not fit 2 arms"),
        ({"x": np.zeros((60, 3))}, "do not fit a predictor of 8 dimensions"),
        ({"x": np.full((60, 8), np.nan)}, "an embedding holds NaN"),
        ({"quality": np.full((60, 3), 1.5)}, "quality goes from 1.5"),
        ({"quality": np.full((60, 3), np.nan)}, "no answer to learn from"),
        ({"output_tokens": np.full((60, 3), np.nan)}, "output_tokens goes from nan"),
        ({"cost_usd": np.full((60, 3), -1.0)}, "cost_usd goes from -1"),
        ({"others": np.zeros((60, 3))}, "give 60 rows of 12 values"),
        ({"others": np.full((60, 12), 2.0)}, r"values in \[0, 1\]"),
    ],
)
def test_what_does_not_fit_is_refused(predictor: Predictor, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PredictorError, match=complaint):
        onboard(predictor, **{**newcomer(60), **changes})


def test_too_few_answers_are_refused(predictor: Predictor) -> None:
    with pytest.raises(PredictorError, match="has 19 queries that all its 3 arms answered, and needs 20"):
        onboard(predictor, **newcomer(FEWEST_QUERIES - 1))


def test_a_predictor_without_mean_qualities_is_refused(predictor: Predictor) -> None:
    bare = predictor.with_looking(None)
    bare.metrics_ = {}
    with pytest.raises(PredictorError, match="lack the mean quality of red@32"):
        onboard(bare, **newcomer(60))
