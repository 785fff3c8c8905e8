"""How long training takes at the size of R2-Bench (arXiv 2602.02823): 30,968 queries × 1,024 dimensions × 240 arms.

Run ``python benchmarks/training.py``. The data are generated: speed does not depend on what the answers say. Measured
in one process, in double precision, best of a few, taking turns: all 480 ridge heads with a penalty of their own; the
whole predictor (shrinkage by routing gain, calibration, covariance; everything but the embedding); scikit-learn's
Ridge with all heads in one fit, at one penalty or with a penalty of their own each, and one fit for each head (a few
heads are timed and scaled up). Peak memory is that of a process of its own for each. Prints JSON. ``--growth`` varies
one size at a time instead, and ``--plot FILE`` draws that.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import Ridge

from curveroute.agent.predictor import Predictor
from curveroute.agent.predictor.model import ALPHAS
from curveroute.agent.predictor.ridge import RidgePath
from curveroute.agent.types import Arm, ModelId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from curveroute.agent.decide import Floats

PENALTY = 10.0  # R2-Router's
SAMPLED_HEADS = 3
PAPER_MINUTES = 30
MOST_SECONDS, MOST_GB = 15.0, 3.0
GROWTH = {
    "queries": (2_000, 4_000, 8_000, 16_000, 30_968),
    "models": (2, 4, 8, 15),
    "dimensions": (128, 256, 512, 1024),
}
LABELS = {
    "ridge_heads": ("all ridge heads, a penalty each", "#0072b2", "o-"),
    "predictor": ("whole predictor", "#d55e00", "s-"),
    "scikit_learn_multi_output": ("scikit-learn, one fit, one penalty", "#009e73", "^--"),
    "scikit_learn_one_each": ("scikit-learn, one fit a head", "#555555", "d--"),
}


@dataclass(frozen=True, slots=True)
class Size:
    """R2-Bench's, when nothing is said."""

    queries: int = 30_968
    dimensions: int = 1024
    models: int = 15
    budgets: int = 16

    @property
    def heads(self) -> int:
        """Quality and tokens of every arm."""
        return 2 * self.models * self.budgets


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """(n, D) embeddings, (n, A) answers, (A,) USD per million output tokens."""

    x: Floats
    quality: Floats
    tokens: Floats
    cost_usd: Floats
    arms: tuple[Arm, ...]
    price: Floats

    @property
    def heads(self) -> Floats:
        """(n, 2A) what heads are fitted to."""
        return np.hstack((self.quality, np.log1p(self.tokens)))


