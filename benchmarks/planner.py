"""What the pool's planner is worth and costs, on real models: the same questions with it and without it.

Run ``python benchmarks/planner.py --predictor FOLDER --record live.jsonl``. The planner is asked for every question
that leaves the ranking any doubt, whatever its price, so that what it does is measured and not what the gate leaves of
it. Both sides share every identical call through the record, which may be that of ``live.py``, so they differ only
where the plan does.

Prints JSON: for each tradeoff, both sides' means, and with 95 % paired bootstrap intervals the planner's *lift* (mean
quality with it minus without), what it adds to cost, calls and latency, and its net: the score
(1 − λ)·quality − λ·cost / reference with it minus without. ``share_of_doubt`` is the score it gained before its own
price, in shares of the doubt that the gate weighs: what the pool's ``planner_lift`` stands for. ``gate_at_most`` is the
share of questions whose doubt is above the planner's price: where the gate could open if the lift were 1.

The planner pays where the whole interval of the net is above zero. ``planner_lift`` is what the figures allow the
pool's to be set to: the lower end of the share over all tradeoffs together, and 0 where that or the net is not above
zero.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from live import INTERRUPTED, parser, watching
from live_figures import SEED, rounded, told
from live_policies import Graph
from live_stage import changed, questions, stage

from curveroute.agent.errors import CurverouteError, PoolError
from curveroute.agent.evals.bootstrap import draw, means
from curveroute.agent.plan import planning_gain
from curveroute.graphs import Context
from curveroute.router import Router

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from live_policies import Outcome
    from live_stage import Stage
    from numpy.typing import NDArray

    from curveroute.agent.bench.tasks import Task
    from curveroute.agent.decide import Floats
    from curveroute.route import Route

    Columns = dict[str, NDArray[np.float32]]

OPEN = 1e9  # a lift beyond what a pool file may say: the gate opens on any doubt
FIGURES = ("quality", "cost_usd", "calls", "latency_s")


@dataclass(frozen=True)
class Pair:
    """One question at one tradeoff, with the planner and without it."""

    planned: Outcome
    plain: Outcome


async def compare(
    set_up: Stage,
    tasks: Sequence[Task],
    options: argparse.Namespace,
    pairs: list[list[Pair]],
    watch: Callable[[int], None],
) -> None:
    """Each question at each tradeoff, both ways; ``pairs`` grows by whole questions."""
    forced = replace(set_up.parts, pool=changed(set_up.parts.pool, planner_lift=OPEN))
    router = Router(Context(parts=forced))
    for task in tasks:
        row = []
        for tradeoff in options.tradeoffs:
            plain, planned = [
                await Graph(router, tradeoff, {"plan": plan, "judge": options.judge}).answer(task)
                for plan in (False, True)
            ]
            row.append(Pair(planned, plain))
            watch(len(pairs) * len(options.tradeoffs) + len(row))
        pairs.append(row)


def spoke(route: Route) -> bool:
    """Whether the planner's plan was followed."""
    return route.plan is not None and route.plan.source == "planner"


def planner_usd(route: Route) -> float:
    """What the planner's calls cost."""
    return sum(attempt.cost_usd for attempt in route.attempts if attempt.role == "planner")


def doubt(route: Route, tradeoff: float, reference_usd: float) -> float:
    """What the gate weighs the planner's price against, at a lift of 1."""
    return planning_gain(route.candidates, tradeoff=tradeoff, reference_cost_usd=reference_usd, lift=1.0)


def columns_of(pairs: Sequence[Pair], tradeoff: float, reference_usd: float) -> Columns:
    """(n,) figures of each question: with and without the planner, and their differences."""

    def score(one: Outcome, free_usd: float = 0.0) -> float:
        return (1.0 - tradeoff) * one.quality - tradeoff * (one.cost_usd - free_usd) / reference_usd

    rows = []
    for pair in pairs:
        route = pair.planned.route
        assert route is not None
        price = planner_usd(route)
        plain = score(pair.plain)
        row = {f"added_{name}": getattr(pair.planned, name) - getattr(pair.plain, name) for name in FIGURES}
        row |= {"net": score(pair.planned) - plain, "gross": score(pair.planned, price) - plain}
        leaves = doubt(route, tradeoff, reference_usd)
        row |= {"doubt": leaves, "price": tradeoff * price / reference_usd, "planner_usd": price}
        row |= {"gate_at_most": float(leaves > row["price"]), "followed": float(spoke(route))}
        row |= {f"{name}_with": getattr(pair.planned, name) for name in FIGURES}
        row |= {f"{name}_without": getattr(pair.plain, name) for name in FIGURES}
        rows.append(row)
    return {name: np.array([row[name] for row in rows], np.float32) for name in rows[0]}


