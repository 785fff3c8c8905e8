"""How the training queries lay: what a head is sure of, and where it never looked.

Heads are firm in directions in which training queries differed, and loose in all others. The Gram matrix of the queries
says which are which. Its largest eigenvalues are kept with their directions, and the mean of the rest: a hundred and
fifty kilobytes for what the factorisation in ``ridge`` knew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats, Singles

MOST_DIRECTIONS = 64
USUAL_PENALTY = 5.0  # times the queries times the mean variance of a feature, where a predictor's own says nothing


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Of n training queries.

    Attributes:
        rows: n.
        penalty: the ridge penalty of the heads, in squared units of the embedding.
        centre: (D,) the mean query.
        directions: (r, D) the first eigenvectors of the centred Gram matrix.
        spectrum: (r,) their eigenvalues.
        rest: mean eigenvalue of all other directions.
    """

    rows: float
    penalty: float
    centre: Singles
    directions: Singles
    spectrum: Floats
    rest: float

    def eased(self, x: Floats) -> Floats:
        """(n, D) of (n, D) deviations from the centre: multiplied by the inverse of the heads' precision."""
        loose = self.rest + self.penalty
        along = x @ self.directions.T
        return np.asarray(x / loose + (along * (1.0 / (self.spectrum + self.penalty) - 1.0 / loose)) @ self.directions)

    def kernel(self, x: Floats) -> Floats:
        """(n, n) how far what is learned at one of (n, D) embeddings holds at another, level included."""
        apart = x - self.centre
        return np.asarray(1.0 / self.rows + apart @ self.eased(apart).T)


def spread_of(centre: Floats, directions: Floats, spectrum: Floats, rows: int, alpha: float) -> Spread:
    """From a factorisation.

    Args:
        centre: (D,).
        directions: (D, r) eigenvectors of the centred Gram matrix.
        spectrum: (r,) eigenvalues; those of all other directions are zero.
        rows: training queries.
        alpha: penalty in units of the mean variance of a feature; infinite where the heads are flat.
    """
    features = centre.size
    order = np.argsort(spectrum)[::-1]
    kept, others = order[:MOST_DIRECTIONS], order[MOST_DIRECTIONS:]
    left = features - kept.size
    scale = float(spectrum.sum()) / (rows * features) or 1.0
    return Spread(
        rows=float(rows),
        penalty=(alpha if np.isfinite(alpha) and alpha > 0.0 else USUAL_PENALTY * rows) * scale,
        centre=centre.astype(np.float32),
        directions=np.ascontiguousarray(directions[:, kept].T, dtype=np.float32),
        spectrum=spectrum[kept],
        rest=float(spectrum[others].sum()) / left if left else 0.0,
    )


def flat_spread(x: Floats, rows: float) -> Spread:
    """What is assumed of a predictor that kept no spread: that its queries lay like others, in no direction more.

    Args:
        x: (n, D) embeddings of the same embedder.
        rows: training queries.
    """
    scale = float(np.var(x, axis=0).mean()) or 1.0
    features = x.shape[1]
    return Spread(
        rows=rows,
        penalty=USUAL_PENALTY * rows * scale,
        centre=x.mean(axis=0).astype(np.float32),
        directions=np.zeros((0, features), dtype=np.float32),
        spectrum=np.zeros(0),
        rest=rows * scale,
    )
