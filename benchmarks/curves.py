"""Draw the measured curves: mean quality of each model against its output budget, with 95 % bands over queries.

Usage: python benchmarks/curves.py pools/tables/local.parquet docs/curves.png
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.columns import read_columns
from curveroute.agent.bench.grid import Grid, grid_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0b6e99", "#d1495b", "#5b8e3e", "#7d5ba6")


def main(table: Path, picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    curves = grid_of(read_columns(table))
    figure, (by_budget, by_cost) = plt.subplots(1, 2, figsize=(9.5, 3.6), sharey=True)
    for colour, model in zip(COLOURS, dict.fromkeys(arm.model for arm in curves.arms), strict=False):
        places = [place for place, arm in enumerate(curves.arms) if arm.model == model and arm.budget is not None]
        places.sort(key=lambda place: curves.arms[place].budget or 0)
        _draw(by_budget, [float(curves.arms[place].budget or 0) for place in places], curves, places, colour, model)
        costs = [float(np.nanmean(curves.cost_usd[:, place])) * 1e6 for place in places]
        _draw(by_cost, costs, curves, places, colour, model)
    _draw_oracle(by_cost, curves)
    by_budget.set(xscale="log", xlabel="output budget (tokens)", ylabel=f"mean quality of {len(curves)} queries")
    by_budget.set_xticks(sorted({arm.budget for arm in curves.arms if arm.budget}), minor=False)
    by_budget.set_xticklabels([str(budget) for budget in sorted({arm.budget for arm in curves.arms if arm.budget})])
    by_budget.minorticks_off()
    by_cost.set(xscale="log", xlabel="mean cost (millionths of a USD)")
    by_cost.set_xticks([5, 10, 20, 50, 100])
    by_cost.set_xticklabels(["5", "10", "20", "50", "100"])
    by_cost.minorticks_off()
    handles, labels = by_cost.get_legend_handles_labels()
    by_budget.legend(handles, labels, frameon=False, loc="upper left")
    for axes in (by_budget, by_cost):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.tight_layout()
    figure.savefig(picture, dpi=110)


def _draw(axes: Axes, x: list[float], curves: Grid, places: list[int], colour: str, label: str) -> None:
    means = [float(np.nanmean(curves.quality[:, place])) for place in places]
    bands = np.array([_band(curves.quality[:, place]) for place in places])
    axes.plot(x, means, "o-", color=colour, label=label)
    axes.fill_between(x, bands[:, 0], bands[:, 1], color=colour, alpha=0.15, linewidth=0)


def _draw_oracle(axes: Axes, curves: Grid) -> None:
    """The best arm of each query, cheapest of the best: what perfect routing would give."""
    best = np.nanmax(curves.quality, axis=1)
    cost = np.nanmin(np.where(curves.quality == best[:, None], curves.cost_usd, np.inf), axis=1)
    axes.plot(
        [float(cost.mean()) * 1e6],
        [float(best.mean())],
        "*",
        color="black",
        markersize=12,
        label="best arm of each query",
    )


def _band(quality: np.ndarray) -> tuple[float, float]:
    seen = quality[~np.isnan(quality)]
    random = np.random.default_rng(0)
    means = random.choice(seen, size=(2000, seen.size)).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
