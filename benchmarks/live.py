"""The live check: the full graph against fixed arms, single-shot routing and two-agree, on real models.

Run ``python benchmarks/live.py --table TABLE --predictor FOLDER --record live.jsonl --write docs/results.md``. Every
policy answers the same held-out questions, and every different call is really made once (``once.py``), so that the
policies differ in what they ask and not in luck. It may be stopped at any time: the record goes on where it was, and
what was finished is printed. Arms, best single model and cascades are chosen on the training table. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from live_figures import figures, measured
from live_page import markdown, write_between_marks
from live_policies import Constant, Graph, SingleShot, cascades
from live_stage import questions, stage

from curveroute.agent.errors import CurverouteError, TableError
from curveroute.agent.evals.baselines.constants import known_columns
from curveroute.agent.evals.subject import read_subject
from curveroute.agent.predictor.regress.regressor import head_means
from curveroute.cli.tables import table_path
from curveroute.graphs import Context
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from live_policies import Outcome, Policy
    from live_stage import Stage
    from once import Once

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.bench.tasks import Task

TRADEOFFS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
LEVELS = 5
LOG_LINES = 40
INTERRUPTED = 130

Answers = list[list["Outcome"]]


def policies_of(set_up: Stage, train: Grid, options: argparse.Namespace) -> list[Policy]:
    """Every policy at every setting: constant arms first, so that later ones find their answers recorded."""
    parts = set_up.parts
    router = Router(Context(parts=parts))
    graph = {"plan": options.plan, "judge": options.judge}
    asked = set(front_of(train))
    return [
        *(Constant(parts, arm) for arm in parts.pool.arms if options.all_arms or str(arm) in asked),
        *(SingleShot(parts, tradeoff) for tradeoff in options.tradeoffs),
        *cascades(parts, train, options.levels),
        *(Graph(router, tradeoff, graph) for tradeoff in options.tradeoffs),
    ]


def training_grid(table: Path, stage_: Stage) -> Grid:
    """The training table's arms that the pool offers.

    Raises:
        TableError: the table lacks one of the pool's models.
    """
    grid = read_subject(table).grid
    missing = sorted(set(stage_.parts.pool.models) - {arm.model for arm in grid.arms})
    if missing:
        raise TableError(f"{table.name} has no answers of {', '.join(missing)}; collect them for this pool first")
    offered = [column for column, arm in enumerate(grid.arms) if arm in set(stage_.parts.pool.arms)]
    return grid.keep(np.array(offered, dtype=np.intp))


def front_of(train: Grid) -> list[str]:
    """Names of the arms that are best within their cost on the training table."""
    known = known_columns(train)
    quality, cost = head_means(train.quality)[known], head_means(train.cost_usd)[known]
    order = np.lexsort((-quality, cost))
    rises = np.diff(np.maximum.accumulate(quality[order]), prepend=-np.inf) > 0.0
    return [str(train.arms[column]) for column in known[order][rises]]


async def answer_all(
    policies: Sequence[Policy], tasks: Sequence[Task], answers: Answers, watch: Callable[[int], None]
) -> None:
    """One question after the other, by one policy after the other; ``answers`` grows by whole questions."""
    for number, task in enumerate(tasks):
        row: list[Outcome] = []
        for policy in policies:
            row.append(await policy.answer(task))
            watch(number * len(policies) + len(row))
        answers.append(row)


@contextmanager
def watching(total: int, once: Once) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, some lines in a log; both on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[calls]}"), TimeElapsedColumn())
    bar = Progress(
        TextColumn("answers"), *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    task = bar.add_task("answers", total=total, calls="")
    every = max(total // LOG_LINES, 1)

    def watch(done: int) -> None:
        calls = f"{once.made} calls made, {len(once)} recorded"
        bar.update(task, completed=done, calls=calls)
        if bar.disable and done % every == 0:
            print(f"answers {done}/{total}  {calls}", file=sys.stderr, flush=True)

    with bar:
        yield watch


def result_of(
    policies: Sequence[Policy], answers: Answers, tasks: Sequence[Task], chosen: dict[str, Any]
) -> dict[str, Any]:
    """What was measured on the questions that every policy has answered."""
    done = tasks[: len(answers)]
    names = {policy.name: row for row, policy in enumerate(policies) if policy.family == "constant arm"}
    written = sum(task.query_id.startswith("held-out/") for task in done)
    front = [names[name] for name in chosen.pop("front") if name in names]
    told = figures(measured(policies, answers), names[chosen["best_single"]], front)
    counts = {"questions": len(done), "of": len(tasks), "written": written, "generated": len(done) - written}
    return {**counts, "cores": os.cpu_count(), **chosen, **told}


async def played(set_up: Stage, policies: Sequence[Policy], tasks: Sequence[Task], answers: Answers) -> None:
    """All answers, and everything closed at the end, however it comes."""
    try:
        with watching(len(policies) * len(tasks), set_up.once) as watch:
            await answer_all(policies, tasks, answers, watch)
    finally:
        await set_up.parts.aclose()


def run(options: argparse.Namespace) -> int:
    tasks = questions(options.limit)
    set_up = stage(
        options.pool,
        options.predictor,
        options.record,
        keep_failures=options.keep_failures,
        paced=options.paced,
    )
    train = training_grid(options.table, set_up)
    policies, answers = policies_of(set_up, train, options), Answers()
    code = 0
    try:
        asyncio.run(played(set_up, policies, tasks, answers))
    except KeyboardInterrupt:
        code = INTERRUPTED
        print(f"stopped after {len(answers)} of {len(tasks)} questions; start again to go on", file=sys.stderr)
    if answers:
        star = front_of(train)[-1]  # the best of all on the training table, whatever its budget
        pool = set_up.parts.pool
        chosen = {"pool": pool.name, "models": list(pool.models), "best_single": star, "front": front_of(train)}
        settings = {"plan": options.plan, "judge": options.judge, "paced": options.paced, "train_questions": len(train)}
        result = result_of(policies, answers, tasks, {**chosen, **settings})
        print(json.dumps(result, ensure_ascii=False, indent=1))
        if options.write and not code:
            write_between_marks(options.write, markdown(result))
    return code


def tradeoff(word: str) -> float:
    value = float(word)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{word} is outside 0 (quality only) to 1 (cost only)")
    return value


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every live comparison shares."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("pool", nargs="?", default="local-large", help="name or path of a pool")
    made.add_argument("--predictor", type=Path, help="folder of the predictor, instead of the pool's own")
    made.add_argument("--tradeoffs", type=tradeoff, nargs="+", default=list(TRADEOFFS), metavar="λ")
    made.add_argument("--record", type=Path, required=True, help="JSON lines of every call that was made")
    made.add_argument("--limit", type=int, help="ask only so many of the questions")
    made.add_argument(
        "--paced", action="store_true", help="latency from tokens at the pool's speeds: for a record of a busy machine"
    )
    made.add_argument(
        "--all-arms", action="store_true", help="ask every constant arm, not only those on the training front"
    )
    made.add_argument(
        "--judge", action=argparse.BooleanOptionalAction, default=True, help="let the judge speak if it pays"
    )
    made.add_argument("--keep-failures", action="store_true", help="record calls that fail, and go on without them")
    return made


def main(words: Sequence[str] | None = None) -> int:
    made = parser(__doc__)
    made.add_argument("--table", type=table_path, required=True, help="curve table that everything is chosen on")
    made.add_argument("--levels", type=int, default=LEVELS, help="how many two-agree cascades")
    made.add_argument(
        "--plan", action=argparse.BooleanOptionalAction, default=True, help="let the planner speak if it pays"
    )
    made.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between the live marks of this page")
    try:
        return run(made.parse_args(words))
    except CurverouteError as error:
        print(f"live: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
