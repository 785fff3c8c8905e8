"""Local servers: started on demand, shared, restarted once, and gone when their owner is. The runtime is a stand-in."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2
import pytest

from curveroute.agent.chat import process, servers
from curveroute.agent.chat.process import Launch, ServerProcess, birth_of
from curveroute.agent.chat.servers import LocalServers, serve_command
from curveroute.agent.chat.weights import Weights
from curveroute.agent.errors import LocalServerError, MissingExtra, WeightsError
from curveroute.agent.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "tiny/model"
DATA = b"GGUF"
WEIGHTS = Weights("tiny.gguf", len(DATA), hashlib.sha256(DATA).hexdigest(), "Apache-2.0", ())
OTHER_WEIGHTS = replace(WEIGHTS, file="other.gguf", sha256=hashlib.sha256(b"GGML").hexdigest())
GONE_S = 20.0

# Has the face of the real runtime as far as serve.py uses it, and shows its parameters at /v1/models.
RUNTIME = """
import http.server, json, os, threading
from types import SimpleNamespace

class CommonParams(SimpleNamespace):
    def __init__(self):
        super().__init__(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

class Server:
    def __init__(self, params):
        shown = {"id": min(params.model_alias), "hosts": params.hostnames, "n_ctx": params.n_ctx,
                 "spin": os.environ["GOMP_SPINCOUNT"], "wait": os.environ["OMP_WAIT_POLICY"]}
        if "broken" in shown["id"]:
            raise RuntimeError("these weights make no sense")
        body = json.dumps({"data": [shown]}).encode()
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        server = http.server.ThreadingHTTPServer((params.hostnames[0], params.port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.listening_address = "here"
"""


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "xllamacpp.py").write_text(RUNTIME)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path / "cache", tmp_path / "data", "sqlite://", offline=True)
    folder = settings.cache_dir / "weights"
    folder.mkdir(parents=True)
    (folder / WEIGHTS.file).write_bytes(DATA)
    (folder / OTHER_WEIGHTS.file).write_bytes(b"GGML")
    return settings


class Recorder:
    """The real command, remembering what was launched."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []
        self.started = threading.Event()

    def __call__(self, launch: Launch) -> list[str]:
        self.launches.append(launch)
        self.started.set()
        return serve_command(launch)


class Hanging(Recorder):
    """A server that never listens."""

    def __call__(self, launch: Launch) -> list[str]:
        super().__call__(launch)
        return [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def local(settings: Settings, recorder: Recorder) -> Iterator[LocalServers]:
    local = LocalServers(settings, command=recorder)
    yield local
    local.stop_all()
    for status in local.status():
        local.down(status.model_id)


def pid_of(local: LocalServers) -> int:
    (status,) = local.status()
    return status.pid


def kill(local: LocalServers) -> None:
    server = local._used[MODEL]
    os.kill(server.pid, signal.SIGKILL)
    server.wait(GONE_S)


def watch(pid: int) -> ServerProcess:
    """A process of somebody else's, to be asked about."""
    return ServerProcess(Launch(MODEL, "", "", 1, 1, 1), pid, birth_of(pid) or "", 0.0)


def shown(url: str) -> dict[str, object]:
    with httpx2.Client(trust_env=False) as client:
        answer: dict[str, object] = client.get(f"{url}/models").json()["data"][0]
        return answer


async def test_a_server_starts_on_demand_and_is_used_again(local: LocalServers, recorder: Recorder) -> None:
    assert local.status() == []
    url = await local.ensure(MODEL, WEIGHTS, context=1024, parallel=3)
    assert await local.ensure(MODEL, WEIGHTS, context=512) == url
    assert len(recorder.launches) == 1
    (status,) = local.status()
    assert status.healthy
    assert not status.detached
    assert url == f"http://127.0.0.1:{status.port}/v1"


async def test_the_context_is_per_slot_the_host_is_loopback_and_threads_do_not_spin(local: LocalServers) -> None:
    answer = shown(await local.ensure(MODEL, WEIGHTS, context=1024, parallel=3))
    assert answer == {"id": MODEL, "hosts": ["127.0.0.1"], "n_ctx": 3072, "spin": "0", "wait": "PASSIVE"}


async def test_concurrent_callers_share_one_start(local: LocalServers, recorder: Recorder) -> None:
    urls = await asyncio.gather(*(local.ensure(MODEL, WEIGHTS, context=1024) for _ in range(8)))
    assert len(set(urls)) == 1
    assert len(recorder.launches) == 1


def test_event_loops_in_several_threads_share_one_start(local: LocalServers, recorder: Recorder) -> None:
    with ThreadPoolExecutor() as pool:
        urls = set(pool.map(lambda _: asyncio.run(local.ensure(MODEL, WEIGHTS, context=1024)), range(4)))
    assert len(urls) == 1
    assert len(recorder.launches) == 1


async def test_a_larger_context_or_other_weights_get_a_new_server(local: LocalServers, recorder: Recorder) -> None:
    await local.ensure(MODEL, WEIGHTS, context=1024)
    await local.ensure(MODEL, WEIGHTS, context=2048)
    await local.ensure(MODEL, OTHER_WEIGHTS, context=2048)
    assert [launch.context for launch in recorder.launches] == [1024, 2048, 2048]
    assert len(local.status()) == 1


async def test_a_dead_server_is_restarted_once_and_then_it_is_an_error(local: LocalServers, recorder: Recorder) -> None:
    await local.ensure(MODEL, WEIGHTS, context=1024)
    kill(local)
    url = await local.restart_once(MODEL)
    assert shown(url)["id"] == MODEL
    kill(local)
    with pytest.raises(LocalServerError, match=r"died twice \(exit status -9\).*tiny%2Fmodel\.log"):
        await local.restart_once(MODEL)
    with pytest.raises(LocalServerError, match="died twice"):
        await local.ensure(MODEL, WEIGHTS, context=1024)
    assert len(recorder.launches) == 2


async def test_callers_that_find_it_dead_together_restart_it_once(local: LocalServers, recorder: Recorder) -> None:
    await local.ensure(MODEL, WEIGHTS, context=1024)
    kill(local)
    urls = await asyncio.gather(*(local.restart_once(MODEL) for _ in range(4)))
    assert len(set(urls)) == 1
    assert len(recorder.launches) == 2


async def test_a_live_server_is_not_restarted(local: LocalServers, recorder: Recorder) -> None:
    url = await local.ensure(MODEL, WEIGHTS, context=1024)
    assert await local.restart_once(MODEL) == url
    assert len(recorder.launches) == 1


async def test_restarting_what_was_never_started_is_an_error(local: LocalServers) -> None:
    with pytest.raises(LocalServerError, match="call ensure first"):
        await local.restart_once(MODEL)


async def test_a_port_taken_meanwhile_is_exchanged_for_another(
    local: LocalServers, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], process.free_port()])
        monkeypatch.setattr(servers, "free_port", lambda: next(ports))
        monkeypatch.setattr(process, "HEALTH_S", 0.1)
        url = await local.ensure(MODEL, WEIGHTS, context=1024)
    assert [launch.port for launch in recorder.launches][1:] == [int(url.split(":")[2].removesuffix("/v1"))]


async def test_ports_are_not_tried_for_ever(
    local: LocalServers, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(servers, "free_port", lambda: taken.getsockname()[1])
        monkeypatch.setattr(process, "HEALTH_S", 0.1)
        with pytest.raises(LocalServerError, match="ports in a row"):
            await local.ensure(MODEL, WEIGHTS, context=1024)
    assert len(recorder.launches) == servers.PORT_TRIES


async def test_a_server_that_ends_while_starting_says_why(local: LocalServers) -> None:
    with pytest.raises(LocalServerError, match=r"'broken'.*exit status 1.*broken\.log.*these weights make no sense"):
        await local.ensure("broken", WEIGHTS, context=1024)
    assert local.status() == []


class Killed(Recorder):
    """A server that is killed while it loads, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def __call__(self, launch: Launch) -> list[str]:
        command = super().__call__(launch)
        dies = [sys.executable, "-S", "-c", "import os; os.kill(os.getpid(), 9)"]
        return dies if len(self.launches) <= self.times else command


async def test_a_server_that_is_killed_while_loading_is_started_once_more(settings: Settings) -> None:
    local = LocalServers(settings, command=Killed(1))
    assert shown(await local.ensure(MODEL, WEIGHTS, context=1024))["id"] == MODEL
    local.stop_all()


async def test_a_server_that_is_killed_again_while_loading_is_an_error(settings: Settings) -> None:
    killed = Killed(2)
    local = LocalServers(settings, command=killed)
    with pytest.raises(LocalServerError, match=r"ended while starting \(exit status -9\)"):
        await local.ensure(MODEL, WEIGHTS, context=1024)
    assert len(killed.launches) == 2
    assert local.status() == []


async def test_a_server_that_is_never_ready_is_stopped(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START_S", 0.0)
    local = LocalServers(settings, command=Hanging())
    with pytest.raises(LocalServerError, match="was not ready"):
        await local.ensure(MODEL, WEIGHTS, context=1024)
    assert local.status() == []


async def test_a_cancelled_start_leaves_no_process(settings: Settings) -> None:
    hanging = Hanging()
    local = LocalServers(settings, command=hanging)
    task = asyncio.create_task(local.ensure(MODEL, WEIGHTS, context=1024))
    await asyncio.to_thread(hanging.started.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.get_running_loop().shutdown_default_executor()
    assert not local._children


async def test_another_server_on_the_port_is_not_taken_for_ours(local: LocalServers) -> None:
    await local.ensure(MODEL, WEIGHTS, context=1024)
    server = local._used[MODEL]
    assert server.healthy()
    server.launch = replace(server.launch, model_id="another")
    assert not server.healthy()


async def test_stop_all_leaves_no_process_and_frees_the_port(local: LocalServers) -> None:
    await local.ensure(MODEL, WEIGHTS, context=1024)
    (status,) = local.status()
    local.stop_all()
    local.stop_all()
    assert birth_of(status.pid) is None
    assert local.status() == []
    socket.create_server(("127.0.0.1", status.port)).close()


async def test_after_stop_all_it_starts_afresh(local: LocalServers, recorder: Recorder) -> None:
    await local.ensure(MODEL, WEIGHTS, context=1024)
    local.stop_all()
    await local.ensure(MODEL, WEIGHTS, context=1024)
    assert len(recorder.launches) == 2


async def test_a_server_ignores_ctrl_c_and_heeds_its_parent(local: LocalServers) -> None:
    await local.ensure(MODEL, WEIGHTS, context=1024)
    os.kill(pid_of(local), signal.SIGINT)
    assert os.getsid(pid_of(local)) != os.getsid(0)
    assert local.status()[0].healthy


async def test_a_forgotten_owner_takes_its_servers_along(settings: Settings) -> None:
    local = LocalServers(settings)
    await local.ensure(MODEL, WEIGHTS, context=1024)
    pid = pid_of(local)
    del local
    assert birth_of(pid) is None


PARENT = """
import asyncio, signal, sys
from pathlib import Path
from curveroute.agent.chat.servers import LocalServers
from curveroute.agent.chat.weights import Weights
from curveroute.agent.settings import Settings

cache, data, file, size, sha256, end = sys.argv[1:]
local = LocalServers(Settings(Path(cache), Path(data), "", offline=True))
asyncio.run(local.ensure("orphan", Weights(file, int(size), sha256, "", ()), context=1024))
print(local.status()[0].pid, flush=True)
if end == "hang":
    signal.pause()
if end == "raise":
    raise KeyboardInterrupt
"""


def start_parent(settings: Settings, end: str) -> subprocess.Popen[str]:
    words = [settings.cache_dir, settings.data_dir, WEIGHTS.file, WEIGHTS.size, WEIGHTS.sha256, end]
    command = [sys.executable, "-c", PARENT, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_server_dies_with_a_parent_that_is_killed(settings: Settings) -> None:
    with start_parent(settings, "hang") as parent:
        assert parent.stdout is not None
        orphan = watch(int(parent.stdout.readline()))
        assert orphan.alive()
        parent.kill()
        orphan.wait(GONE_S)
        assert not orphan.alive()


@pytest.mark.parametrize("end", ["return", "raise"])
def test_a_server_is_gone_when_its_parent_has_ended(end: str, settings: Settings) -> None:
    with start_parent(settings, end) as parent:
        out, _ = parent.communicate()
    assert birth_of(int(out)) is None


# Detached servers


async def test_a_detached_server_is_found_by_others_and_outlives_its_starter(
    local: LocalServers, settings: Settings, recorder: Recorder
) -> None:
    url = await local.up(MODEL, WEIGHTS, context=1024)
    assert await local.up(MODEL, WEIGHTS, context=1024) == url
    local.stop_all()
    other = LocalServers(settings, command=recorder)
    assert await other.ensure(MODEL, WEIGHTS, context=1024) == url
    other.stop_all()
    (status,) = other.status()
    assert status.healthy
    assert status.detached
    assert len(recorder.launches) == 1


async def test_down_stops_a_detached_server_once(local: LocalServers, settings: Settings) -> None:
    await local.up(MODEL, WEIGHTS, context=1024)
    pid = pid_of(local)
    other = LocalServers(settings)
    assert other.down(MODEL)
    assert birth_of(pid) is None
    assert not other.down(MODEL)
    assert local.status() == []


async def test_a_detached_server_with_other_weights_is_not_adopted_but_replaced_by_up(
    local: LocalServers, settings: Settings
) -> None:
    url = await local.up(MODEL, WEIGHTS, context=1024)
    assert await local.ensure(MODEL, OTHER_WEIGHTS, context=1024) != url
    local.stop_all()
    assert await local.up(MODEL, OTHER_WEIGHTS, context=1024) != url
    assert len(local.status()) == 1


async def test_a_process_that_got_a_dead_servers_number_is_left_alone(local: LocalServers, settings: Settings) -> None:
    await local.up(MODEL, WEIGHTS, context=1024)
    path = local._place(MODEL, "json")
    state = json.loads(path.read_text())
    local.down(MODEL)
    path.write_text(json.dumps(state | {"pid": os.getpid()}))
    assert local.status() == []
    assert not local.down(MODEL)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"launch": {}}'])
async def test_a_damaged_state_file_is_as_good_as_none(text: str, local: LocalServers) -> None:
    local._place(MODEL, "json").write_text(text)
    assert local.status() == []
    assert await local.ensure(MODEL, WEIGHTS, context=1024)


# Setting up


async def test_without_the_runtime_the_error_names_the_extra(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"curveroute\[local\]"):
        await LocalServers(settings).ensure(MODEL, WEIGHTS, context=1024)


async def test_without_weights_nothing_is_started(local: LocalServers, recorder: Recorder) -> None:
    with pytest.raises(WeightsError, match=r"missing\.gguf"):
        await local.ensure(MODEL, replace(WEIGHTS, file="missing.gguf"), context=1024)
    assert recorder.launches == []


async def test_a_log_that_has_grown_long_starts_anew(local: LocalServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOG_BYTES", 100)
    local.log_path(MODEL).write_bytes(b"old " * 100)
    await local.ensure(MODEL, WEIGHTS, context=1024)
    assert b"old" not in local.log_path(MODEL).read_bytes()
