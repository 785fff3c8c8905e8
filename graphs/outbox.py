"""What is to be sent to a viewer beside the traces goes out in the background, and is lost rather than waited for.

Invariant: ``put`` never waits. A receiver that is down or slow costs a run nothing: the box fills, and then refuses.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
from typing import TYPE_CHECKING

from langsmith.utils import LangSmithError

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = logging.getLogger("curveroute.traces")
_MOST = 1000
_LAST_WORDS_S = 2.0


class Outbox:
    """Jobs that one thread does in turn; it starts with the first, and keeps no process alive.

    Args:
        most: jobs that wait at most; what comes on top is dropped.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._jobs: queue.Queue[Callable[[], None]] = queue.Queue(most)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told: set[type[Exception]] = set()

    def put(self, job: Callable[[], None]) -> bool:
        """Have a job done some time; false where too many wait already."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            _LOG.warning("feedback was dropped: %d pieces wait to be sent; is the receiver down?", self._jobs.maxsize)
            return False
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # a forked child has none
                self._thread = threading.Thread(target=self._work, name="curveroute-outbox", daemon=True)
                self._thread.start()
                atexit.register(self.flush, _LAST_WORDS_S)
        return True

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all jobs of now are done; false where that takes longer than ``timeout_s`` seconds."""
        done = threading.Event()
        with self._lock:
            idle = self._thread is None
        if idle:
            return True
        try:
            self._jobs.put(done.set, timeout=timeout_s)
        except queue.Full:
            return False
        return done.wait(timeout_s)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except (LangSmithError, OSError, ValueError, RuntimeError) as error:
                # A receiver that is down is told of once, and not for every run.
                level = logging.DEBUG if type(error) in self._told else logging.WARNING
                self._told.add(type(error))
                _LOG.log(level, "feedback was not sent: %s", error)


OUTBOX = Outbox()
