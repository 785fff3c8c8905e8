"""The glossary at the end of the page: one line for each word, and for each policy that was compared."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

AT_AUDC = "word-audc-envelope"
_WORDS = {
    "arm": "a model at an output budget, the unlimited one among them: what a router chooses",
    "tradeoff": "what a policy is swept over, from quality alone (0) to cost alone (1); each value is a point",
    "c*": "mean test cost of a query with the best single model at its largest budget",
    "q*": "mean test quality of that model",
    "AUDC-envelope": "mean over costs from 0 to c* of the best quality within that cost (0 before the first point), "
    "constant arms among the points",
    "gain at": "quality of the best point with cost up to that share of c*, less q*",
    "honest point": "the tradeoff chosen on training queries to reach q* as cheaply as possible, measured on test ones",
    "QNC": "quality-neutral cost: that of the cheapest point that reaches q*; QNC-ratio: over c*",
    "peak": "best quality at any cost",
    "ECE": "expected calibration error: how far estimated quality is from what came, over ten bins weighed by count",
    "Brier": "mean squared error of estimated quality, lower is better",
    "regret": "how much better the curve oracle, with the constant arms, is at the cost of the honest point",
    "RouterArena score": "quality and log cost joined into one number from 0 to 1 (arXiv 2510.00202)",
    "AIQ": "RouterBench's average improvement in quality: mean height of the points' hull over the policy's own costs",
    "APGR": "RouteLLM's average performance gap recovered, for pools of two models: share of the way from the weaker "
    "model's quality to the stronger's, averaged over shares of the cost between them",
    "CPT": "RouteLLM's call-performance threshold, for pools of two models: the smallest share of the cost between "
    "them that recovers 50 % or 80 % of the gap",
}
_POLICIES = {
    "best-single": "the model that is best on training queries, at its largest budget, for every query",
    "cheapest": "the cheapest arm for every query",
    "random": "an arm drawn blindly for every query: the mean over all draws",
    "constant-arm": "one arm for every query: the best on training queries within each cost",
    "oracle-point": "knows every answer's quality and cost; chooses among models at their largest budgets",
    "oracle-curve": "knows every answer's quality and cost; chooses among models and budgets",
    "two-agree": "asks two arms, accepts when they agree, else asks a third",
    "carrot-linear": "CARROT (arXiv 2502.03261), linear: predicts quality and cost of each model",
    "carrot-knn": "CARROT (arXiv 2502.03261), nearest neighbours: predicts quality and cost of each model",
    "mirt": "IRT-Router (arXiv 2506.01048), multidimensional: abilities of models against difficulties of queries",
    "unirouter": "UniRouter (arXiv 2502.08773): each model's error in each cluster of queries",
    "uni-r2": "UniRouter's clusters, with budgets",
    "r2-ridge": "R2-Router (arXiv 2602.02823): quality of models and budgets by ridge regression, as released",
    "r2-ridge-tuned": "R2-Router by ridge regression, its penalty tuned",
    "r2-mlp": "R2-Router with a small neural network",
    "lightgbm": "boosted trees in the place of linear heads",
    "curveroute-single": "ours: models and budgets by predicted quality and cost, without looking at answers",
    "curveroute": "ours: asks, looks at the answers, and stops, goes on or changes the model by learned values",
    "looking-no-length": "ours, without the length of answers among the jury's signals",
    "looking-no-prior": "ours, without what is expected of an arm among the jury's signals",
    "single-usd": "ours, trading quality for raw dollars",
    "single-nominal": "ours, charged nominal budgets and not predicted tokens",
    "single-unshrunk": "ours, its estimates not shrunk",
    "single-uncalibrated": "ours, its estimates not calibrated",
    "single-no-cues": "ours, without cues read off the query's text",
}


def glossary(policies: Iterable[str]) -> str:
    """The words, then those of the policies that are known here."""
    known = {name: _POLICIES[name] for name in policies if name in _POLICIES}
    return (
        '<section id="glossary"><h2>What the words mean</h2><details open><summary>Words</summary>'
        f"{_listed(_WORDS)}</details><details open><summary>Policies</summary>{_listed(known)}</details></section>"
    )


def _listed(lines: dict[str, str]) -> str:
    rows = "".join(f"<dt{_anchor(word)}>{escape(word)}</dt><dd>{escape(said)}</dd>" for word, said in lines.items())
    return f"<dl>{rows}</dl>"


def _anchor(word: str) -> str:
    return f' id="{AT_AUDC}"' if word == "AUDC-envelope" else ""
