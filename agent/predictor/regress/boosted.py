"""Boosted trees: one LightGBM booster for each head, on the leading directions of the embedding.

LightGBM comes with the extra ``boosted`` and is imported at the first fit. Trees split on single features, so the
embedding is first turned to its principal directions. Neighbouring heads that were observed on the same rows share one
binned data set, and boosters run on one thread in a fixed order, so the same rows give the same trees.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from curveroute.agent.errors import MissingExtra
from curveroute.agent.predictor.regress.regressor import head_means

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats

FEWEST_ROWS = 40  # below, no split leaves enough on both sides


class Boosted:
    """Trees of each head.

    Args:
        directions: principal directions that are kept.
        trees: of each head.
        leaves: of each tree.
        rate: what each tree adds of what is left.
        seed: of LightGBM.

    Attributes:
        centre_: (D,).
        directions_: (D, R).
        boosters_: of each head; None where its mean is all there is to say.
        means_: (H,).
    """

    centre_: Floats
    directions_: Floats
    boosters_: list[Any]
    means_: Floats

    def __init__(
        self, *, directions: int = 64, trees: int = 100, leaves: int = 7, rate: float = 0.05, seed: int = 0
    ) -> None:
        self.directions = directions
        self.trees = trees
        self.leaves = leaves
        self.rate = rate
        self.seed = seed

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Grow all trees.

        Args:
            x: (n, D).
            y: (n, H) with gaps.

        Raises:
            MissingExtra: LightGBM is not installed.
        """
        lightgbm = _lightgbm()
        rows, targets = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        self.centre_, self.means_ = rows.mean(axis=0), head_means(targets)
        centred = rows - self.centre_
        self.directions_ = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, : self.directions]
        seen = ~np.isnan(targets)
        self.boosters_ = [None] * targets.shape[1]
        binned, asked = None, np.zeros(rows.shape[0], dtype=np.bool_)
        for head in np.flatnonzero(seen.sum(axis=0) >= FEWEST_ROWS):
            if binned is None or (asked != seen[:, head]).any():
                asked = seen[:, head]
                binned = self._binned(lightgbm, (centred @ self.directions_)[asked])
            binned.set_label(targets[asked, head])
            self.boosters_[head] = lightgbm.train(self._settings(), binned, num_boost_round=self.trees)
        return self

    def predict(self, x: ArrayLike) -> Floats:
        """(m, H) for (m, D)."""
        rows = np.asarray((np.asarray(x, dtype=np.float64) - self.centre_) @ self.directions_)
        predicted = np.tile(self.means_, (rows.shape[0], 1))
        for head, booster in enumerate(self.boosters_):
            if booster is not None:
                predicted[:, head] = booster.predict(rows, num_threads=1)
        return predicted

    def _binned(self, lightgbm: Any, rows: Floats) -> Any:  # noqa: ANN401
        settings = self._settings()
        return lightgbm.Dataset(rows, label=np.zeros(rows.shape[0]), params=settings).construct()

    def _settings(self) -> dict[str, object]:
        return {
            "objective": "regression",
            "num_leaves": self.leaves,
            "learning_rate": self.rate,
            "min_data_in_leaf": FEWEST_ROWS // 2,
            "max_bin": 63,
            "seed": self.seed,
            "num_threads": 1,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }


def _lightgbm() -> Any:  # noqa: ANN401
    try:
        return importlib.import_module("lightgbm")
    except ImportError as error:
        raise MissingExtra("a boosted head", "boosted") from error
