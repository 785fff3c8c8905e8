"""IRT-Router: models have abilities, queries ask for some of them and are hard.

arXiv 2506.01048, its multidimensional variant (MIRT), which chooses a model and never a budget. The paper prices a
model by a constant; here it is given the expected tokens of each query as well, by ridge heads.
"""

from __future__ import annotations

from curveroute.agent.evals.baselines.constants import largest_budget_columns
from curveroute.agent.evals.baselines.heads import LearnedHeads
from curveroute.agent.predictor.regress import ItemResponse, Ridge


def mirt(seed: int) -> LearnedHeads:
    """Logistic item response heads."""
    return LearnedHeads(
        quality=lambda _: ItemResponse(seed=seed), tokens=lambda _: Ridge(), columns=largest_budget_columns, seed=seed
    )
