"""docs/serve.md as it stands: the module and the file of the page are served, and the page's client asks."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("langgraph_api", reason="needs the extra `serve`")
pytestmark = [pytest.mark.local, pytest.mark.xdist_group("local-models")]

PAGE = (Path(__file__).parents[1] / "docs" / "serve.md").read_text("utf-8")
STARTED = "Application started up"
CALM = {"LANGGRAPH_NO_VERSION_CHECK": "1", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGSMITH_TRACING": "false"}


def block(language: str, holds: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(str(one) for one in blocks if holds in one)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Where the page's own graph is served."""
    (tmp_path / "my_router.py").write_text(block("python", "my_router.py"))
    (tmp_path / "langgraph.json").write_text(block("json", "my_router.py"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser", "--no-reload"]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(number)],
        cwd=tmp_path,
        env=os.environ | CALM | {"CURVEROUTE_LEDGER": f"sqlite:///{tmp_path / 'ledger.sqlite'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        log: list[str] = []
        ready = threading.Event()
        reader = threading.Thread(target=_read, args=(server, log, ready))
        reader.start()
        try:
            assert ready.wait(90), "".join(log)
            assert server.poll() is None, "".join(log)
            yield number
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
            reader.join(30)


def _read(server: subprocess.Popen[str], log: list[str], ready: threading.Event) -> None:
    for line in server.stdout or ():
        log.append(line)
        if STARTED in line:
            ready.set()
    ready.set()


def test_the_pages_client_is_answered_by_the_pages_server(port: int) -> None:
    code = block("python", "get_sync_client")
    assert ":2024" in code
    done = subprocess.run(
        [sys.executable, "-c", code.replace(":2024", f":{port}")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer, *events = done.stdout.splitlines()
    assert "Lisbon" in answer
    assert events[0] == "candidates"
    assert events[-1] == "commit"
