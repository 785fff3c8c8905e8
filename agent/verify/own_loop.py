"""An event loop for each verifier whose check is a coroutine: one that blocks holds up itself and nobody else.

The loop lives in a daemon thread for as long as its verifier does, so a client that a check opens there can be kept
from one check to the next. A loop that does not take a cancellation is left behind, and the next check has a new one.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOPS: dict[int, OwnLoop] = {}
_LOCK = threading.Lock()
_PATIENCE_S = 1.0  # for a loop to take a cancellation, before it counts as blocked


class OwnLoop:
    """One event loop in a thread of its own."""

    def __init__(self) -> None:
        self._obeyed = threading.Event()  # whether it came round to the last cancellation
        self._obeyed.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="curveroute-verifier-loop", daemon=True)
        self._thread.start()

    def serves(self, wait_s: float = 0.0) -> bool:
        """Whether another check can be begun here; after a fork the thread is gone."""
        return self._thread.is_alive() and self._obeyed.wait(wait_s)

    def call(self, function: Callable[[], object]) -> None:
        """Have the loop call a function, in its turn; one that is closed never does."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def interrupt(self, function: Callable[[], object]) -> None:
        """Like ``call``; a loop that does not come round to it is blocked, and no other check is begun here."""
        self._obeyed.clear()

        def obey() -> None:
            self._obeyed.set()
            function()

        self.call(obey)

    def leave(self) -> None:
        """Have the thread end once all checks in it have."""
        self.call(lambda: self._loop.create_task(self._last()))

    async def _last(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)
        self._loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


def begin_on_own_loop(owner: object, begin: Callable[[], object]) -> OwnLoop:
    """Have ``begin`` called on the loop of a verifier; one that no weak reference can name has a new one each time."""
    key = id(owner)
    if key in _LOOPS:
        _LOOPS[key].serves(_PATIENCE_S)
    with _LOCK:
        found = _LOOPS.get(key)
        if found is not None and found.serves():
            found.call(begin)
            return found
        made = OwnLoop()
        made.call(begin)
        if found is not None:
            found.leave()
            _LOOPS[key] = made
        elif _outlives(owner, key):
            _LOOPS[key] = made
        else:
            made.leave()
        return made


def _outlives(owner: object, key: int) -> bool:
    """See to it that a loop ends with its owner; False where nothing tells when that is."""
    try:
        weakref.finalize(owner, _end, key).atexit = False
    except TypeError:
        return False
    return True


def _end(key: int) -> None:
    found = _LOOPS.pop(key, None)  # no lock: a garbage collection may come while this thread holds it
    if found is not None:
        found.leave()
