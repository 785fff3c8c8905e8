"""What ours is compared with, each from its paper's definition, by the name it has in a report.

Importing this imports neither JAX nor LightGBM; a policy whose extra is missing says so at ``fit``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curveroute.agent.evals.baselines.carrot import carrot_knn, carrot_linear
from curveroute.agent.evals.baselines.constants import (
    Blind,
    ConstantArm,
    OneArm,
    best_single,
    cheapest,
    known_columns,
    largest_budget_columns,
)
from curveroute.agent.evals.baselines.irt import mirt
from curveroute.agent.evals.baselines.oracle import Oracle
from curveroute.agent.evals.baselines.r2 import r2_mlp, r2_ridge, r2_ridge_tuned
from curveroute.agent.evals.baselines.trees import lightgbm
from curveroute.agent.evals.baselines.two_agree import TwoAgree
from curveroute.agent.evals.baselines.unirouter import uni_r2, unirouter

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.evals.policy import Policy

__all__ = ["BASELINES", "EXTRA"]

BASELINES: dict[str, Callable[[int], Policy]] = {
    "best-single": lambda _: OneArm(best_single),
    "cheapest": lambda _: OneArm(cheapest),
    "random": lambda _: Blind(),
    "constant-arm": lambda _: ConstantArm(),
    "oracle-point": lambda _: Oracle(largest_budget_columns),
    "oracle-curve": lambda _: Oracle(known_columns),
    "two-agree": lambda seed: TwoAgree(seed=seed),
    "carrot-linear": carrot_linear,
    "carrot-knn": carrot_knn,
    "mirt": mirt,
    "unirouter": unirouter,
    "uni-r2": uni_r2,
    "r2-ridge": r2_ridge,
    "r2-ridge-tuned": r2_ridge_tuned,
    "r2-mlp": r2_mlp,
}
"""Name to a maker of a fresh policy from a seed, in the order of a report."""

EXTRA: dict[str, Callable[[int], Policy]] = {"lightgbm": lightgbm}
"""Not part of a full comparison, but there by name."""
