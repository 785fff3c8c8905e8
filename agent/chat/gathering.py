"""A reply in the making: what a stream of chunks adds up to, and what was used for it.

Chunks are read as the JSON that they are: models of them cost more than all the rest of a call, and not every server
keeps to them.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curveroute.agent.chat.event_stream import StreamFault
from curveroute.agent.chat.request import encodable
from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.chat.tool_schema import new_call_id
from curveroute.agent.types import FinishReason, ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from curveroute.agent.types import JsonObject

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_TEMPLATE_TOKENS_PER_MESSAGE = 16
_CALL_TOKENS = 32  # marks around one tool call
_MOST_TOKENS = 2**31  # no request has more; what a server counts beyond is no count
_IMAGE_TOKENS = 4000  # of an image, where the server counts nothing


@dataclass(slots=True)
class Gathered:
    """What has come so far."""

    text: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason | None = None
    usage: JsonObject | None = None
    calls: list[ToolCall] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)

    def add_choice(self, choice: JsonObject) -> str:
        """What one chunk says of the answer; returns the text in it."""
        delta = _object(choice.get("delta") or choice.get("message"))  # a whole message, where nothing is streamed
        for part in _objects(delta.get("tool_calls")):
            self.add_call(part)
        for token in _objects(_object(choice.get("logprobs")).get("content")):
            if isinstance(value := token.get("logprob"), float | int) and abs(value) <= sys.float_info.max:
                self.logprobs.append(float(value))
        if finish := choice.get("finish_reason"):  # some servers say "" until they have one
            self.finish = _FINISH.get(str(finish), "stop")
        if piece := _text(delta.get("content")):
            self.text.append(piece)
        return piece

    def add_call(self, part: JsonObject) -> None:
        """One piece of a call; a server that numbers nothing sends them one after another, each with its id."""
        call_id, index, said = _text(part.get("id")), part.get("index"), _object(part.get("function"))
        if not isinstance(index, int):
            index = len(self.calls) - (0 if call_id else 1)
        if index not in self.places:
            self.places[index] = len(self.calls)
            self.calls.append(ToolCall(call_id=call_id or new_call_id(), name="", arguments=""))
        call = self.calls[self.places[index]]
        call["name"] += _text(said.get("name"))
        call["arguments"] += _text(said.get("arguments"))


async def gather(stream: AsyncIterator[object], gathered: Gathered, on_token: Callable[[str], None] | None) -> None:
    """Take in a stream of decoded chunks, and tell its text as it comes.

    Raises:
        StreamFault: one of them is an error.
    """
    async for read in stream:
        chunk = _object(read)
        if fault := chunk.get("error") or (chunk.get("object") == "error" and chunk):
            raise StreamFault(_text(_object(fault).get("message")) or _text(fault) or "the server's stream says: error")
        if isinstance(usage := chunk.get("usage"), dict):
            gathered.usage = usage
        for choice in _objects(chunk.get("choices")):
            piece = gathered.add_choice(choice)
            if piece and on_token is not None:
                on_token(piece)


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
    usage = gathered.usage or {}
    size = sum(len(encodable(message["content"]).encode()) for message in call.messages) + _beside_text(call)
    written = len(text.encode()) + sum(len(one["name"] + one["arguments"]) + _CALL_TOKENS for one in gathered.calls)
    longest = call.max_tokens if gathered.finish == "length" else min(written, call.max_tokens)
    sent = _count(usage.get("prompt_tokens"), size)
    cached = _count(_object(usage.get("prompt_tokens_details")).get("cached_tokens"), 0)
    return Usage(sent, _count(usage.get("completion_tokens"), longest), min(cached, sent))


def _count(given: object, otherwise: int) -> int:
    return given if isinstance(given, int) and 0 <= given <= _MOST_TOKENS else otherwise


def _beside_text(call: Call) -> int:
    """Tokens that a prompt may have beside its texts: marks, images, calls of before, tools and schema."""
    images = sum(len(message.get("images", ())) for message in call.messages)
    said = [message["tool_calls"] for message in call.messages if "tool_calls" in message]
    tools = () if call.toolbox is None else [(one.name, one.description, one.parameters) for one in call.toolbox.tools]
    marks = _TEMPLATE_TOKENS_PER_MESSAGE * len(call.messages) + _CALL_TOKENS * len(tools)
    return marks + images * _IMAGE_TOKENS + sum(len(json.dumps(one)) for one in (said, call.schema, tools) if one)


def _object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> Iterator[JsonObject]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _joined(pieces: list[str]) -> str:
    """The pieces as one text; a character that was cut between two is whole again, half of one is replaced."""
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _confidence(logprobs: list[float]) -> float | None:
    return math.exp(min(sum(logprobs) / len(logprobs), 0.0)) if logprobs else None
