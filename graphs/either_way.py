"""Nodes and edges that work with and without an event loop around them, so that the graph is invoked either way.

They are coroutines by nature. For whoever calls ``invoke`` they run in the one event loop that all synchronous calls
share, with the context of the caller: its config, callbacks and stream. With ``ainvoke`` they cost what they did.
"""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable
from langgraph.runtime import get_runtime

from curveroute.graphs.context import Context
from curveroute.graphs.portal import PORTAL

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from langchain_core.runnables import RunnableConfig
    from langgraph.runtime import Runtime

    Work = Callable[[Any, Runtime[Context]], Coroutine[Any, Any, Any]]


class Node(Runnable[Any, Any]):
    """A node.

    Args:
        work: what it does with the state.
    """

    def __init__(self, work: Work) -> None:
        self.name = work.__name__
        self._work = work

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: ANN401, ARG002
        """Do it, from a thread without an event loop, or beside one."""
        return PORTAL.call(self._work(input, get_runtime(Context)))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: ANN401, ARG002
        """Do it."""
        return await self._work(input, get_runtime(Context))


class Edge(Runnable[Any, Any]):
    """An edge: a pure reading of the state, done on the spot; LangGraph would send a plain function to a thread.

    Args:
        read: says where to go; its signature names the part of the state that it reads.
    """

    def __init__(self, read: Callable[[Any], Any]) -> None:
        update_wrapper(self, read)  # LangGraph looks for what it reads there
        self.name = read.__name__
        self._read = read

    def __call__(self, state: Any) -> Any:  # noqa: ANN401
        """Read."""
        return self._read(state)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: ANN401, ARG002
        """Read."""
        return self._read(input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: ANN401, ARG002
        """Read."""
        return self._read(input)
