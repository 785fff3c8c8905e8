"""Collect a curve table: every task on every arm, graded, into the ledger.

Each attempt is in the ledger before the next one starts, so a collection that was stopped goes on with what is missing.
Failed attempts are recorded and tried again by the next start.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curveroute.agent.bench.grade import grade
from curveroute.agent.bench.table import Row, row_of
from curveroute.agent.errors import AllArmsFailed
from curveroute.agent.ledger.events import Collected
from curveroute.agent.probe import Ask, ask_arm
from curveroute.agent.types import Arm, AttemptId, Message, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from curveroute.agent.bench.tasks import Task
    from curveroute.agent.chat.seam import Chat
    from curveroute.agent.ledger import LedgerPort
    from curveroute.agent.pool import Pool
    from curveroute.agent.types import Budget, RunId

Done = tuple[str, str, "Budget", int]
"""(query_id, model, budget, sample) of an attempt that needs no repeating."""

FAILURES_IN_A_ROW = 12


@dataclass(frozen=True, slots=True)
class Job:
    """One task on one arm."""

    task: Task
    arm: Arm
    sample: int


@dataclass(slots=True)
class Progress:
    """How far a collection is; handed to the watcher after each attempt."""

    total: int
    done: int = 0
    failed: int = 0
    spent_usd: float = 0.0
    quality_sum: float = 0.0
    last_error: str = ""
    in_a_row: int = field(default=0, repr=False)


def missing_jobs(tasks: Sequence[Task], arms: Sequence[Arm], samples: int, done: Iterable[Done]) -> list[Job]:
    """What is still to be asked: model by model, and within a model query by query.

    In that order the prompts of one query share their beginning, which a server keeps.
    """
    known = set(done)
    models = list(dict.fromkeys(arm.model for arm in arms))
    return [
        Job(task, arm, sample)
        for model in models
        for task in tasks
        for arm in arms
        if arm.model == model
        for sample in range(samples)
        if (task.query_id, arm.model, arm.budget, sample) not in known
    ]


def done_jobs(tasks: Sequence[Task], records: Iterable[Mapping[str, object]]) -> set[Done]:
    """The recorded attempts that answer these tasks; one whose question was worded differently then is not done."""
    return {(row.query_id, row.model, row.budget, row.sample) for row in graded_rows(tasks, records)}


def graded_rows(tasks: Sequence[Task], records: Iterable[Mapping[str, object]]) -> list[Row]:
    """The recorded attempts of these tasks as table rows, graded anew by today's graders."""
    by_id = {task.query_id: task for task in tasks}
    rows = []
    for record in records:
        task = by_id.get(str(record["query_id"]))
        if task is not None and task.query == record["query"]:
            graded = grade(task, str(record["response"] or ""))
            rows.append(row_of({**record, "quality": graded.quality, "answer": graded.answer}))
    return rows


def spread(tasks: Sequence[Task], count: int) -> list[Task]:
    """``count`` tasks at even distances, so that every kind is among them."""
    if count >= len(tasks):
        return list(tasks)
    return [tasks[index * len(tasks) // count] for index in range(count)]


async def collect(
    pool: Pool,
    chat: Chat,
    ledger: LedgerPort,
    run_id: RunId,
    jobs: Sequence[Job],
    *,
    concurrency: int,
    watch: Callable[[Progress], None] | None = None,
) -> Progress:
    """Ask every job, grade it and write it to the ledger.

    Args:
        pool: models, prices and prompt styles.
        chat: the seam that answers.
        ledger: where each attempt goes; the run was started by the caller.
        run_id: the run that the attempts belong to.
        jobs: what is to be asked.
        concurrency: calls in flight.
        watch: told after each attempt.

    Raises:
        AllArmsFailed: so many calls in a row failed that the endpoint must be down; what was done is kept.
    """
    progress = Progress(total=len(jobs))
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:
            await _do(pool, chat, ledger, run_id, job, progress)
            if watch is not None:
                watch(progress)
            if progress.in_a_row >= FAILURES_IN_A_ROW:
                raise AllArmsFailed(
                    f"{progress.in_a_row} calls in a row failed, the last with: {progress.last_error}; "
                    "mend the endpoint and start again: what was collected is kept"
                )

    await _all_or_first_error([worker() for _ in range(max(concurrency, 1))])
    return progress


async def _do(pool: Pool, chat: Chat, ledger: LedgerPort, run_id: RunId, job: Job, progress: Progress) -> None:
    query = Query((Message(role="user", content=job.task.query),))
    temperature = 0.0 if job.sample == 0 else 0.7
    ask = Ask(AttemptId(uuid.uuid4().hex), "probe", job.arm, job.sample, temperature)
    for attempt in await ask_arm(pool, chat, query, ask):
        quality = 0.0 if attempt.error else grade(job.task, attempt.text).quality
        collected = Collected(
            query_id=job.task.query_id,
            task=job.task.task,
            sample=job.sample,
            quality=quality,
            reference=job.task.reference,
            prompt_style=pool.style_name(job.arm.budget),
            query=job.task.query,
        )
        await ledger.record_attempt(run_id, attempt, pool.prices(job.arm.model), collected)
        progress.spent_usd += attempt.cost_usd
    progress.done += 1
    progress.failed += attempt.error is not None
    progress.in_a_row = progress.in_a_row + 1 if attempt.error else 0
    progress.last_error = attempt.error or progress.last_error
    progress.quality_sum += quality


async def _all_or_first_error(workers: Sequence[Coroutine[object, object, None]]) -> None:
    """Run all workers; when one fails or this task is cancelled, stop the others before going on."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
