"""Runs the router's graph apart from the graph or chain that it is called in.

LangGraph takes over what it finds around it: checkpointer, stream, callbacks. A chat model has none of these from
outside: its caller's graph shall hold one message, not another graph's state.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from langchain_core.runnables.config import var_child_runnable_config

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Iterator

T = TypeVar("T")


async def apart(work: Awaitable[T]) -> T:
    """Await ``work`` as if nothing were around it."""
    with _nothing_around():
        return await work


async def each_apart(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The items of ``items``, each made as if nothing were around; closing this closes them."""
    try:
        while True:
            with _nothing_around():
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        with _nothing_around():
            await items.aclose()


@contextmanager
def _nothing_around() -> Iterator[None]:
    token = var_child_runnable_config.set(None)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)
