"""The scope of one call: its callbacks and its end, which LangChain keeps from those who make a stream.

A stream's maker is handed no run, so its traces would hang in the air, and is not closed when its reader leaves, so a
model would write on for nobody. Both are known here before anything is made.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from langchain_core.callbacks import CallbackManager
from langchain_core.runnables import ensure_config
from langchain_core.utils.uuid import uuid7

from curveroute.agent.settings import hides_contents
from curveroute.chat.listeners import Listeners

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from types import TracebackType

    from langchain_core.runnables import RunnableConfig

SCOPE = "curveroute_scope"
Stream = TypeVar("Stream", bound="Generator[Any] | AsyncGenerator[Any, None]")


class Scope:
    """One call.

    Args:
        config: of the call.
        own: the chat model's own callbacks.
        stop: texts at which the answer ends.
        around: of the call that turned into this one, as a stream does that LangChain is told not to make.

    Attributes:
        told_stop: those, for LangChain, which tells them to tracers; none where contents are hidden.
    """

    def __init__(
        self,
        config: RunnableConfig | None,
        own: Any,  # noqa: ANN401 - LangChain's own union
        stop: list[str] | None = None,
        around: Scope | None = None,
    ) -> None:
        self.stop: list[str] | None = stop if around is None else around.stop
        self.told_stop = None if hides_contents() else self.stop
        whole = ensure_config(config)
        run_id = whole.get("run_id") or uuid7()
        # Configured once and handed on, so that a tracer from the environment is one, and knows both runs.
        manager = CallbackManager.configure(whole.get("callbacks"))
        both = manager if own is None else CallbackManager.configure(manager, own)
        self.config = cast("RunnableConfig", {**whole, "run_id": run_id, "callbacks": manager})
        self.listeners = Listeners(tuple(both.handlers), run_id, Listeners.of(None).writer)
        self._streams: list[Any] = []

    def until_end(self, stream: Stream) -> nullcontext[Stream]:
        """Hold a stream open until the scope ends, and close it then."""
        self._streams.append(stream)
        return nullcontext(stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            await stream.aclose()
