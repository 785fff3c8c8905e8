"""The charts: quality against cost, quality against budget, reliability, and differences with their intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from curveroute.agent.evals.report.looks import looks
from curveroute.agent.evals.report.svg import Chart, Scale, usd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Points = list[tuple[float, float]]
_BEYOND = 1.25  # the linear chart ends a little past c*
_STEEP = 0.1  # and leaves out how steeply curves rise at its very left: the logarithmic one shows that
_NO_RIVALS = ("oracle-point", "oracle-curve", "cheapest", "random")
_LONGEST_NAME = 24
_UNLIMITED = "∞"


def deferral(result: Mapping[str, Any], *, log: bool) -> str:
    """Each policy's best quality within each cost, from its own points; cost linear to a little past c*, or log.

    The linear chart looks closer: without the oracles, and from where the steep rise is over.
    """
    every = {name: _points(policy["curve"]) for name, policy in result["policies"].items()}
    curves = {name: points for name, points in every.items() if log or not name.startswith("oracle")}
    c_star, q_star = result["best_single"]["cost_usd"], result["best_single"]["quality"]
    chart = _deferral_frame(curves, c_star, q_star, log=log)
    kinds, labels = looks(every), []
    chart.line([(chart.x.low, q_star), (chart.x.high, q_star)], "star")
    for name, points in curves.items():
        seen = envelope([point for point in points if point[0] <= chart.x.high and (point[0] > 0 or not log)])
        if not seen:
            continue
        if len(points) == 1:
            _lone(chart, seen[0], name, kinds[name])
            continue
        chart.steps(seen, kinds[name])
        labels.append((seen[-1][1], _short(name), kinds[name]))
    chart.end_labels(labels)
    return chart.render()


def _lone(chart: Chart, point: tuple[float, float], name: str, kind: str) -> None:
    """A policy of one point, named beside it; not where the chart does not reach."""
    cost, quality = point
    if quality < chart.y.low:
        return
    chart.dot(cost, quality, kind)
    middle = (chart.x.start + chart.x.end) / 2
    side = -1 if chart.x(cost) > middle else 1
    chart.text(
        chart.x(cost) + 7 * side, chart.y(quality) + 15, _short(name), anchor="end" if side < 0 else "start",
        kind=f"name {kind}",
    )  # fmt: skip


def envelope(points: _Points) -> _Points:
    """The points that are better than every cheaper one, by cost."""
    kept: _Points = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or quality > kept[-1][1]:
            kept.append((cost, quality))
    return kept


def budgets(name: str, curve: Sequence[Mapping[str, Any]], lowest: float, highest: float) -> str:
    """One model's quality against its budget, with its band; the unlimited budget stands at the right."""
    finite = [point["budget"] for point in curve if point["budget"] is not None]
    last = 2.0 * max(finite, default=1)
    low = min(finite, default=1)
    chart = Chart(230, 170, Scale(low, last, 36, 218, log=True), Scale(lowest, highest, 138, 24), name)
    ticks = sorted({low, max(finite, default=1)})
    unlimited = [(last, _UNLIMITED)] if len(finite) < len(curve) else []
    chart.axes([*((float(tick), f"{tick:g}") for tick in ticks), *unlimited], _plain(chart.y))
    places = [(last if point["budget"] is None else point["budget"], point) for point in curve]
    chart.band([(x, point["low"], point["high"]) for x, point in places], "ours")
    chart.line([(x, point["quality"]) for x, point in places], "ours thin")
    for x, point in places:
        chart.dot(x, point["quality"], "ours", 2.2)
    chart.text(36, 14, _short(name, 32), kind="head")
    chart.text(127, 166, "output tokens", anchor="middle", kind="tick")
    return chart.render()


