"""Local servers: one process for each local model, there when it is needed and gone when its owner is.

Invariant: a server is either attached (it ends with the process that started it, however that ends) or detached
(started by ``up``, found again by a state file, ended by ``down``). A server that died is restarted once; after that
it is the machine's fault and an error. The work is synchronous under one lock for each model, and callers wait for it
in a thread, so any number of event loops may share one ``LocalServers``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, unquote

from curveroute.agent.chat import serve
from curveroute.agent.chat.process import (
    Launch,
    PortTakenError,
    ServerProcess,
    ServerStatus,
    await_health,
    birth_of,
    free_port,
    stop_children,
)
from curveroute.agent.chat.weights import fetch, weights_path
from curveroute.agent.errors import LocalServerError, MissingExtra
from curveroute.agent.settings import child_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from curveroute.agent.chat.download import Progress
    from curveroute.agent.chat.weights import Weights
    from curveroute.agent.settings import Settings

PORT_TRIES = 5
LOG_LINES = 8
LOG_BYTES = 4 << 20
# Without these, idle OpenMP threads spin and two servers on few cores become ten times slower.
QUIET_THREADS = {"GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "PASSIVE"}
# Handles of detached servers are kept, for a handle that is dropped while its process runs warns.
_DETACHED: list[ServerProcess] = []

Command: TypeAlias = Callable[[Launch], list[str]]


def serve_command(launch: Launch) -> list[str]:
    """The command line of the real server. Run as a file: the package's own imports would only delay it."""
    options = {
        "--model": launch.model,
        "--alias": launch.model_id,
        "--port": launch.port,
        "--parallel": launch.parallel,
        "--context": launch.context,
        "--threads": launch.threads,
    }
    words = [str(word) for pair in options.items() for word in pair]
    return [sys.executable, "-P", serve.__file__, *words, *(["--detached"] if launch.detached else [])]


