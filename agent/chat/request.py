"""A call as the body of a request to an OpenAI-compatible endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curveroute.agent.chat.seam import Call
    from curveroute.agent.types import Image, JsonObject, JsonValue, Message, Tool, Toolbox

_FREE = ("auto", "none", "required")


def call_body(call: Call, *, served_as: str, limit_field: str, logprobs: bool) -> dict[str, Any]:
    """What is asked of the endpoint, in its own words; always streamed, so that a cancel stops the server."""
    body: dict[str, Any] = {
        "model": served_as,
        "messages": [_message(message) for message in call.messages],
        limit_field: call.max_tokens,
        "temperature": call.temperature,
        "seed": call.sample,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if logprobs and call.toolbox is None:  # llama.cpp refuses both at once
        body["logprobs"] = True
    if call.stop:
        body["stop"] = list(call.stop)
    if call.schema is not None:
        schema = {"name": "answer", "strict": _is_strict(call.schema), "schema": call.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if call.toolbox is not None:
        body |= _tools(call.toolbox)
    return body


def encodable(text: str) -> str:
    """The text without lone surrogates, which no request can carry."""
    return text.encode("utf-8", "replace").decode()


def _message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message["role"], "content": encodable(message["content"])}
    if images := message.get("images"):
        told["content"] = _parts(told["content"], images)
    if calls := message.get("tool_calls"):
        told["content"] = told["content"] or None
        told["tool_calls"] = [
            {
                "id": call["call_id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": encodable(call["arguments"])},
            }
            for call in calls
        ]
    if message["role"] == "tool":
        told["tool_call_id"] = message.get("tool_call_id", "")
    return told


def _parts(text: str, images: list[Image]) -> list[dict[str, Any]]:
    """Text and images in the order in which they stand."""
    parts: list[dict[str, Any]] = []
    done = 0
    for image in sorted(images, key=lambda one: one["at"]):
        if before := text[done : image["at"]]:
            parts.append({"type": "text", "text": before})
        done = max(done, image["at"])
        named = {"url": image["url"], **({"detail": image["detail"]} if "detail" in image else {})}
        parts.append({"type": "image_url", "image_url": named})
    if rest := text[done:]:
        parts.append({"type": "text", "text": rest})
    return parts


def _tools(toolbox: Toolbox) -> dict[str, Any]:
    choice: Any = toolbox.choice
    if choice not in _FREE:
        choice = {"type": "function", "function": {"name": choice}}
    told: dict[str, Any] = {"tools": [_tool(tool) for tool in toolbox.tools], "tool_choice": choice}
    if toolbox.parallel is not None:
        told["parallel_tool_calls"] = toolbox.parallel
    return told


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _is_strict(schema: JsonObject) -> bool:
    """Whether a schema is one that endpoints can hold an answer to: every object closed, every property required."""
    return all(_closed(one) for one in _objects(schema))


def _closed(schema: JsonObject) -> bool:
    properties, required = schema.get("properties"), schema.get("required", [])
    if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
        return False
    return isinstance(required, list) and set(properties) <= set(map(str, required))


def _objects(value: JsonValue) -> list[JsonObject]:
    if isinstance(value, list):
        return [found for one in value for found in _objects(one)]
    if not isinstance(value, dict):
        return []
    own = [value] if value.get("type") == "object" else []
    return own + [found for one in value.values() for found in _objects(one)]
