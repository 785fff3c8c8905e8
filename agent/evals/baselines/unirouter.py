"""UniRouter: a model is what it got wrong in each cluster of queries, so that new models need no retraining.

arXiv 2502.08773, cluster-based. The paper prices a model by a constant; here its tokens are described by clusters as
its errors are. ``uni_r2`` is the same with a description of each model at each budget, as R2-Router (arXiv 2602.02823)
extends it.
"""

from __future__ import annotations

from curveroute.agent.evals.baselines.constants import largest_budget_columns
from curveroute.agent.evals.baselines.heads import LearnedHeads
from curveroute.agent.predictor.regress import Described


def unirouter(seed: int) -> LearnedHeads:
    """Each model at its largest budget."""
    return LearnedHeads(
        quality=lambda _: Described(seed=seed),
        tokens=lambda _: Described(seed=seed),
        columns=largest_budget_columns,
        seed=seed,
    )


def uni_r2(seed: int) -> LearnedHeads:
    """Each model at each budget."""
    return LearnedHeads(quality=lambda _: Described(seed=seed), tokens=lambda _: Described(seed=seed), seed=seed)
