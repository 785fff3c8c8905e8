"""From a linear score to a quality in (0, 1) that never ties.

Clipping at 0 and 1 makes all arms of an easy query equal, and the cheapest of them wins whatever the heads say. Near
the ends the line bends into an exponential instead: strictly increasing, smooth, and the identity everywhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats

EDGE = 0.02


def squash(score: Floats) -> Floats:
    """Qualities in [0, 1] of linear scores, whatever their shape.

    ``score`` itself between 0.02 and 0.98; beyond, the distance to the end shrinks by e with every 0.02.
    """
    middle = np.clip(score, EDGE, 1.0 - EDGE)
    beyond = np.abs(score - middle)
    if not beyond.any():
        return np.asarray(middle)
    bend = EDGE * -np.expm1(-beyond / EDGE)
    return np.asarray(middle + np.copysign(bend, score - middle))
