"""Tokens are counted once in a trace: by the model calls, and not again by the chat model that is the router.

``RouterChat`` tells its caller what the whole run used, as a chat model must. Viewers add up what all spans of a trace
used, so that span leaves it to those below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_OURS = ("llm.provider", "curveroute")
_COUNTS = "llm.token_count."


class CountedOnce:
    """An exporter of OpenTelemetry spans before another one.

    Args:
        exporter: where the spans go.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans, the router's own without token counts."""
        return self._exporter.export([_counted(span) for span in spans])

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait for what is unsent, at most this many milliseconds."""
        return self._exporter.force_flush(timeout_millis)


def _counted(span: ReadableSpan) -> ReadableSpan:
    name, ours = _OURS
    attributes = dict(span.attributes or {})
    if attributes.get(name) != ours:
        return span
    from opentelemetry.sdk.trace import ReadableSpan

    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={key: value for key, value in attributes.items() if not key.startswith(_COUNTS)},
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
