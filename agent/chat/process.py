"""A model server as a process: what it serves, whether it lives and answers, how it ends.

A process is known by its number and its birth, because numbers are used again; a server by the model it answers for,
because ports are.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx2

from curveroute.agent.chat import serve
from curveroute.agent.errors import LocalServerError

if TYPE_CHECKING:
    import threading

START_S = 120.0
STOP_S = 5.0
POLL_S = 0.05
HEALTH_S = 2.0
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Launch:
    """How one model is served; ``context`` is in tokens for each of the ``parallel`` slots."""

    model_id: str
    model: str
    sha256: str
    context: int
    parallel: int
    threads: int
    port: int = 0
    detached: bool = False


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One running server; ``since`` is a Unix time."""

    model_id: str
    pid: int
    port: int
    healthy: bool
    since: float
    detached: bool


class PortTakenError(Exception):
    """Somebody took the port between our choosing it and the server's binding it."""


@dataclass(slots=True, eq=False)
class ServerProcess:
    """One process and what it serves; ``process`` is there for our own children only."""

    launch: Launch
    pid: int
    birth: str
    since: float
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The base URL that an OpenAI-compatible client wants."""
        return f"http://{serve.HOST}:{self.launch.port}/v1"

    def fits(self, wanted: Launch) -> bool:
        """Whether it serves the wanted weights with at least the wanted context."""
        return self.launch.sha256 == wanted.sha256 and self.launch.context >= wanted.context

    def alive(self) -> bool:
        """Whether the process runs; ``False`` for another one that got its number."""
        if self.process is not None:
            return self.process.poll() is None
        return bool(self.birth) and birth_of(self.pid) == self.birth

    def healthy(self) -> bool:
        """Whether it answers, and it is this model that answers: a port may have passed to someone else."""
        try:
            with httpx2.Client(timeout=HEALTH_S, trust_env=False, verify=False) as client:
                ready = client.get(f"http://{serve.HOST}:{self.launch.port}/health").is_success
                return ready and client.get(f"{self.url}/models").json()["data"][0]["id"] == self.launch.model_id
        except (httpx2.HTTPError, ValueError, LookupError, TypeError):
            return False

    def status(self) -> ServerStatus:
        """How it does right now; asks the server."""
        launch = self.launch
        return ServerStatus(launch.model_id, self.pid, launch.port, self.healthy(), self.since, launch.detached)

    def fate(self) -> str:
        """How it ended, as far as we can know."""
        return "it was started elsewhere" if self.process is None else f"exit status {self.process.poll()}"

    def killed(self) -> bool:
        """Whether a signal ended it, as far as we can know."""
        return self.process is not None and (self.process.poll() or 0) < 0

    def wait(self, seconds: float) -> None:
        """Wait for its end, but not for longer than this."""
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            time.sleep(POLL_S / 5)

    def stop(self) -> None:
        """Ask it to end, make it end, and return when it has: its port is free then."""
        for number in (signal.SIGTERM, _KILL):
            if self.alive():
                with suppress(ProcessLookupError):
                    os.kill(self.pid, number)
                self.wait(STOP_S)
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()


def await_health(server: ServerProcess, cancelled: threading.Event) -> None:
    """Wait until a new server answers.

    Raises:
        PortTakenError: it could not have its port; another may do.
        LocalServerError: it ended, took longer than ``START_S``, or nobody waits for it any more.
    """
    name, deadline = repr(server.launch.model_id), time.monotonic() + START_S
    while not (healthy := server.healthy()) or not server.alive():
        server.wait(POLL_S)
        if server.process is not None and (status := server.process.poll()) is not None:
            if status == serve.EXIT_PORT_TAKEN:
                raise PortTakenError
            raise LocalServerError(f"the server of {name} ended while starting (exit status {status})")
        if cancelled.is_set():
            raise LocalServerError(f"the start of {name} was cancelled")
        if time.monotonic() > deadline:
            raise LocalServerError(f"the server of {name} was not ready after {START_S:.0f} s (healthy: {healthy})")


def stop_children(children: set[ServerProcess], owner: int) -> None:
    """Stop all of them, at the same time, if this is the process that started them."""
    if os.getpid() != owner:  # a fork inherits the exit handlers, not the servers
        return
    for server in list(children):
        with suppress(ProcessLookupError):
            if server.alive():
                os.kill(server.pid, signal.SIGTERM)
    for server in list(children):
        server.stop()
        children.discard(server)


def birth_of(pid: int) -> str | None:
    """What tells a process from a later one with the same number, or ``None`` when it does not run (any more)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            state, *fields = file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if sys.platform == "linux" else _birth_by_ps(pid)
    except ProcessLookupError:
        return None
    started, threads = fields[18], fields[16]
    ended = state == "Z" and int(threads) <= 1  # while other threads wind up, the port is not free yet
    return None if ended else started


def _birth_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    words = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()  # noqa: S603
    return None if not words or words[0].startswith("Z") else " ".join(words[1:])


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind((serve.HOST, 0))
        return int(probe.getsockname()[1])
