"""Adam on batches, compiled: what the neural heads are trained by.

JAX and optax come with the extra ``neural`` and are imported at the first fit. An epoch is one compiled call on
the CPU, and the same rows and seed give the same weights.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from curveroute.agent.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.decide import Floats, Singles

    Weights: TypeAlias = dict[str, Singles]
    Loss: TypeAlias = Callable[[Any, Any, Any, Any], Any]


def descend(
    loss: Loss, weights: Weights, x: Floats, y: Floats, *, batch: int, rate: float, epochs: int, seed: int
) -> Weights:
    """Minimise a loss.

    Args:
        loss: of weights, (b, D) features, (b, H) targets and (b, H) whether each was observed.
        weights: to start from.
        x: (n, D).
        y: (n, H) with gaps.
        batch: rows a step.
        rate: of Adam.
        epochs: passes over the rows.
        seed: of their order.

    Raises:
        MissingExtra: JAX or optax is not installed.
    """
    jax, optax = modules()
    observed, rows = ~np.isnan(y), x.shape[0]
    filling = np.arange(rows, rows + -rows % batch)
    parts = [_padded(part, filling.size) for part in (x, np.where(observed, y, 0.0), observed)]
    rng = np.random.default_rng(seed)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        state = weights, optax.adam(rate).init(weights)
        for _ in range(epochs):
            order = np.concatenate((rng.permutation(rows), filling)).reshape(-1, batch)
            state = _epoch()(loss, rate, state, parts, order.astype(np.int32))
        return {name: np.asarray(value) for name, value in state[0].items()}


def modules() -> tuple[Any, Any]:
    """JAX and optax.

    Raises:
        MissingExtra: one of them is not installed.
    """
    try:
        return importlib.import_module("jax"), importlib.import_module("optax")
    except ImportError as error:
        raise MissingExtra("a neural head", "neural") from error


def _padded(part: np.ndarray[Any, Any], more: int) -> Singles:
    """Rows of zeros fill up the last batch; they were never observed, and shapes that repeat compile once."""
    return np.asarray(np.vstack((part, np.zeros((more, part.shape[1])))), dtype=np.float32)


@cache
def _epoch() -> Any:  # noqa: ANN401  (a compiled function of JAX)
    jax, optax = modules()

    def epoch(loss: Loss, rate: float, state: Any, parts: Any, order: Any) -> Any:  # noqa: ANN401
        def step(state: Any, rows: Any) -> Any:  # noqa: ANN401
            weights, moments = state
            slope = jax.grad(loss)(weights, *(part[rows] for part in parts))
            change, moments = optax.adam(rate).update(slope, moments)
            return (optax.apply_updates(weights, change), moments), None

        return jax.lax.scan(step, state, order)[0]

    return jax.jit(epoch, static_argnums=(0, 1))
