"""Markdown tables of an evaluation, from the JSON of ``curveroute evaluate``: the tables of docs/evaluation.md.

Usage: python benchmarks/evaluation_tables.py results.json…

For each recorded table: every policy's numbers with what ours is ahead by, and ours against single-shot and two-agree
on every compared number. ``win`` and ``loss`` are what the evaluation claims; without a word the data shows none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS = "curveroute"
RIVALS = ("curveroute-single", "two-agree")
COMPARED = {
    "audc_envelope": "AUDC-envelope",
    "gain_at_cost_0.35": "gain at .35",
    "gain_at_cost_0.5": "gain at .5",
    "gain_at_cost_1": "gain at 1.0",
    "peak": "peak",
}
HEAD = (
    "policy", "AUDC-envelope", "gain at .35", "at .5", "at 1.0", "QNC (seeds)", "peak − q\\*",
    "honest point: gain at cost / c\\*", "ours less theirs, AUDC-envelope",
)  # fmt: skip


def results(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, list) else found.get("tables", [found])


def signed(value: float | None) -> str:
    return "n/a" if value is None else f"{value:+.3f}".replace("-", "−").replace("0.", ".")


def plain(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def row(result: dict[str, Any], name: str) -> list[str]:
    """One policy's cells."""
    one = result["policies"][name]
    area, gains, qnc, honest = one["audc_envelope"], one["gain_at_cost"], one["qnc_ratio"], one["honest_point"]
    seeds = result["seeds"]
    reached = f"{qnc['mean_reached']:.2f} ({qnc['reached']}/{seeds})" if qnc["reached"] else "never"
    point = f"{signed(honest['quality_gain']['mean'])} at {honest['cost_ratio']['mean']:.2f}"
    return [
        f"**{name}**" if name.startswith(OURS) else name,
        f"{plain(area['mean'])} ± {plain(area['std'])}",
        *(signed(gains[share]["mean"]) for share in ("0.35", "0.5", "1.0")),
        reached,
        signed(one["peak"]["mean"] - result["best_single"]["quality"]),
        point,
        against(result, name, "audc_envelope"),
    ]


def against(result: dict[str, Any], rival: str, metric: str) -> str:
    """Ours less a rival's, with its interval and what is claimed of it."""
    for pair in result["paired"]:
        if pair["metric"] != metric or {pair["a"], pair["b"]} != {OURS, rival}:
            continue
        turn = 1.0 if pair["a"] == OURS else -1.0
        low, high = sorted((turn * pair["low"], turn * pair["high"]))
        said = {"win": "win", "loss": "loss"}.get(pair["outcome"], "")
        if turn < 0.0 and said:
            said = "loss" if said == "win" else "win"
        return f"{signed(turn * pair['difference'])} [{signed(low)}, {signed(high)}] {said}".strip()
    return ""


def markdown(result: dict[str, Any]) -> str:
    best = result["best_single"]
    lines = [
        f"### {result['table']}",
        "",
        f"{result['queries']:,} queries × {result['arms']} arms; best single model {best['model']}: "
        f"q\\* = {best['quality']:.3f}, c\\* = {best['cost_usd']:.2e} USD.",
        "",
        _line(HEAD),
        _line(["---"] * len(HEAD)),
        *(_line(row(result, name)) for name in result["policies"]),
    ]
    if OURS in result["policies"]:
        rivals = [name for name in RIVALS if name in result["policies"]]
        lines += ["", _line(["curveroute less", *COMPARED.values()]), _line(["---"] * (len(COMPARED) + 1))]
        lines += [_line([name, *(against(result, name, metric) for metric in COMPARED)]) for name in rivals]
    return "\n".join(lines)


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n\n".join(markdown(result) for path in map(Path, sys.argv[1:]) for result in results(path)))