class LocalServers:
    """The local models that this process uses, started on demand and stopped with it.

    Args:
        settings: where weights, logs and the state of detached servers are kept.
        threads: processor threads for each server; by default all of few cores, half of many.
        command: makes the command line of a server (tests put a small one here).
    """

    def __init__(self, settings: Settings, *, threads: int | None = None, command: Command = serve_command) -> None:
        self._settings = settings
        self._threads = threads or _default_threads()
        self._command = command
        self._used: dict[str, ServerProcess] = {}
        self._restarted: set[str] = set()
        self._locks: dict[str, threading.Lock] = {}
        self._children: set[ServerProcess] = set()
        weakref.finalize(self, stop_children, self._children, os.getpid())  # runs at exit, too

    async def ensure(
        self, model_id: str, weights: Weights, *, context: int, parallel: int = 2, on_progress: Progress | None = None
    ) -> str:
        """The base URL of a server of this model, started (and its weights fetched) if there is none.

        Raises:
            MissingExtra: the runtime is not installed.
            WeightsError: the weights cannot be had.
            LocalServerError: the server does not start, or died twice.
        """
        launch = self._launch(model_id, weights, context, parallel)
        server = self._used.get(model_id)
        if server is not None and server.fits(launch) and server.alive():
            return server.url
        self._require_runtime()
        await fetch(weights, self._settings, on_progress)
        return await _in_thread(self._ensure, launch)

    async def restart_once(self, model_id: str) -> str:
        """After a call found the server gone: its URL, restarted if it has died and never was before.

        Raises:
            LocalServerError: it died a second time, or was never started here.
        """
        server = self._used.get(model_id)
        if server is None:
            raise LocalServerError(f"no server of {model_id!r} was started here: call ensure first")
        return await _in_thread(self._revive, server.launch)

    async def up(
        self, model_id: str, weights: Weights, *, context: int, parallel: int = 2, on_progress: Progress | None = None
    ) -> str:
        """Start a server that outlives this process, unless a fitting one runs, and return its base URL."""
        self._require_runtime()
        await fetch(weights, self._settings, on_progress)
        launch = replace(self._launch(model_id, weights, context, parallel), detached=True)
        return await _in_thread(self._up, launch)

    def down(self, model_id: str) -> bool:
        """Stop the detached server of this model; whether there was one."""
        with _file_lock(self._place(model_id, "lock")):
            return self._down(model_id)

    def status(self) -> list[ServerStatus]:
        """The servers of this process, and every detached one on this machine."""
        names = [unquote(path.stem) for path in self._place("", "json").parent.glob("*.json")]
        detached = [server for name in names if (server := self._recorded(name)) is not None and server.alive()]
        running = [server for server in list(self._children) if server.alive()]
        return [server.status() for server in [*running, *detached]]

    def stop_all(self) -> None:
        """Stop every attached server and wait until it is gone. Harmless when there is none."""
        stop_children(self._children, os.getpid())
        self._used.clear()
        self._restarted.clear()

    def log_path(self, model_id: str) -> Path:
        """Where the model's server writes what it has to say."""
        return self._place(model_id, "log")

    def _launch(self, model_id: str, weights: Weights, context: int, parallel: int) -> Launch:
        path = str(weights_path(self._settings, weights))
        return Launch(model_id, path, weights.sha256, context, parallel, self._threads)

    def _require_runtime(self) -> None:
        if self._command is serve_command and importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra("local models", "local")

    def _ensure(self, launch: Launch, cancelled: threading.Event) -> str:
        with self._locks.setdefault(launch.model_id, threading.Lock()):
            server = self._used.get(launch.model_id)
            if server is not None and server.fits(launch):
                if server.alive():
                    return server.url
                self._allow_restart(server)
            elif server is not None and server.process is not None:
                self._end(server)
            server = self._adopted(launch) or self._start(replace(launch, detached=False), cancelled)
            self._used[launch.model_id] = server
            return server.url

    def _revive(self, launch: Launch, cancelled: threading.Event) -> str:
        server = self._used.get(launch.model_id)
        if server is not None and not server.healthy():
            server.wait(1.0)  # a process that is just dying may still look alive
        return self._ensure(launch, cancelled)

    def _allow_restart(self, server: ServerProcess) -> None:
        model_id = server.launch.model_id
        server.stop()
        self._children.discard(server)
        if model_id in self._restarted:
            raise LocalServerError(
                f"the server of {model_id!r} died twice ({server.fate()}): see {self.log_path(model_id)}; "
                "if memory is short, use a smaller model or a smaller context"
            )
        self._restarted.add(model_id)

    def _up(self, launch: Launch, cancelled: threading.Event) -> str:
        with _file_lock(self._place(launch.model_id, "lock")):
            server = self._adopted(launch)
            if server is None:
                self._down(launch.model_id)
                server = self._start(launch, cancelled)
            return server.url

    def _down(self, model_id: str) -> bool:
        server = self._recorded(model_id)
        self._place(model_id, "json").unlink(missing_ok=True)
        if server is None or not server.alive():
            return False
        server.stop()
        _DETACHED[:] = [server for server in _DETACHED if server.alive()]
        return True

    def _adopted(self, launch: Launch) -> ServerProcess | None:
        """The detached server that some process started, if it serves the same weights and answers."""
        server = self._recorded(launch.model_id)
        return server if server and server.fits(launch) and server.alive() and server.healthy() else None

    def _recorded(self, model_id: str) -> ServerProcess | None:
        with suppress(OSError, ValueError, TypeError, KeyError):
            state = json.loads(self._place(model_id, "json").read_text("utf-8"))
            found = ServerProcess(Launch(**state["launch"]), state["pid"], state["birth"], state["since"])
            started_here = (server for server in _DETACHED if (server.pid, server.birth) == (found.pid, found.birth))
            return next(started_here, found)
        return None

    def _start(self, launch: Launch, cancelled: threading.Event) -> ServerProcess:
        for _ in range(PORT_TRIES):
            log_path = self._place(launch.model_id, "log")
            log_start = _log_size(log_path)
            server = self._spawn(replace(launch, port=free_port()), log_path)
            try:
                await_health(server, cancelled)
            except PortTakenError:
                self._end(server)
            except LocalServerError as error:
                again = self._may_start_again(server, cancelled)
                self._end(server)
                if again:
                    continue
                raise LocalServerError(f"{error}; {_last_words(log_path, log_start)}") from error
            else:
                return server
        raise LocalServerError(f"{PORT_TRIES} ports in a row were taken while {launch.model_id!r} started: try again")

    def _may_start_again(self, server: ServerProcess, cancelled: threading.Event) -> bool:
        """Whether a signal ended it while it was loading, for the first time: memory may have been short just then."""
        model_id = server.launch.model_id
        if cancelled.is_set() or not server.killed() or model_id in self._restarted:
            return False
        self._restarted.add(model_id)
        return True

    def _spawn(self, launch: Launch, log_path: Path) -> ServerProcess:
        with log_path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - the command is ours, and no shell reads it
                self._command(launch),
                stdin=subprocess.DEVNULL if launch.detached else subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=child_environment(QUIET_THREADS),
                start_new_session=True,  # a Ctrl-C in the terminal must not reach it
            )
        server = ServerProcess(launch, process.pid, birth_of(process.pid) or "", time.time(), process)
        if launch.detached:
            _DETACHED.append(server)
            self._record(server)
        else:
            self._children.add(server)
        return server

    def _record(self, server: ServerProcess) -> None:
        state = {"launch": asdict(server.launch), "pid": server.pid, "birth": server.birth, "since": server.since}
        draft = self._place(server.launch.model_id, "new")
        draft.write_text(json.dumps(state), "utf-8")
        draft.replace(self._place(server.launch.model_id, "json"))

    def _end(self, server: ServerProcess) -> None:
        server.stop()
        self._children.discard(server)
        if server.launch.detached:
            self._place(server.launch.model_id, "json").unlink(missing_ok=True)

    def _place(self, model_id: str, kind: str) -> Path:
        folder = self._settings.data_dir / "servers"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{quote(model_id, safe='')}.{kind}"


async def _in_thread(work: Callable[[Launch, threading.Event], str], launch: Launch) -> str:
    """Wait for synchronous work; when the waiting is cancelled, so is a start under way."""
    cancelled = threading.Event()
    try:
        return await asyncio.to_thread(work, launch, cancelled)
    finally:
        cancelled.set()


def _default_threads() -> int:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return cores if cores <= 4 else cores // 2  # noqa: PLR2004 - above that, cores usually come as pairs of threads


def _log_size(path: Path) -> int:
    """Where the next lines of the log begin; a log that has grown long starts anew."""
    size = path.stat().st_size if path.exists() else 0
    if size > LOG_BYTES:
        path.write_bytes(b"")
        size = 0
    return size


def _last_words(path: Path, start: int) -> str:
    lines = path.read_bytes()[start:].decode(errors="replace").splitlines()[-LOG_LINES:]
    return f"its log ({path}) ends: " + (" | ".join(line.strip() for line in lines) or "(nothing)")


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Keep other processes from starting or stopping the same detached server meanwhile."""
    with path.open("ab") as lock:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