def worth(columns: Columns) -> dict[str, Any]:
    """Means, each with its interval where it is a difference; and the share of the doubt that was gained."""
    counts = draw(columns["net"].size, SEED)
    once = np.ones((1, columns["net"].size), np.float32)

    def mean(name: str) -> tuple[float, Floats]:
        return float(means(once, columns[name][None])[0, 0]), means(counts, columns[name][None])[:, 0]

    found: dict[str, Any] = {"questions": columns["net"].size}
    for name in columns:
        value, drawn = mean(name)
        paired = name.startswith("added_") or name == "net"
        key = "lift" if name == "added_quality" else name
        found[key] = told(value, drawn) if paired else rounded(value)
    (gross, gross_drawn), (doubted, doubt_drawn) = mean("gross"), mean("doubt")
    with np.errstate(divide="ignore", invalid="ignore"):
        share = gross / doubted if doubted > 0.0 else np.nan
        found["share_of_doubt"] = told(share, np.where(doubt_drawn > 0.0, gross_drawn / doubt_drawn, np.nan))
    low = found["net"]["low"]
    found["pays"] = low is not None and low > 0.0
    return found


def together(each: Sequence[Columns]) -> Columns:
    """Every question's mean over the tradeoffs, so that a question is drawn with all of them."""
    return {name: np.mean([columns[name] for columns in each], axis=0) for name in each[0]}


def result_of(set_up: Stage, pairs: Sequence[Sequence[Pair]], tradeoffs: Sequence[float]) -> dict[str, Any]:
    """Everything that is printed."""
    reference = set_up.parts.outlooker.reference_cost_usd
    each = [columns_of([row[place] for row in pairs], tradeoff, reference) for place, tradeoff in enumerate(tradeoffs)]
    overall = worth(together(each))
    low = overall["share_of_doubt"]["low"]
    return {
        "pool": set_up.parts.pool.name,
        "planner": set_up.parts.pool.spec.planner,
        "reference_cost_usd": reference,
        "by_tradeoff": [
            {"tradeoff": tradeoff, **worth(columns)} for tradeoff, columns in zip(tradeoffs, each, strict=True)
        ],
        "overall": overall,
        "planner_lift": min(low, 1.0) if overall["pays"] and low is not None and low > 0.0 else 0.0,
    }


async def played(set_up: Stage, tasks: Sequence[Task], options: argparse.Namespace, pairs: list[list[Pair]]) -> None:
    try:
        with watching(len(tasks) * len(options.tradeoffs), set_up.once) as watch:
            await compare(set_up, tasks, options, pairs, watch)
    finally:
        await set_up.parts.aclose()


def run(options: argparse.Namespace) -> int:
    tasks, pairs = questions(options.limit), list[list[Pair]]()
    set_up = stage(options.pool, options.predictor, options.record, keep_failures=options.keep_failures)
    if set_up.parts.pool.spec.planner is None:
        raise PoolError(f"pool {set_up.parts.pool.name!r} has no planner; name one of its models in the pool file")
    code = 0
    try:
        asyncio.run(played(set_up, tasks, options, pairs))
    except KeyboardInterrupt:
        code = INTERRUPTED
        print(f"stopped after {len(pairs)} of {len(tasks)} questions; start again to go on", file=sys.stderr)
    if pairs:
        print(json.dumps(result_of(set_up, pairs, options.tradeoffs), ensure_ascii=False, indent=1))
    return code


def main(words: Sequence[str] | None = None) -> int:
    try:
        return run(parser(__doc__).parse_args(words))
    except CurverouteError as error:
        print(f"planner: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
