"""Who hears of a run's course: callbacks that take custom events, and the stream of a graph around it.

Tokens are not among the events: they are the message's. Tracers get the router's own runs as children of the chat
model's, other callbacks see one chat model, as of any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler, CallbackManager
from langchain_core.callbacks.base import AsyncCallbackHandler
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer
from langgraph.config import get_stream_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.runnables import RunnableConfig

    from curveroute.graphs.events import RunEvent

    RunManager = AsyncCallbackManagerForLLMRun | CallbackManagerForLLMRun

_DEAF = (BaseCallbackHandler.on_custom_event, AsyncCallbackHandler.on_custom_event)


@dataclass(frozen=True, slots=True)
class Listeners:
    """Those who hear of one call.

    Attributes:
        handlers: the chat model's callbacks.
        run_id: of the chat model's run, under which the router's own runs hang.
        writer: of the graph that the chat model is called in.
    """

    handlers: tuple[BaseCallbackHandler, ...] = ()
    run_id: UUID | None = None
    writer: Callable[[Any], None] | None = None

    @classmethod
    def of(cls, manager: RunManager | None) -> Listeners:
        """Of a call that has its callbacks already."""
        if manager is None:
            return cls(writer=_writer_around())
        return cls(tuple(manager.handlers), manager.run_id, _writer_around())

    @property
    def attentive(self) -> tuple[BaseCallbackHandler, ...]:
        """The callbacks that take custom events."""
        return tuple(one for one in self.handlers if type(one).on_custom_event not in _DEAF)

    @property
    def anyone(self) -> bool:
        """Whether events are wanted at all."""
        return self.writer is not None or bool(self.attentive)

    def config(self) -> RunnableConfig:
        """The config of the router's graph: the tracers, and nobody else."""
        tracers: list[BaseCallbackHandler] = [one for one in self.handlers if _traces(one)]
        manager = AsyncCallbackManager(handlers=tracers, inheritable_handlers=list(tracers), parent_run_id=self.run_id)
        return {"callbacks": manager}

    def tell(self, event: RunEvent) -> None:
        """Tell one event, from a synchronous call."""
        if self.writer is not None:
            self.writer(event)
        if heard := self.attentive:
            CallbackManager(handlers=list(heard)).on_custom_event(event["type"], event, run_id=self.run_id)

    async def atell(self, event: RunEvent) -> None:
        """Tell one event."""
        if self.writer is not None:
            self.writer(event)
        if heard := self.attentive:
            await AsyncCallbackManager(handlers=list(heard)).on_custom_event(event["type"], event, run_id=self.run_id)


def handlers_of(callbacks: Any, own: Any) -> Sequence[BaseCallbackHandler]:  # noqa: ANN401 - LangChain's own union
    """The handlers behind a config's callbacks and a model's own."""
    return CallbackManager.configure(callbacks, own).handlers


def _traces(handler: BaseCallbackHandler) -> bool:
    return isinstance(handler, BaseTracer | AsyncBaseTracer)


def _writer_around() -> Callable[[Any], None] | None:
    """The stream of the graph that this is called in; ``None`` outside of one."""
    try:
        return get_stream_writer()
    except (RuntimeError, KeyError):
        return None
