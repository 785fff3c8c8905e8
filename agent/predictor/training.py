"""What a predictor is fitted on: checked arrays of recorded answers, and what follows from them alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.decide import USD_PER_PRICE
from curveroute.agent.errors import PredictorError
from curveroute.agent.predictor.ridge import FEWEST_ROWS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats, Indices, Mask
    from curveroute.agent.types import Arm

SEARCH_CELLS = 1_000_000  # queries times arms that shrinkage is judged on; more would only cost time


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Checked training arrays of the m of n queries with an answer: (m, A), NaN where an arm was not asked."""

    asked: Mask  # (n,)
    x: Floats  # (m, D)
    quality: Floats
    tokens: Floats
    cost_usd: Floats

    @property
    def log_tokens(self) -> Floats:
        """(m, A) log(1 + output tokens)."""
        return np.asarray(np.log1p(self.tokens))

    @property
    def reference_cost_usd(self) -> float:
        """The dearest arm's mean cost; 1 where every arm is free, since any unit will do."""
        dearest = float(np.nanmax(np.nanmean(self.cost_usd, axis=0)))
        return dearest if dearest > 0.0 else 1.0

    @property
    def judged(self) -> Indices:
        """The queries that shrinkage is judged on: all of them, or a fixed random part of very many."""
        rows, arms = self.quality.shape
        if rows * arms <= SEARCH_CELLS:
            return np.arange(rows)
        few: Indices = np.random.default_rng(0).choice(rows, max(SEARCH_CELLS // arms, 1), replace=False)
        return np.sort(few)


def checked(
    x: ArrayLike, quality: ArrayLike, tokens: ArrayLike, cost_usd: ArrayLike, arms: tuple[Arm, ...]
) -> tuple[Training, tuple[Arm, ...]]:
    """The arrays of the queries with an answer, and the arms, if they fit together and hold what they should.

    Raises:
        PredictorError: shapes that do not fit, values out of range, an arm given twice or with too few answers.
    """
    features: Floats = np.asarray(x, dtype=np.float64)
    values = [np.asarray(one, dtype=np.float64) for one in (quality, tokens, cost_usd)]
    expected = (features.shape[0], len(arms))
    if features.ndim != 2 or any(one.shape != expected for one in values):  # noqa: PLR2004
        shapes = ", ".join(str(one.shape) for one in values)
        raise PredictorError(
            f"embeddings {features.shape} with quality, tokens and cost {shapes} do not fit {len(arms)} arms: "
            "give one row per query and one column per arm"
        )
    if len(set(arms)) != len(arms):
        raise PredictorError("an arm was given twice: average its samples into one column")
    observed = ~np.isnan(values[0])
    values = [np.where(observed, one, np.nan) for one in values]
    _check_ranges(features, values, observed)
    for arm, answers in zip(arms, observed.sum(axis=0), strict=True):
        if answers < FEWEST_ROWS:
            raise PredictorError(f"{arm} has {answers} answers and needs {FEWEST_ROWS}: collect more, or leave it out")
    asked: Mask = np.asarray(observed.any(axis=1))
    return Training(asked, features[asked], *(one[asked] for one in values)), arms


def _check_ranges(x: Floats, values: list[Floats], observed: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    if not observed.any():
        raise PredictorError("there is no answer to learn from: collect some, or check the join of table and queries")
    if not np.isfinite(x).all():
        raise PredictorError("an embedding holds NaN or infinity: embed the queries again")
    for name, column, top in zip(("quality", "output_tokens", "cost_usd"), values, (1.0, np.inf, np.inf), strict=True):
        seen = column[observed]
        if not (np.isfinite(seen).all() and seen.min() >= 0.0 and seen.max() <= top):
            raise PredictorError(f"{name} goes from {seen.min()} to {seen.max()}, outside 0 to {top}: mend the table")


def most_tokens_of(table: Training, arms: tuple[Arm, ...]) -> Floats:
    """(A,) the budget where it was kept, else the longest answer seen: a recorded budget may have been advice only."""
    longest = np.nanmax(table.tokens, axis=0)
    budgets = np.array([0.0 if arm.budget is None else float(arm.budget) for arm in arms])
    return np.asarray(np.maximum(longest, budgets))


def smear(table: Training, log_tokens: Floats, most_tokens: Floats) -> Floats:
    """(A,) log of the ratio between the answers' length and what their predicted logs say (Duan 1983, as a ratio)."""
    predicted = np.exp(np.clip(log_tokens, 0.0, np.log1p(most_tokens)))
    predicted = np.where(np.isnan(table.tokens), np.nan, predicted)
    return np.asarray(np.log(np.nanmean(table.tokens + 1.0, axis=0) / np.nanmean(predicted, axis=0)))


def expected_cost(table: Training, tokens: Floats, output_price: ArrayLike | None) -> Floats:
    """(n, A) USD to be expected before asking: the prompt's price, which is known, and the predicted tokens'."""
    means = np.broadcast_to(np.nanmean(table.cost_usd, axis=0), table.cost_usd.shape)
    if output_price is None:
        return means
    price = np.asarray(output_price, dtype=np.float64) * USD_PER_PRICE
    known = table.cost_usd + (tokens - table.tokens) * price
    return np.where(np.isnan(known), means, np.maximum(known, 0.0))
