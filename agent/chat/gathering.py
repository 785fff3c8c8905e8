"""A reply in the making: what a stream of chunks adds up to, and what was used for it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curveroute.agent.chat.request import encodable
from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.chat.tool_schema import new_call_id
from curveroute.agent.types import FinishReason, ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_TEMPLATE_TOKENS_PER_MESSAGE = 16
_CALL_TOKENS = 32  # marks around one tool call
_IMAGE_TOKENS = 4000  # of an image, where the server counts nothing


@dataclass(slots=True)
class Gathered:
    """What has come so far."""

    text: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason | None = None
    usage: CompletionUsage | None = None
    calls: list[ToolCall] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)

    def add_call(self, part: ChoiceDeltaToolCall) -> None:
        """One piece of a call; a server that numbers nothing sends them one after another, each with its id."""
        index = part.index if isinstance(part.index, int) else len(self.calls) - (0 if part.id else 1)
        if index not in self.places:
            self.places[index] = len(self.calls)
            self.calls.append(ToolCall(call_id=part.id or new_call_id(), name="", arguments=""))
        call, said = self.calls[self.places[index]], part.function
        call["name"] += (said.name or "") if said else ""
        call["arguments"] += (said.arguments or "") if said else ""


async def gather(
    stream: AsyncIterator[ChatCompletionChunk], gathered: Gathered, on_token: Callable[[str], None] | None
) -> None:
    """Take in a stream, and tell its text as it comes."""
    async for chunk in stream:
        if chunk.usage is not None:
            gathered.usage = chunk.usage
        for choice in chunk.choices or ():
            piece = (choice.delta.content or "") if choice.delta else ""
            for part in (choice.delta.tool_calls or ()) if choice.delta else ():
                gathered.add_call(part)
            if piece:
                gathered.text.append(piece)
                if on_token is not None:
                    on_token(piece)
            if choice.logprobs is not None and choice.logprobs.content:
                gathered.logprobs.extend(token.logprob for token in choice.logprobs.content)
            if choice.finish_reason is not None:
                gathered.finish = _FINISH.get(choice.finish_reason, "stop")


def reply_of(call: Call, gathered: Gathered, latency_s: float, lost: int) -> Reply:
    """The whole reply."""
    text = _joined(gathered.text)
    return Reply(
        text=text,
        usage=_usage(call, gathered, text),
        finish_reason=gathered.finish or "stop",
        latency_s=latency_s,
        confidence=_confidence(gathered.logprobs),
        lost_tries=lost,
        tool_calls=tuple(gathered.calls),
    )


def _usage(call: Call, gathered: Gathered, text: str) -> Usage:
    """The server's counts; where it gives none, what a call may have used at most.

    No tokenizer makes more tokens than bytes, and what was hidden (reasoning) ends at the token limit.
    """
    usage = gathered.usage
    size = sum(len(encodable(message["content"]).encode()) for message in call.messages) + _beside_text(call)
    written = len(text.encode()) + sum(len(one["name"] + one["arguments"]) + _CALL_TOKENS for one in gathered.calls)
    longest = call.max_tokens if gathered.finish == "length" else min(written, call.max_tokens)
    sent = _count(getattr(usage, "prompt_tokens", None), size)
    details = getattr(usage, "prompt_tokens_details", None)
    cached = _count(getattr(details, "cached_tokens", None), 0)
    return Usage(sent, _count(getattr(usage, "completion_tokens", None), longest), min(cached, sent))


def _count(given: object, otherwise: int) -> int:
    return given if isinstance(given, int) and given >= 0 else otherwise


def _beside_text(call: Call) -> int:
    """Tokens that a prompt may have beside its texts: marks, images, calls of before, tools and schema."""
    images = sum(len(message.get("images", ())) for message in call.messages)
    said = [message["tool_calls"] for message in call.messages if "tool_calls" in message]
    tools = () if call.toolbox is None else [(one.name, one.description, one.parameters) for one in call.toolbox.tools]
    marks = _TEMPLATE_TOKENS_PER_MESSAGE * len(call.messages) + _CALL_TOKENS * len(tools)
    return marks + images * _IMAGE_TOKENS + sum(len(json.dumps(one)) for one in (said, call.schema, tools) if one)


def _joined(pieces: list[str]) -> str:
    """The pieces as one text; a character that was cut between two is whole again, half of one is replaced."""
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _confidence(logprobs: list[float]) -> float | None:
    known = [value for value in logprobs if math.isfinite(value)]
    return math.exp(min(sum(known) / len(known), 0.0)) if known else None
