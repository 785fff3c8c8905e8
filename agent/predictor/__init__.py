"""The learned prior: quality and output tokens of every arm, as linear heads over a query's embedding.

``ridge`` fits all heads at once, ``shrink`` decides how much of them to believe, ``heads`` is what is left to do for a
query (one matrix product), ``model`` is the estimator, ``onboard`` adds a model to a fitted one, ``relearn`` lets it
learn from feedback (``lessons`` teaches, ``weigh`` judges, ``editions`` keeps what was), and ``store`` keeps it in a
folder. ``regress`` holds other heads behind one interface, for comparison.
"""

from __future__ import annotations

from curveroute.agent.predictor.heads import CurveHeads, Predictions
from curveroute.agent.predictor.model import Predictor
from curveroute.agent.predictor.shrink import Shrinkage
from curveroute.agent.predictor.store import load_predictor, save_predictor

__all__ = ["CurveHeads", "Predictions", "Predictor", "Shrinkage", "load_predictor", "save_predictor"]