def made(size: Size, seed: int = 0) -> Answers:
    """Answers that get better and longer with the budget, and depend a little on the query."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((size.queries, size.dimensions))
    x /= np.sqrt(size.dimensions)
    budgets = 2 ** np.arange(3, 3 + size.budgets)
    arms = tuple(Arm(ModelId(f"m{model}"), int(budget)) for model in range(size.models) for budget in budgets)
    ability = np.add.outer(np.linspace(-1.0, 1.0, size.models), np.linspace(-1.5, 0.5, size.budgets)).ravel()
    hard = x @ rng.standard_normal((size.dimensions, 1)) + 0.5 * x @ rng.standard_normal((size.dimensions, len(arms)))
    quality = (rng.random(hard.shape) < 1.0 / (1.0 + np.exp(-ability - hard))).astype(np.float64)
    longest = np.tile(budgets.astype(np.float64), size.models)
    tokens = np.minimum(longest, 300.0 * np.exp(0.3 * hard + 0.3 * rng.standard_normal(hard.shape))).round()
    price = np.repeat(np.geomspace(0.1, 10.0, size.models), size.budgets)
    return Answers(x, quality, tokens, tokens * price * 1e-6, arms, price)


def ridge_heads(answers: Answers, heads: Floats) -> None:
    path = RidgePath(answers.x, heads)
    path.weights(path.gcv(ALPHAS))


def predictor(answers: Answers, _: Floats) -> None:
    Predictor(embedder="given").fit(
        answers.x,
        answers.quality,
        answers.tokens,
        cost_usd=answers.cost_usd,
        arms=answers.arms,
        output_price=answers.price,
    )


def scikit_learn_multi_output(answers: Answers, heads: Floats) -> None:
    Ridge(alpha=PENALTY).fit(answers.x, heads)


def scikit_learn_penalty_each(answers: Answers, heads: Floats) -> None:
    """As many penalties as heads, given and not chosen."""
    Ridge(alpha=np.geomspace(1.0, 100.0, heads.shape[1])).fit(answers.x, heads)


def scikit_learn_one_each(answers: Answers, heads: Floats) -> None:
    """A few heads."""
    for head in heads.T[:SAMPLED_HEADS]:
        Ridge(alpha=PENALTY).fit(answers.x, head)


TASKS: dict[str, Callable[[Answers, Floats], None]] = {
    "ridge_heads": ridge_heads,
    "predictor": predictor,
    "scikit_learn_multi_output": scikit_learn_multi_output,
    "scikit_learn_penalty_each": scikit_learn_penalty_each,
    "scikit_learn_one_each": scikit_learn_one_each,
}


def seconds(size: Size, repeats: int, names: Sequence[str] = tuple(TASKS)) -> dict[str, float]:
    """The best time of each task; they take turns, so that all meet the same machine."""
    answers = made(size)
    heads = answers.heads
    best = dict.fromkeys(names, np.inf)
    for _ in range(repeats):
        for name in names:
            start = time.perf_counter()
            TASKS[name](answers, heads)
            best[name] = min(best[name], time.perf_counter() - start)
    if "scikit_learn_one_each" in best:
        best["scikit_learn_one_each"] *= size.heads / min(SAMPLED_HEADS, size.heads)
    return best


def peak_gb(name: str, size: Size) -> float:
    """Of a fresh process that makes the data and does one task."""
    command = [sys.executable, __file__, "--peak", name, *_words(size)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def own_peak_gb(name: str, size: Size) -> float:
    answers = made(size)
    TASKS[name](answers, answers.heads)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def measure(size: Size, repeats: int) -> dict[str, Any]:
    # Memory first: a child's peak counts that of the parent it was forked from.
    memory = {name: round(peak_gb(name, size), 2) for name in ("ridge_heads", "predictor", "scikit_learn_multi_output")}
    best = seconds(size, repeats)
    own = best["ridge_heads"]
    return {
        **asdict(size),
        "heads": size.heads,
        "seconds": {name: round(value, 2) for name, value in best.items()},
        "one_each_is": f"{SAMPLED_HEADS} heads timed, times {size.heads / SAMPLED_HEADS:g}",
        "peak_gb": memory,
        "times_faster_than_one_each": round(best["scikit_learn_one_each"] / own, 1),
        "times_faster_than_multi_output_at_one_penalty": round(best["scikit_learn_multi_output"] / own, 2),
        "times_faster_than_multi_output_penalty_each": round(best["scikit_learn_penalty_each"] / own, 1),
        "demanded": {"seconds": MOST_SECONDS, "peak_gb": MOST_GB, "times_faster_than_one_each": 50},
        "paper_minutes_on_an_rtx_3090": PAPER_MINUTES,
        "repeats": repeats,
    }


def grown(size: Size, repeats: int) -> list[dict[str, Any]]:
    """One row for every value of every size, the others as given."""
    rows: list[dict[str, Any]] = []
    known: dict[Size, dict[str, float]] = {}  # the full size ends every series, and is measured once
    for varied, values in GROWTH.items():
        for value in values:
            if value > getattr(size, varied):
                continue
            print(f"{varied} = {value}", file=sys.stderr)
            one = replace(size, **{varied: value})
            if one not in known:
                known[one] = {name: round(took, 4) for name, took in seconds(one, repeats, tuple(LABELS)).items()}
            rows.append({"varied": varied, **asdict(one), "heads": one.heads, "seconds": known[one]})
    return rows


def draw(rows: list[dict[str, Any]], picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "curveroute", "svg.fonttype": "none"})  # same figures, same small file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.4), sharey=True)
    for place, (varied, shown) in enumerate(
        (("queries", "queries"), ("models", "heads"), ("dimensions", "dimensions"))
    ):
        _draw(axes[place], [row for row in rows if row["varied"] == varied], shown)
    axes[0].set_ylabel("seconds")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="lower center", ncols=2)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    figure.savefig(picture, dpi=100, metadata={"Date": None} if picture.suffix == ".svg" else None)


def _draw(axes: Axes, rows: list[dict[str, Any]], shown: str) -> None:
    values = [row[shown] for row in rows]
    for name, (label, colour, line) in LABELS.items():
        axes.plot(values, [row["seconds"][name] for row in rows], line, color=colour, label=label, markersize=4)
    axes.set(xscale="log", yscale="log", xlabel=shown)
    axes.set_xticks(values)
    axes.set_xticklabels([f"{value / 1000:.3g}k" if value >= 2000 else str(value) for value in values])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _words(size: Size) -> list[str]:
    return [f"--{name}={value}" for name, value in asdict(size).items()]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in asdict(Size()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--growth", action="store_true", help="vary queries, models and dimensions")
    parser.add_argument("--plot", type=Path, help="with --growth: draw it (.svg, .png)")
    parser.add_argument("--peak", choices=tuple(TASKS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    size = Size(options.queries, options.dimensions, options.models, options.budgets)
    if options.peak:
        print(own_peak_gb(options.peak, size))
        return
    result: Any = grown(size, options.repeats) if options.growth else measure(size, options.repeats)
    print(json.dumps(result, indent=2))
    if options.growth and options.plot:
        draw(result, options.plot)


if __name__ == "__main__":
    main()
