"""What verdicts say about all arms: jointly normal beliefs about their qualities, conditioned in closed form.

The prior mean comes from the heads, the covariance from their errors on queries they had not seen. Every verdict is a
measurement of its own arm's quality, as noisy as the verdict is unsure, and all of them move every other arm by what
their errors have in common: ``m + C[:, I] (C[I, I] + diag(s (1 − s)))⁻¹ (s − m[I])`` for verdicts ``s`` on the arms
``I``, the conditional mean of a normal. Verdicts are taken together, so their order does not matter.

A truncated answer speaks of the budget and not of the model: its arm, and those of the same model with no longer a
budget, are worth no more than the verdict, and nothing is concluded about any other arm.
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

_LEAST_NOISE = 1e-6


@dataclass(frozen=True, slots=True)
class Heard:
    """A verdict on one arm: its place, the score in [0, 1], and whether the answer was cut off."""

    index: int
    score: float
    cut: bool = False


def believed(mean: Floats, covariance: Floats, heard: Sequence[Heard], arms: Sequence[Arm]) -> Floats:
    """Expected qualities after verdicts.

    Args:
        mean: (A,) expected before, in [0, 1].
        covariance: (A, A) of the errors of those expectations, positive semidefinite.
        heard: verdicts; several on one arm count as several measurements.
        arms: the A arms.

    Returns:
        (A,) expected after, in [0, 1].

    Raises:
        SettingError: a score outside [0, 1], NaN included; it would poison every mean.
    """
    return conditioned(mean, covariance[:, whole_of(heard)], heard, arms)


def whole_of(heard: Sequence[Heard]) -> NDArray[np.intp]:
    """The places of the verdicts that speak of a model and not of its budget: those on answers that were not cut."""
    return np.array([one.index for one in heard if not one.cut], dtype=np.intp)


def conditioned(mean: Floats, columns: Floats, heard: Sequence[Heard], arms: Sequence[Arm]) -> Floats:
    """The same from the (A, W) columns of the covariance that are needed: those of ``whole_of(heard)``."""
    for one in heard:
        if not 0.0 <= one.score <= 1.0:
            raise SettingError(f"a verdict of {one.score} is out of range: use a score in [0, 1]")
    at = whole_of(heard)
    after = mean
    if at.size:
        scores = np.array([one.score for one in heard if not one.cut])
        noise = np.maximum(scores * (1.0 - scores), _LEAST_NOISE)
        after = (mean + columns @ np.linalg.solve(columns[at] + np.diag(noise), scores - mean[at])).clip(0.0, 1.0)
    for one in heard:
        if one.cut:
            after = np.where(_no_longer(arms, arms[one.index]), np.minimum(after, one.score), after)
    return np.asarray(after)


def _no_longer(arms: Sequence[Arm], cut: Arm) -> NDArray[np.bool_]:
    return np.array([arm.model == cut.model and _length(arm) <= _length(cut) for arm in arms], dtype=np.bool_)


def _length(arm: Arm) -> float:
    return np.inf if arm.budget is None else float(arm.budget)
