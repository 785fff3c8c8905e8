"""A receiver that speaks LangSmith's wire format, on the loopback interface, for LangSmith's own client to talk to."""

from __future__ import annotations

import email.parser
import email.policy
import gzip
import http.server
import json
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import langsmith.run_trees
import pytest
import zstandard
from langchain_core.tracers.langchain import wait_for_all_tracers
from langsmith import utils as langsmith_utils

from curveroute.graphs.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = "told"
PROJECT_ID = "0193b1a0-0000-7000-8000-00000000beef"
KEY = "lsv2_the_langsmith_key"


@dataclass
class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it is sent, merged by id as LangSmith does: the end of a run wins, whichever arrives first.

    Attributes:
        multipart: whether it offers the multipart endpoint; otherwise runs come as batches of JSON.
        zstd: whether it offers compression.
        silent: it takes a connection and never answers.
        bodies: every body, decompressed, as text.
        paths: what was asked for, in order.
    """

    multipart: bool = True
    zstd: bool = True
    silent: bool = False
    posted: dict[str, dict[str, Any]] = field(default_factory=dict)
    patched: dict[str, dict[str, Any]] = field(default_factory=dict)
    feedback: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.released = threading.Event()
        self.asked = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    __hash__ = object.__hash__

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()
        self.thread.join()

    def info(self) -> dict[str, Any]:
        config = {"use_multipart_endpoint": self.multipart, "size_limit": 100, "size_limit_bytes": 20_000_000}
        config |= {"scale_up_nthreads_limit": 1, "scale_up_qsize_trigger": 1000, "scale_down_nempty_trigger": 4}
        flags = {"zstd_compression_enabled": self.zstd}
        return {"version": "0.12.0", "batch_ingest_config": config, "instance_flags": flags}

    def take_parts(self, parts: list[tuple[str, Any]]) -> None:
        for name, value in parts:
            verb, run_id, *rest = name.split(".")
            if verb == "feedback":
                self.feedback[run_id] = value
            else:
                self.take_run(verb, run_id, {rest[0]: value} if rest else value)

    def take_run(self, verb: str, run_id: str, told: dict[str, Any]) -> None:
        kept = self.posted if verb == "post" else self.patched
        kept.setdefault(run_id, {}).update({key: value for key, value in told.items() if value is not None})

    @property
    def runs(self) -> dict[str, dict[str, Any]]:
        names = dict.fromkeys([*self.posted, *self.patched])
        return {name: {**self.posted.get(name, {}), **self.patched.get(name, {})} for name in names}

    def roots(self) -> list[dict[str, Any]]:
        return [run for run in self.runs.values() if not run.get("parent_run_id")]

    def below(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """The children of a run, in the order in which they began."""
        found = [one for one in self.runs.values() if one.get("parent_run_id") == run["id"]]
        return sorted(found, key=lambda one: one["dotted_order"])

    def models(self) -> list[dict[str, Any]]:
        """Model calls, in the order in which they began; of a chat model over the router only what it asked."""
        found = [run for run in self.runs.values() if run["run_type"] == "llm" and "attempt_id" in metadata(run)]
        return sorted(found, key=lambda one: one["start_time"])

    def named(self, name: str) -> list[dict[str, Any]]:
        return [run for run in self.runs.values() if run["name"] == name]


def metadata(run: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (run.get("extra") or {}).get("metadata") or {}
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        self.server.paths.append(f"GET {where.path}")
        if where.path == "/info":
            self.answer(self.server.info())
        elif where.path == "/sessions":
            name = parse_qs(where.query)["name"][0]
            known = {run.get("session_name") for run in self.server.runs.values()}
            session = {"id": PROJECT_ID, "name": name, "tenant_id": str(uuid.uuid4()), "start_time": "2026-01-01T00:00"}
            session["reference_dataset_id"] = None
            self.answer([session] if name in known else [])
        else:
            self.answer({}, 404)

    def do_POST(self) -> None:
        body = (
            self.rfile.read(int(self.headers.get("Content-Length") or 0)) if "Content-Length" in self.headers else b""
        )
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self.chunks()
        path = urlsplit(self.path).path
        self.server.paths.append(f"POST {path}")
        kind = self.headers["Content-Type"]
        if self.headers.get("Content-Encoding") == "zstd":
            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        elif self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.bodies.append(body.decode())
        if path == "/runs/multipart":
            self.server.take_parts(parts_of(kind, body))
        elif path == "/runs/batch":
            whole = json.loads(body)
            for verb in ("post", "patch"):
                for run in whole.get(verb, ()):
                    self.server.take_run(verb, run["id"], run)
        elif path == "/feedback":
            told = json.loads(body)
            self.server.feedback[told["id"]] = told
        self.answer({}, 202)

    def chunks(self) -> bytes:
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def answer(self, told: object, status: int = 200) -> None:
        self.server.asked.set()
        if self.server.silent:
            self.server.released.wait()
            self.close_connection = True
            return
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def parts_of(kind: str, body: bytes) -> list[tuple[str, Any]]:
    """The named JSON parts of a multipart form."""
    head = f"Content-Type: {kind}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    found = []
    for part in message.iter_parts():  # type: ignore[attr-defined]
        content = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        found.append((name, json.loads(content)))
    return found


def forget_the_environment() -> None:
    """LangSmith reads its variables once a process, and keeps one client."""
    langsmith_utils.get_env_var.cache_clear()
    langsmith_utils.get_tracer_project.cache_clear()
    langsmith.run_trees._CLIENT = None


def drop_the_rest(client: langsmith.Client | None) -> None:
    """What a client could not send would keep the end of the process waiting."""
    if client is not None and client.tracing_queue is not None:
        with client.tracing_queue.mutex:
            client.tracing_queue.queue.clear()


class LangSmith:
    """LangSmith as the environment has it."""

    def __init__(self, receiver: Receiver, box: Outbox) -> None:
        self.receiver = receiver
        self.box = box

    def forget(self) -> None:
        """After a change of the environment."""
        forget_the_environment()

    def settle(self) -> Receiver:
        """What the receiver has when everything is sent."""
        assert self.box.flush(30.0)
        wait_for_all_tracers()
        return self.receiver


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    made = Receiver(**getattr(request, "param", {}))
    yield made
    made.close()


@pytest.fixture
def langsmith_on(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[LangSmith]:
    """The LangSmith variables set, and the receiver behind them."""
    named = {"TRACING": "true", "ENDPOINT": receiver.url, "API_KEY": KEY, "PROJECT": PROJECT}
    for name, value in named.items():
        monkeypatch.setenv(f"LANGSMITH_{name}", value)
    forget_the_environment()
    box = Outbox()  # what a test leaves unsent is not the next one's to wait for
    for name in ("graphs.langsmith_feedback", "tracing"):
        monkeypatch.setattr(f"curveroute.{name}.OUTBOX", box)
    yield LangSmith(receiver, box)
    receiver.released.set()
    drop_the_rest(langsmith.run_trees._CLIENT)
    monkeypatch.undo()
    forget_the_environment()
