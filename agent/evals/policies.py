"""Every policy by name, in the order of a report: what is always there, then the learned baselines, then ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curveroute.agent.evals.baselines import BASELINES, EXTRA
from curveroute.agent.evals.looking import Looked
from curveroute.agent.evals.single import SingleShot

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.evals.policy import Policy


POLICIES: dict[str, Callable[[int], Policy]] = {
    **BASELINES,
    "curveroute-single": lambda _: SingleShot(),
    "curveroute": lambda seed: Looked(seed=seed),
}
"""Name to a maker of a fresh policy from a seed: those of a full comparison."""

ABLATIONS: dict[str, Callable[[int], Policy]] = {
    "single-usd": lambda _: SingleShot(unit="usd"),
    "single-nominal": lambda _: SingleShot(tokens="nominal"),
    "single-unshrunk": lambda _: SingleShot(shrunk=False),
    "single-uncalibrated": lambda _: SingleShot(calibrated=False),
    "single-no-cues": lambda _: SingleShot(cues=False),
    "looking-no-length": lambda seed: Looked(seed=seed, blind="length"),
    "looking-no-prior": lambda seed: Looked(seed=seed, blind="prior"),
}
"""Ours with one mend, or one signal, taken away."""

NAMED: dict[str, Callable[[int], Policy]] = {**POLICIES, **EXTRA, **ABLATIONS}
"""All that can be asked for by name."""
