"""R2-Router: a head for each model at each budget, and the budget is charged as if it were used up.

arXiv 2602.02823. Its heads are ridge regressors with a penalty of 10 on raw embeddings, or small networks. A call is
charged the prompt and the whole budget at the model's price; unlimited ones the mean tokens of the training queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.evals.baselines.heads import LearnedHeads
from curveroute.agent.predictor.regress import Mlp, Ridge
from curveroute.agent.predictor.regress.regressor import head_means

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats
    from curveroute.agent.predictor.regress import Regressor

PENALTY = 10.0


class Nominal:
    """Every arm uses its budget; an unlimited one the mean of the training queries.

    Args:
        train: whose arms they are.
    """

    def __init__(self, train: Grid) -> None:
        self._budgets = np.array([np.nan if arm.budget is None else arm.budget for arm in train.arms], dtype=np.float64)

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Take the means of (n, A) tokens."""
        means = head_means(np.asarray(y, dtype=np.float64))
        self.tokens_ = np.where(np.isnan(self._budgets), means, self._budgets)
        self._rows = np.shape(x)[0]
        return self

    def predict(self, x: ArrayLike) -> Floats:
        """(m, A), the same for every row."""
        return np.tile(self.tokens_, (np.shape(x)[0], 1))

    def predict_left_out(self) -> Floats:
        """(n, A); one row hardly moves a mean."""
        return np.tile(self.tokens_, (self._rows, 1))


def r2_ridge(seed: int) -> LearnedHeads:
    """Ridge with the paper's penalty."""
    return _r2(lambda _: Ridge(alpha=PENALTY, absolute=True), seed)


def r2_ridge_tuned(seed: int) -> LearnedHeads:
    """Ridge, each head with the penalty that has the least leave-one-out error."""
    return _r2(lambda _: Ridge(), seed)


def r2_mlp(seed: int) -> LearnedHeads:
    """One network with an output for each arm; two folds, since each is a training run."""
    return _r2(lambda _: Mlp(seed=seed), seed, folds=2)


def _r2(quality: Callable[[Grid], Regressor], seed: int, folds: int = 3) -> LearnedHeads:
    return LearnedHeads(quality=quality, tokens=Nominal, folds=folds, seed=seed)
