"""A route as a LangChain message: the answer, the calls it wants, what the whole run used, and how it came about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

from curveroute.agent.verify.form import arguments_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.messages import InvalidToolCall, ToolCallChunk
    from langchain_core.messages.tool import ToolCall as LangChainCall

    from curveroute.agent.types import Attempt, ToolCall, Usage
    from curveroute.route import Route

PROVIDER = "curveroute"


def message_of(route: Route) -> AIMessage:
    """The whole answer of a run."""
    sound, broken = _calls(route.tool_calls)
    return AIMessage(
        content=route.answer,
        tool_calls=sound,
        invalid_tool_calls=broken,
        usage_metadata=usage_of(attempt.usage for attempt in route.attempts),
        response_metadata=metadata_of(route),
    )


def last_chunk(route: Route, text: str) -> AIMessageChunk:
    """The end of a stream: what was not told yet, the calls, and the account of the run."""
    return AIMessageChunk(
        content=text,
        tool_call_chunks=[_chunk(index, call) for index, call in enumerate(route.tool_calls)],
        usage_metadata=usage_of(attempt.usage for attempt in route.attempts),
        response_metadata=metadata_of(route),
        chunk_position="last",
    )


def usage_of(used: Iterable[Usage]) -> UsageMetadata:
    """The tokens of several calls together."""
    every = list(used)
    sent = sum(usage.input_tokens for usage in every)
    written = sum(usage.output_tokens for usage in every)
    details = InputTokenDetails(cache_read=sum(usage.cached_input_tokens for usage in every))
    return UsageMetadata(
        input_tokens=sent, output_tokens=written, total_tokens=sent + written, input_token_details=details
    )


def metadata_of(route: Route) -> dict[str, Any]:
    """What LangChain wants to know of the served model, and under ``route`` how the answer came about."""
    served = route.served
    return {
        "model_name": route.model,
        "model_provider": PROVIDER,
        "finish_reason": served.finish_reason if served else "error",
        "route": {
            "run_id": route.run_id,
            "arm": str(served.arm) if served else "",
            "model": route.model,
            "budget": route.budget,
            "status": route.status,
            "reason": route.reason,
            "cost_usd": route.cost_usd,
            "fault": served.fault if served else "",
            "usage": dict(usage_of([served.usage] if served else [])),
            "attempts": [_attempt(attempt) for attempt in route.attempts],
        },
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    verdict = attempt.verdict
    return {
        "role": attempt.role,
        "arm": str(attempt.arm),
        "cost_usd": attempt.cost_usd,
        "input_tokens": attempt.usage.input_tokens,
        "output_tokens": attempt.usage.output_tokens,
        "finish_reason": attempt.finish_reason,
        "score": None if verdict is None else verdict.score,
        "verdict": None if verdict is None else verdict.reason,
    }


def _calls(calls: Iterable[ToolCall]) -> tuple[list[LangChainCall], list[InvalidToolCall]]:
    """Calls whose arguments are a JSON object, and the others as they were written."""
    sound, broken = [], []
    for call in calls:
        arguments = arguments_of(call)
        if arguments is None:
            error = "its arguments are no JSON object"
            broken.append(invalid_tool_call(name=call["name"], args=call["arguments"], id=call["call_id"], error=error))
        else:
            sound.append(tool_call(name=call["name"], args=dict(arguments), id=call["call_id"]))
    return sound, broken


def _chunk(index: int, call: ToolCall) -> ToolCallChunk:
    return tool_call_chunk(name=call["name"], args=call["arguments"] or "{}", id=call["call_id"], index=index)
