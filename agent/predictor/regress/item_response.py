"""Item response heads: models have abilities, queries ask for some of them and are hard.

MIRT of IRT-Router (arXiv 2506.01048): the chance that model m answers query x is ``sigmoid(a(x) . theta_m - b(x))``,
with discrimination ``a`` and difficulty ``b`` linear in the query's embedding, 25 dimensions as in its released code,
cross-entropy and Adam. There abilities are linear in an embedding of the model's description; for a pool of known
models that is one free vector each, as here. How long to train is chosen on a fifth of the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from curveroute.agent.predictor.regress.descent import descend, modules
from curveroute.agent.predictor.regress.regressor import head_means, squared_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats
    from curveroute.agent.predictor.regress.descent import Weights

EPOCHS = (5, 10, 20, 40, 80, 160, 320)
HELD_SHARE = 0.2
FEWEST_TO_HOLD = 10


class ItemResponse:
    """Logistic heads over a shared low-dimensional reading of the query. Targets are in [0, 1].

    Args:
        latent: dimensions of abilities.
        batch: rows a step.
        rate: of Adam.
        epochs: passes over the rows to choose from, in rising order, until the error on held-out rows rises.
        seed: of the first weights, of the order of the rows and of what is held out.

    Attributes:
        epochs_: the number chosen.
        weights_: ``ability`` (H, L), ``discrimination`` (D, L), ``base`` (L,), ``difficulty`` (D,), ``hardness`` ().
    """

    epochs_: int
    weights_: Weights

    def __init__(
        self,
        *,
        latent: int = 25,
        batch: int = 128,
        rate: float = 1e-3,
        epochs: Sequence[int] = EPOCHS,
        seed: int = 0,
    ) -> None:
        self.latent = latent
        self.batch = batch
        self.rate = rate
        self.epochs = epochs
        self.seed = seed

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Choose how long to train, and train on all rows.

        Args:
            x: (n, D).
            y: (n, H) in [0, 1] with gaps.

        Raises:
            MissingExtra: JAX or optax is not installed.
        """
        rows, targets = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        self._silent = np.isnan(head_means(targets))
        self.epochs_ = self._long_enough(rows, targets)
        self.weights_ = self._trained(rows, targets, self.epochs_)
        return self

    def predict(self, x: ArrayLike) -> Floats:
        """(m, H) for (m, D)."""
        return np.asarray(np.where(self._silent, np.nan, _chance(self.weights_, x)))

    def _long_enough(self, x: Floats, y: Floats) -> int:
        order = np.random.default_rng(self.seed).permutation(x.shape[0])
        held, kept = np.split(order, [int(HELD_SHARE * order.size)])
        if order.size < FEWEST_TO_HOLD or len(self.epochs) == 1:
            return self.epochs[0]
        chosen, least = self.epochs[0], np.inf
        for epochs in self.epochs:
            weights = self._trained(x[kept], y[kept], epochs)
            error = float(np.nanmean(squared_error(y[held], _chance(weights, x[held]))))
            if not error < least:
                break
            chosen, least = epochs, error
        return chosen

    def _trained(self, x: Floats, y: Floats, epochs: int) -> Weights:
        start = self._start(x.shape[1], y.shape[1])
        return descend(_loss, start, x, y, batch=self.batch, rate=self.rate, epochs=epochs, seed=self.seed)

    def _start(self, features: int, heads: int) -> Weights:
        rng = np.random.default_rng(self.seed)
        shapes = {"ability": (heads, self.latent), "discrimination": (features, self.latent), "difficulty": (features,)}
        weights = {name: 0.1 * rng.standard_normal(shape) for name, shape in shapes.items()}
        weights |= {"base": np.ones(self.latent), "hardness": np.zeros(())}
        return {name: np.asarray(value, dtype=np.float32) for name, value in weights.items()}


def _chance(weights: Weights, x: ArrayLike) -> Floats:
    logit = np.asarray(_logit(weights, np.asarray(x, dtype=np.float32)), dtype=np.float64)
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logit))  # the sigmoid that cannot overflow


def _logit(weights: Any, x: Any) -> Any:  # noqa: ANN401  (arrays of NumPy, or such that JAX traces)
    """(b, H) ``a(x) . theta - b(x)``."""
    asked = x @ weights["discrimination"] + weights["base"]
    return asked @ weights["ability"].T - (x @ weights["difficulty"] + weights["hardness"])[:, None]


def _loss(weights: Any, x: Any, y: Any, observed: Any) -> Any:  # noqa: ANN401
    """Mean cross-entropy over what was observed."""
    jax, _ = modules()
    logit = _logit(weights, x)
    surprise = jax.nn.softplus(logit) - y * logit
    return (observed * surprise).sum() / jax.numpy.maximum(observed.sum(), 1.0)
