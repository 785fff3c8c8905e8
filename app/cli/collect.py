"""``curveroute collect``: ask every task of every arm, grade, and write the curve table. Resumable."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from curveroute.agent.bench.collect import Job, Progress
    from curveroute.agent.bench.tasks import Task
    from curveroute.agent.ledger import Ledger
    from curveroute.agent.pool import Pool


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--pool", default="local", help="name or file of the pool (default: local)")
    parser.add_argument(
        "--name", default=None, help="name of the collection; the same name resumes (default: the pool's)"
    )
    parser.add_argument("--out", type=Path, required=True, help="curve table to write (.parquet, .csv, .jsonl)")
    parser.add_argument(
        "--questions", type=Path, default=None, metavar="FILE", help="JSON lines of your own questions, and no others"
    )
    parser.add_argument("--per-family", type=int, default=20, help="generated tasks of each family (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the generated tasks (default: 0)")
    parser.add_argument("--samples", type=int, default=1, help="answers to each task and arm (default: 1)")
    parser.add_argument("--limit", type=int, default=None, help="only so many tasks, spread over all")
    parser.add_argument("--concurrency", type=int, default=2, help="calls in flight (default: 2)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Collect what is missing, then write the table from the ledger."""
    from curveroute.agent.bench.collect import done_jobs, graded_rows, missing_jobs, spread
    from curveroute.agent.bench.table import check_writable, write_table
    from curveroute.agent.ledger import Ledger
    from curveroute.agent.plural import counted
    from curveroute.agent.pool import load_pool
    from curveroute.cli.checks import at_least
    from curveroute.compose import load_settings

    for name, lowest in (("per_family", 0), ("samples", 1), ("concurrency", 1)):
        at_least(name, getattr(options, name), lowest)
    check_writable(options.out)
    pool = load_pool(options.pool)
    tasks = _tasks(options)
    if options.limit is not None:
        at_least("limit", options.limit, 1)
        tasks = spread(tasks, options.limit)
    collection = options.name or pool.name
    settings = load_settings()
    ledger = Ledger.open(settings.ledger_url)
    try:
        jobs = missing_jobs(tasks, pool.arms, options.samples, done_jobs(tasks, ledger.collected_rows(collection)))
        progress = asyncio.run(_collect(pool, ledger, collection, jobs, options.concurrency))
        rows = graded_rows(tasks, ledger.collected_rows(collection))
        write_table(options.out, rows)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("what was collected is kept; start again the same way to resume") from None
    finally:
        ledger.close()
    print(
        f"collected {progress.done - progress.failed} of {len(jobs)} missing attempts ({progress.failed} failed), "
        f"{progress.spent_usd:.6f} USD; {counted(len(rows), 'row')} in {options.out}"
    )
    return 0 if progress.failed == 0 else 1


def _tasks(options: argparse.Namespace) -> list[Task]:
    from curveroute.agent.bench.tasks import collection_tasks, parse_questions
    from curveroute.agent.errors import TableError

    if options.questions is None:
        return collection_tasks(options.per_family, options.seed)
    try:
        text = options.questions.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(
            f"the questions in {options.questions} cannot be read ({error}): give a file of JSON lines"
        ) from error
    tasks = parse_questions(text, str(options.questions))
    if not tasks:
        raise TableError(f"{options.questions} holds no questions: write one JSON object a line")
    return tasks


async def _collect(pool: Pool, ledger: Ledger, collection: str, jobs: list[Job], concurrency: int) -> Progress:
    """Begin the run once everything is there that it takes: what fails before leaves no run, or the one there was."""
    from curveroute.agent.bench.collect import Progress, collect
    from curveroute.agent.ledger import RunEnd, RunStart
    from curveroute.agent.types import RunId
    from curveroute.cli.bars import collecting
    from curveroute.cli.models import fetch_weights
    from curveroute.compose import compose_chat, load_settings

    settings, run_id = load_settings(), RunId(f"collect-{collection}")
    if not jobs:
        return Progress(total=0)
    chat = compose_chat(pool, settings, parallel=concurrency)
    try:
        for model in [pool.model(name) for name in dict.fromkeys(job.arm.model for job in jobs)]:
            if model.endpoint == "local":
                await fetch_weights(model, settings)
        await ledger.start_run(
            RunStart(run_id, pool.name, f"collection {collection}", 0.0, kind="collect", collection=collection)
        )
        end = RunEnd("best_so_far", "stopped before the end; start it again the same way to go on")
        try:
            with collecting(len(jobs)) as watch:
                progress = await collect(pool, chat, ledger, run_id, jobs, concurrency=concurrency, watch=watch)
            end = RunEnd("best_so_far" if progress.failed else "accepted", _outcome(progress))
            return progress
        finally:
            await ledger.finish_run(run_id, end)
    finally:
        await chat.aclose()


def _outcome(progress: Progress) -> str:
    if progress.failed:
        return f"{progress.failed} of {progress.total} attempts failed; start it again the same way to ask them anew"
    return "every attempt that was missing was made"
