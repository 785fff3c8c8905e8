"""Progress on standard error, so that standard output stays clean for pipes: bars on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from curveroute.agent.bench.collect import Progress as Collecting

_LOG_LINES = 20
_MANY_QUERIES = 500
_SILENCE_S = 10.0


@contextmanager
def collecting(total: int) -> Iterator[Callable[[Collecting], None]]:
    """How far a collection is: attempts done, spend, mean quality, time left."""
    bar = _bar(
        TextColumn("collect"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[spend]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    task = bar.add_task("collect", total=total, spend="")
    lines = max(total // _LOG_LINES, 1)

    def watch(now: Collecting) -> None:
        spend = f"{now.spent_usd:.5f} USD  quality {now.quality_sum / max(now.done, 1):.2f}"
        failed = f"  {now.failed} failed" if now.failed else ""
        bar.update(task, completed=now.done, spend=spend + failed)
        if bar.disable and now.done % lines == 0:
            print(f"collect {now.done}/{total}  {spend}{failed}", file=sys.stderr, flush=True)

    with bar:
        yield watch


@contextmanager
def embedding() -> Iterator[Callable[[int, int], None]]:
    """How many queries are embedded; a log hears of it where there are so many that it takes a while."""
    bar = _bar(TextColumn("embed"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    task = bar.add_task("embed", total=None)
    told = 0

    def watch(done: int, total: int) -> None:
        nonlocal told
        bar.update(task, completed=done, total=total)
        quarter = 4 * done // total
        if bar.disable and total >= _MANY_QUERIES and quarter > told:
            told = quarter
            print(f"embed {done}/{total}", file=sys.stderr, flush=True)

    with bar:
        yield watch


@contextmanager
def training(clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[int, int, str], None]]:
    """What is being learned, and how far it is; a log hears when each kind of work begins, and of long ones how far."""
    bar = _bar(
        TextColumn("train: {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("ETA"), TimeRemainingColumn(elapsed_when_finished=True),
    )  # fmt: skip
    task, now, told = bar.add_task("reading", total=None), "", clock()

    def watch(done: int, total: int, what: str) -> None:
        nonlocal now, told
        begins = what != now
        if begins:
            now = what
            bar.reset(task, total=total, description=what)
        if bar.disable and (begins or clock() - told >= _SILENCE_S):
            told = clock()
            print(f"train: {what} {f'({total})' if begins else f'{done}/{total}'}", file=sys.stderr, flush=True)
        bar.update(task, completed=done)

    with bar:
        yield watch


@contextmanager
def importing() -> Iterator[Callable[[int, int, str], None]]:
    """How many models of a source are read, and which was the last."""
    bar = _bar(TextColumn("read"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    task = bar.add_task("", total=None)

    def watch(done: int, total: int, name: str) -> None:
        bar.update(task, completed=done, total=total, description=escape(name))
        if bar.disable and done < total:
            print(f"read {done}/{total}  {name}", file=sys.stderr, flush=True)

    with bar:
        yield watch


@contextmanager
def evaluating(table: str) -> Iterator[Callable[[int, int, str], None]]:
    """How far the policies are, over all seeds."""
    bar = _bar(
        TextColumn("evaluate"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(elapsed_when_finished=True),
    )  # fmt: skip
    task = bar.add_task("evaluate", total=None, note="")

    def watch(done: int, total: int, note: str) -> None:
        bar.update(task, completed=done, total=total, note=note)
        if bar.disable and (done == total or done % max(total // _LOG_LINES, 1) == 0):
            print(f"evaluate {table} {done}/{total}", file=sys.stderr, flush=True)

    with bar:
        yield watch


@contextmanager
def fetching() -> Iterator[Callable[[int, int, str], None]]:
    """A bar for each file that is fetched: there only while something is missing, so that it hides no answer."""
    bar = _bar(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )
    tasks: dict[int, TaskID] = {}
    notes: dict[int, str] = {}

    def watch(done: int, total: int, note: str) -> None:
        if total not in tasks:
            if done >= total:
                return
            tasks[total] = bar.add_task("fetch", total=total)
        bar.update(tasks[total], completed=done, description=note[:60])
        if bar.disable and notes.get(total) != note:
            notes[total] = note
            print(f"fetch {total / 1e6:.0f} MB: {note}", file=sys.stderr, flush=True)
        if bar.finished:
            bar.stop()
        else:
            bar.start()

    try:
        yield watch
    finally:
        bar.stop()


def _bar(*columns: ProgressColumn) -> Progress:
    """Not shown where nobody sees it move; standard output is left alone."""
    console = Console(stderr=True)
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_interactive,
        redirect_stdout=False,
        redirect_stderr=False,
    )
