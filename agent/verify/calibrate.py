"""One calibrator turns all signals of an attempt into the probability that it is right.

A logistic regression with a ridge, fitted on recorded answers whose quality is known. What a recording cannot show (a
judge's word) has a weight of its own that the pool sets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.errors import PredictorError
from curveroute.agent.verify.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_RIDGE = 1.0
_STEPS = 50
_TOLERANCE = 1e-8
_LARGEST_STEP = 30.0

# Without any recorded answers: the prior counts in full, and the rest says what it usually says.
_UNFITTED = {
    "intercept": 0.0,
    "prior": 1.0,
    "truncated": -1.5,
    "malformed": -2.0,
    "refused": -3.0,
    "agree_other": 1.5,
    "disagree_other": -1.0,
    "agree_same": 0.5,
    "disagree_same": -0.5,
    "confidence": 0.0,
    "judged": 1.0,
}


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Weights by signal name, and an intercept.

    Attributes:
        weights: log-odds for one unit of each signal.
        reliability: the share of the prior's Brier score that looking at an answer takes away: 0 when verdicts tell
            nothing new, 1 when they are always right. ``None`` when it was not measured.
    """

    weights: Mapping[str, float]
    reliability: float | None = None

    @classmethod
    def unfitted(cls) -> Self:
        """Reasonable weights for when nothing was recorded."""
        return cls(dict(_UNFITTED))

    @classmethod
    def from_weights(cls, weights: Mapping[str, float]) -> Self:
        """From stored weights, as :meth:`to_weights` gives them.

        Raises:
            PredictorError: an unknown signal, a weight that is not finite, or a reliability that is no share.
        """
        weights = dict(weights)
        reliability = weights.pop("reliability", None)
        known = {"intercept", *Signals._fields}
        unknown = sorted(set(weights) - known)
        if unknown:
            raise PredictorError(f"calibrator weighs unknown signal(s) {', '.join(unknown)}; train the predictor again")
        if not all(math.isfinite(value) for value in weights.values()):
            raise PredictorError("a calibrator weight is not finite; train the predictor again")
        if reliability is not None and not 0.0 <= reliability <= 1.0:
            raise PredictorError(f"calibrator reliability is {reliability}, outside 0 to 1; train the predictor again")
        return cls({**dict.fromkeys(known, 0.0), **weights}, reliability)

    def to_weights(self) -> dict[str, float]:
        """What is stored: the weights, and the reliability under its own name."""
        return {**self.weights, **({} if self.reliability is None else {"reliability": self.reliability})}

    def probability(self, signals: Signals) -> float:
        """The probability that the attempt is right."""
        weights = self.weights
        total = weights["intercept"] + sum(
            weights[name] * value for name, value in zip(Signals._fields, signals, strict=True)
        )
        return 1.0 / (1.0 + math.exp(-max(min(total, 35.0), -35.0)))


def fit_calibrator(signals: Sequence[Signals], right: Sequence[float]) -> Calibrator:
    """Fit by iteratively reweighted least squares, ridge 1 on every weight but the intercept.

    Args:
        signals: one for each example; a signal that never varies keeps its unfitted weight.
        right: quality of each example's answer, in [0, 1].

    Raises:
        PredictorError: no examples, or only right or only wrong ones.
    """
    y = np.asarray(right, dtype=np.float64)
    if y.size == 0 or y.min() == y.max():
        raise PredictorError("the calibrator needs right and wrong answers to learn from; collect more tasks")
    x = np.asarray(signals, dtype=np.float64)
    varies = x.std(axis=0) > 0
    fixed = np.array([_UNFITTED[name] for name in Signals._fields])
    design = np.column_stack([np.ones(len(y)), x[:, varies]])
    penalty = np.diag([0.0] + [_RIDGE] * int(varies.sum()))
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        mean = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -_LARGEST_STEP, _LARGEST_STEP)))
        weight = np.maximum(mean * (1.0 - mean), 1e-6)
        hessian = design.T @ (design * weight[:, None]) + penalty
        step = np.linalg.solve(hessian, design.T @ (y - mean) - penalty @ beta)
        beta = beta + step
        if float(np.abs(step).max()) < _TOLERANCE:
            break
    fixed[varies] = beta[1:]
    names = ("intercept", *Signals._fields)
    weights = dict(zip(names, [float(beta[0]), *map(float, fixed)], strict=True))
    return Calibrator(weights, _reliability(x, y, design @ beta))


def _reliability(signals: Floats, right: Floats, log_odds: Floats) -> float:
    """1 − Brier(verdict) / Brier(prior), in [0, 1]."""
    prior = 1.0 / (1.0 + np.exp(-signals[:, Signals._fields.index("prior")]))
    verdict = 1.0 / (1.0 + np.exp(-log_odds))
    before, after = float(np.mean((right - prior) ** 2)), float(np.mean((right - verdict) ** 2))
    return 0.0 if before == 0.0 else min(max(1.0 - after / before, 0.0), 1.0)
