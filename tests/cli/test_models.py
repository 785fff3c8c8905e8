"""Local models from the command line, with a stand-in for the runtime and weights of a few bytes."""

from __future__ import annotations

import hashlib
import http.server
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from conftest import Ran

    Cli = Callable[..., Ran]
    Start = Callable[..., subprocess.Popen[str]]

DATA = b"GGUF" * 100_000
# Has the face of the real runtime as far as serve.py uses it. Whoever asks it hears one word, and then nothing.
RUNTIME = """
import http.server, json, threading
from types import SimpleNamespace

class CommonParams(SimpleNamespace):
    def __init__(self):
        super().__init__(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

class Server:
    def __init__(self, params):
        listing = json.dumps({"data": [{"id": min(params.model_alias)}]}).encode()
        word = {"choices": [{"index": 0, "delta": {"content": "word"}, "finish_reason": None}], "id": "c",
                "object": "chat.completion.chunk", "created": 0, "model": "any"}
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(listing)))
                self.end_headers()
                self.wfile.write(listing)
            def do_POST(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.wfile.write(b"data: " + json.dumps(word).encode() + b"\\n\\n")
                threading.Event().wait()
        server = http.server.ThreadingHTTPServer((params.hostnames[0], params.port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.listening_address = "here"
"""
POOL = """
name = "tiny"
system = "You are a careful assistant."

[[budgets]]
tokens = 16
name = "short"
style = "Answer only."

[[models]]
id = "tiny-1"
endpoint = "local"
prices = {{ input = 1.0, output = 1.0 }}
context_window = 512
prior = [{{ quality = 0.5 }}]

[models.weights]
file = "tiny.gguf"
bytes = {size}
sha256 = "{sha256}"
licence = "Apache-2.0"

[[models.weights.sources]]
url = "{url}"
"""


class Files(http.server.ThreadingHTTPServer):
    """Holds one file; ``data`` is what is sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data = DATA
        self.status = 200
        self.asked = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Files

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.data)))
        self.end_headers()
        self.wfile.write(self.server.data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def files() -> Iterator[Files]:
    with Files() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tiny(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A pool file with one local model, and the runtime's stand-in where Python finds it."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (runtime / "xllamacpp.py").write_text(RUNTIME)
    monkeypatch.syspath_prepend(runtime)
    monkeypatch.setenv("PYTHONPATH", str(runtime))
    url = f"http://127.0.0.1:{files.server_address[1]}/tiny.gguf"
    text = POOL.format(size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest(), url=url)
    (tmp_path / "tiny.toml").write_text(text)
    return str(tmp_path / "tiny.toml")


def test_weights_are_fetched_once_and_checked(cli: Cli, tiny: str, files: Files, home: Path) -> None:
    assert cli("models", "status", "--pool", tiny).out == "tiny-1: not fetched, down\n"
    fetched = cli("models", "fetch", "--pool", tiny)
    assert fetched.status == 0
    assert fetched.out == f"tiny-1: {home}/cache/weights/tiny.gguf (0 MB, hash checked)\n"
    assert "fetch 0 MB: downloading from 127.0.0.1" in fetched.err
    assert cli("models", "status", "--pool", tiny).out == "tiny-1: fetched, down\n"
    assert cli("models", "fetch", "tiny-1", "--pool", tiny).err == ""
    assert files.asked == 1


def test_fetching_again_reads_the_file_and_not_its_note(cli: Cli, tiny: str, home: Path) -> None:
    assert cli("models", "fetch", "--pool", tiny).status == 0
    (path,) = (home / "cache" / "weights").glob("*.gguf")
    before, data = path.stat(), bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    ran = cli("models", "fetch", "--pool", tiny)
    assert (ran.status, ran.out) == (2, "")
    assert "SHA-256" in ran.err
    assert "delete it and fetch it again" in ran.err


@pytest.mark.parametrize("fault", ["wrong bytes", "not there", "offline", "no folder"])
def test_weights_that_cannot_be_had(
    cli: Cli, tiny: str, files: Files, home: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    files.data, files.status = (DATA[::-1], 200) if fault == "wrong bytes" else (DATA, 404)
    if fault == "offline":
        monkeypatch.setenv("CURVEROUTE_OFFLINE", "1")
    if fault == "no folder":
        home.write_text("a file")
    why = {
        "wrong bytes": "SHA-256",
        "not there": "HTTP 404",
        "offline": "unset CURVEROUTE_OFFLINE",
        "no folder": "cannot be",
    }[fault]
    collect = ("collect", "--out", "table.csv", "--per-family", "0", "--limit", "1")
    for words in (("models", "fetch"), ("models", "up"), ("ask", "x"), collect):
        ran = cli(*words, "--pool", tiny)
        # A question goes on with other models where there are any, so here it is the run that fails.
        assert (ran.status, ran.out) == (1 if words[0] == "ask" and fault != "no folder" else 2, "")
        assert why in ran.err.splitlines()[-1]
        assert "Traceback" not in ran.err


def test_a_pool_without_local_models_has_nothing_to_fetch(cli: Cli, pool: str) -> None:
    for words in (("fetch",), ("fetch", "weak"), ("up",), ("down",), ("status",)):
        ran = cli("models", *words, "--pool", pool)
        assert ran.status == 2
        assert "local" in ran.complaint


def test_servers_go_up_and_down(cli: Cli, tiny: str) -> None:
    up = cli("models", "up", "--pool", tiny)
    try:
        assert up.status == 0
        assert up.out.startswith("tiny-1: up at http://127.0.0.1:")
        assert "fetched, up at port" in cli("models", "status", "--pool", tiny).out
        assert cli("models", "up", "--pool", tiny).out == up.out
    finally:
        down = cli("models", "down", "--pool", tiny)
    assert down.out == "tiny-1: stopped\n"
    assert cli("models", "down", "--pool", tiny).out == "tiny-1: was not up\n"
    assert cli("models", "status", "--pool", tiny).out == "tiny-1: fetched, down\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_during_a_question_leaves_no_server(start: Start, tiny: str) -> None:
    process = start("ask", "x", "--pool", tiny, "--tradeoff", "1")
    assert process.stdout is not None
    assert process.stdout.read(4) == "word"
    (server,) = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate()
    assert process.returncode == 130
    assert complaints.splitlines()[-1] == "curveroute: interrupted"
    assert not Path(f"/proc/{server}").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_bar_on_the_terminal_takes_no_word_of_the_answer(
    start: Start, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    process = start("ask", "x", "--pool", tiny, "--tradeoff", "1", stderr=theirs)
    os.close(theirs)
    assert process.stdout is not None
    assert process.stdout.read(4) == "word"
    assert "downloading" in os.read(ours, 4096).decode()
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    os.close(ours)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_question_leaves_no_server_either(start: Start, tiny: str) -> None:
    process = start("ask", "x", "--pool", tiny, "--tradeoff", "1")
    assert process.stdout is not None
    assert process.stdout.read(4) == "word"
    (server,) = children_of(process.pid)
    gone = os.pidfd_open(server)
    process.kill()
    process.communicate()
    assert wait_for(gone)


def children_of(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def wait_for(gone: int) -> bool:
    import select

    ended, _, _ = select.select([gone], [], [], 20.0)
    os.close(gone)
    return bool(ended)
