"""What tracing adds to a run: untraced, to LangSmith's client, and as OpenTelemetry spans, in turns.

Run ``python benchmarks/tracing.py``. Model calls are recorded ones, so only the run itself takes time; the client
does all its work, on threads of its own, up to the network. Prints JSON: medians in milliseconds, their ratios to the
untraced run, and ``look_us``, microseconds in which a node sees that nobody traces: with tracing off that is all.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import timeit
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.tracers.langchain import LangChainTracer
from langsmith import Client
from openinference.instrumentation.langchain._tracer import OpenInferenceTracer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from requests import Response, Session

from curveroute.graphs.tracers import tracing_here

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import House  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from curveroute.router import Router

ROUNDS, WARM_UP = 60, 5


class Nowhere(Session):
    """Takes every request, and sends none."""

    def request(self, *_: object, **__: object) -> Response:
        reply = Response()
        reply.status_code = 202
        reply._content = b"[]"  # noqa: SLF001 - requests has no other way
        return reply


def tracers() -> dict[str, list[Any]]:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    client = Client(api_url="http://127.0.0.1:9", api_key="none", session=Nowhere(), info={})
    spans = OpenInferenceTracer(provider.get_tracer("benchmark"), separate_trace_from_runtime_context=False)
    return {"off": [], "langsmith": [LangChainTracer(client=client)], "open_telemetry": [spans]}


async def rounds(router: Router, ways: dict[str, list[Any]]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(WARM_UP + ROUNDS):
        for name, callbacks in ways.items():
            began = time.perf_counter()
            await router.ainvoke(House.query, {"callbacks": callbacks})
            if turn >= WARM_UP:
                taken[name].append(1000 * (time.perf_counter() - began))
    return taken


if __name__ == "__main__":
    pool = House.pool()
    own = House.router(pool, House.recorded(*House.rows(pool)))
    medians = {name: statistics.median(one) for name, one in asyncio.run(rounds(own, tracers())).items()}
    look_us = 1e6 * timeit.timeit(tracing_here, number=20_000) / 20_000
    figures = {f"{name}_ms": round(one, 3) for name, one in medians.items()}
    ratios = {f"{name}_ratio": round(one / medians["off"], 3) for name, one in medians.items() if name != "off"}
    print(json.dumps({**figures, **ratios, "look_us": round(look_us, 3)}, indent=2))
