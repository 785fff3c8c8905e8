"""The page: what was found, in the order in which a reader should believe it, and how it was made."""

from __future__ import annotations

from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from curveroute.agent.evals.bootstrap import FEWEST_QUERIES, SPARE
from curveroute.agent.evals.report.charts import budgets, deferral, forest, reliability
from curveroute.agent.evals.report.glossary import AT_AUDC, glossary
from curveroute.agent.evals.report.looks import looks
from curveroute.agent.evals.report.tables import metrics_table, models_table, papers_table, points_table, tasks_table
from curveroute.agent.evals.sentences import JOINED, NAMES, ONE_SPLIT, asked, headlines, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_ROOM = 0.03


def report_page(results: Sequence[Mapping[str, Any]]) -> str:
    """One self-contained HTML page: no script, nothing fetched, light and dark.

    Args:
        results: JSON objects as ``evaluate`` gives them, one or more.
    """
    names = [str(one["table"]) for one in results]
    links = "".join(f'<a href="#table-{place}">{escape(name)}</a>' for place, name in enumerate(names))
    style = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    body = "".join(_article(place, one) for place, one in enumerate(results))
    words = glossary(dict.fromkeys(name for one in results for name in one["policies"]))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Routers compared on {escape(', '.join(names))}</title><style>{style}</style></head>"
        f"<body>{f'<nav>{links}</nav>' if len(results) > 1 else ''}<main>{body}{words}</main></body></html>\n"
    )


def _article(place: int, result: Mapping[str, Any]) -> str:
    parts = (_opening, _metrics, _comparisons, _deferral, _points, _tasks, _models, _calibration, _papers, _making)
    return f'<article id="table-{place}">{"".join(part(result) for part in parts)}</article>\n'


def _opening(result: Mapping[str, Any]) -> str:
    best = result["best_single"]
    said = "".join(f"<li>{escape(line)}.</li>" for line in headlines(result["paired"]))
    said = said.replace(NAMES["audc_envelope"], f'<a href="#{AT_AUDC}">{NAMES["audc_envelope"]}</a>', 1)
    notes = "".join(f"<li>{escape(note)}</li>" for note in result["notes"])
    return (
        f"<h1>Routers compared on {escape(result['table'])}</h1>"
        f'<p class="lead">{escape(asked(result))}, {_seeds(result)}. Best single model '
        f"(chosen on training queries): {escape(best['model'])}, quality q* = {best['quality']:.3f} "
        f"at c* = {best['cost_usd']:.3g} USD a query. "
        '<a href="#glossary">What the words mean</a>.</p>'
        + (f"<ul>{said}</ul>" if said else "<p>One policy: nothing to compare.</p>")
        + (f'<h3>Notes</h3><ul class="note">{notes}</ul>' if notes else "")
    )


def _metrics(result: Mapping[str, Any]) -> str:
    return _section(
        "What each policy is worth",
        "Means over seeds ± standard deviation. Gain: quality of the best point within that cost, minus q*. QNC-ratio: "
        f"cost at which q* is reached, over c*; it picks among noisy points and is optimistic by about 0.05. {JOINED}.",
        metrics_table(result),
    )


def _comparisons(result: Mapping[str, Any]) -> str:
    paired = result["paired"]
    if not paired:
        return ""
    by_metric = {metric: [one for one in paired if one["metric"] == metric] for metric in NAMES}
    leads = list(dict.fromkeys(one["a"] for one in paired))
    panels = [
        forest(f"{lead}: {NAMES[metric]}", [one for one in rows if one["a"] == lead])
        for lead in leads
        for metric, rows in by_metric.items()
        if rows
    ]
    sentences = "".join(f"<li>{escape(sentence(one))}</li>" for one in paired)
    return _section(
        "Is it a difference?",
        f"Paired bootstrap over the test queries of each seed, {result['resamples']:,} resamples, the same for all "
        f"policies; basic 95 % intervals, averaged over seeds. {_needed(result)} "
        "Right of the line, the first named is better; grey is no difference that this data can show. "
        "Oracles and blind choices are left to the sentences.",
        _panels(panels) + f"<details><summary>Every comparison in a sentence</summary><ul>{sentences}</ul></details>",
    )


def _deferral(result: Mapping[str, Any]) -> str:
    return _section(
        "Quality against cost",
        "The best quality of a policy's own points within each cost; points are means over seeds. Dotted: q* and c*. "
        "The first chart, linear in cost, looks closer and leaves out the oracles.",
        f"<figure>{deferral(result, log=False)}</figure><figure>{deferral(result, log=True)}</figure>",
    )


