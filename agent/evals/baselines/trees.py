"""Boosted trees in the place of linear heads: often the better forecast, and often the worse router.

The ablation that R2-Router (arXiv 2602.02823, its released code) runs with LightGBM, here with tokens that are learned
by ridge heads. Not part of a full comparison.
"""

from __future__ import annotations

from curveroute.agent.evals.baselines.heads import LearnedHeads
from curveroute.agent.predictor.regress import Boosted, Ridge


def lightgbm(seed: int) -> LearnedHeads:
    """One booster for each arm; two folds, since each grows all trees again."""
    return LearnedHeads(quality=lambda _: Boosted(seed=seed), tokens=lambda _: Ridge(), folds=2, seed=seed)
