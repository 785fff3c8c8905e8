"""CARROT: predict what each model's answer will be worth and cost, then trade one for the other.

arXiv 2502.03261: plug-in estimates of quality and cost of each model, and the model with the best linear tradeoff. The
paper shows that this is minimax optimal for routers that choose a model. Linear: ordinary least squares, as
scikit-learn's ``LinearRegression``; KNN: cosine neighbours, their number chosen among powers of two up to 512, as in
its released code. Cost is predicted through output tokens, since the prompt's length is known. A model always answers
at its largest budget.
"""

from __future__ import annotations

from curveroute.agent.evals.baselines.constants import largest_budget_columns
from curveroute.agent.evals.baselines.heads import LearnedHeads
from curveroute.agent.predictor.regress import Neighbours, Ridge


def carrot_linear(seed: int) -> LearnedHeads:
    """Least squares; a fit through every row has no closed form for what it would say of a row left out."""
    return LearnedHeads(
        quality=lambda _: Ridge(alpha=0.0, absolute=True),
        tokens=lambda _: Ridge(alpha=0.0, absolute=True),
        columns=largest_budget_columns,
        closed_form=False,
        seed=seed,
    )


def carrot_knn(seed: int) -> LearnedHeads:
    """Neighbours."""
    return LearnedHeads(
        quality=lambda _: Neighbours(), tokens=lambda _: Neighbours(), columns=largest_budget_columns, seed=seed
    )
