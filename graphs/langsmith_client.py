"""LangSmith's client, made so that the end of a process waits for it a few seconds at most, and as secretive as asked.

Left to itself, the client holds a process until all is sent: minutes, where a receiver takes connections and never
answers. Its own variable ``LANGSMITH_USE_DAEMON`` lets a process end; what is unsent is then waited for here, within a
limit. The variable is set while the client that LangChain shares is made, and not for the clients of others.
"""

from __future__ import annotations

import atexit
import threading
import time
from typing import Any, cast
from weakref import WeakSet

from langsmith import Client
from langsmith.run_trees import get_cached_client
from langsmith.utils import get_env_var, tracing_is_enabled

from curveroute.agent.settings import environment_with, hides_contents, last_traces_s

_DAEMON = "LANGSMITH_USE_DAEMON"
_MADE: WeakSet[Client] = WeakSet()
_LOCK = threading.Lock()


def make_client() -> None:
    """Make the client that LangChain's tracers share, when tracing is on and it is not made yet.

    Whoever sets ``LANGSMITH_USE_DAEMON`` has their way.

    Raises:
        SettingError: ``CURVEROUTE_LAST_TRACES_S`` is no number of seconds.
    """
    limit = last_traces_s()
    if not tracing_is_enabled():
        return
    with _LOCK:
        client = _as_asked() if get_env_var("USE_DAEMON") else _not_holding()
        if not _MADE:
            atexit.register(_last_traces, limit)
        _MADE.add(client)


def _as_asked() -> Client:
    """The shared client; nothing but hiding is ours to say, and without our variable LangSmith's own decide."""
    hidden = True if hides_contents(own=True) else None
    return get_cached_client(hide_inputs=hidden, hide_outputs=hidden)


def _not_holding() -> Client:
    """The shared client, whose threads end with the process."""
    read_once = cast("Any", get_env_var)  # LangSmith remembers what it has read
    read_once.cache_clear()
    with environment_with({_DAEMON: "true"}):
        client = _as_asked()
    read_once.cache_clear()
    return client


def _last_traces(limit_s: float) -> None:
    """Wait for what is unsent; all clients together within the limit."""
    until = time.monotonic() + limit_s
    for client in list(_MADE):
        client.flush(timeout=max(until - time.monotonic(), 0.0))
