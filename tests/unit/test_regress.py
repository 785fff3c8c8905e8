from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.errors import MissingExtra
from curveroute.agent.predictor.regress import (
    Boosted,
    Described,
    ItemResponse,
    LeavesOut,
    Mlp,
    Neighbours,
    Regressor,
    Ridge,
)
from curveroute.agent.predictor.regress.clusters import assign, k_means
from curveroute.agent.predictor.regress.regressor import head_means, share_left

if TYPE_CHECKING:
    from collections.abc import Callable

HEADS: dict[str, Callable[..., Any]] = {
    "ridge": Ridge,
    "neighbours": Neighbours,
    "described": Described,
    "mlp": lambda **changes: Mlp(**{"epochs": 40, "rate": 3e-3, "hidden": (32, 16), "batch": 32} | changes),
    "item_response": lambda **changes: ItemResponse(**{"epochs": (10, 40), "rate": 1e-2, "batch": 32} | changes),
    "boosted": lambda **changes: Boosted(**{"trees": 30, "rate": 0.1} | changes),
}


def planted(seed: int = 0, rows: int = 600, heads: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Rows of four groups; each head is good at some groups and bad at others."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(4, 8))
    group = rng.integers(4, size=rows)
    x = centres[group] + 0.2 * rng.normal(size=(rows, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    chance = np.array([[0.9, 0.1, 0.8, 0.3], [0.2, 0.9, 0.4, 0.8], [0.6, 0.5, 0.1, 0.9]])[:heads, group].T
    return x, (rng.uniform(size=chance.shape) < chance).astype(float)


def with_gaps(y: np.ndarray, seed: int = 5) -> np.ndarray:
    gaps = np.random.default_rng(seed).uniform(size=y.shape) < 0.3
    return np.where(gaps, np.nan, y)


@pytest.fixture(params=list(HEADS))
def make(request: pytest.FixtureRequest) -> Callable[..., Regressor]:
    made = HEADS[request.param]
    assert callable(made)
    return made  # type: ignore[no-any-return]


@pytest.mark.parametrize("gaps", [False, True])
def test_a_planted_signal_is_found_on_rows_that_were_not_seen(make: Callable[..., Regressor], gaps: bool) -> None:
    x, y = planted()
    unseen, truth = planted(seed=1)
    fitted = make().fit(x, with_gaps(y) if gaps else y)
    assert fitted.predict(unseen).shape == truth.shape
    assert share_left(truth, fitted.predict(unseen)) < 0.85


def test_a_head_that_was_never_observed_says_nan_and_harms_no_other(make: Callable[..., Regressor]) -> None:
    x, y = planted()
    y[:, 1] = np.nan
    predicted = make().fit(x, y).predict(x)
    assert np.isnan(predicted[:, 1]).all()
    assert share_left(y[:, [0, 2]], predicted[:, [0, 2]]) < 0.85


def test_one_row_and_one_head_are_enough(make: Callable[..., Regressor]) -> None:
    fitted = make().fit(np.ones((1, 4)), np.array([[0.75]]))
    predicted = fitted.predict(np.zeros((2, 4)))
    assert predicted.shape == (2, 1)
    assert np.isfinite(predicted).all()
    assert fitted.predict(np.zeros((0, 4))).shape == (0, 1)


def test_a_constant_target_stays_constant(make: Callable[..., Regressor]) -> None:
    x, y = planted(rows=200)
    y[:, 0] = 1.0
    predicted = make().fit(x, y).predict(x)[:, 0]
    assert predicted == pytest.approx(np.ones(200), abs=0.1)


def test_features_of_zeros_give_means(make: Callable[..., Regressor]) -> None:
    _, y = planted(rows=400)
    predicted = make().fit(np.zeros((400, 8)), y).predict(np.zeros((3, 8)))
    assert predicted == pytest.approx(np.tile(y.mean(axis=0), (3, 1)), abs=0.1)


def test_the_same_seed_gives_the_same_predictions(make: Callable[..., Regressor]) -> None:
    x, y = planted(rows=200)
    one, two = (make().fit(x, with_gaps(y)).predict(x) for _ in range(2))
    assert (one == two).all()


@pytest.mark.parametrize("name", ["mlp", "item_response"])
def test_another_seed_gives_other_predictions(name: str) -> None:
    x, y = planted(rows=200)
    one, two = (HEADS[name](seed=seed).fit(x, y).predict(x) for seed in (1, 2))
    assert (one != two).any()


@pytest.mark.parametrize("name", ["ridge", "neighbours", "described"])
def test_left_out_predictions_are_those_of_unseen_rows_and_not_of_memory(name: str) -> None:
    """On noise a prediction that has seen its row beats the mean; one that has not cannot."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(120, 5)), rng.normal(size=(120, 4))
    fitted = HEADS[name]().fit(x, y)
    assert isinstance(fitted, LeavesOut)
    assert fitted.predict_left_out().shape == y.shape
    assert share_left(y, fitted.predict_left_out()) > 0.97
    x, y = planted()
    assert share_left(y, HEADS[name]().fit(x, y).predict_left_out()) < 0.85


# --- ridge -----------------------------------------------------------------------------------------------------------


def test_an_absolute_penalty_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.linear_model import Ridge as Reference

    x, y = planted(rows=90)
    unseen, _ = planted(seed=1, rows=20)
    for alpha, reference in ((10.0, Reference(alpha=10.0)), (0.0, LinearRegression())):
        ours = Ridge(alpha=alpha, absolute=True).fit(x, y).predict(unseen)
        assert ours == pytest.approx(reference.fit(x, y).predict(unseen), abs=1e-9)


def test_each_head_takes_the_penalty_with_the_least_left_out_error() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 10))
    y = np.column_stack((x @ rng.normal(size=10), rng.normal(size=200)))
    fitted = Ridge(alpha=(0.1, 1e5)).fit(x, y)
    assert fitted.alpha_.tolist() == [0.1, 1e5]


def test_a_left_out_ridge_prediction_is_a_refit_without_the_row() -> None:
    x, y = planted(rows=40)
    fitted = Ridge(alpha=2.0, absolute=True).fit(x, y)
    for row in (0, 17):
        rest = np.delete(np.arange(40), row)
        refit = Ridge(alpha=2.0, absolute=True).fit(x[rest], y[rest]).predict(x[[row]])
        assert fitted.predict_left_out()[[row]] == pytest.approx(refit, abs=1e-9)


# --- neighbours ------------------------------------------------------------------------------------------------------


def test_neighbours_are_those_of_scikit_learn() -> None:
    from sklearn.neighbors import KNeighborsRegressor

    x, y = planted(rows=300)
    unseen, _ = planted(seed=1, rows=50)
    reference = KNeighborsRegressor(n_neighbors=16, metric="cosine").fit(x, y).predict(unseen)
    assert Neighbours(counts=(16,)).fit(x, y).predict(unseen) == pytest.approx(reference, abs=1e-6)


def test_a_left_out_neighbour_prediction_is_a_refit_without_the_row() -> None:
    x, y = planted(rows=50)
    y = with_gaps(y)
    fitted = Neighbours(counts=(4,)).fit(x, y)
    rest = np.arange(1, 50)
    refit = Neighbours(counts=(4,)).fit(x[rest], y[rest]).predict(x[[0]])
    assert fitted.predict_left_out()[[0]] == pytest.approx(refit, abs=1e-6)


def test_neighbours_ignore_length_and_answer_no_direction_with_means() -> None:
    x, y = planted(rows=100)
    fitted = Neighbours(counts=(8,)).fit(x, y)
    assert fitted.predict(7.0 * x[:5]) == pytest.approx(fitted.predict(x[:5]), abs=1e-6)
    assert fitted.predict(np.zeros((1, 8)))[0] == pytest.approx(y.mean(axis=0), abs=1e-6)


# --- clusters and descriptions ---------------------------------------------------------------------------------------


def test_clusters_find_groups_that_lie_apart() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(5), 40)
    x = (10.0 * np.eye(5)[group] + rng.normal(size=(200, 5))).astype(np.float32)
    found = assign(x, k_means(x, 5, np.random.default_rng(1)))
    assert all(len(set(found[group == one])) == 1 for one in range(5))
    assert len(set(found)) == 5


def test_there_are_no_more_clusters_than_rows_that_differ() -> None:
    x = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    assert k_means(x, 8, np.random.default_rng(0)).shape == (3, 3)


def test_a_model_joins_by_its_answers_to_a_validation_set_alone() -> None:
    x, y = planted()
    joined = Described().fit(x, y[:, :2]).adopt(x[:300], with_gaps(y[:300, 2:]))
    unseen, truth = planted(seed=1)
    assert joined.predict(unseen).shape == (600, 3)
    assert share_left(truth[:, 2:], joined.predict(unseen)[:, 2:]) < 0.85


def test_describing_by_the_training_answers_gives_the_fitted_columns() -> None:
    x, y = planted()
    fitted = Described().fit(x, with_gaps(y))
    assert fitted.describe(x, with_gaps(y)) == pytest.approx(fitted.columns_)


def test_a_cluster_without_an_answer_says_what_the_model_does_on_average() -> None:
    x, y = planted(rows=100)
    fitted = Described(counts=(8,)).fit(x, y)
    column = fitted.describe(x[:1], np.array([[0.25]]))
    assert column == pytest.approx(np.full((fitted.centres_.shape[0], 1), 0.25))


# --- neural and boosted ----------------------------------------------------------------------------------------------


def test_targets_outside_the_unit_range_are_scaled_and_brought_back() -> None:
    x, y = planted()
    tokens = 100.0 + 900.0 * y
    predicted = HEADS["mlp"](epochs=60).fit(x, tokens).predict(x)
    assert share_left(tokens, predicted) < 0.85
    assert predicted.min() >= 0.0
    assert predicted.max() <= 1000.0


def test_item_response_stays_within_the_unit_range_and_stops_in_time() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 30)), rng.integers(2, size=(60, 2)).astype(float)
    fitted = ItemResponse(epochs=(1, 400), rate=1e-2).fit(x, y)
    assert fitted.epochs_ == 1
    predicted = ItemResponse(epochs=(200,), rate=1e-2).fit(x, y).predict(50.0 * x)
    assert ((predicted >= 0.0) & (predicted <= 1.0)).all()


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("mlp", "jax", "neural"), ("item_response", "optax", "neural"), ("boosted", "lightgbm", "boosted")],
)
def test_a_missing_extra_is_named(name: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = importlib.import_module

    def missing(wanted: str, package: str | None = None) -> Any:
        if wanted == module:
            raise ImportError(wanted)
        return imported(wanted, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=rf"curveroute\[{extra}\]"):
        HEADS[name]().fit(*planted(rows=50))


# --- measures --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_means_have_as_many_gaps_as_silent_heads(rows: int, heads: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.where(rng.uniform(size=(rows, heads)) < 0.5, np.nan, rng.uniform(size=(rows, heads)))
    means = head_means(y)
    silent = np.isnan(y).all(axis=0)
    assert (np.isnan(means) == silent).all()
    assert means[~silent] == pytest.approx(np.array([np.nanmean(column) for column in y.T[~silent]]))
