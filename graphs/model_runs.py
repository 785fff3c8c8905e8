"""Model calls as runs of a trace: each is a child of the node that made it, with the served model's name and usage.

The seams call endpoints directly, so no tracer would see them. A traced node asks through :class:`TracedChat`, which
tells the tracers what the seam is asked and what it replies; an untraced one asks the seam itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.tracers.log_stream import LogStreamCallbackHandler

from curveroute.agent.chat.request import call_body
from curveroute.agent.errors import ModelCallError
from curveroute.agent.settings import HIDDEN, hides_contents
from curveroute.agent.types import Usage
from curveroute.graphs.tracers import Tracing, tracing_here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun

    from curveroute.agent.chat.seam import Call, Chat, Reply
    from curveroute.agent.pool import ModelSpec, Pool
    from curveroute.agent.types import ToolCall

ATTEMPT_KEY = "attempt_id"
_CONTENTS = frozenset({"tools", "response_format", "stop", "ls_structured_output_format"})
_FIRST_TOKEN = "First Token Stream Event"  # noqa: S105 - OpenInference's name for it
_CLASSES: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


def traced_chat(chat: Chat, pool: Pool) -> Chat:
    """The seam as the calling node asks it: with its calls told to the tracers, where there are any."""
    tracing = tracing_here()
    if tracing is None:
        return chat
    # Whoever streams a log of the run would read drafts in it as they are written.
    silent = tuple(one for one in tracing.tracers if not isinstance(one, LogStreamCallbackHandler))
    return TracedChat(chat, pool, Tracing(silent, tracing.callbacks)) if silent else chat


@dataclass(frozen=True, slots=True)
class TracedChat:
    """A seam that tells tracers of its calls; see :class:`curveroute.agent.chat.seam.Chat`.

    Attributes:
        chat: the seam that answers.
        pool: names and prices of the models.
        tracing: of the node that asks.
    """

    chat: Chat
    pool: Pool
    tracing: Tracing

    async def complete(
        self, call: Call, *, on_token: Callable[[str], None] | None = None, may_resend: Callable[[], bool] | None = None
    ) -> Reply:
        """Answer one call, as a run of its own."""
        hidden = hides_contents()
        run = await self._start(call, hidden=hidden)
        told = on_token and _with_first_token(on_token, lambda: _mark_first_token(self.tracing, run.run_id))
        try:
            reply = await self.chat.complete(call, on_token=told, may_resend=may_resend)
        except ModelCallError as error:
            shown = ModelCallError(HIDDEN, status=error.status) if hidden else error
            await run.on_llm_error(shown, response=LLMResult(generations=[]))
            raise
        except BaseException as error:  # a cancel, or a fault of a seam that the user brought
            await run.on_llm_error(error, response=LLMResult(generations=[]))
            raise
        await self._end(run, call, reply, hidden=hidden)
        return reply

    async def aclose(self) -> None:
        """Close the seam."""
        await self.chat.aclose()

    async def _start(self, call: Call, *, hidden: bool) -> AsyncCallbackManagerForLLMRun:
        model = self.pool.model(call.arm.model)
        body = call_body(call, served_as=_served_name(model), limit_field=model.limit_field, logprobs=False)
        messages = [_message(one, hidden=hidden) for one in body.pop("messages")]
        for name in ("stream", "stream_options"):
            body.pop(name)
        if hidden:
            body = without_contents(body)
        manager = self.tracing.manager()
        manager.add_metadata(_metadata(model, call), inherit=False)
        (run,) = await manager.on_chat_model_start({}, [messages], name=str(call.arm), invocation_params=body)
        return run

    async def _end(self, run: AsyncCallbackManagerForLLMRun, call: Call, reply: Reply, *, hidden: bool) -> None:
        usage = usage_with_costs(self.pool, call.arm.model, reply.usage)
        served = _served_name(self.pool.model(call.arm.model))
        message = AIMessage(
            content=HIDDEN if hidden and reply.text else reply.text,
            additional_kwargs={"tool_calls": [_call(one, hidden=hidden) for one in reply.tool_calls]}
            if reply.tool_calls
            else {},
            response_metadata={
                "model_name": served,
                "finish_reason": reply.finish_reason,
                "lost_tries": reply.lost_tries,
                "confidence": reply.confidence,
            },
            usage_metadata=usage,
        )
        message.usage_metadata = usage  # the class keeps tokens alone, and LangSmith reads costs beside them
        for span in _spans(self.tracing, run.run_id):
            span.set_attributes(_costs(usage))
        result = LLMResult(
            generations=[[ChatGeneration(message=message, generation_info={"finish_reason": reply.finish_reason})]],
            llm_output={"model_name": served},
        )
        await run.on_llm_end(result)


def without_contents(params: Mapping[str, Any]) -> dict[str, Any]:
    """A request's parameters with no more of tools than their names, and nothing of a schema or of stop texts."""
    told = {name: value for name, value in params.items() if name not in _CONTENTS}
    if tools := params.get("tools"):
        told["tools"] = [_name_of(tool) for tool in tools]
    return told


