"""The portal: one loop for all synchronous callers; what they leave behind is cancelled and cleaned up."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from curveroute.graphs.portal import Portal

if TYPE_CHECKING:
    from collections.abc import Iterator

WORD: contextvars.ContextVar[str] = contextvars.ContextVar("WORD", default="none")


@pytest.fixture
def portal() -> Iterator[Portal]:
    made = Portal()
    yield made
    loop, thread = made._running()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def whereabouts() -> tuple[int, asyncio.AbstractEventLoop]:
    return threading.get_ident(), asyncio.get_running_loop()


def test_work_runs_in_another_thread_and_always_the_same(portal: Portal) -> None:
    places = {portal.call(whereabouts()) for _ in range(3)}
    assert len(places) == 1
    assert threading.get_ident() not in {thread for thread, _ in places}


def test_the_thread_starts_with_the_first_call() -> None:
    assert Portal()._thread is None


def test_callers_from_many_threads_share_it(portal: Portal) -> None:
    with ThreadPoolExecutor(8) as threads:
        places = set(threads.map(lambda _: portal.call(whereabouts()), range(32)))
    assert len(places) == 1


async def test_a_call_from_inside_another_loop_returns(portal: Portal) -> None:
    assert portal.call(asyncio.sleep(0, "done")) == "done"


def test_an_error_comes_back_as_it_was(portal: Portal) -> None:
    async def fail() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        portal.call(fail())
    assert portal.call(asyncio.sleep(0, 1)) == 1


def test_work_that_cancels_itself_is_told_as_cancelled(portal: Portal) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(CancelledError):
        portal.call(give_up())


def test_the_callers_context_goes_along(portal: Portal) -> None:
    async def read() -> str:
        return WORD.get()

    token = WORD.set("mine")
    assert portal.call(read()) == "mine"
    WORD.reset(token)
    assert portal.call(read()) == "none"


def test_a_call_from_the_portals_own_thread_is_refused(portal: Portal) -> None:
    async def inside() -> None:
        portal.call(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="wait for itself; await instead"):
        portal.call(inside())


def test_an_interrupt_cancels_the_work_and_waits_until_it_has_cleaned_up(portal: Portal) -> None:
    told: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            told.append("clean")

    with pytest.raises(KeyboardInterrupt):
        portal.call(work())
    assert told == ["clean"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork.*JAX:RuntimeWarning")  # where another test brought JAX in
def test_a_forked_child_gets_a_loop_of_its_own(portal: Portal) -> None:
    portal.call(whereabouts())
    child = os.fork()
    if child == 0:
        os._exit(0 if portal.call(asyncio.sleep(0, 7)) == 7 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
