from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from sklearn.isotonic import IsotonicRegression

from curveroute.agent.errors import PredictorError
from curveroute.agent.looking.course import BASE, Course
from curveroute.agent.looking.keep import looking_document, looking_tensors
from curveroute.agent.looking.looking import Looking
from curveroute.agent.looking.recorded import Slot
from curveroute.agent.predictor import CurveHeads, Predictor, load_predictor, save_predictor
from curveroute.agent.predictor.ridge import RidgePath
from curveroute.agent.predictor.rising import NO_MAP, fit_rising, pooled, rise
from curveroute.agent.predictor.squash import squash
from curveroute.agent.types import Arm, ModelId, PredictorOrigin
from curveroute.agent.verify.jury import Jury

SMALL, LARGE = ModelId("small"), ModelId("large")
ARMS = tuple(Arm(model, budget) for model in (SMALL, LARGE) for budget in (16, 64, 256))
PRICES = np.repeat([0.2, 2.0], 3)


def table(seed: int = 0, rows: int = 160, signal: float = 0.4) -> dict[str, Any]:
    """Recorded answers in which some queries are easy, and each model is good at its own half of space."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    taste = np.repeat([[1.0], [-1.0]], 3, axis=0) * x[:, 0] * 1.6
    chance = np.tile([0.3, 0.45, 0.6], 2)[:, None] + signal * (taste + x[:, 1])
    quality = (rng.uniform(size=chance.T.shape) < chance.T).astype(float)
    budgets = np.array([arm.budget for arm in ARMS], dtype=float)
    tokens = np.minimum(np.round(np.exp(rng.normal(np.log(0.6 * budgets), 0.5, (rows, 6))) + 1), budgets)
    return {
        "x": x,
        "quality": quality,
        "output_tokens": tokens,
        "cost_usd": (tokens * PRICES + 40 * 0.1) * 1e-6,
        "arms": ARMS,
        "output_price": PRICES,
    }


def fitted(**changes: Any) -> Predictor:
    given_table = {**table(), **changes}
    return Predictor(embedder="toy").fit(data_hash="abc", **given_table)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return fitted().with_looking(learned())


def learned(seed: int = 0) -> Looking:
    """Something that looks like what looking taught."""
    random = np.random.default_rng(seed)
    slots = (Slot(ARMS[0]), Slot(ARMS[3]), Slot(ARMS[0], 1))
    values = random.normal(size=(2, 8, BASE + 3, 4)).astype(np.float32)
    courses = tuple(Course(slots, weight, one) for weight, one in zip((0.1, 1.0), values, strict=True))
    return Looking(Jury.unfitted(), courses, 0.25)


def stored(looking: Looking | None) -> Any:
    """All that is kept of it, to the bit."""
    tensors = looking_tensors(looking)
    return looking_document(looking), {name: tensors[name].tobytes() for name in tensors}


# --- ridge -----------------------------------------------------------------------------------------------------------


def refit(x: np.ndarray, y: np.ndarray, alpha: float, at: np.ndarray) -> float:
    """Ridge with a free intercept by the normal equations; shares no code with the library."""
    centre, mean = x.mean(axis=0), y.mean()
    coef = np.linalg.solve((x - centre).T @ (x - centre) + alpha * np.eye(x.shape[1]), (x - centre).T @ (y - mean))
    return float(mean + (at - centre) @ coef)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([(12, 3), (7, 11)]), st.sampled_from([0.05, 3.0, 100.0]))
def test_leave_one_out_predictions_are_those_of_refits(seed: int, shape: tuple[int, int], alpha: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=shape), rng.normal(size=(shape[0], 3))
    y[:3, 1] = np.nan
    path = RidgePath(x, y)
    penalties = np.array([alpha, 2 * alpha, alpha])
    predictions = path.loo(penalties)
    coef, intercept = path.weights(penalties)
    for head in range(3):
        seen = ~np.isnan(y[:, head])
        for row in range(shape[0]):
            others = seen & (np.arange(shape[0]) != row)
            expected = refit(x[others], y[others, head], penalties[head] * path.scale, x[row])
            assert predictions[row, head] == pytest.approx(expected, abs=1e-8)
        whole = refit(x[seen], y[seen, head], penalties[head] * path.scale, x[0])
        assert x[0] @ coef[head] + intercept[head] == pytest.approx(whole, abs=1e-8)
    np.testing.assert_allclose(path.loo(penalties, 2), predictions[:, :2], atol=1e-12)


def test_penalties_mean_the_same_for_embeddings_of_any_length() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 2))
    np.testing.assert_allclose(RidgePath(x, y).loo(10.0), RidgePath(x * 1000, y).loo(10.0), atol=1e-10)


def test_an_infinite_penalty_leaves_the_mean_of_the_others() -> None:
    y = np.array([[0.0], [1.0], [5.0]])
    predictions = RidgePath(np.eye(3), y).loo(np.inf)
    np.testing.assert_allclose(predictions, [[3.0], [2.5], [0.5]])


def test_equal_embeddings_teach_only_the_mean() -> None:
    coef, intercept = RidgePath(np.ones((4, 3)), np.arange(4.0)[:, None]).weights(1.0)
    np.testing.assert_allclose(coef, np.zeros((1, 3)))
    np.testing.assert_allclose(intercept, [1.5])


# --- shrinkage -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 500), st.sampled_from([0.0, 0.4]))
def test_shrunk_heads_never_earn_less_than_constant_arms(seed: int, signal: float) -> None:
    """With flat costs, as here, nothing but the heads could lose."""
    made = table(seed, rows=60, signal=signal)
    made["cost_usd"] = np.broadcast_to(made["cost_usd"].mean(axis=0), made["cost_usd"].shape)
    choice = Predictor(embedder="toy").fit(**{**made, "output_price": None}).shrinkage_
    assert choice.gain >= 0.0


def test_heads_are_believed_when_they_route_well_and_not_when_they_do_not() -> None:
    assert Predictor(embedder="toy").fit(**table(3, rows=400, signal=0.5)).shrinkage_.rho > 0.0
    noise = Predictor(embedder="toy").fit(**table(3, rows=400, signal=0.0))
    quality = noise.predict(table(9)["x"]).quality
    apart = quality - quality.mean(axis=1, keepdims=True)
    assert apart.std(axis=0).max() < 0.05


def test_what_is_learned_holds_on_queries_not_seen() -> None:
    model = Predictor(embedder="toy").fit(**table(3, rows=400, signal=0.5))
    fresh = table(4, rows=400, signal=0.5)
    rows = np.arange(400)
    routed = fresh["quality"][rows, model.predict(fresh["x"]).quality.argmax(axis=1)]
    constant = fresh["quality"][:, np.argmax([one["quality"] for one in model.metrics_.values()])]
    assert routed.mean() > constant.mean() + 0.05
    assert model.shrinkage_.gain > 0.0


def test_unshrunk_heads_are_plain_ridge() -> None:
    made = table(3, rows=400, signal=0.5)
    model = Predictor(embedder="toy", alphas=(100.0,), shrunk=False, calibrated=False).fit(**made)
    assert model.shrinkage_.settings == ((100.0, 1.0),)
    assert model.shrinkage_.common_alpha == 100.0
    coef, intercept = RidgePath(made["x"], made["quality"]).weights(100.0)
    expected = squash(made["x"] @ coef.T + intercept)
    np.testing.assert_allclose(model.predict(made["x"]).quality, expected, atol=1e-5)


# --- calibration -----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=30, unique=True))
def test_squashing_keeps_order_and_stays_inside(scores: list[float]) -> None:
    squashed = squash(np.sort(scores))
    assert (np.diff(squashed) >= 0).all()
    assert ((squashed >= 0) & (squashed <= 1)).all()
    inside = np.linspace(0.02, 0.98, 7)
    np.testing.assert_array_equal(squash(inside), inside)
    near = squash(np.array([-0.02, 0.0, 0.01, 0.99, 1.0, 1.02]))
    assert (np.diff(near) > 0).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 9))
def test_pooling_gives_the_closest_rising_sequence(values: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, w = np.array(values), rng.uniform(0.5, 2.0, len(values))
    mine = pooled(y, w)
    theirs = IsotonicRegression().fit_transform(np.arange(y.size), y, sample_weight=w)
    np.testing.assert_allclose(mine, theirs, atol=1e-9)


def test_estimates_come_true_on_average_after_calibration() -> None:
    rng = np.random.default_rng(4)
    score = rng.uniform(size=20_000)
    right = (rng.uniform(size=score.size) < score**2).astype(float)
    knots = fit_rising(score, right)
    fresh = rng.uniform(0.05, 0.95, size=1000)
    assert np.abs(rise(knots, fresh) - fresh**2).max() < 0.06
    assert (np.diff(rise(knots, np.linspace(0, 1, 50))) > 0).all()
    np.testing.assert_array_equal(fit_rising(score[:900], right[:900]), NO_MAP)
    np.testing.assert_array_equal(fit_rising(np.ones(5000), np.ones(5000)), NO_MAP)


# --- the estimator ---------------------------------------------------------------------------------------------------


def test_predictions_have_the_shape_of_their_query(predictor: Predictor) -> None:
    x = table()["x"]
    one, many = predictor.predict(x[0]), predictor.predict(x)
    assert one.quality.shape == one.output_tokens.shape == one.quality_std.shape == (6,)
    assert many.quality.shape == many.output_tokens.shape == (160, 6)
    np.testing.assert_allclose(many.quality[0], one.quality, atol=1e-6)
    assert ((many.quality >= 0) & (many.quality <= 1)).all()


def test_expected_tokens_are_right_in_total_and_never_beyond_a_kept_budget(predictor: Predictor) -> None:
    made = table()
    tokens = predictor.predict(made["x"]).output_tokens
    np.testing.assert_allclose(tokens.mean(axis=0), made["output_tokens"].mean(axis=0), rtol=0.05)
    assert (tokens >= 1.0).all()
    wild = predictor.predict(1e6 * made["x"]).output_tokens
    assert (wild <= [arm.budget for arm in ARMS]).all()


def test_a_budget_that_was_only_advice_is_charged_as_used() -> None:
    tokens = table()["output_tokens"]
    tokens[:, 0] = 30.0
    expected = fitted(output_tokens=tokens).predict(table()["x"][0]).output_tokens[0]
    assert expected == pytest.approx(30.0, rel=1e-3)


def test_the_reference_cost_is_the_dearest_arms_mean(predictor: Predictor) -> None:
    assert predictor.reference_cost_usd_ == pytest.approx(table()["cost_usd"].mean(axis=0).max())
    free = fitted(cost_usd=np.zeros((160, 6)), output_price=np.zeros(6))
    assert free.reference_cost_usd_ == 1.0


def test_errors_of_arms_that_fail_together_are_correlated() -> None:
    quality = table(signal=0.0)["quality"]
    quality[:, 1] = quality[:, 0]
    heads = fitted(quality=quality).heads_
    correlation = heads.covariance / np.outer(heads.quality_std, heads.quality_std)
    assert correlation[0, 1] > 0.9
    assert abs(correlation[0, 5]) < 0.3
    assert np.linalg.eigvalsh(heads.covariance).min() >= -1e-12


def test_an_arm_that_was_always_right_is_still_doubted() -> None:
    quality = table()["quality"]
    quality[:, 2] = 1.0
    model = fitted(quality=quality)
    assert model.heads_.quality_std[2] > 0.01
    assert model.metrics_["small@256"]["explained"] is None


def test_gaps_are_learned_around() -> None:
    made = table()
    rng = np.random.default_rng(5)
    for name in ("quality", "output_tokens", "cost_usd"):
        made[name] = np.array(made[name])
    hole = rng.uniform(size=made["quality"].shape) < 0.3
    made["quality"][hole] = np.nan
    made["output_tokens"][hole] = -7.0  # not read where there is no quality
    model = Predictor(embedder="toy").fit(**made)
    whole = fitted().predict(made["x"])
    part = model.predict(made["x"])
    assert model.metrics_["small@16"]["queries"] == float((~hole[:, 0]).sum())
    assert np.abs(part.quality - whole.quality).mean() < 0.15
    np.testing.assert_allclose(part.output_tokens.mean(axis=0), whole.output_tokens.mean(axis=0), rtol=0.15)


def test_queries_without_any_answer_teach_nothing() -> None:
    made = table()
    blank = {
        name: np.vstack((made[name], np.full((9, 6), np.nan))) for name in ("quality", "output_tokens", "cost_usd")
    }
    more = fitted(x=np.vstack((made["x"], np.ones((9, 6)))), **blank)
    np.testing.assert_array_equal(more.heads_.weights, fitted().heads_.weights)
    assert more.shrinkage_ == fitted().shrinkage_
    np.testing.assert_array_equal(more.loo_quality_[:160], fitted().loo_quality_)
    assert np.isfinite(more.loo_quality_[160:]).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": ARMS[:5]}, "one column per arm"),
        ({"x": np.zeros(160)}, "one row per query"),
        ({"arms": (*ARMS[:5], ARMS[0])}, "twice"),
        ({"x": np.full((160, 6), np.nan)}, "NaN"),
        ({"quality": np.full((160, 6), 1.5)}, "quality goes"),
        ({"output_tokens": np.full((160, 6), -1.0)}, "output_tokens goes"),
        ({"cost_usd": np.full((160, 6), np.nan)}, "cost_usd goes"),
        ({"quality": np.full((160, 6), np.nan)}, "no answer"),
        ({"quality": np.where(np.arange(6) == 2, np.nan, table()["quality"])}, "small@256 has 0 answers"),
    ],
)
def test_tables_with_a_fault_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PredictorError, match=words):
        fitted(**changes)


def test_embeddings_of_another_embedder_are_refused(predictor: Predictor) -> None:
    predictor.check_embedder("toy", 6)
    with pytest.raises(PredictorError, match=r"'other'.*train again"):
        predictor.check_embedder("other", 6)
    with pytest.raises(PredictorError, match="7"):
        predictor.check_embedder("toy", 7)
    with pytest.raises(PredictorError, match="dimensions"):
        predictor.predict(np.zeros(7))


# --- curves ----------------------------------------------------------------------------------------------------------


def heads_of(*arms: Arm) -> CurveHeads:
    rng = np.random.default_rng(len(arms))
    count = len(arms)
    factor = rng.normal(size=(count, count)) * 0.2
    return CurveHeads(
        arms=arms,
        weights=rng.normal(scale=0.02, size=(2 * count, 6)).astype(np.float32),
        bias=np.concatenate((rng.uniform(0.3, 0.7, count), rng.uniform(2, 4, count))).astype(np.float32),
        covariance=factor @ factor.T,
        most_tokens=np.array([1000.0 if arm.budget is None else arm.budget for arm in arms]),
        reference_cost_usd=0.01,
    )


def test_a_view_of_recorded_arms_is_exact(predictor: Predictor) -> None:
    arms = [ARMS[4], ARMS[0], ARMS[4]]
    view, x = predictor.for_arms(arms), table()["x"]
    seen, expected = view.predict(x), predictor.predict(x)
    np.testing.assert_array_equal(view.weights[:3], predictor.heads_.weights[[4, 0, 4]])
    np.testing.assert_allclose(seen.quality, expected.quality[:, [4, 0, 4]], atol=1e-6)
    np.testing.assert_allclose(seen.output_tokens, expected.output_tokens[:, [4, 0, 4]], rtol=1e-5)
    np.testing.assert_array_equal(view.covariance, predictor.heads_.covariance[np.ix_([4, 0, 4], [4, 0, 4])])


@given(st.integers(16, 256), st.integers(0, 159))
def test_between_recorded_budgets_the_curve_is_a_line(budget: int, row: int) -> None:
    heads = replace(heads_of(*ARMS), most_tokens=np.full(6, 1e6))
    x = table()["x"][row]
    low, high = (0, 1) if budget <= 64 else (1, 2)
    span = (budget - ARMS[low].budget) / (ARMS[high].budget - ARMS[low].budget)  # type: ignore[operator]
    view = heads.for_arms([Arm(SMALL, budget)])
    ends, seen = heads.predict(x), view.predict(x)
    assert seen.quality[0] == pytest.approx((1 - span) * ends.quality[low] + span * ends.quality[high], abs=1e-5)
    between = sorted((ends.output_tokens[low], ends.output_tokens[high]))
    assert between[0] - 1e-3 <= seen.output_tokens[0] <= between[1] + 1e-3
    variance = (1 - span) * heads.covariance[low, low] + span * heads.covariance[high, high]
    assert view.quality_std[0] == pytest.approx(np.sqrt(variance))


@given(st.lists(st.integers(1, 600), min_size=1, max_size=8))
def test_the_covariance_of_any_view_is_positive_semidefinite(budgets: list[int]) -> None:
    view = heads_of(*ARMS).for_arms([Arm(model, budget) for budget in budgets for model in (SMALL, LARGE)])
    assert np.linalg.eigvalsh(view.covariance).min() >= -1e-9
    assert (view.most_tokens <= [max(float(arm.budget or 0), 1) for arm in view.arms]).all()


def test_outside_the_recorded_budgets_the_nearest_answers() -> None:
    x = table()["x"][0]
    arms = tuple(Arm(SMALL, budget) for budget in (16, 64, None))
    heads = heads_of(*arms)
    view = heads.for_arms([Arm(SMALL, 4), Arm(SMALL, 500), Arm(SMALL, None)])
    np.testing.assert_allclose(view.predict(x).quality, heads.predict(x).quality, atol=1e-6)
    assert view.predict(x).output_tokens[0] <= 4
    assert view.most_tokens.tolist() == [4.0, 64.0, 1000.0]


def test_unlimited_without_a_head_of_its_own_is_the_largest_budget() -> None:
    heads = heads_of(*ARMS[:3])
    view = heads.for_arms([Arm(SMALL, None)])
    np.testing.assert_array_equal(view.weights, heads.weights[[2, 5]])


def test_a_model_with_only_an_unlimited_head_answers_for_every_budget() -> None:
    heads = heads_of(Arm(SMALL, None))
    view = heads.for_arms([Arm(SMALL, 32)])
    np.testing.assert_array_equal(view.weights, heads.weights)
    assert view.most_tokens.tolist() == [32.0]


def test_an_unknown_model_is_named_with_those_that_are_known(predictor: Predictor) -> None:
    with pytest.raises(PredictorError, match=r"'huge'.*large, small.*onboard"):
        predictor.for_arms([Arm(ModelId("huge"), 16)])


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_saved_predictor_comes_back_bit_for_bit(predictor: Predictor, tmp_path: Path) -> None:
    back = load_predictor(save_predictor(predictor, tmp_path / "deep" / "p"))
    for name in ("weights", "bias", "covariance", "most_tokens", "rising"):
        mine, other = getattr(predictor.heads_, name), getattr(back.heads_, name)
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other)
    for name in ("embedder", "arms_", "reference_cost_usd_", "shrinkage_", "metrics_", "data_hash_"):
        assert getattr(back, name) == getattr(predictor, name)
    assert stored(back.looking_) == stored(predictor.looking_)
    assert sorted(path.name for path in (tmp_path / "deep" / "p").iterdir()) == [
        "predictor.json",
        "weights.safetensors",
    ]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["p"]


def test_a_predictor_knows_the_folder_it_was_read_from_as_long_as_it_says_the_same(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_predictor(predictor, tmp_path / "p")
    save_predictor(predictor, tmp_path / "copy")
    save_predictor(predictor.with_looking(None), tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    back, copy, other = (load_predictor(name) for name in ("p", "copy", "other"))
    assert back.origin_.folder == str((tmp_path / "p").resolve())
    assert back.origin_.sha256 == copy.origin_.sha256 != other.origin_.sha256
    assert predictor.origin_ == back.with_looking(None).origin_ == PredictorOrigin()


def test_saving_replaces_a_predictor_and_nothing_else(predictor: Predictor, tmp_path: Path) -> None:
    folder = save_predictor(predictor, tmp_path / "p")
    save_predictor(predictor.with_looking(None), folder)
    assert load_predictor(folder).looking_ is None
    assert predictor.looking_ is not None, "the other one keeps its own"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(PredictorError, match="holds no predictor"):
        save_predictor(predictor, tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "p"]


def test_a_failed_save_leaves_the_old_predictor(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_predictor(predictor, tmp_path / "p")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == folder and self.name != "old":
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(PredictorError, match="disk full"):
        save_predictor(predictor.with_looking(None), folder)
    assert stored(load_predictor(folder).looking_) == stored(predictor.looking_)
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["predictor.json", "weights.safetensors"]), st.floats(0, 0.9999), st.integers(1, 255))
def test_a_damaged_byte_is_noticed(predictor: Predictor, tmp_path: Path, name: str, place: float, change: int) -> None:
    folder = save_predictor(predictor, tmp_path / "p")
    raw = bytearray((folder / name).read_bytes())
    before = bytes(raw)
    raw[int(place * len(raw))] ^= change
    (folder / name).write_bytes(raw)
    if name == "predictor.json" and same_words(before, bytes(raw)):
        return  # white space for white space
    with pytest.raises(PredictorError, match="again"):
        load_predictor(folder)


def same_words(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["predictor.json", "weights.safetensors"])
def test_a_missing_file_is_named(predictor: Predictor, tmp_path: Path, name: str) -> None:
    folder = save_predictor(predictor, tmp_path / "p")
    (folder / name).unlink()
    with pytest.raises(PredictorError, match=name):
        load_predictor(folder)


def rewrite(folder: Path, tensors: dict[str, Any] | None = None, **entries: Any) -> None:
    """Change a stored predictor and make every hash right again, as a careless tool would."""
    document = json.loads((folder / "predictor.json").read_text())
    if tensors:
        raw = save({**load((folder / "weights.safetensors").read_bytes()), **tensors})
        (folder / "weights.safetensors").write_bytes(raw)
        document["weights_sha256"] = hashlib.sha256(raw).hexdigest()
    document.update(entries)
    document.pop("sha256")
    document["sha256"] = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    (folder / "predictor.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("tensors", "entries", "words"),
    [
        ({"weights": np.full((12, 6), np.nan, dtype=np.float32)}, {}, "weights holds NaN"),
        ({"weights": np.zeros((12, 5), dtype=np.float32)}, {}, "5 dimensions"),
        ({"weights": np.zeros((11, 6), dtype=np.float32)}, {}, r"weights is float32 \(11, 6\)"),
        ({"bias": np.zeros(12)}, {}, "bias is float64"),
        ({"covariance": -np.eye(6)}, {}, "not positive"),
        ({"most_tokens": np.zeros(3)}, {}, "most_tokens"),
        ({"rising": np.zeros((2, 0))}, {}, "does not rise"),
        ({"rising": np.zeros(3)}, {}, "rising is float64"),
        ({"rising": np.array([[0.0, 1.0], [1.0, 0.5]])}, {}, "does not rise"),
        ({"rising": np.array([[0.0, 0.0, 1.0], [0.0, 0.5, 1.0]])}, {}, "does not rise"),
        ({}, {"format": 99}, "format 99"),
        ({}, {"format": None}, "format None"),
        ({}, {"format": 2}, "format 2 and this version reads 3"),
        ({}, {"embedder": 5}, "embedder"),
        ({}, {"reference_cost_usd": 0}, "reference cost"),
        ({}, {"reference_cost_usd": True}, "reference_cost_usd"),
        ({}, {"arms": []}, "arms"),
        ({}, {"arms": [{"model": "a", "budget": 0}]}, "not a budget"),
        ({}, {"arms": [{"model": "a"}]}, "not an arm"),
        ({}, {"arms": [{"model": "a", "budget": 1}] * 2}, "repeated"),
        ({}, {"shrinkage": {}}, "settings"),
        ({}, {"shrinkage": {"settings": []}}, "no settings"),
        ({}, {"shrinkage": {"settings": [[1.0]]}}, "not a penalty"),
        ({}, {"shrinkage": {"settings": [["much", 0.5]]}}, "penalty"),
        ({}, {"looking": 5}, "looking part is int"),
        ({}, {"looking": {"models": []}}, "panels are NoneType"),
        ({"jury.shared": np.zeros((2, 2), dtype=np.float32)}, {}, "the jury's shared"),
        ({"courses.0": np.zeros((2, 2), dtype=np.float32)}, {}, "values of a panel's courses"),
        ({}, {"metrics": []}, "metrics"),
        ({}, {"dimension": 7}, "dimensions"),
        ({}, {"weights_sha256": "0"}, "does not match"),
    ],
)
def test_a_predictor_that_does_not_fit_together_is_refused(
    predictor: Predictor, tmp_path: Path, tensors: dict[str, Any], entries: dict[str, Any], words: str
) -> None:
    folder = save_predictor(predictor, tmp_path / "p")
    rewrite(folder, tensors, **entries)
    with pytest.raises(PredictorError, match=words):
        load_predictor(folder)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"format": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_malformed_json_is_refused(predictor: Predictor, tmp_path: Path, raw: bytes) -> None:
    folder = save_predictor(predictor, tmp_path / "p")
    (folder / "predictor.json").write_bytes(raw)
    with pytest.raises(PredictorError, match="damaged"):
        load_predictor(folder)


def test_weights_in_another_format_are_refused(predictor: Predictor, tmp_path: Path) -> None:
    folder = save_predictor(predictor, tmp_path / "p")
    (folder / "weights.safetensors").write_bytes(b"not tensors")
    rewrite(folder, weights_sha256=hashlib.sha256(b"not tensors").hexdigest())
    with pytest.raises(PredictorError, match="safetensors format"):
        load_predictor(folder)
