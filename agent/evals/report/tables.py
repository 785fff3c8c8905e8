"""The tables: every metric with its spread, the honest points, the tasks. Whatever comes from data is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHARES = ("0.1", "0.2", "0.35", "0.5", "1.0")


def metrics_table(result: Mapping[str, Any]) -> str:
    """Mean ± standard deviation over seeds, and the 95 % interval of the first column."""
    heads = [
        "AUDC-envelope [95 %]",
        *(f"gain at {share} c*" for share in SHARES),
        "QNC-ratio (seeds)",
        "peak quality",
    ]
    rows = [
        (name, [_enveloped(one), *(spread(one["gain_at_cost"][share], "+.3f") for share in SHARES),
                _neutral(one["qnc_ratio"], result["seeds"]), _peak(one)])
        for name, one in result["policies"].items()
    ]  # fmt: skip
    return _table(["policy", *heads], rows)


def points_table(result: Mapping[str, Any]) -> str:
    """What each policy costs and gains where it would have been run."""
    heads = ["quality − q*", "cost / c*", "regret to the curve oracle", "RouterArena score"]
    keys = ("quality_gain", "cost_ratio", "regret", "router_arena")
    forms = ("+.3f", ".2f", ".3f", ".3f")
    rows = [
        (name, [spread(one["honest_point"][key], form) for key, form in zip(keys, forms, strict=True)])
        for name, one in result["policies"].items()
    ]
    return _table(["policy", *heads], rows)


def papers_table(result: Mapping[str, Any]) -> str:
    """Metrics that are kept for comparison with papers."""
    names = {"audc": "AUDC", "qnc": "QNC", "aiq": "AIQ", "apgr": "APGR", "cpt_0.5": "CPT(50 %)", "cpt_0.8": "CPT(80 %)"}
    keys = [key for key in names if any(key in one for one in result["policies"].values())]
    rows = [(name, [spread(one.get(key), ".3f") for key in keys]) for name, one in result["policies"].items()]
    return _table(["policy", *(names[key] for key in keys)], rows)


def tasks_table(result: Mapping[str, Any]) -> str:
    """Quality at the honest point, and cost as a share of the best single model's on the same task."""
    tasks = list(result["tasks"])
    best = {"best single": result["tasks"]}
    columns = best | {name: one["tasks"] for name, one in result["policies"].items() if name != "best-single"}
    rows = []
    for task in tasks:
        fixed = result["tasks"][task]["cost_usd"]
        rows.append(
            (task, [str(result["tasks"][task]["queries"]), *(_in_task(by.get(task), fixed) for by in columns.values())])
        )
    return _table(["task", "queries", *columns], rows)


def models_table(result: Mapping[str, Any]) -> str:
    """Prices, and how well each model keeps to its budgets."""
    rows = []
    for name, curve in result["models"].items():
        kept = [point for point in curve if point["compliance"] is not None]
        shares = ", ".join(f"{point['budget']}: {point['compliance']:.0%}" for point in kept) or "-"
        paid, written = result["prices_usd_per_million"].get(name, (None, None))
        rows.append((name, [_number(paid, ".3g"), _number(written, ".3g"), shares]))
    return _table(["model", "USD per million in", "out", "answers within 1.1 × budget"], rows)


def spread(found: Mapping[str, Any] | None, form: str) -> str:
    """Mean ± standard deviation; what only some seeds reached says so."""
    if found is None:
        return "-"
    if found["mean"] is None:
        there = found.get("mean_reached")
        return "-" if there is None else f"{there:{form}} <small>({found['reached']} seeds)</small>"
    wide = "" if found["std"] is None else f" <small>± {found['std']:{form.lstrip('+')}}</small>"
    return f"{found['mean']:{form}}{wide}"


def _enveloped(one: Mapping[str, Any]) -> str:
    low, high = one["intervals"]["audc_envelope"]
    bounds = "" if low is None else f" <small>[{low:.3f}, {high:.3f}]</small>"
    return spread(one["audc_envelope"], ".3f") + bounds


def _neutral(found: Mapping[str, Any], seeds: int) -> str:
    if found["reached"] is None:
        return "-"
    if not found["reached"]:
        return "never"
    return f"{found['mean_reached']:.2f} <small>({found['reached']}/{seeds})</small>"


def _peak(one: Mapping[str, Any]) -> str:
    at = one["peak_cost_ratio"]["mean"]
    return spread(one["peak"], ".3f") + ("" if at is None else f" <small>at {at:.2f} c*</small>")


def _in_task(found: Mapping[str, Any] | None, fixed: float | None) -> str:
    if found is None or found["quality"] is None:
        return "-"
    share = f" <small>{found['cost_usd'] / fixed:.2f}</small>" if fixed else ""
    return f"{found['quality']:.3f}{share}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The first head and the first cell of a row are names from data; the other cells are made here."""
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "".join(
        f'<tr{_mine(name)}><th scope="row">{escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, cells in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _mine(name: str) -> str:
    return ' class="ours"' if name.startswith("curveroute") else ""