def reliability(name: str, found: Mapping[str, Any], kind: str) -> str:
    """Mean quality that came against mean estimate, in ten bins; the area of a dot is its share of the estimates."""
    chart = Chart(230, 220, Scale(0, 1, 36, 218), Scale(0, 1, 186, 38), f"reliability of {name}")
    chart.axes(_plain(chart.x), _plain(chart.y))
    chart.line([(0, 0), (1, 1)], "star")
    total = sum(count for _, _, count in found["bins"]) or 1
    chart.line([(estimated, observed) for estimated, observed, _ in found["bins"]], f"{kind} thin")
    for estimated, observed, count in found["bins"]:
        chart.dot(estimated, observed, kind, 2.0 + 9.0 * math.sqrt(count / total))
    chart.text(36, 14, _short(name, 32), kind="head")
    chart.text(36, 29, f"ECE {found['ece']:.3f}, Brier {found['brier']:.3f}", kind="tick")
    chart.text(127, 216, "estimated quality", anchor="middle", kind="tick")
    return chart.render()


def forest(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Differences in one metric with their intervals, one row for each rival; right of the line is better.

    Oracles and blind choices are bounds, not rivals, and would press all others together.
    """
    there = [one for one in rows if one["low"] is not None and one["b"] not in _NO_RIVALS]
    edge = max((abs(value) for one in there for value in (one["low"], one["high"])), default=0.0) * 1.08 or 0.01
    height = 44.0 + 17.0 * len(there)
    chart = Chart(350, height + 8, Scale(-edge, edge, 132, 338), Scale(0, 1, height - 14, 24), title)
    chart.axes([(value, f"{value:+g}" if value else "0") for value in chart.x.ticks()], [])
    chart.line([(0, 0), (0, 1)], "zero")
    for place, one in enumerate(there):
        level = 1 - (place + 0.6) / max(len(there), 1)
        kind = {"win": "ours", "loss": "c3"}.get(one["outcome"], "fixed")
        chart.line([(one["low"], level), (one["high"], level)], f"{kind} thin")
        chart.dot(one["difference"], level, kind, 3.0)
        chart.text(126, chart.y(level) + 4, _short(one["b"], 18), anchor="end", kind="tick")
    chart.text(0, 14, title, kind="head")
    return chart.render()


def _deferral_frame(curves: Mapping[str, _Points], c_star: float, q_star: float, *, log: bool) -> Chart:
    costs = [cost for points in curves.values() for cost, _ in points if cost > 0] or [1e-6]
    linear_end = (c_star or max(costs)) * _BEYOND
    low, high = (min(costs), max(*costs, min(costs) * 10)) if log else (0.0, linear_end)
    swept = [points for points in curves.values() if log or len(points) > 1]
    seen = [envelope([point for point in points if point[0] <= high]) for points in swept]
    first = low if log else high * _STEEP
    bottom = min([_height(points, first) for points in seen if points] + [q_star])
    top = max([points[-1][1] for points in seen if points] + [q_star])
    room = (top - bottom) * 0.05 or 0.05
    chart = Chart(
        760, 430, Scale(low, high, 52, 596, log=log), Scale(max(bottom - room, 0.0), top + room, 380, 16),
        f"quality against cost, {'logarithmic' if log else 'linear'}", grow=1.35,
    )  # fmt: skip
    chart.axes([(value, usd(value)) for value in chart.x.ticks()], _plain(chart.y))
    chart.text(324, 418, f"mean cost of a query, USD ({'log' if log else 'linear'})", anchor="middle", kind="tick")
    chart.text(8, 10, "quality", kind="tick")
    if low < c_star <= high:
        chart.line([(c_star, chart.y.low), (c_star, chart.y.high)], "star")
        chart.text(chart.x(c_star) + 4, 376, "c*", kind="tick")
    chart.text(56, chart.y(q_star) - 5, "q*", kind="tick")
    return chart


def _height(points: _Points, cost: float) -> float:
    """Of an envelope at that cost, or where it begins."""
    return max([quality for at, quality in points if at <= cost], default=points[0][1])


def _points(curve: Sequence[Sequence[float | None]]) -> _Points:
    return [(cost, quality) for _, cost, quality in curve if cost is not None and quality is not None]


def _plain(scale: Scale) -> list[tuple[float, str]]:
    return [(value, f"{value:g}") for value in scale.ticks()]


def _short(name: str, longest: int = _LONGEST_NAME) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
