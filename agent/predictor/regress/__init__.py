"""Heads to compare: one interface, five ways to learn quality or tokens of many arms from an embedding.

``ridge`` (linear), ``neighbours`` (cosine), ``described`` (clusters; a new model joins by its errors), ``mlp`` and
``item_response`` (the extra ``neural``), ``boosted`` (the extra ``boosted``). Importing them imports neither extra.
"""

from __future__ import annotations

from curveroute.agent.predictor.regress.boosted import Boosted
from curveroute.agent.predictor.regress.described import Described
from curveroute.agent.predictor.regress.item_response import ItemResponse
from curveroute.agent.predictor.regress.mlp import Mlp
from curveroute.agent.predictor.regress.neighbours import Neighbours
from curveroute.agent.predictor.regress.regressor import LeavesOut, Regressor
from curveroute.agent.predictor.regress.ridge import Ridge

__all__ = ["Boosted", "Described", "ItemResponse", "LeavesOut", "Mlp", "Neighbours", "Regressor", "Ridge"]
