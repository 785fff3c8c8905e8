"""A whole curveroute without a real model: an OpenAI-compatible endpoint in this process, a pool file that names it."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POOL = """
name = "fake"
description = "two models that this test plays"
system = "You are a careful assistant."
planner = "strong"
planner_lift = 0.5
verifier_reliability = 0.0
judge = "strong"

[[budgets]]
tokens = 16
name = "short"
style = "Answer only."

[[budgets]]
tokens = 256
name = "long"
style = "Finish with the line:\\nAnswer: <final answer>"
"""
MODEL = """
[[models]]
id = "{name}"
endpoint = "{endpoint}"
prices = {{ input = {price}, output = {price} }}
context_window = 4096
prior = [{{ budget = 16, quality = {low} }}, {{ budget = 256, quality = {high} }}]
"""


@dataclass(frozen=True)
class Asked:
    """One request, as the endpoint saw it."""

    model: str
    question: str
    limit: int
    role: str
    body: dict[str, Any] = field(repr=False)


class FakeModels(http.server.ThreadingHTTPServer):
    """The endpoint.

    ``reply`` gives an answer's text, or the status of an HTTP error. While ``gate`` is closed nobody hears more than
    one word of an answer.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.reply: Callable[[Asked], str | int] = sensible
        self.gate = threading.Event()
        self.gate.set()
        self.close_gate_after = -1
        self.gate_was_reached = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def arrive(self, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)
            if len(self.asked) == self.close_gate_after:
                self.gate.clear()
                self.gate_was_reached.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeModels

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = read(body)
        self.server.arrive(asked)
        text = self.server.reply(asked)
        if isinstance(text, int):
            self.send_error(text)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in events(text, asked.limit):
            self.wfile.write(f"data: {event}\n\n".encode())
            self.server.gate.wait()

    def log_message(self, *args: Any) -> None:
        pass


def read(body: dict[str, Any]) -> Asked:
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("properties", {})
    role = "planner" if "order" in schema else "judge" if "verdict" in schema else "answer"
    question = body["messages"][-1]["content"]
    question = question if schema else question.rsplit("\n\n", 1)[0]
    return Asked(body["model"], question, body["max_tokens"], role, body)


def sensible(asked: Asked) -> str:
    """The planner plans, the judge agrees, the strong model knows, the weak one guesses."""
    if asked.role == "planner":
        return json.dumps({"order": ["A", "B"], "probe": True, "criteria": "a number of minutes"})
    if asked.role == "judge":
        return json.dumps({"quote": "Answer", "reason": "worked it out again", "verdict": "right"})
    return "Answer: 155" if asked.model == "strong" else "Answer: 95"


def events(text: str, limit: int) -> Iterator[str]:
    words = text.split(" ")
    said, cut = words[:limit], len(words) > limit
    for number, word in enumerate(said):
        delta = {"content": word if number == 0 else f" {word}"}
        yield json.dumps({**_CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    end = {"index": 0, "delta": {}, "finish_reason": "length" if cut else "stop"}
    yield json.dumps({**_CHUNK, "choices": [end]})
    usage = {"prompt_tokens": 20, "completion_tokens": len(said), "total_tokens": 20 + len(said)}
    yield json.dumps({**_CHUNK, "choices": [], "usage": usage})
    yield "[DONE]"


_CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "any"}


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on standard error of a command that failed and said nothing else."""
        assert self.status != 0
        assert self.out == ""
        assert "Traceback" not in self.err
        (line,) = self.err.splitlines()
        assert line.startswith("curveroute")
        return line


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for every test, and an environment without surprises."""
    for name in list(os.environ):
        if name.endswith("_API_KEY") or name.startswith(("CURVEROUTE_", "LANGSMITH_", "LANGCHAIN_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CURVEROUTE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def models() -> Iterator[FakeModels]:
    with FakeModels() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def pool(tmp_path: Path, models: FakeModels) -> str:
    """The path of a pool file with a cheap weak and a dear strong model at that endpoint."""
    return str(write_pool(tmp_path / "fake.toml", models.url))


def write_pool(path: Path, endpoint: str) -> Path:
    weak = MODEL.format(name="weak", endpoint=endpoint, price=1.0, low=0.3, high=0.5)
    path.write_text(POOL + weak + MODEL.format(name="strong", endpoint=endpoint, price=4.0, low=0.6, high=0.9))
    return path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs a command in this process."""

    def run(*words: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin)))
        capsys.readouterr()
        try:
            status = main(list(words))
        except SystemExit as end:
            status = int(end.code or 0)
        return Ran(status, *capsys.readouterr())

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command in a process of its own; what is left of it at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*words: str, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-m", "curveroute.cli", *words]
        process = subprocess.Popen(command, **{**pipes, **options})
        started.append(process)
        return process

    yield run
    for process in started:
        with process:
            if process.poll() is None:
                process.kill()
