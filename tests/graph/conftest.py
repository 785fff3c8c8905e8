"""A model server on this machine that counts what it is asked, and a PostgreSQL server of the test's own."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POOL = """
name = "counted"
system = "Be right."
[[budgets]]
tokens = 16
name = "short"
style = "Briefly."
[[budgets]]
tokens = 256
name = "long"
style = "At length."
"""
MODEL = """
[[models]]
id = "{id}"
endpoint = "{endpoint}"
prices = {{ input = {price}, output = {output} }}
context_window = 4096
prior = [{{ budget = 16, quality = {low} }}, {{ budget = 256, quality = {high} }}]
"""


class ModelServer:
    """Speaks OpenAI's chat completions: every model answers with its own name, so that no two agree.

    Attributes:
        asked: (model, max_tokens) of every request, in order.
        before: called with each request's number before it is answered.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.before: Callable[[int], None] = lambda number: None
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def pool_file(self, folder: Path) -> Path:
        """A pool of two models behind this server, each with two budgets."""
        models = {"small": (0.3, 0.5, 0.1), "big": (0.45, 0.8, 1.0)}
        text = POOL + "".join(
            MODEL.format(id=name, endpoint=self.url, price=price, output=4 * price, low=low, high=high)
            for name, (low, high, price) in models.items()
        )
        path = folder / "counted.toml"
        path.write_text(text)
        return path

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_of: ModelServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server_of.asked.append((body["model"], body["max_tokens"]))
        self.server_of.before(len(self.server_of.asked))
        usage = {"prompt_tokens": 30, "completion_tokens": 10, "total_tokens": 40}
        base = {"id": "1", "created": 1, "model": body["model"]}
        text = f"Answer: {body['model']} {body['max_tokens']}"
        try:
            if body.get("stream"):
                self._send("text/event-stream", self._pieces(base, text, usage))
            else:
                choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                whole = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
                self._send("application/json", json.dumps(whole))
        except BrokenPipeError:
            pass  # who asked is gone

    def _pieces(self, base: dict[str, Any], text: str, usage: dict[str, int]) -> str:
        first = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        chunks: list[dict[str, Any]] = [{"choices": [first]}, {"choices": [last]}, {"choices": [], "usage": usage}]
        told = [json.dumps({**base, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
        return "".join(f"data: {one}\n\n" for one in [*told, "[DONE]"])

    def _send(self, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="session")
def model_servers() -> Iterator[Callable[[], ModelServer]]:
    """Starts model servers, which end with the tests."""
    made: list[ModelServer] = []

    def start() -> ModelServer:
        made.append(ModelServer())
        return made[-1]

    yield start
    for server in made:
        server.close()


@pytest.fixture
def models(model_servers: Callable[[], ModelServer]) -> ModelServer:
    return model_servers()


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "postgres").exists()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server that lives as long as the tests: ``postgresql://…``."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("needs a PostgreSQL server: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="curveroute-pg-"))
    # The server refuses to run as root.
    user = next((one.pw_name for one in pwd.getpwall() if one.pw_name == "postgres"), "nobody")
    becoming: dict[str, Any] = {"user": user} if os.getuid() == 0 else {}
    if becoming:
        shutil.chown(folder, user)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "cwd": folder, **becoming}
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    data = str(folder / "data")
    try:
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "tester", "--auth=trust", "--no-sync"], check=True, **quiet
        )
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(folder / "log")
        subprocess.run([binaries / "pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start"], check=True, **quiet)
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, **quiet)
    finally:
        shutil.rmtree(folder)
