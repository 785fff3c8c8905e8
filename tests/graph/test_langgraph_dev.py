"""The graph as ``langgraph dev`` serves it: a real server process, no key, and the SDK as a client would use it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.chat.weights import weights_path
from curveroute.agent.pool import load_pool
from curveroute.agent.settings import load_settings
from curveroute.compose import weights_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langgraph_sdk.client import SyncLangGraphClient

pytest.importorskip("langgraph_api", reason="needs the extra `serve`")
pytestmark = pytest.mark.xdist_group("local-models")

ROOT = Path(__file__).parents[2]
MODEL = "smollm2-135m"
STARTED = "Application started up"
CALM = {
    "LANGGRAPH_NO_VERSION_CHECK": "1",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGSMITH_TRACING": "false",
    "NO_COLOR": "1",
}
KEYS = ("OPENAI_API_KEY", "OPENROUTER_API_KEY", "LANGSMITH_API_KEY", "LANGCHAIN_API_KEY", "CURVEROUTE_LEDGER")


class DevServer:
    """``langgraph dev`` in a process of its own, with a home of its own that shares only the fetched weights."""

    def __init__(self, folder: Path) -> None:
        (folder / "home" / "data").mkdir(parents=True)
        cache = load_settings().cache_dir
        cache.mkdir(parents=True, exist_ok=True)
        (folder / "home" / "cache").symlink_to(cache, target_is_directory=True)
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        environment = {name: value for name, value in os.environ.items() if name not in KEYS} | CALM
        command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser", "--no-reload"]
        self.process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(self.port), "--config", str(ROOT / "langgraph.json")],
            cwd=folder,
            env=environment | {"CURVEROUTE_HOME": str(folder / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self) -> None:
        assert self._ready.wait(90), "".join(self.log)
        assert self.process.poll() is None, "".join(self.log)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self._reader.join(30)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def children(self) -> list[int]:
        """Model servers that it started."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid), "-f", "serve.py"], capture_output=True, text=True, check=False
        )
        return [int(word) for word in found.stdout.split()]

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.log.append(line)
            if STARTED in line:
                self._ready.set()
        self._ready.set()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    made = DevServer(tmp_path_factory.mktemp("dev"))
    try:
        made.wait()
        yield made
    finally:
        made.stop()


@pytest.fixture
def client(server: DevServer) -> Iterator[SyncLangGraphClient]:
    from langgraph_sdk import get_sync_client

    with get_sync_client(url=f"http://127.0.0.1:{server.port}", timeout=120) as made:
        yield made


def asking(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def test_the_assistant_tells_what_it_takes_and_gives(client: SyncLangGraphClient) -> None:
    (assistant,) = client.assistants.search()
    assert assistant["graph_id"] == "curveroute"
    schemas = client.assistants.get_schemas(assistant["assistant_id"])
    assert set(schemas["input_schema"]["properties"]) == {"messages"}
    assert {"answer", "status", "cost_usd", "attempts"} <= set(schemas["output_schema"]["properties"])
    settings = {"tradeoff", "max_cost_usd", "seconds_usd", "max_error", "policy", "plan", "judge", "allow", "deny"}
    settings.add("approve_above_usd")
    assert set(schemas["context_schema"]["properties"]) == settings
    drawn = client.assistants.get_graph(assistant["assistant_id"])
    assert {"propose", "plan", "probe", "verify", "escalate", "accept"} <= {node["id"] for node in drawn["nodes"]}


@pytest.mark.parametrize(
    ("given", "context", "error"),
    [
        (asking(" "), {}, "QueryError"),
        ({"messages": []}, {}, "QueryError"),
        (asking("word " * 5000), {}, "QueryError"),
        (asking("Hi?"), {"tradeoff": 2}, "SettingError"),
        (asking("Hi?"), {"allow": ["nobody"]}, "PoolError"),
        (asking("Hi?"), {"max_cost_usd": 1e-12}, "CapTooSmall"),
    ],
)
def test_what_cannot_be_answered_is_an_error_of_its_run_alone(
    client: SyncLangGraphClient, given: dict[str, Any], context: dict[str, Any], error: str
) -> None:
    thread = client.threads.create()
    with pytest.raises(Exception, match=error):
        client.runs.wait(thread["thread_id"], "curveroute", input=given, context=context)
    assert client.threads.get(thread["thread_id"])["status"] == "error"


def test_nothing_blocks_the_servers_loop(server: DevServer) -> None:
    told = "".join(server.log)
    assert "BlockingError" not in told
    assert "Blocking call" not in told


@pytest.mark.local
class TestAnswers:
    """With the smallest local model."""

    @pytest.fixture(autouse=True)
    def _weights(self) -> None:
        pytest.importorskip("xllamacpp", reason="needs the extra `local`")
        weights = load_pool("local").model(MODEL).weights
        if weights is None or not weights_path(load_settings(), weights_of(weights)).exists():
            pytest.skip(f"the weights of {MODEL} are not fetched: run `curveroute models fetch {MODEL}`")

    def test_a_thread_is_asked_twice_and_streams(self, client: SyncLangGraphClient, server: DevServer) -> None:
        thread = client.threads.create()["thread_id"]
        context = {"tradeoff": 1.0, "plan": False, "judge": False, "allow": [MODEL]}
        first = client.runs.wait(
            thread, "curveroute", input=asking("What is the capital of Portugal?"), context=context
        )
        assert isinstance(first, dict)
        assert "Lisbon" in first["answer"]
        assert first["cost_usd"] > 0
        parts = list(
            client.runs.stream(
                thread, "curveroute", input=asking("What is the capital of Spain?"), context=context,
                stream_mode=["custom", "values"],
            )
        )  # fmt: skip
        kinds = [part.data["type"] for part in parts if part.event == "custom"]
        assert kinds[0] == "candidates"
        assert "token" in kinds
        assert kinds[-1] == "commit"
        last = parts[-1].data
        assert "Madrid" in last["answer"]
        assert last["run_id"] != first["run_id"]
        assert len(last["attempts"]) == 1
        state = client.threads.get_state(thread)
        assert state["values"]["answer"] == last["answer"]
        test_nothing_blocks_the_servers_loop(server)

    def test_its_model_servers_end_with_it(self, tmp_path: Path) -> None:
        from langgraph_sdk import get_sync_client

        server = DevServer(tmp_path)
        try:
            server.wait()
            with get_sync_client(url=f"http://127.0.0.1:{server.port}", timeout=120) as client:
                context = {"tradeoff": 1.0, "plan": False, "allow": [MODEL]}
                client.runs.wait(None, "curveroute", input=asking("What is the capital of Italy?"), context=context)
            children = server.children()
            assert children
        finally:
            server.stop()
        assert not [pid for pid in children if _alive(pid)]
