"""One check of a verifier under way: in a thread, never on the loop of the run, so that it can only hold up itself.

A function has a thread to itself, and one that hangs can only be left behind. A coroutine runs on its verifier's own
loop, where it can be cancelled. Either way the end is timed where it comes about: a late word is known to be late.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curveroute.agent.verify.own_loop import begin_on_own_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from curveroute.agent.verify.own_loop import OwnLoop


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended: what it found or raised, and when by the clock it was given."""

    found: object
    error: BaseException | None
    at: float


class Underway:
    """A check that was started.

    Args:
        owner: the verifier; its coroutines share a loop.
        call: the check itself.
        clock: tells when it ended.

    Attributes:
        ended: set on the loop of the run when the check is over, whatever it came to.
    """

    def __init__(self, owner: object, call: Callable[[], object], clock: Callable[[], float]) -> None:
        self._home = asyncio.get_running_loop()
        self.ended: asyncio.Future[Outcome] = self._home.create_future()
        self._owner, self._call, self._clock = owner, call, clock
        self._context = contextvars.copy_context()
        self._given_up = False
        self._loop: OwnLoop | None = None
        self._task: asyncio.Task[None] | None = None
        # A daemon, unlike the threads of ``asyncio.to_thread``: one that hangs never holds up the exit.
        threading.Thread(target=self._work, name="curveroute-verifier", daemon=True).start()

    def give_up(self) -> bool:
        """Cancel it as far as it can be; whether that is any further than to leave it behind."""
        self._given_up = True
        if self._loop is None:
            return False
        self._loop.interrupt(self._cancel)
        return True

    def _work(self) -> None:
        try:
            found = self._context.run(self._call)
        except BaseException as error:  # noqa: BLE001 - a stranger's code may raise anything, SystemExit included
            self._tell(None, error)
            return
        if not inspect.isawaitable(found):
            self._tell(found, None)
            return
        waiting = found
        self._loop = begin_on_own_loop(self._owner, lambda: self._begin(waiting))

    def _begin(self, waiting: Awaitable[object]) -> None:
        if self._given_up:
            if inspect.iscoroutine(waiting):
                waiting.close()
            self._tell(None, asyncio.CancelledError())
            return
        self._task = asyncio.get_running_loop().create_task(self._await(waiting), context=self._context)
        self._task.add_done_callback(self._over)

    async def _await(self, waiting: Awaitable[object]) -> None:
        try:
            found = await waiting
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - some would end the loop
            self._tell(None, error)
        else:
            self._tell(found, None)

    def _over(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._tell(None, asyncio.CancelledError())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _tell(self, found: object, error: BaseException | None) -> None:
        outcome = Outcome(found, error, self._clock())

        def settle() -> None:
            if not self.ended.done():
                self.ended.set_result(outcome)

        with suppress(RuntimeError):  # the loop of the run was closed in the meantime: nobody waits any more
            self._home.call_soon_threadsafe(settle)
