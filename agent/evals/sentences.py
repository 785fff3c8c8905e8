"""What a comparison says, in words that claim no more than it shows."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from curveroute.agent.evals.bootstrap import FEWEST_QUERIES, SPARE
from curveroute.agent.plural import counted, queries

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
ONE_SPLIT = f"one split makes no claim: give --seeds {SPARE} or more"
_HEADLINES = {
    "win": "beats",
    "loss": "loses to",
    "none": "shows no difference that this data can tell from",
}
_VERBS = {"win": "beats", "loss": "loses to"}


def asked(result: Mapping[str, Any]) -> str:
    """How many queries and arms a result is about; of a fixed split, what was tested and what it was fitted on."""
    arms, split = counted(result["arms"], "arm"), result["splits"][0]
    if not result["train_table"]:
        return f"{queries(result['queries'])}, {arms}"
    tested = counted(split["test"], "test query", "test queries")
    return f"{tested} (fitted on {split['train']:,} of {result['train_table']}), {arms}"


def sentence(one: Mapping[str, Any]) -> str:
    """One entry of ``paired`` (one metric) as a sentence."""
    metric = NAMES.get(one["metric"], one["metric"])
    if one["difference"] is None or one["low"] is None:
        return f"{one['a']} and {one['b']} cannot be compared on {metric}: it is undefined on some seed."
    if _few(one):
        return f"{one['a']} and {one['b']} on {metric}: {_too_few(one)}."
    if _one_split(one):
        return f"{one['a']} and {one['b']} on {metric}: {_signed(one)}; {ONE_SPLIT}."
    shown = f"{abs(one['difference']):.3f} {_bounds(one)}" if one["outcome"] != "none" else _signed(one)
    seeds = f"the interval leaves out zero on {max(one['wins'], one['losses'])} of {_seeds(one['seeds'])}"
    if one["outcome"] == "none":
        return f"{one['a']} and {one['b']} on {metric}: no difference that this data can show ({shown}; {seeds})."
    verb = _VERBS[one["outcome"]]
    return f"{one['a']} {verb} {one['b']} on {metric} by {shown}; {seeds}: a {one['outcome']}{_where(one)}."


def headlines(paired: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each metric: whom it beats, to whom it loses, and with whom nothing can be said.

    Where nothing can be claimed at all, one line says why.
    """
    if any(_few(one) for one in paired):
        return [_capital(_too_few(paired[0]))]
    if paired and all(_one_split(one) for one in paired):
        return [_capital(f"{ONE_SPLIT}; the differences are below, each with its interval")]
    lines = []
    for a in dict.fromkeys(one["a"] for one in paired):
        for metric in dict.fromkeys(one["metric"] for one in paired):
            group = [one for one in paired if (one["a"], one["metric"]) == (a, metric)]
            clauses = [
                f"{said} {', '.join(names)}"
                for outcome, said in _HEADLINES.items()
                if (names := [one["b"] for one in group if one["outcome"] == outcome])
            ]
            lines.append(f"On {NAMES.get(metric, metric)}{_where(group[0])}, {a} {'; '.join(clauses)}")
    return lines


def verdicts(paired: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each pair: where it wins, where it loses, where nothing can be said; why not, of one split."""
    lines = [
        f"{a} against {b}{_where(group[0])}: {_verdict(group)}"
        for (a, b), rows in groupby(paired, lambda one: (one["a"], one["b"]))
        if (group := list(rows))
    ]
    claimless = any(_one_split(one) and not _few(one) for one in paired)
    return [*lines, ONE_SPLIT] if claimless else lines


def _verdict(group: Sequence[Mapping[str, Any]]) -> str:
    won, lost = ([_brief(one) for one in group if one["outcome"] == outcome] for outcome in ("win", "loss"))
    if any(_few(one) for one in group):
        return _too_few(group[0])
    if _one_split(group[0]):
        return ", ".join(_brief(one) for one in group if one["low"] is not None) or "undefined"
    if not won and not lost:
        return "no difference that this data can show"
    clauses = [f"{verb} on {', '.join(found)}" for verb, found in (("wins", won), ("loses", lost)) if found]
    if len(won) + len(lost) < len(group):
        clauses.append("no difference that this data can show on the rest")
    return "; ".join(clauses)


def _one_split(one: Mapping[str, Any]) -> bool:
    """Of a random one: a fixed split is what was asked about."""
    return one["seeds"] == 1 and not one.get("fixed", False)


def _where(one: Mapping[str, Any]) -> str:
    return " on this split" if one.get("fixed", False) else ""


def _capital(line: str) -> str:
    return line[:1].upper() + line[1:]


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
