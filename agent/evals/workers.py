"""Seeds in processes of their own: one thread of linear algebra each, and none outlives the one who asked.

Nothing here imports numpy, so that a worker can limit its threads before anything loads them.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from curveroute.agent.errors import CurverouteError, RunError, SetupError
from curveroute.agent.settings import lay_over_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from curveroute.agent.evals.outcome import SeedOutcome
    from curveroute.agent.evals.trial import Makers, Trial

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

_News: TypeAlias = (
    "tuple[Literal['step'], str] | tuple[Literal['done'], SeedOutcome] | tuple[Literal['failed'], _Fault]"
)
_Fault: TypeAlias = tuple[bool, str, str]


def run_apart(
    trial: Trial, makers: Makers | None, seeds: Sequence[int], workers: int, watch: Callable[[str], None]
) -> list[SeedOutcome]:
    """Run each seed in a process of its own, up to ``workers`` at once.

    Args:
        trial: what is evaluated.
        makers: policies by name, which must be importable; None takes the registered ones.
        seeds: one outcome each, in their order.
        workers: how many at once.
        watch: told of every step of every seed.

    Raises:
        SetupError: a seed failed on the configuration.
        RunError: a seed failed otherwise, or its process died.
    """
    waiting = list(seeds)
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    done: dict[int, SeedOutcome] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                pipe, process = _started(trial, makers, waiting[0])
                running[pipe] = waiting.pop(0), process
            for ready in wait(list(running)):
                _heard(cast("Connection", ready), running, done, watch)
    finally:
        for pipe, (_, process) in running.items():
            process.terminate()
            process.join()
            pipe.close()
    return [done[seed] for seed in seeds]


def _started(trial: Trial, makers: Makers | None, seed: int) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), name=f"seed {seed}", daemon=True)
    with _deaf_to_interrupts():
        process.start()
    theirs.close()
    try:
        ours.send((trial, makers, seed))
    except OSError as error:
        raise RunError(f"seed {seed}: its process ended before it began; run with --workers 1") from error
    return ours, process


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A process that starts meanwhile never hears Ctrl-C, not even while it loads; ours is heard right after."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heard(
    pipe: Connection,
    running: dict[Connection, tuple[int, BaseProcess]],
    done: dict[int, SeedOutcome],
    watch: Callable[[str], None],
) -> None:
    seed, process = running[pipe]
    try:
        news: _News = pipe.recv()
    except (EOFError, OSError):
        process.join()
        raise RunError(
            f"seed {seed}: its process died (exit code {process.exitcode}); out of memory? Lower --workers"
        ) from None
    if news[0] == "step":
        watch(news[1])
        return
    if news[0] == "failed":
        raise _raised(seed, news[1])
    done[seed] = news[1]
    del running[pipe]
    process.join()
    pipe.close()


def _raised(seed: int, fault: _Fault) -> CurverouteError:
    of_setup, message, trace = fault
    error = SetupError(message) if of_setup else RunError(f"seed {seed}: {message}")
    error.add_note(trace)
    return error


def _work(pipe: Connection) -> None:
    """The worker: its parent alone hears Ctrl-C, and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lay_over_environment(dict.fromkeys(_THREADS, "1"))
    try:
        trial, makers, seed = pipe.recv()
        pipe.send(("done", _run(trial, makers, seed, lambda step: pipe.send(("step", step)))))
    except Exception as error:  # noqa: BLE001  (it is told to the parent, whatever it is)
        of_setup, ours = isinstance(error, SetupError), isinstance(error, CurverouteError)
        message = str(error) if ours else f"{type(error).__name__}: {error}"
        with suppress(OSError):  # a parent that is gone needs no news
            pipe.send(("failed", (of_setup, message, traceback.format_exc())))


def _run(trial: Any, makers: Any, seed: int, watch: Callable[[str], None]) -> SeedOutcome:  # noqa: ANN401
    from curveroute.agent.evals.policies import NAMED
    from curveroute.agent.evals.trial import run_trial

    return run_trial(trial, NAMED if makers is None else makers, seed, watch)
