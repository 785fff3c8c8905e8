"""The graph as ``langgraph dev`` serves it: a real server process, no key, and the SDK as a client would use it."""

from __future__ import annotations

import json
import os
import re
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
    from collections.abc import Callable, Iterator

    from conftest import ModelServer
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

    def __init__(self, folder: Path, config: Path = ROOT / "langgraph.json", **more: str) -> None:
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
            [*command, "--host", "127.0.0.1", "--port", str(self.port), "--config", str(config)],
            cwd=folder,
            env=environment | {"CURVEROUTE_HOME": str(folder / "home"), **more},
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


SERVED = """
import os

from curveroute.compose import compose_parts
from curveroute.graphs import Context, build

graph = build(Context(parts=compose_parts(os.environ["POOL"])))
"""
CONTEXT = {"tradeoff": 0.05, "plan": False, "judge": False}


@pytest.fixture(scope="module")
def models(model_servers: Callable[[], ModelServer]) -> ModelServer:
    return model_servers()


@pytest.fixture(scope="module")
def counted(models: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncLangGraphClient]:
    """A client of a server whose graph is the user's own."""
    from langgraph_sdk import get_sync_client

    folder = tmp_path_factory.mktemp("counted")
    (folder / "served.py").write_text(SERVED)
    config = folder / "langgraph.json"
    config.write_text(json.dumps({"dependencies": ["."], "graphs": {"mine": "./served.py:graph"}}))
    server = DevServer(folder, config, POOL=str(models.pool_file(folder)))
    try:
        server.wait()
        with get_sync_client(url=f"http://127.0.0.1:{server.port}", timeout=120) as made:
            yield made
        test_nothing_blocks_the_servers_loop(server)
    finally:
        server.stop()


class TestCounted:
    """A graph of the user's own, over a model server that counts what it is asked."""

    @pytest.fixture
    def thread(self, counted: SyncLangGraphClient, models: ModelServer) -> str:
        models.asked.clear()
        return counted.threads.create()["thread_id"]

    def test_a_stream_tells_updates_events_and_the_state(
        self, counted: SyncLangGraphClient, models: ModelServer, thread: str
    ) -> None:
        modes: Any = ["updates", "custom", "values"]
        parts = list(counted.runs.stream(thread, "mine", input=asking("2 + 2?"), context=CONTEXT, stream_mode=modes))
        nodes = [name for part in parts if part.event == "updates" for name in part.data]
        assert nodes[:4] == ["propose", "plan", "probe", "verify"]
        assert nodes[-1] == "accept"
        events = [part.data["type"] for part in parts if part.event == "custom"]
        assert (events[0], events[-1]) == ("candidates", "commit")
        assert events.count("probe") == len(models.asked) > 1
        values = [part.data for part in parts if part.event == "values"]
        assert values[-1]["answer"].startswith("Answer: ")
        assert len(values[-1]["attempts"]) == len(models.asked)
        assert counted.threads.get_state(thread)["values"]["cost_usd"] == values[-1]["cost_usd"]
        steps = [state["next"] for state in counted.threads.get_history(thread, limit=100)]
        assert steps[0] == []
        assert ["propose"] in steps

    def test_an_assistant_of_ones_own_keeps_its_settings(
        self, counted: SyncLangGraphClient, models: ModelServer, thread: str
    ) -> None:
        made = counted.assistants.create("mine", context={**CONTEXT, "allow": ["small"]}, name="thrifty")
        output = counted.runs.wait(thread, made["assistant_id"], input=asking("2 + 2?"))
        assert isinstance(output, dict)
        assert {model for model, _ in models.asked} == {"small"}
        assert output["answer"].startswith("Answer: small")

    def test_a_run_waits_for_a_person_and_is_resumed(
        self, counted: SyncLangGraphClient, models: ModelServer, thread: str
    ) -> None:
        context = {**CONTEXT, "approve_above_usd": 0.0}
        output = counted.runs.wait(thread, "mine", input=asking("2 + 2?"), context=context)
        assert isinstance(output, dict)
        (asked,) = output["__interrupt__"]
        assert asked["value"]["kind"] == "approval"
        assert asked["value"]["arms"][0]["worst_usd"] > 0
        assert models.asked == []
        assert counted.threads.get(thread)["status"] == "interrupted"
        assert counted.threads.get_state(thread)["next"] == ["approve"]
        parts = list(
            counted.runs.stream(
                thread, "mine", command={"resume": 1.0}, context=context, stream_mode=["values", "custom"]
            )
        )
        assert parts[-1].data["answer"].startswith("Answer: ")
        assert len(set(models.asked)) == len(models.asked) == len(parts[-1].data["attempts"])
        assert counted.threads.get(thread)["status"] == "idle"

    def test_a_refused_run_ends_in_words_and_its_thread_goes_on(
        self, counted: SyncLangGraphClient, models: ModelServer, thread: str
    ) -> None:
        context = {**CONTEXT, "approve_above_usd": 0.0}
        counted.runs.wait(thread, "mine", input=asking("2 + 2?"), context=context)
        with pytest.raises(Exception, match="ApprovalRefused"):
            counted.runs.wait(thread, "mine", command={"resume": False}, context=context)
        assert models.asked == []
        output = counted.runs.wait(thread, "mine", input=asking("3 + 3?"), context=CONTEXT)
        assert isinstance(output, dict)
        assert len(output["attempts"]) == len(models.asked) > 1


def test_the_pages_own_checkpointer_reads_the_states_classes_without_a_word(
    models: ModelServer, tmp_path: Path
) -> None:
    from langgraph_sdk import get_sync_client

    page = (ROOT / "docs" / "serve.md").read_text("utf-8")
    blocks = re.findall(r"^```(?:python|json)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    saver, config = (one for one in blocks if "my_threads.py" in one)
    (tmp_path / "my_threads.py").write_text(saver)
    (tmp_path / "my_router.py").write_text(SERVED)
    (tmp_path / "langgraph.json").write_text(config)
    pool = str(models.pool_file(tmp_path))
    server = DevServer(tmp_path, tmp_path / "langgraph.json", POOL=pool, LANGGRAPH_STRICT_MSGPACK="true")
    try:
        server.wait()
        with get_sync_client(url=f"http://127.0.0.1:{server.port}", timeout=120) as client:
            thread, context = client.threads.create()["thread_id"], {**CONTEXT, "approve_above_usd": 0.0}
            client.runs.wait(thread, "curveroute", input=asking("2 + 2?"), context=context)
            output = client.runs.wait(thread, "curveroute", command={"resume": 1.0}, context=context)
            assert isinstance(output, dict)
            assert output["answer"].startswith("Answer: ")
            assert client.threads.get_state(thread)["values"]["answer"] == output["answer"]
    finally:
        server.stop()
    assert (tmp_path / "threads.sqlite").exists()
    assert [line for line in server.log if "eserializ" in line] == []
    test_nothing_blocks_the_servers_loop(server)


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
