"""One event loop in a thread of its own, so that synchronous callers share connections and may come from anywhere.

Starting a loop for each call would throw the clients' connections away, and fails inside a running loop (a notebook).
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator

T = TypeVar("T")
_END = object()


class Portal:
    """Runs coroutines for synchronous callers; its thread starts with the first and ends with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def call(self, work: Coroutine[object, object, T]) -> T:
        """Wait for ``work``; an interrupt cancels it and waits until it has cleaned up."""
        loop, thread = self._running()
        if thread is threading.current_thread():
            work.close()
            message = "a synchronous call from inside the portal's own event loop would wait for itself; await instead"
            raise RuntimeError(message)
        outcome: Future[T] = Future()
        started: list[asyncio.Task[T]] = []
        try:
            loop.call_soon_threadsafe(_start, loop, work, outcome, started)
            return outcome.result()
        except BaseException:
            if not outcome.done():
                loop.call_soon_threadsafe(_stop, work, outcome, started)
                wait([outcome])
            raise

    def each(self, items: AsyncGenerator[T, None]) -> Generator[T]:
        """The items of an asynchronous generator; closing this closes it, and waits until it has cleaned up."""
        try:
            while (found := self.call(_next(items))) is not _END:
                yield cast("T", found)
        finally:
            self.call(items.aclose())

    def _running(self) -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():  # a forked child has none
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="curveroute-portal", daemon=True)
                self._thread.start()
            return self._loop, self._thread


async def _next(items: AsyncGenerator[T, None]) -> T | object:
    return await anext(items, _END)


def _start(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[object, object, T],
    outcome: Future[T],
    started: list[asyncio.Task[T]],
) -> None:
    task = loop.create_task(work)
    started.append(task)
    task.add_done_callback(lambda done: _hand_over(done, outcome))


def _stop(work: Coroutine[object, object, T], outcome: Future[T], started: list[asyncio.Task[T]]) -> None:
    if started:
        started[0].cancel()
    else:  # the interrupt came before the work was handed over
        work.close()
        _cancel(outcome)


def _hand_over(done: asyncio.Task[T], outcome: Future[T]) -> None:
    if done.cancelled():
        _cancel(outcome)
        return
    error = done.exception()
    if error is None:
        outcome.set_result(done.result())
    else:
        outcome.set_exception(error)


def _cancel(outcome: Future[T]) -> None:
    outcome.cancel()
    outcome.set_running_or_notify_cancel()


PORTAL = Portal()
