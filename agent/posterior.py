"""What verdicts say about all arms: a joint normal belief over their qualities, conditioned in closed form.

The prior mean comes from the heads, the covariance from their errors on queries they had not seen. A verdict moves its
own arm to the verdict's score and every other arm by what their errors have in common (the Kalman update of one
measurement). What is certain stays: an arm without variance is moved by no later verdict on another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curveroute.agent.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.types import Arm

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

_LEAST_VARIANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Belief:
    """Qualities of all arms for this query, jointly normal.

    Attributes:
        mean: (A,), in [0, 1].
        covariance: (A, A), symmetric, positive semidefinite.
    """

    mean: Floats
    covariance: Floats

    @property
    def std(self) -> Floats:
        """(A,) standard deviation of each arm's quality."""
        return np.asarray(np.sqrt(np.maximum(np.diagonal(self.covariance), 0.0)))


def observe(belief: Belief, index: int, score: float, *, noise: float = 0.0) -> Belief:
    """Condition on a verdict: arm ``index`` has quality ``score``, up to ``noise``.

    With ``k = covariance[:, index] / (covariance[index, index] + noise)`` the mean gains ``k * (score - mean[index])``
    and the covariance loses ``k * covariance[index, :]``.

    Args:
        belief: what is believed before.
        index: the arm that was asked.
        score: the verdict, in [0, 1].
        noise: variance of the verdict as a measurement of the quality; 0 takes its word.

    Returns:
        The belief after; means are kept in [0, 1].

    Raises:
        SettingError: a score outside [0, 1] or a noise that is not a variance; either would poison every mean.
    """
    if not (0.0 <= score <= 1.0 and 0.0 <= noise < np.inf):
        raise SettingError(
            f"a verdict of {score} with noise {noise} is out of range: use a score in [0, 1], a variance"
        )
    column = belief.covariance[:, index]
    variance = float(column[index]) + noise
    mean, covariance = belief.mean.copy(), belief.covariance
    if variance >= _LEAST_VARIANCE:
        gain = column / variance
        mean = np.clip(mean + gain * (score - mean[index]), 0.0, 1.0)
        covariance = covariance - np.outer(gain, column)
        covariance = (covariance + covariance.T) / 2.0
    if noise == 0.0:  # exactly known: no rounding is left for later verdicts to amplify
        mean[index] = score
        covariance = _forget(covariance, np.arange(mean.size) == index)
    return Belief(mean, covariance)


def truncate(belief: Belief, index: int, arms: Sequence[Arm], score: float) -> Belief:
    """Take in that arm ``index`` was cut off: this speaks of the budget and not of the model.

    The arm, and those of the same model with no longer a budget, are worth no more than ``score``, and no later verdict
    raises them; longer budgets and other models are believed as before.

    Args:
        belief: what is believed before.
        index: the arm whose answer was cut off.
        arms: the A arms of the belief.
        score: the verdict on the truncated answer, usually 0.
    """
    cut = arms[index]
    within = np.array([arm.model == cut.model and _length(arm) <= _length(cut) for arm in arms], dtype=np.bool_)
    mean = np.where(within, np.minimum(belief.mean, score), belief.mean)
    return Belief(mean, _forget(belief.covariance, within))


def _length(arm: Arm) -> float:
    return np.inf if arm.budget is None else float(arm.budget)


def _forget(covariance: Floats, known: Mask) -> Floats:
    """The covariance when these arms are certain: what is left of a semidefinite matrix stays semidefinite."""
    return np.asarray(np.where(known[:, None] | known[None, :], 0.0, covariance))
