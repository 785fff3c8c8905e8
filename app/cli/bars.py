"""Progress bars on standard error, so that standard output stays clean for pipes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from curveroute.agent.bench.collect import Progress as Collecting


@contextmanager
def collecting(total: int) -> Iterator[Callable[[Collecting], None]]:
    """A bar for a collection: attempts done, spend, mean quality, time left."""
    columns = (
        TextColumn("collect"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[spend]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("collect", total=total, spend="")

        def watch(now: Collecting) -> None:
            spend = f"{now.spent_usd:.5f} USD  quality {now.quality_sum / max(now.done, 1):.2f}"
            failed = f"  {now.failed} failed" if now.failed else ""
            bar.update(task, completed=now.done, spend=spend + failed)

        yield watch


@contextmanager
def fetching() -> Iterator[Callable[[int, int, str], None]]:
    """A bar for each file that is fetched, shown only when there is something to fetch."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[int, TaskID] = {}

        def watch(done: int, total: int, note: str) -> None:
            if total not in tasks:
                if done >= total:
                    return
                tasks[total] = bar.add_task("fetch", total=total)
            bar.update(tasks[total], completed=done, description=note[:60])

        yield watch
