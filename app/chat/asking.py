"""One call of a chat model as a run of the router: apart from the graph around it, with its tracers and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.outputs import ChatGeneration, ChatResult

from curveroute.chat.apart import apart, each_apart
from curveroute.chat.message import message_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from langchain_core.messages import BaseMessage

    from curveroute.chat.asked import Asked
    from curveroute.chat.listeners import Listeners
    from curveroute.graphs.events import RunEvent
    from curveroute.route import Route
    from curveroute.router import Router


async def route_of(router: Router, messages: list[BaseMessage], call: Asked, listeners: Listeners) -> Route:
    """The route that answers a call."""
    return await apart(router.ainvoke(messages, listeners.config(), form=call.form, **call.settings))


def events_of(
    router: Router, messages: list[BaseMessage], call: Asked, listeners: Listeners
) -> AsyncGenerator[RunEvent | Route, None]:
    """Everything that the run of a call tells, and the route at the end."""
    return each_apart(router.events(messages, listeners.config(), form=call.form, **call.settings))


def result_of(route: Route) -> ChatResult:
    """A route as LangChain has a chat model's result."""
    return ChatResult(generations=[ChatGeneration(message=message_of(route))])


def endless() -> AssertionError:
    """What never happens: a run tells its route at its end."""
    return AssertionError("a run ended without a route")
