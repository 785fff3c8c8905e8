"""One event loop in a thread of its own, so that synchronous callers share connections and may come from anywhere.

Starting a loop for each call would throw the clients' connections away, and fails inside a running loop (a notebook).
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Portal:
    """Runs coroutines for synchronous callers; its thread starts with the first and ends with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, work: Coroutine[object, object, T]) -> T:
        """Wait for ``work``; an interrupt cancels it and waits until it has cleaned up."""
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="curveroute-portal", daemon=True).start()
            return self._loop


PORTAL = Portal()
