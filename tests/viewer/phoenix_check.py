"""A run in Phoenix, a real viewer: sent over OTLP, read back over its REST interface, and looked at in a browser.

No part of ``make test``: ``.ci/phoenix`` installs the viewer and the browser, and runs this with ``PHOENIX`` naming the
viewer's command, ``BROWSER`` a Chromium, and ``SHOTS`` the folder for screenshots.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openinference.instrumentation.langchain import LangChainInstrumentor

from curveroute import RouterChat
from curveroute.tracing import open_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import House

    from curveroute.route import Route

STARTED = "Application startup complete"
PROJECT = "curveroute-check"
MODELS = {"cheap": (0.4, 0.5, 0.1), "other": (0.4, 0.5, 0.11), "dear": (0.6, 0.8, 0.5)}
SAID = {"cheap": "Answer: Porto", "other": "Answer: Lisbon", "dear": "Answer: Lisbon"}


class Phoenix:
    """The viewer in a process of its own, with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(2)
        named = {"HOST": "127.0.0.1", "PORT": str(ports[0]), "GRPC_PORT": str(ports[1])}
        named |= {"WORKING_DIR": str(folder), "TELEMETRY_ENABLED": "false"}
        environment = {**os.environ, **{f"PHOENIX_{name}": value for name, value in named.items()}}
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.process = subprocess.Popen(
            [os.environ["PHOENIX"], "serve"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log: list[str] = []
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        for line in self.process.stdout or ():
            self.log.append(line)
            if STARTED in line:
                self.ready.set()
        self.ready.set()

    def wait(self) -> None:
        assert self.ready.wait(300), "".join(self.log)
        assert self.process.poll() is None, "".join(self.log)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.reader.join(60)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def get(self, path: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as reply:  # noqa: S310 - our own server
            found: list[dict[str, Any]] = json.load(reply)["data"]
            return found


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    made = Phoenix(tmp_path_factory.mktemp("phoenix"))
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def traced(house: type[House], phoenix: Phoenix, project: str, *, chat: bool) -> tuple[Route | None, int]:
    """A run, and the tokens that it says it used."""
    pool = house.pool(MODELS)
    rows = [row | {"response": SAID[row["model"]]} for row in house.rows(pool)]
    router = house.router(pool, house.recorded(*rows), tradeoff=0.3)
    provider = open_telemetry(f"{phoenix.url}/v1/traces", project=project)
    try:
        if chat:
            with RouterChat.from_router(router) as model:
                used = model.invoke(house.query).usage_metadata
            assert used is not None
            return None, used["total_tokens"]
        route = router.invoke(house.query)
        return route, sum(one.usage.input_tokens + one.usage.output_tokens for one in route.attempts)
    finally:
        assert provider.force_flush()
        provider.shutdown()
        LangChainInstrumentor().uninstrument()


def spans_of(phoenix: Phoenix, project: str, wanted: str) -> list[dict[str, Any]]:
    """The spans of a project, asked for until the last one to be sent is there; Phoenix stores them by and by."""
    for _ in range(200):
        try:
            found = phoenix.get(f"/v1/projects/{project}/spans?limit=200")
        except urllib.error.HTTPError:  # the project is made with its first span
            found = []
        if any(span["name"] == wanted and not span["parent_id"] for span in found):
            return found
        threading.Event().wait(0.1)
    message = f"no span {wanted} in {project}"
    raise AssertionError(message)


def test_a_run_is_read_back_whole_and_seen_in_a_browser(house: type[House], phoenix: Phoenix) -> None:
    route, used = traced(house, phoenix, PROJECT, chat=False)
    assert route is not None
    spans = spans_of(phoenix, PROJECT, "curveroute")
    names = {span["context"]["span_id"]: span["name"] for span in spans}
    (root,) = [span for span in spans if not span["parent_id"]]
    models = sorted((span for span in spans if span["span_kind"] == "LLM"), key=lambda span: span["start_time"])
    assert [span["name"] for span in models] == [str(attempt.arm) for attempt in route.attempts]
    assert {names[span["parent_id"]] for span in models} == {"probe"}
    nodes = {span["name"] for span in spans if span["parent_id"] == root["context"]["span_id"]}
    assert nodes == {"propose", "plan", "probe", "verify", "escalate", "accept"}
    for span, attempt in zip(models, route.attempts, strict=True):
        told = span["attributes"]
        counts = [told[f"llm.token_count.{name}"] for name in ("prompt", "completion")]
        assert counts == [attempt.usage.input_tokens, attempt.usage.output_tokens]
        assert told["llm.model_name"] == attempt.arm.model
        assert told["llm.cost.total"] == pytest.approx(attempt.cost_usd)
    (trace,) = phoenix.get(f"/v1/projects/{PROJECT}/traces?limit=10")
    assert trace["token_count_total"] == used
    seen = look(f"{phoenix.url}/projects/{trace['project_id']}/traces/{trace['trace_id']}", "phoenix")
    for name in (
        "curveroute",
        "propose",
        "plan",
        "probe",
        "verify",
        "escalate",
        *(span["name"] for span in models[:2]),
    ):
        assert f">{name}<" in seen, f"the page shows no {name}"


def test_a_chat_models_tokens_are_counted_once(house: type[House], phoenix: Phoenix) -> None:
    project = f"{PROJECT}-chat"
    _, used = traced(house, phoenix, project, chat=True)
    spans_of(phoenix, project, "RouterChat")
    (trace,) = phoenix.get(f"/v1/projects/{project}/traces?limit=10")
    assert trace["token_count_total"] == used > 0


def look(url: str, name: str) -> str:
    """Take a picture of a page, and return what stands on it when it was drawn."""
    shots = Path(os.environ["SHOTS"])
    shots.mkdir(parents=True, exist_ok=True)
    picture = shots / f"{name}.png"
    picture.unlink(missing_ok=True)
    command = [os.environ["BROWSER"], "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--hide-scrollbars", "--window-size=1500,1000", "--virtual-time-budget=30000"]
    command.append(f"--user-data-dir={shots / 'browser'}")
    subprocess.run([*command, f"--screenshot={picture}", url], check=True, capture_output=True, timeout=240)
    assert picture.stat().st_size > 50_000, "the picture is empty"
    drawn = subprocess.run([*command, "--dump-dom", url], check=True, capture_output=True, text=True, timeout=240)
    return drawn.stdout
