"""``RouterMiddleware``: every model call of a LangChain agent is routed, within a budget that its thread may carry.

The agent stays what it is: tools, tool choice, system prompt and response format are those of its request. Only the
model is another, and what a call may cost follows from what the thread has left.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NotRequired

from langchain_core.messages import AIMessage
from langchain_core.runnables import ensure_config
from langgraph.types import Command

from curveroute.agent.errors import CapTooSmall, MissingExtra, SettingError, shown
from curveroute.chat import RouterChat
from curveroute.closing import Closing

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ExtendedModelResponse
except ImportError as error:
    raise MissingExtra("RouterMiddleware", "agents") from error

if TYPE_CHECKING:
    from langchain.agents.middleware import ModelRequest, ModelResponse

    from curveroute.router import Router

    Settings = Mapping[str, Any]

_SMALLEST_USD = 1e-12


class RouterState(AgentState[Any]):
    """What the agent's thread carries for the router.

    Attributes:
        budget_usd: what the thread may still spend on model calls, USD; every call takes off what its run has cost.
            Absent: no budget. Give it with the input, once or to fill it up.
    """

    budget_usd: NotRequired[float]


class RouterMiddleware(Closing, AgentMiddleware[RouterState, Any, Any]):
    """Routes an agent's model calls: ``create_agent(middleware.model, tools, middleware=[middleware])``.

    Args:
        router: of yours; it stays open. None: one over ``pool``, made when it is first asked; ``close`` it.
        per_call: settings of one call, from its request: messages, state, runtime.
        settings: of every call, as ``RouterChat`` takes them: ``tradeoff``, ``max_cost_usd``, ``allow``, …

    Attributes:
        model: the chat model that answers; any other that the agent was made with is not asked.

    Raises:
        SettingError: an unknown setting, or a value out of range.
    """

    state_schema = RouterState
    """What the agent's thread carries, as LangChain asks for it."""

    def __init__(
        self,
        router: Router | None = None,
        *,
        per_call: Callable[[ModelRequest[Any]], Settings] | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        super().__init__()
        self.model = RouterChat(**settings) if router is None else RouterChat.from_router(router, **settings)
        self._per_call = per_call

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]:
        """Route one call.

        Raises:
            CapTooSmall: the thread's budget is used up, or holds no arm.
        """
        left = _left_usd(request.state)
        return _settled(handler(self._routed(request, left)), left)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]:
        """As :meth:`wrap_model_call`."""
        left = _left_usd(request.state)
        return _settled(await handler(self._routed(request, left)), left)

    async def aclose(self) -> None:
        """As :meth:`close`, for the running event loop."""
        await self.model.aclose()

    def _routed(self, request: ModelRequest[Any], left: float | None) -> ModelRequest[Any]:
        settings = {**request.model_settings, **(self._per_call(request) if self._per_call else {})}
        if left is not None:
            around = ensure_config().get("configurable", {}).get("max_cost_usd", self.model.max_cost_usd)
            cap = settings.get("max_cost_usd", around)
            settings["max_cost_usd"] = left if cap is None else min(cap, left)
        return request.override(model=self.model, model_settings=settings)


def _left_usd(state: Mapping[str, Any]) -> float | None:
    """What the thread has left, USD; none without a budget."""
    left = state.get("budget_usd")
    if left is None:
        return None
    if not isinstance(left, int | float) or isinstance(left, bool) or not left <= sys.float_info.max:
        raise SettingError(f"budget_usd is {shown(left)}; give what the thread may spend on model calls in USD")
    if left < _SMALLEST_USD:
        raise CapTooSmall(f"the thread's budget is used up ({left:.3g} USD are left): give it a new budget_usd")
    return float(left)


def _settled(
    response: ModelResponse[Any], left: float | None
) -> ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]:
    """The response, with what it cost taken off the thread's budget."""
    if left is None:
        return response
    answers = [message for message in response.result if isinstance(message, AIMessage)]
    spent = sum(message.response_metadata.get("route", {}).get("cost_usd", 0.0) for message in answers)
    return ExtendedModelResponse(response, Command(update={"budget_usd": max(left - spent, 0.0)}))
