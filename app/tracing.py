"""What is done about traces from outside a run: a user's word on one, OpenTelemetry, and waiting for what is unsent.

Tracing itself needs none of this: with LangSmith's variables set, every run is traced.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast
from uuid import UUID

from curveroute.agent.errors import MissingExtra, SettingError
from curveroute.agent.settings import hides_contents
from curveroute.counted import CountedOnce
from curveroute.graphs.langsmith_client import make_client
from curveroute.graphs.langsmith_feedback import Feedback, send_later
from curveroute.graphs.outbox import OUTBOX
from curveroute.graphs.run_ids import trace_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from langsmith import Client
    from opentelemetry.sdk.trace import TracerProvider

    from curveroute.agent.ledger import FeedbackRecord

__all__ = ["ToLangSmith", "flush", "open_telemetry", "send_feedback", "trace_id_of"]

USER_KEY = "user"
_LONGEST_WAIT_S = 10.0


def send_feedback(
    run_id: str | UUID,
    score: float | bool,
    comment: str | None = None,
    *,
    key: str = USER_KEY,
    client: Client | None = None,
    project: str | None = None,
) -> bool:
    """Send a user's word on a run to LangSmith, in the background.

    Args:
        run_id: the ledger's name of the run (``Route.run_id``); or a run's UUID as LangSmith shows it, for runs that
            were traced under a name of the caller's.
        score: what the user thinks of the answer.
        comment: why.
        key: what the score measures.
        client: of LangSmith; by default the environment's, when tracing is on there.
        project: of the trace; by default the environment's.

    Returns:
        Whether it will be sent. It is not where tracing is off, where too much waits already, or where the run's trace
        cannot be known.

    Raises:
        SettingError: the score is no number.
    """
    from langchain_core.tracers.langchain import get_client
    from langsmith.utils import get_tracer_project, tracing_is_enabled

    if not isinstance(score, int | float) or score != score:  # noqa: PLR0124 - not a number
        raise SettingError(f"score is {score!r}; give a number, or true or false")
    target = run_id if isinstance(run_id, UUID) else trace_id_of(run_id)
    if target is None or (client is None and not tracing_is_enabled()):
        return False
    if client is None:
        make_client()
    said = Feedback(target, None, key, score, comment, source="api")
    return send_later(client or get_client(), project or get_tracer_project() or "default", said)


class ToLangSmith:
    """Passes on to LangSmith what users say of answers; nothing where tracing is off."""

    async def heard(self, given: FeedbackRecord) -> None:
        """Send one user's word, in the background."""
        send_feedback(given.run_id, given.score, None if hides_contents() else given.comment or None)


def flush(timeout_s: float = _LONGEST_WAIT_S) -> bool:
    """Wait until the feedback of now is sent; false where that takes longer than ``timeout_s`` seconds.

    The traces themselves are LangSmith's to send: ``langchain_core.tracers.langchain.wait_for_all_tracers``.
    """
    return OUTBOX.flush(timeout_s)


def open_telemetry(
    endpoint: str | None = None, *, headers: Mapping[str, str] | None = None, project: str = "curveroute"
) -> TracerProvider:
    """Send every LangChain run of this process, the router's among them, as OpenInference spans over OTLP.

    Spans go out in batches, in the background. Inputs and outputs are left out as ``OPENINFERENCE_HIDE_INPUTS`` and its
    kin, or ``CURVEROUTE_HIDE_CONTENTS``, say. Calling it again takes the place of what was set up before.

    Args:
        endpoint: where spans are posted, such as ``http://localhost:6006/v1/traces``; by default what the variables
            ``OTEL_EXPORTER_OTLP_…`` say.
        headers: of each request, for a key.
        project: the name under which a viewer keeps them.

    Returns:
        The provider: ``force_flush()`` waits for what is unsent, ``shutdown()`` ends it.

    Raises:
        MissingExtra: the extra ``otel`` is not installed.
    """
    instrumentor, sdk, export, exporter, resources, config = _otel()
    resource = resources.Resource.create({"service.name": "curveroute", "openinference.project.name": project})
    provider = sdk.TracerProvider(resource=resource)
    sent = exporter.OTLPSpanExporter(endpoint=endpoint, headers=dict(headers) if headers else None)
    provider.add_span_processor(export.BatchSpanProcessor(CountedOnce(sent)))
    one = instrumentor.LangChainInstrumentor()
    if one.is_instrumented_by_opentelemetry:
        one.uninstrument()
    hidden = True if hides_contents(own=True) else None
    one.instrument(tracer_provider=provider, config=config.TraceConfig(hide_inputs=hidden, hide_outputs=hidden))
    return cast("TracerProvider", provider)


def _otel() -> list[Any]:
    names = (
        "openinference.instrumentation.langchain",
        "opentelemetry.sdk.trace",
        "opentelemetry.sdk.trace.export",
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "opentelemetry.sdk.resources",
        "openinference.instrumentation",
    )
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise MissingExtra("sending traces by OpenTelemetry", "otel") from error
