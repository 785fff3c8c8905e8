"""What learning from feedback is worth when the queries change: on a recorded table, by replay.

Run ``python benchmarks/learn.py TABLE --shift TASK,TASK``. A predictor is fitted on queries of the other tasks. Then
queries of the shifted tasks come; each is served by the arm that the single-shot rule picks at a random tradeoff, and
its recorded quality is the feedback: one score a query, of the served arm alone. After N of them the predictor learns,
as ``curveroute learn`` does. Measured on the half of the shifted queries that never gave feedback: the Brier score of
all arms and utility averaged over eleven tradeoffs; and on queries of the old tasks that were not trained on.

``random`` scores are drawn from [0, 1], ``shuffled`` ones are the real ones in another order: both must be refused.
Prints JSON: means over the draws, and how many of them were learned; refused ones count as they are, unchanged.
``--markdown`` prints a table instead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curveroute.agent.bench.grid import groups_of, merged
from curveroute.agent.embed import default_embedder
from curveroute.agent.errors import CurverouteError
from curveroute.agent.evals.subject import embedded, read_subject
from curveroute.agent.predictor import Predictor
from curveroute.agent.predictor.lessons import Heard
from curveroute.agent.predictor.model import TRADEOFFS
from curveroute.agent.predictor.relearn import relearn
from curveroute.agent.settings import load_settings
from curveroute.agent.types import RunId
from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats

USD_PER_MILLION = 1e6
OLD_TEST = 600
SHOWN = ("brier", "utility", "old_brier", "old_utility")


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A predictor of old tasks, and what it is tested on."""

    predictor: Predictor
    old: Grid
    new: Grid

    def measured(self, predictor: Predictor, test: Grid) -> dict[str, float]:
        """Of a predictor on shifted queries and on old ones."""
        brier, utility = score(predictor, test)
        old_brier, old_utility = score(predictor, self.old)
        return dict(zip(SHOWN, (brier, utility, old_brier, old_utility), strict=True))


def scores_of(predictor: Predictor, grid: Grid, tradeoff: Floats) -> Floats:
    """(n, A) single-shot scores, a tradeoff for each query."""
    said = predictor.predict(grid.x)
    cost = grid.expected_cost(grid.input_tokens, said.output_tokens) / predictor.reference_cost_usd_
    return np.asarray((1.0 - tradeoff[:, None]) * said.quality - tradeoff[:, None] * cost)


def score(predictor: Predictor, grid: Grid) -> tuple[float, float]:
    """Brier score of all arms, and mean utility over the tradeoffs."""
    rows, total = np.arange(len(grid)), 0.0
    for tradeoff in TRADEOFFS:
        chosen = scores_of(predictor, grid, np.full(len(grid), tradeoff)).argmax(axis=1)
        cost = grid.cost_usd[rows, chosen] / predictor.reference_cost_usd_
        total += float(((1.0 - tradeoff) * grid.quality[rows, chosen] - tradeoff * cost).mean())
    brier = float(np.square(predictor.predict(grid.x).quality - grid.quality).mean())
    return brier, total / len(TRADEOFFS)


def staged(grid: Grid, shift: set[str], count: int) -> Stage:
    """Fit on ``count`` queries of other tasks."""
    shifted = np.array([task in shift for task in grid.tasks])
    if shifted.all() or not shifted.any():
        known = ", ".join(sorted(set(grid.tasks)))
        raise CurverouteError(f"--shift names {', '.join(sorted(shift))}; name some, not all, of: {known}")
    others = np.random.default_rng(0).permutation(np.flatnonzero(~shifted))
    train = merged(grid.take(np.sort(others[:count])))
    predictor = Predictor(embedder=default_embedder().name).fit(
        train.x,
        train.quality,
        train.output_tokens,
        cost_usd=train.cost_usd,
        arms=train.arms,
        output_price=train.prices[:, 1] * USD_PER_MILLION,
    )
    return Stage(predictor, grid.take(others[count : count + OLD_TEST]), grid.take(np.flatnonzero(shifted)))


def records(stage: Stage, counts: list[int], seeds: int) -> Iterator[dict[str, Any]]:
    """One for each draw, number of scores, and kind of them."""
    predictor = stage.predictor
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(stage.new))
        half = len(order) // 2
        test = stage.new.take(order[half:])
        yield {"kind": "before", "scores": 0, "learned": False, **stage.measured(predictor, test)}
        for count in counts:
            served = stage.new.take(order[: min(count, half)])
            chosen = scores_of(predictor, served, rng.choice(TRADEOFFS, len(served))).argmax(axis=1)
            real = served.quality[np.arange(len(served)), chosen]
            kinds = {"real": real, "random": rng.random(len(served)), "shuffled": rng.permutation(real)}
            for kind, given in kinds.items():
                heard = Heard(
                    tuple(RunId(name) for name in served.query_ids),
                    tuple(predictor.arms_[arm] for arm in chosen),
                    served.x.astype(np.float32),
                    given,
                )
                came = relearn(predictor, heard, groups_of(served.texts))
                figures = stage.measured(came.predictor, test)
                yield {"kind": kind, "scores": len(served), "learned": not came.objection, **figures}


def summed(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the draws."""
    groups: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for one in found:
        groups[one["scores"], one["kind"]].append(one)
    return [
        {
            "scores": scores,
            "kind": kind,
            "draws": len(group),
            "learned": sum(one["learned"] for one in group),
            **{name: round(float(np.mean([one[name] for one in group])), 4) for name in SHOWN},
        }
        for (scores, kind), group in sorted(groups.items())
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = [
        "| feedback | learned | Brier, new tasks | utility, new tasks | Brier, old tasks | utility, old tasks |",
        "|---|---|---|---|---|---|",
    ]
    for one in rows:
        name = "none" if one["kind"] == "before" else f"{one['scores']} {one['kind']} scores"
        learned = "-" if one["kind"] == "before" else f"{one['learned']} of {one['draws']}"
        lines.append(f"| {name} | {learned} | " + " | ".join(f"{one[figure]:.4f}" for figure in SHOWN) + " |")
    return "\n".join(lines)


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("table", type=table_path)
    parser.add_argument("--shift", required=True, help="tasks that the predictor has not seen, with commas")
    parser.add_argument("--train", type=int, default=1500, help="queries of other tasks to fit on (default: 1500)")
    parser.add_argument("--counts", default="100,200,500", help="numbers of scores (default: 100,200,500)")
    parser.add_argument("--seeds", type=int, default=5, help="draws (default: 5)")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    try:
        subject = read_subject(options.table)
        folder = load_settings().cache_dir / "embeddings"
        grid = asyncio.run(embedded(subject, default_embedder(), folder)).grid
        stage = staged(grid, set(options.shift.split(",")), options.train)
        counts = [int(one) for one in options.counts.split(",")]
        rows = summed(list(records(stage, counts, options.seeds)))
    except CurverouteError as error:
        print(f"learn: {error}", file=sys.stderr)
        return 2
    print(
        table(rows) if options.markdown else json.dumps({"table": subject.name, "shift": options.shift, "rows": rows})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
