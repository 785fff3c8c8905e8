"""The covariance of old and new arms' errors: the old block as it is, new rows beside it, positive semidefinite.

With the old block fixed, the whole is positive semidefinite exactly when the new block is at least what the old errors
explain of it (Schur complement). New rows that claim more are scaled down until it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.predictor.model import PRIOR_VARIANCE

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats
    from curveroute.agent.predictor.heads import CurveHeads

RANK_TOLERANCE = 1e-9
ROOM = 1.0 - 1e-6  # of a new error's variance that old errors may explain


def appended_covariance(heads: CurveHeads, errors: Floats, others: Floats) -> Floats:
    """(K + B, K + B) covariance.

    Args:
        heads: of the K old arms.
        errors: (N, B) of the new heads on queries they had not seen.
        others: (N, K) of the old heads on the same queries, NaN where not known. Where nothing is known, errors go
            together as those of different old models do; K imagined answers say so beside the known ones.
    """
    old, block = heads.covariance, _own_block(errors)
    seen = ~np.isnan(others)
    kin = _usual_correlation(heads) * np.outer(np.sqrt(np.diagonal(old)), np.sqrt(np.diagonal(block)))
    arms, pairs = old.shape[0], seen.sum(axis=0)[:, None]
    cross = _supported((np.where(seen, others, 0.0).T @ errors + arms * kin) / (pairs + arms), old, block)
    return np.asarray(np.block([[old, cross], [cross.T, block]]))


def _own_block(errors: Floats) -> Floats:
    """(B, B) as in fitting: B imagined answers without common error, one with the prior variance."""
    rows, arms = errors.shape
    block = errors.T @ errors / (rows + arms)
    np.fill_diagonal(block, (np.square(errors).sum(axis=0) + PRIOR_VARIANCE) / (rows + 1.0))
    return np.asarray(block)


def _usual_correlation(heads: CurveHeads) -> float:
    """Mean correlation between errors of arms of different models; 0 where there is one model."""
    std = np.sqrt(np.diagonal(heads.covariance))
    scale = np.outer(std, std)
    correlation = np.divide(heads.covariance, scale, out=np.zeros_like(scale), where=scale > 0.0)
    models = np.array([arm.model for arm in heads.arms])
    strangers = models[:, None] != models
    return float(correlation[strangers].mean()) if strangers.any() else 0.0


def _supported(cross: Floats, old: Floats, block: Floats) -> Floats:
    """(K, B) what of the new rows the old block allows."""
    values, vectors = np.linalg.eigh(old)
    held = values > RANK_TOLERANCE * max(float(values[-1]), np.finfo(np.float64).tiny)
    inside = vectors[:, held].T @ cross
    white = inside / np.sqrt(values[held])[:, None] / np.sqrt(np.diagonal(block))
    own = block / np.sqrt(np.outer(np.diagonal(block), np.diagonal(block)))
    roots, axes = np.linalg.eigh(own)
    explained = white @ (axes / np.sqrt(np.maximum(roots, RANK_TOLERANCE)))
    most = float(np.linalg.norm(explained, 2)) if explained.size else 0.0
    scale = min(1.0, np.sqrt(ROOM) / most) if most > 0.0 else 1.0
    return np.asarray(vectors[:, held] @ inside * scale)
