"""Forms for models that must be told them: tools described in the prompt and called in JSON held to a schema.

A small model that is only told how to call a tool writes something like it. Held to a schema token by token, it cannot
name an unknown tool or leave an argument out. What comes back is read into the same words as an endpoint's own calls.

Local servers hold an answer to its schema without showing it to the model, which then writes on and on into the first
text that it may: so the schema stands in the prompt, too.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from curveroute.agent.types import Message, ToolCall
from curveroute.prompts import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.chat.seam import Call, Reply
    from curveroute.agent.types import JsonObject, JsonValue, Toolbox

CALLS, ANSWER = "tool_calls", "answer"
_DEEPEST = 12
_BEGUN_ANSWER = re.compile(r'\s*\{\s*"answer"\s*:\s*"(.*)\Z', re.DOTALL)
_BEGUN_CALLS = re.compile(r'\s*\{\s*"tool_(?:.*?"name"\s*:\s*"([^"]*)"(?:\s*,\s*"arguments"\s*:\s*)?)?', re.DOTALL)
_LONGEST_ESCAPE = len(r"\u00e9\u00e9") + 1


def with_form_told(call: Call) -> Call:
    """The same call for a model that is told tools and schema in the prompt; without either it stays as it is."""
    spoken = any(message["role"] == "tool" or message.get("tool_calls") for message in call.messages)
    messages = _spoken(call.messages) if spoken else call.messages
    if call.toolbox is not None:
        told = _with_words(messages, _words_of_tools(call.toolbox, call.schema))
        return replace(call, messages=told, schema=calls_schema(call.toolbox, call.schema), toolbox=None)
    if call.schema is not None and not call.schema_shown:
        messages = _with_words(messages, render("schema", schema=json.dumps(call.schema, ensure_ascii=False)))
    return replace(call, messages=messages)


def read_tool_reply(call: Call, reply: Reply) -> Reply:
    """The model's JSON as text and calls; of one that was cut, what was begun."""
    if call.toolbox is None:
        return reply
    try:
        said = json.loads(reply.text)
    except (ValueError, RecursionError):
        return _begun(reply)
    if not isinstance(said, dict):
        return reply
    calls = said.get(CALLS)
    if isinstance(calls, list):
        made = tuple(_call(one) for one in calls if isinstance(one, dict))
        return replace(reply, text="", tool_calls=made, finish_reason="tool_calls")
    answer = said.get(ANSWER, "")
    return replace(reply, text=answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))


def _begun(reply: Reply) -> Reply:
    """A reply that was cut: half a call stays a call, so that nobody takes it for words; half an answer its words."""
    if (found := _BEGUN_ANSWER.match(reply.text)) is not None:
        return replace(reply, text=_unescaped(found.group(1)))
    if (found := _BEGUN_CALLS.match(reply.text)) is None:
        return reply
    name, rest = found.group(1) or "", reply.text[found.end() :]
    return replace(reply, text="", tool_calls=(ToolCall(call_id=new_call_id(), name=name, arguments=rest or "{"),))


def _unescaped(inside: str) -> str:
    """The words inside a JSON string that does not end, without the half of an escape that may stand last."""
    for cut in range(_LONGEST_ESCAPE):
        try:
            return str(json.loads(f'"{inside[: len(inside) - cut]}"'))
        except ValueError:
            continue
    return inside


def calls_schema(toolbox: Toolbox, answer: JsonObject | None) -> JsonObject:
    """The JSON schema of calls, of an answer, or of either, as the choice of the toolbox has it."""
    named = [tool for tool in toolbox.tools if toolbox.choice in {"auto", "required", tool.name}]
    each: list[JsonValue] = [
        _object({"name": {"const": tool.name}, "arguments": inlined(tool.parameters)}) for tool in named
    ]
    calls: JsonObject = {"type": "array", "items": each[0] if len(each) == 1 else {"anyOf": each}, "minItems": 1}
    if toolbox.parallel is False:
        calls["maxItems"] = 1
    words = _object({ANSWER: {"type": "string"} if answer is None else inlined(answer)})
    if toolbox.choice == "none":
        return words
    return {"anyOf": [_object({CALLS: calls}), words]} if toolbox.choice == "auto" else _object({CALLS: calls})


def inlined(schema: JsonObject) -> JsonObject:
    """A schema that refers to nothing: its own definitions stand where they were named, down to a depth."""
    found = _inlined(schema, schema, 0)
    return found if isinstance(found, dict) else {}


def _inlined(value: JsonValue, root: JsonObject, depth: int) -> JsonValue:
    if isinstance(value, list):
        return [_inlined(one, root, depth) for one in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        return {} if depth >= _DEEPEST else _inlined(_at(reference, root), root, depth + 1)
    return {key: _inlined(one, root, depth) for key, one in value.items() if key not in {"$defs", "definitions"}}


def _at(reference: str, root: JsonObject) -> JsonValue:
    found: JsonValue = root
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found.get(step, {}) if isinstance(found, dict) else {}
    return found


def _object(properties: JsonObject) -> JsonObject:
    required: list[JsonValue] = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _words_of_tools(toolbox: Toolbox, answer: JsonObject | None) -> str:
    tools = "\n".join(
        json.dumps({"name": tool.name, "description": tool.description, "parameters": tool.parameters})
        for tool in toolbox.tools
    )
    how_many = "a tool" if toolbox.parallel is False else "one tool or several"
    said = "<your answer>" if answer is None else f"<a JSON value of the schema {json.dumps(answer)}>"
    return render("tools", tools=tools, how_many=how_many, answer=said)


def _with_words(messages: tuple[Message, ...], words: str) -> tuple[Message, ...]:
    """The messages, with words of ours behind the first system message."""
    first, *rest = messages
    if first["role"] != "system":
        return (Message(role="system", content=words), *messages)
    return (Message(role="system", content=f"{first['content']}\n\n{words}"), *rest)


def _spoken(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Calls and their results as words, for a template that knows neither."""
    names: dict[str, str] = {}
    told: list[Message] = []
    for message in messages:
        calls = message.get("tool_calls", ())
        names |= {call["call_id"]: call["name"] for call in calls}
        if calls:
            said: list[JsonValue] = [{"name": call["name"], "arguments": _loaded(call["arguments"])} for call in calls]
            told.append(Message(role="assistant", content=json.dumps({CALLS: said}, ensure_ascii=False)))
        elif message["role"] == "tool":
            name = names.get(message.get("tool_call_id", ""), "tool")
            line = f"The result of {name}: {message['content']}"
            if told and told[-1]["role"] == "user" and told[-1]["content"].startswith("The result of "):
                line = f"{told.pop()['content']}\n{line}"
            told.append(Message(role="user", content=line))
        else:
            told.append(message)
    return tuple(told)


def _loaded(arguments: str) -> JsonValue:
    try:
        loaded: JsonValue = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return loaded


def _call(said: dict[str, JsonValue]) -> ToolCall:
    return ToolCall(
        call_id=new_call_id(),
        name=str(said.get("name", "")),
        arguments=json.dumps(said.get("arguments", {}), ensure_ascii=False),
    )


def new_call_id() -> str:
    """An id for a call that its server gave none."""
    return f"call_{uuid.uuid4().hex[:24]}"
