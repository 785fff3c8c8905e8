"""What a comparison says, in words that claim no more than it shows."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from curveroute.agent.evals.bootstrap import FEWEST_QUERIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMES = {
    "audc_envelope": "AUDC-envelope",
    "gain_at_cost_0.35": "gain at 0.35 c*",
    "gain_at_cost_0.5": "gain at 0.5 c*",
    "gain_at_cost_1": "gain at c*",
    "peak": "peak quality",
}
JOINED = (
    "AUDC-envelope and gains include the constant arms, which anyone may use; peak, QNC and the honest point do not"
)
TOO_FEW = "too few test queries for a claim"
_HEADLINES = {
    "win": "beats",
    "loss": "loses to",
    "none": "shows no difference that this data can tell from",
}
_VERBS = {"win": "beats", "loss": "loses to"}


def sentence(one: Mapping[str, Any]) -> str:
    """One entry of ``paired`` (one metric) as a sentence."""
    metric = NAMES.get(one["metric"], one["metric"])
    if one["difference"] is None or one["low"] is None:
        return f"{one['a']} and {one['b']} cannot be compared on {metric}: it is undefined on some seed."
    if _few(one):
        return f"{one['a']} and {one['b']} on {metric}: {_too_few(one)}."
    shown = f"{abs(one['difference']):.3f} {_bounds(one)}" if one["outcome"] != "none" else _signed(one)
    seeds = f"the interval leaves out zero on {max(one['wins'], one['losses'])} of {_seeds(one['seeds'])}"
    if one["outcome"] == "none":
        return f"{one['a']} and {one['b']} on {metric}: no difference that this data can show ({shown}; {seeds})."
    verb = _VERBS[one["outcome"]]
    return f"{one['a']} {verb} {one['b']} on {metric} by {shown}; {seeds}: a {one['outcome']}."


def headlines(paired: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each metric: whom it beats, to whom it loses, and with whom nothing can be said."""
    lines = []
    for a in dict.fromkeys(one["a"] for one in paired):
        for metric in dict.fromkeys(one["metric"] for one in paired):
            group = [one for one in paired if (one["a"], one["metric"]) == (a, metric)]
            clauses = [
                f"{said} {', '.join(names)}"
                for outcome, said in _HEADLINES.items()
                if (names := [one["b"] for one in group if one["outcome"] == outcome and not _few(one)])
            ]
            if few := [one for one in group if _few(one)]:
                clauses.append(f"has {_too_few(few[0])} about {', '.join(one['b'] for one in few)}")
            lines.append(f"On {NAMES.get(metric, metric)}, {a} {'; '.join(clauses)}")
    return lines


def verdicts(paired: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each pair: where it wins, where it loses, where nothing can be said."""
    return [
        f"{a} against {b}: {_verdict(list(group))}"
        for (a, b), group in groupby(paired, lambda one: (one["a"], one["b"]))
    ]


def _verdict(group: Sequence[Mapping[str, Any]]) -> str:
    won, lost = ([_brief(one) for one in group if one["outcome"] == outcome] for outcome in ("win", "loss"))
    if any(_few(one) for one in group):
        return _too_few(group[0])
    if not won and not lost:
        return "no difference that this data can show"
    clauses = [f"{verb} on {', '.join(found)}" for verb, found in (("wins", won), ("loses", lost)) if found]
    if len(won) + len(lost) < len(group):
        clauses.append("no difference that this data can show on the rest")
    return "; ".join(clauses)


def _few(one: Mapping[str, Any]) -> bool:
    return bool(one.get("test_queries", FEWEST_QUERIES) < FEWEST_QUERIES)


def _too_few(one: Mapping[str, Any]) -> str:
    return f"{TOO_FEW} ({one['test_queries']}; it takes {FEWEST_QUERIES})"


def _brief(one: Mapping[str, Any]) -> str:
    return f"{NAMES.get(one['metric'], one['metric'])} ({_signed(one)})"


def _signed(one: Mapping[str, Any]) -> str:
    return f"{one['difference']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"


def _bounds(one: Mapping[str, Any]) -> str:
    sign = 1.0 if one["outcome"] == "win" else -1.0
    low, high = sorted((sign * one["low"], sign * one["high"]))
    return f"[{low:.3f}, {high:.3f}]"


def _seeds(count: int) -> str:
    return f"{count} seeds" if count != 1 else "1 seed"
