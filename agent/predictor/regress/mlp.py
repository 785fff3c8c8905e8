"""The neural head of R2-Router: one trunk of three hidden layers, one sigmoid output for each head.

arXiv 2602.02823: hidden layers of 256, 128 and 64, ReLU, sigmoid, mean squared error, Adam at 1e-4, 100 epochs; the
batch of 128 is that of its released code (which differs elsewhere: dropout, cross-entropy, and one network for each
model and budget). Targets outside [0, 1], such as tokens, are scaled into it by their range.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from curveroute.agent.predictor.regress.descent import descend, modules
from curveroute.agent.predictor.regress.regressor import head_means

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats
    from curveroute.agent.predictor.regress.descent import Weights

HIDDEN = (256, 128, 64)


class Mlp:
    """Neural heads with a shared trunk.

    Args:
        hidden: widths of the hidden layers.
        batch: rows a step.
        rate: of Adam.
        epochs: passes over the rows.
        seed: of the first weights and of the order of the rows.

    Attributes:
        weights_: of layer i, ``w{i}`` (inputs, outputs) and ``b{i}`` (outputs,).
        low_: (H,) what an output of 0 stands for; NaN for a head that was never observed.
        high_: (H,) what an output of 1 stands for.
    """

    weights_: Weights
    low_: Floats
    high_: Floats

    def __init__(
        self,
        *,
        hidden: tuple[int, ...] = HIDDEN,
        batch: int = 128,
        rate: float = 1e-4,
        epochs: int = 100,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.batch = batch
        self.rate = rate
        self.epochs = epochs
        self.seed = seed

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Train all heads together.

        Args:
            x: (n, D).
            y: (n, H) with gaps, which cost nothing.

        Raises:
            MissingExtra: JAX or optax is not installed.
        """
        rows, targets = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        silent = np.isnan(head_means(targets))
        self.low_ = np.where(silent, np.nan, np.fmin.reduce(targets, axis=0, initial=0.0))
        self.high_ = np.where(silent, np.nan, np.fmax.reduce(targets, axis=0, initial=1.0))
        scaled = (targets - self.low_) / (self.high_ - self.low_)
        start = _start((rows.shape[1], *self.hidden, targets.shape[1]), np.random.default_rng(self.seed))
        self.weights_ = descend(
            _loss, start, rows, scaled, batch=self.batch, rate=self.rate, epochs=self.epochs, seed=self.seed
        )
        return self

    def predict(self, x: ArrayLike) -> Floats:
        """(m, H) for (m, D)."""
        signal = np.asarray(x, dtype=np.float32)
        layers = len(self.hidden)
        for layer in range(layers):
            signal = np.maximum(signal @ self.weights_[f"w{layer}"] + self.weights_[f"b{layer}"], 0.0)
        logit = signal @ self.weights_[f"w{layers}"] + self.weights_[f"b{layers}"]
        share = 0.5 + 0.5 * np.tanh(0.5 * logit.astype(np.float64))  # the sigmoid that cannot overflow
        return np.asarray(self.low_ + share * (self.high_ - self.low_))


def _start(widths: tuple[int, ...], rng: np.random.Generator) -> Weights:
    """Uniform within 1 / sqrt(inputs), as PyTorch starts a linear layer."""
    weights: Weights = {}
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        bound = 1.0 / np.sqrt(max(inputs, 1))
        weights[f"w{layer}"] = rng.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
        weights[f"b{layer}"] = rng.uniform(-bound, bound, outputs).astype(np.float32)
    return weights


def _loss(weights: Any, x: Any, y: Any, observed: Any) -> Any:  # noqa: ANN401  (arrays that JAX traces)
    """Mean squared error over what was observed."""
    jax, _ = modules()
    last = len(weights) // 2 - 1
    for layer in range(last):
        x = jax.nn.relu(x @ weights[f"w{layer}"] + weights[f"b{layer}"])
    error = jax.nn.sigmoid(x @ weights[f"w{last}"] + weights[f"b{last}"]) - y
    return (observed * error**2).sum() / jax.numpy.maximum(observed.sum(), 1.0)
