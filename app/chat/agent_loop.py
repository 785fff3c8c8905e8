"""A chat model in the loop of LangChain's agents, which asks again and again for what no model gives.

``create_agent(response_format=…)`` forces a call and, as long as it gets none, asks anew: of a model that writes prose
until a limit of thousands of turns. A run has tried every arm that is worth its price, so asking the same again is
paying twice for nothing: here the loop ends, in words. A call whose arguments do not fit is told to the model by
LangChain; that is another question, and is asked once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import ensure_config

from curveroute.agent.errors import SchemaUnmet
from curveroute.chat.asked import choice_is_free
from curveroute.chat.unmet import REMEDY, fault_of, unmet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.runnables import RunnableConfig

_AGENT = {"ls_integration": "langchain_create_agent", "langgraph_node": "model"}
_MOST = 2  # faulty answers in a row, where something was said of each


def in_agent(config: RunnableConfig | None) -> bool:
    """Whether this call is the model's turn in the loop of an agent that ``create_agent`` made."""
    around = ensure_config(config).get("metadata") or {}
    return all(around.get(name) == value for name, value in _AGENT.items())


def check_turn(given: object, asked: Mapping[str, Any]) -> None:
    """Refuse to pay for one more turn after faulty answers: at once where nothing was said of the last.

    Args:
        given: the conversation.
        asked: arguments of the call.

    Raises:
        SchemaUnmet: there were enough of them.
    """
    messages = given if isinstance(given, list) else []
    faults = _faults_at_the_end(messages) if _is_forced(asked) else []
    if len(faults) >= (1 if messages and isinstance(messages[-1], AIMessage) else _MOST):
        raise SchemaUnmet(f"no answer satisfies the schema, and it was asked for before: {'; '.join(faults)}; {REMEDY}")


def check_answer(message: AIMessage, asked: Mapping[str, Any]) -> None:
    """Refuse an answer that was to be a call or JSON and is neither: the loop would ask the same again.

    Raises:
        SchemaUnmet: it is neither; the message names the run and the fault.
    """
    route = _route_of(message)
    if route.get("fault") and not message.tool_calls and _is_forced(asked):
        raise unmet(route)


def _is_forced(asked: Mapping[str, Any]) -> bool:
    if asked.get("tools"):
        return not choice_is_free(asked.get("tool_choice"))
    return asked.get("response_format") is not None


def _faults_at_the_end(messages: Sequence[object]) -> list[str]:
    """The faults of the last answers in a conversation, as far back as all are at fault and nobody spoke between."""
    faults: list[str] = []
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            route = _route_of(message)
            if not route.get("fault"):
                break
            faults.append(fault_of(route))
        elif not isinstance(message, BaseMessage) or message.type != "tool":
            break
    return faults[::-1]


def _route_of(message: AIMessage) -> Mapping[str, Any]:
    route = message.response_metadata.get("route")
    return route if isinstance(route, dict) else {}
