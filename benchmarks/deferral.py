"""Draw quality against cost of several routers on several tables, from the JSON of ``curveroute evaluate``.

Usage: python benchmarks/deferral.py results.json … docs/deferral.png
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = {
    "constant-arm": ("#8a8a8a", "-", 1.2, "best constant arm"),
    "two-agree": ("#b8860b", "-", 1.2, "two agree, else a third"),
    "r2-ridge": ("#d1495b", "--", 1.4, "R2-Router (ridge)"),
    "carrot-knn": ("#7d5ba6", "-.", 1.2, "CARROT (kNN)"),
    "unirouter": ("#5b8e3e", ":", 1.6, "UniRouter"),
    "curveroute-single": ("#0b6e99", "--", 1.4, "curveroute, without looking"),
    "curveroute": ("#0b6e99", "-", 2.4, "curveroute"),
}


def main(sources: list[Path], picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    results = [result for source in sources for result in _results(source)]
    figure, panels = plt.subplots(1, len(results), figsize=(3.5 * len(results), 3.8), squeeze=False)
    for axes, result in zip(panels[0], results, strict=True):
        _draw(axes, result)
    panels[0][0].set_ylabel("mean quality")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="lower center", ncols=4)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    figure.savefig(picture, dpi=110)


def _results(source: Path) -> list[dict[str, Any]]:
    found = json.loads(source.read_text(encoding="utf-8"))
    return found if isinstance(found, list) else [found]


def _draw(axes: Axes, result: dict[str, Any]) -> None:
    q_star, c_star = result["best_single"]["quality"], result["best_single"]["cost_usd"]
    for name, (colour, style, width, label) in LOOKS.items():
        points = np.array([point[1:] for point in result["policies"][name]["curve"]], dtype=float)
        cost, quality = _envelope(points[:, 0] / c_star, points[:, 1])
        axes.step(cost, quality, where="post", color=colour, linestyle=style, linewidth=width, label=label)
    axes.axhline(q_star, color="#8a8a8a", linewidth=0.7, linestyle=(0, (1, 3)))
    axes.plot([1.0], [q_star], "k*", markersize=9)
    cheap = _envelope(*np.array([point[1:] for point in result["policies"]["constant-arm"]["curve"]], dtype=float).T)
    floor = np.interp(0.02 * c_star, *cheap)
    axes.set(xlim=(0, 1.15), ylim=(max(floor, q_star - 0.2), q_star + 0.03))
    axes.set(xlabel="cost, in units of the best model's", title=result["table"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _envelope(cost: np.ndarray, quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best quality within each cost."""
    order = np.argsort(cost)
    cost, quality = cost[order], np.maximum.accumulate(quality[order])
    end = max(float(cost[-1]), 1.2)
    assert all(one <= other for one, other in pairwise(quality))
    return np.append(cost, end), np.append(quality, quality[-1])


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main([Path(word) for word in sys.argv[1:-1]], Path(sys.argv[-1]))
