"""Every policy by name, in the order of a report: what is always there, then the learned baselines, then ours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from curveroute.agent.evals.baselines import BASELINES, EXTRA
from curveroute.agent.evals.single import SingleShot

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.evals.policy import Policy


def _single(_seed: int, **taken_away: object) -> Policy:
    return SingleShot(**taken_away)  # type: ignore[arg-type]


POLICIES: dict[str, Callable[[int], Policy]] = {**BASELINES, "curveroute-single": _single}
"""Name to a maker of a fresh policy from a seed: those of a full comparison."""

ABLATIONS: dict[str, Callable[[int], Policy]] = {
    "single-usd": partial(_single, unit="usd"),
    "single-nominal": partial(_single, tokens="nominal"),
    "single-unshrunk": partial(_single, shrunk=False),
    "single-uncalibrated": partial(_single, calibrated=False),
    "single-no-cues": partial(_single, cues=False),
}
"""Ours with one mend taken away."""

NAMED: dict[str, Callable[[int], Policy]] = {**POLICIES, **EXTRA, **ABLATIONS}
"""All that can be asked for by name."""