def _name_of(tool: object) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else getattr(tool, "name", None)
    return {"type": "function", "function": {"name": name if isinstance(name, str) else HIDDEN}}


def provider_of(model: ModelSpec) -> str:
    """Whose model it is, as traces name it: the price list's word, else where it is reached."""
    if model.price_ref is not None:
        return model.price_ref.partition("/")[0]
    return "local" if model.endpoint == "local" else urlsplit(model.endpoint).hostname or ""


def usage_with_costs(pool: Pool, model: str, usage: Usage) -> UsageMetadata:
    """What a call used, in LangChain's words, with LangSmith's beside them: ``input_cost`` and the like, in USD."""
    sent, cached = usage.input_tokens, usage.cached_input_tokens
    told = UsageMetadata(
        input_tokens=sent,
        output_tokens=usage.output_tokens,
        total_tokens=sent + usage.output_tokens,
        input_token_details=InputTokenDetails(cache_read=cached),
    )
    costs = {
        "input_cost": pool.cost_usd(model, Usage(sent, 0, cached)),
        "output_cost": pool.cost_usd(model, Usage(0, usage.output_tokens)),
        "total_cost": pool.cost_usd(model, usage),
    }
    return cast("UsageMetadata", {**told, **costs})


def _costs(usage: UsageMetadata) -> dict[str, float]:
    """The costs in OpenInference's words."""
    whole = cast("dict[str, float]", usage)
    names = {"prompt": "input_cost", "completion": "output_cost", "total": "total_cost"}
    return {f"llm.cost.{name}": whole[own] for name, own in names.items()}


def _served_name(model: ModelSpec) -> str:
    return model.served_as or model.id


def _metadata(model: ModelSpec, call: Call) -> dict[str, Any]:
    told = {
        "ls_provider": provider_of(model),
        "ls_model_name": _served_name(model),
        "ls_model_type": "chat",
        "ls_temperature": call.temperature,
        "ls_max_tokens": call.max_tokens,
        "attempt_model": model.id,
        "attempt_budget": call.arm.budget,
        "attempt_role": call.role,
        ATTEMPT_KEY: call.attempt_id,
    }
    return told | ({"ls_stop": list(call.stop)} if call.stop and not hides_contents() else {})


def _message(told: dict[str, Any], *, hidden: bool) -> BaseMessage:
    """A message of a request, as LangChain has it."""
    content = HIDDEN if hidden else told["content"] or ""
    if told["role"] == "tool":
        return ToolMessage(content=content, tool_call_id=told["tool_call_id"])
    calls = [] if hidden else told.get("tool_calls", [])
    # LangChain reads calls here by itself, whether their arguments are sound or not.
    return _CLASSES[told["role"]](content=content, additional_kwargs={"tool_calls": calls} if calls else {})


def _call(call: ToolCall, *, hidden: bool) -> dict[str, Any]:
    arguments = "{}" if hidden else call["arguments"]
    return {"id": call["call_id"], "type": "function", "function": {"name": call["name"], "arguments": arguments}}


def _with_first_token(on_token: Callable[[str], None], mark: Callable[[], None]) -> Callable[[str], None]:
    """Tell every token on, and mark the moment of the first."""
    waiting = [mark]

    def told(text: str) -> None:
        if waiting:
            waiting.pop()()
        on_token(text)

    return told


def _mark_first_token(tracing: Tracing, run_id: UUID) -> None:
    for run in tracing.runs(run_id):
        run.add_event({"name": "new_token", "time": datetime.now(UTC), "kwargs": {}})  # as LangChain's tracers write it
    for span in _spans(tracing, run_id):
        span.add_event(_FIRST_TOKEN)


def _spans(tracing: Tracing, run_id: UUID) -> list[Any]:
    """The OpenTelemetry spans of a run, where a tracer makes any, as OpenInference's does."""
    finders = (getattr(tracer, "get_span", None) for tracer in tracing.tracers)
    found = (find(run_id) for find in finders if find is not None)
    return [span for span in found if span is not None]