def _points(result: Mapping[str, Any]) -> str:
    return _section(
        "Where it would have been run",
        "The honest point: the tradeoff picked on training queries, each routed as if unseen, to reach q* as cheaply "
        "as possible (or, when nothing reaches it, for the best quality), then measured on the test queries.",
        points_table(result),
    )


def _tasks(result: Mapping[str, Any]) -> str:
    return _section(
        "Task by task, each policy at its honest point",
        "Quality and, small, cost as a share of the best single model's cost on that task. Test queries of all seeds "
        "together. An oracle's honest point is the cheapest that reaches q* on training queries, so it may be below "
        "the best single model on a task.",
        tasks_table(result),
    )


def _models(result: Mapping[str, Any]) -> str:
    every = [point for curve in result["models"].values() for point in curve]
    low = max(min(point["low"] for point in every) - _ROOM, 0.0)
    high = min(max(point["high"] for point in every) + _ROOM, 1.0)
    panels = [budgets(name, curve, low, high) for name, curve in result["models"].items()]
    return _section(
        "Quality against budget",
        "Each model as recorded, over all its queries; the band is a 95 % interval of the mean (normal, over queries).",
        _panels(panels) + models_table(result),
    )


def _calibration(result: Mapping[str, Any]) -> str:
    kinds = looks(result["policies"])
    found = [
        reliability(f"{name}{' (all arms)' if over == 'all_arms' else ''}", one["calibration"][over], kinds[name])
        for name, one in result["policies"].items()
        for over in ("chosen", "all_arms")
        if one["calibration"][over]
    ]
    if not found:
        return ""
    return _section(
        "Can its estimates be believed?",
        "Quality that came against quality that was estimated, for the chosen arms at every tradeoff (and for all arms "
        "where the policy tells). Choosing the highest estimate picks lucky errors, so points under the line are "
        "common. ECE: ten bins of equal width, the same for all, weighed by count.",
        _panels(found),
    )


def _papers(result: Mapping[str, Any]) -> str:
    return _section(
        "For comparison with papers",
        "AUDC and QNC as R2-Router defines them (costs of all compared policies scaled to 0 to 1 together): they rank "
        "oracles near the bottom and constants near the top, so never read them alone. AIQ: RouterBench, over each "
        "policy's own cost range.",
        papers_table(result),
    )


def _making(result: Mapping[str, Any]) -> str:
    made, (low, high) = result["made_with"], result["cost_range_usd"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    splits = "; ".join(
        f"seed {one['seed']}: {one['train']} / {one['test']}, {one['best_single']}" for one in result["splits"]
    )
    rows = {
        "command": made.get("command"),
        "data": f"{result['table']}, sha256 {result['data_sha256']}",
        "trained on": f"{result['train_table']}, sha256 {result['train_sha256']}" if result["train_table"] else None,
        "embedder": made.get("embedder"),
        "splits (training / test queries, best single)": splits,
        "mean cost of an arm": f"{_usd(low)} to {_usd(high)} USD a query",
        "versions": versions,
    }
    listed = "".join(
        f"<dt>{key}</dt><dd><code>{escape(str(value))}</code></dd>" for key, value in rows.items() if value
    )
    return _section("How this was made", "", f"<dl>{listed}</dl>")


def _section(title: str, words: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{f'<p class=note>{words}</p>' if words else ''}{content}</section>"


def _panels(panels: Iterable[str]) -> str:
    return f'<div class="panels">{"".join(panels)}</div>'


def _needed(result: Mapping[str, Any]) -> str:
    """What a win needs, as a sentence."""
    fixed = bool(result["train_table"])
    if result["seeds"] == 1 and not fixed:
        return f"{ONE_SPLIT[0].upper()}{ONE_SPLIT[1:]}."
    on = "every seed" if fixed or result["seeds"] < SPARE else "all seeds but at most one"
    here = " It is a win on this split, no more." if fixed else ""
    return f"A win needs an interval without zero on {on}, and {FEWEST_QUERIES} test queries.{here}"


def _seeds(result: Mapping[str, Any]) -> str:
    kind = "a fixed split" if result["train_table"] else "random splits by query"
    return f"{result['seeds']} seed{'s' if result['seeds'] != 1 else ''}, {kind}"


def _usd(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"
