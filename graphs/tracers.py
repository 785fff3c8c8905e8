"""Who traces the node that is running: LangChain's tracers among its callbacks, and the runs that they keep of it.

LangSmith's tracer and OpenInference's are of this family. Other callbacks are told nothing of single model calls: who
streams a graph's messages, or counts a chat model's tokens, would take a draft for an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackManager
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer
from langgraph.config import get_config

if TYPE_CHECKING:
    from uuid import UUID

    from langchain_core.tracers.schemas import Run

Tracer: TypeAlias = BaseTracer | AsyncBaseTracer


@dataclass(frozen=True, slots=True)
class Tracing:
    """One node's tracers.

    Attributes:
        tracers: those who record it.
        callbacks: the node's own, of which the tracers are some.
    """

    tracers: tuple[Tracer, ...]
    callbacks: BaseCallbackManager

    def runs(self, run_id: UUID | None) -> list[Run]:
        """A run as each tracer keeps it, as long as it goes on."""
        found = (tracer.run_map.get(str(run_id)) for tracer in self.tracers)
        return [run for run in found if run is not None]

    def graph_runs(self) -> list[tuple[Tracer, Run]]:
        """The run of the graph that the node belongs to, with the tracer that keeps it."""
        found = []
        for tracer in self.tracers:
            node = tracer.run_map.get(str(self.callbacks.parent_run_id))
            graph = None if node is None else tracer.run_map.get(str(node.parent_run_id))
            if graph is not None:
                found.append((tracer, graph))
        return found

    def manager(self) -> AsyncCallbackManager:
        """Callbacks for what happens inside the node, which only the tracers hear."""
        around = self.callbacks
        return AsyncCallbackManager(
            handlers=list(self.tracers),
            inheritable_handlers=list(self.tracers),
            parent_run_id=around.parent_run_id,
            tags=list(around.inheritable_tags),
            metadata=dict(around.inheritable_metadata),
        )


def tracing_here() -> Tracing | None:
    """The tracers of the calling node; nothing where nobody traces, or where no graph called."""
    try:
        callbacks = get_config().get("callbacks")
    except RuntimeError:
        return None
    if not isinstance(callbacks, BaseCallbackManager):
        return None
    tracers = tuple(one for one in callbacks.handlers if isinstance(one, BaseTracer | AsyncBaseTracer))
    return Tracing(tracers, callbacks) if tracers else None
