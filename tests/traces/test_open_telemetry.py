"""By OpenTelemetry a run goes out as OpenInference spans: read back from what an OTLP receiver was posted."""

from __future__ import annotations

import gzip
import http.server
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from curveroute import RouterChat
from curveroute.agent.errors import MissingExtra
from curveroute.tracing import open_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import House

MODELS = {"a": (0.4, 0.5, 0.1), "best": (0.6, 0.8, 0.5)}


class Collector(http.server.ThreadingHTTPServer):
    """Keeps the spans that it is posted, or keeps the poster waiting."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[dict[str, Any]] = []
        self.raw = b""
        self.headers: dict[str, str] = {}
        self.silent, self.asked, self.released = False, threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"

    def close(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()
        self.thread.join()

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        found = [one for one in self.spans if one["attributes"]["openinference.span.kind"] == kind]
        return sorted(found, key=lambda one: one["start"])

    def named(self, name: str) -> dict[str, Any]:
        (found,) = [one for one in self.spans if one["name"] == name]
        return found

    def name_of(self, span_id: bytes) -> str | None:
        return next((one["name"] for one in self.spans if one["id"] == span_id), None)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.set()
        if self.server.silent:
            self.server.released.wait()
            return
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        self.server.raw += body
        self.server.headers = dict(self.headers)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += [_span(span) for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _span(span: Any) -> dict[str, Any]:
    values = {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
    named = {"id": span.span_id, "parent": span.parent_span_id, "trace": span.trace_id, "name": span.name}
    events = [event.name for event in span.events]
    return {**named, "attributes": values, "events": events, "start": span.start_time_unix_nano}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def provider(collector: Collector) -> Iterator[Any]:
    made = open_telemetry(collector.url, headers={"authorization": "Bearer otlp-key"}, project="told")
    yield made
    collector.released.set()
    LangChainInstrumentor().uninstrument()
    made.shutdown()


def router_of(house: type[House], **settings: Any) -> Any:
    pool = house.pool(MODELS)
    return house.router(pool, house.recorded(*house.rows(pool)), **{"tradeoff": 0.3, **settings})


def test_a_run_is_one_trace_of_chains_and_model_calls(house: type[House], collector: Collector, provider: Any) -> None:
    route = router_of(house).invoke(house.query)
    assert provider.force_flush()
    root = collector.named("curveroute")
    assert root["parent"] == b""
    assert {span["trace"] for span in collector.spans} == {root["trace"]}
    asked = collector.of_kind("LLM")
    assert [span["name"] for span in asked] == [str(one.arm) for one in route.attempts]
    assert {collector.name_of(span["parent"]) for span in asked} == {"probe"}
    assert {"propose", "plan", "probe", "verify", "accept"} <= {
        span["name"] for span in collector.spans if span["parent"] == root["id"]
    }
    for span, attempt in zip(asked, route.attempts, strict=True):
        told = span["attributes"]
        assert told["llm.model_name"] == attempt.arm.model
        assert told["llm.provider"] == "models.example"
        counts = [told[f"llm.token_count.{name}"] for name in ("prompt", "completion", "total")]
        assert counts == [30, 10, 40]
        assert told["llm.cost.total"] == pytest.approx(attempt.cost_usd)
        assert told["llm.cost.prompt"] + told["llm.cost.completion"] == pytest.approx(attempt.cost_usd)
        assert house.query in told["llm.input_messages.1.message.content"]
        assert told["llm.output_messages.0.message.content"] == attempt.text
    assert route.run_id in root["attributes"]["metadata"]
    assert "curveroute_candidates" in root["attributes"]["metadata"]


def test_tokens_are_counted_once_under_a_chat_model(house: type[House], collector: Collector, provider: Any) -> None:
    with RouterChat.from_router(router_of(house)) as chat:
        message = chat.invoke(house.query)
    assert provider.force_flush()
    assert message.usage_metadata is not None
    counted = [span["attributes"].get("llm.token_count.total", 0) for span in collector.spans]
    assert sum(counted) == message.usage_metadata["total_tokens"] > 0
    assert collector.named("RouterChat")["attributes"]["openinference.span.kind"] == "LLM"


async def test_the_first_token_of_a_stream_is_an_event(house: type[House], collector: Collector, provider: Any) -> None:
    pool = house.pool({"only": (0.9, 0.95, 0.1)}, budgets=(64,))
    router = house.router(pool, house.chat(lambda _: "Answer: Lisbon"), tradeoff=1.0)
    [piece async for piece in router.astream(house.query)]
    assert provider.force_flush()
    (span,) = collector.of_kind("LLM")
    assert span["events"] == ["First Token Stream Event"]


@pytest.mark.parametrize(
    "names", [("OPENINFERENCE_HIDE_INPUTS", "OPENINFERENCE_HIDE_OUTPUTS"), ("CURVEROUTE_HIDE_CONTENTS",)]
)
def test_keys_are_in_no_span_and_contents_only_where_they_may_be(
    house: type[House], collector: Collector, provider: Any, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    router_of(house).invoke(house.query)
    assert provider.force_flush()
    assert b"Portugal" in collector.raw
    assert b"Lisbon" in collector.raw
    assert collector.headers["authorization"] == "Bearer otlp-key"
    assert b"otlp-key" not in collector.raw
    for name in names:
        monkeypatch.setenv(name, "true")
    LangChainInstrumentor().uninstrument()
    collector.raw = b""
    again = open_telemetry(collector.url)
    router_of(house).invoke(house.query)
    assert again.force_flush()
    again.shutdown()
    assert b"curveroute_candidates" in collector.raw
    assert b"Portugal" not in collector.raw
    assert b"Lisbon" not in collector.raw


def test_a_run_ends_while_the_collector_never_answers(house: type[House], collector: Collector, provider: Any) -> None:
    collector.silent = True
    assert router_of(house).invoke(house.query).answer == "Answer: Lisbon"
    sent = threading.Thread(target=provider.force_flush, daemon=True)
    sent.start()
    assert collector.asked.wait(30)
    assert router_of(house).invoke(house.query).answer == "Answer: Lisbon"
    assert collector.spans == []
    collector.released.set()
    sent.join()


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(MissingExtra, match=r"curveroute\[otel\]"):
        open_telemetry("http://127.0.0.1:9/v1/traces")
