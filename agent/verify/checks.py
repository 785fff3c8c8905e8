"""Verifiers of the user's on all answers at once: none of them can stop a run, however it fails.

An exception, a hang, NaN or prose is no word, and the reason says what happened. A function runs in a thread of its
own: it holds up nothing, but one that hangs can only be left behind. A coroutine is cancelled, and when the run is
cancelled, everything that was started is.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from curveroute.agent.verify.found import Heard, Verifier, checked_reliability, hear, together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from curveroute.agent.types import Attempt, AttemptId, Query

CHECK_S = 10.0
_GRACE_S = 2.0  # for a cancelled check to clean up, before it is left behind


async def run_verifiers(
    verifiers: Sequence[Verifier], query: Query, attempts: Sequence[Attempt], *, timeout_s: float = CHECK_S
) -> dict[AttemptId, tuple[float, str]]:
    """What the verifiers say of each attempt.

    Args:
        verifiers: in the order in which their words are told.
        query: what was asked.
        attempts: answers; failed ones are not checked.
        timeout_s: what one check may take; one that takes longer says nothing.

    Returns:
        By attempt the log-odds by which its verdict is moved, and why; none for an attempt of which nothing is said.

    Raises:
        SettingError: a verifier whose reliability is no number in (0, 1].
    """
    known = [(one, checked_reliability(one.name, one.reliability)) for one in verifiers]
    answered = [attempt for attempt in attempts if attempt.error is None]
    pairs = [(attempt, one, sure) for attempt in answered for one, sure in known]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_heard(one, sure, query.text, attempt, timeout_s)) for attempt, one, sure in pairs]
    said: dict[AttemptId, list[Heard]] = {}
    for (attempt, _, _), task in zip(pairs, tasks, strict=True):
        if (heard := task.result()) is not None:
            said.setdefault(attempt.attempt_id, []).append(heard)
    return {name: together(heard) for name, heard in said.items()}


async def _heard(
    verifier: Verifier, reliability: float, query_text: str, attempt: Attempt, timeout_s: float
) -> Heard | None:
    task = asyncio.ensure_future(_checked(verifier, query_text, attempt))
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    finally:
        ended = task.done()
        if not ended:
            task.add_done_callback(_forget)
            task.cancel()
            await asyncio.wait({task}, timeout=_GRACE_S)
    if not ended:
        return Heard(0.0, f"{verifier.name}: no word: it did not answer within {timeout_s:g} s")
    if task.cancelled():
        return Heard(0.0, f"{verifier.name}: no word: it was cancelled from within")
    if (error := task.exception()) is not None:
        return Heard(0.0, f"{verifier.name}: no word: it raised {type(error).__name__}: {_first_line(error)}")
    return hear(verifier.name, reliability, task.result())


async def _checked(verifier: Verifier, query_text: str, attempt: Attempt) -> object:
    check = verifier.check
    try:
        if inspect.iscoroutinefunction(check):
            return await check(query_text, attempt.text, attempt.answer)
        found = await _in_thread(lambda: check(query_text, attempt.text, attempt.answer))
        return await found if inspect.isawaitable(found) else found
    except SystemExit as left:  # in a task it would end the event loop
        raise RuntimeError(f"SystemExit: {left}") from left


async def _in_thread(function: Callable[[], object | Awaitable[object]]) -> object:
    """Call in a daemon thread: unlike those of ``asyncio.to_thread``, one that hangs never holds up the exit."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[object] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: object, error: BaseException | None) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(value)
        else:
            result.set_exception(error)

    def work() -> None:
        value, error = None, None
        try:
            value = context.run(function)
        except BaseException as raised:  # noqa: BLE001 - a stranger's code may raise anything, SystemExit included
            error = RuntimeError(f"{type(raised).__name__}: {raised}") if _unsettable(raised) else raised
        with suppress(RuntimeError):  # the loop was closed in the meantime: nobody waits any more
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name="curveroute-verifier", daemon=True).start()
    return await result


def _unsettable(error: BaseException) -> bool:
    """Whether a future cannot carry an exception, or would end the event loop with it."""
    return isinstance(error, StopIteration) or not isinstance(error, Exception)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")[:160]


def _forget(task: asyncio.Future[object]) -> None:
    """Look at what became of a check that was left behind, so that nobody complains that nobody did."""
    if not task.cancelled():
        task.exception()
