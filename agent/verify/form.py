"""Whether an answer is in the form that was asked for: JSON of a schema, calls of known tools with arguments that fit.

Pure and certain: what is found here needs no jury. An answer at fault claims nothing, so its verdict is 0 and the run
goes on. What is sound is spelled in one way, so that two models that want the same call agree.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from curveroute.agent.errors import QueryError, shown
from curveroute.agent.settings import hides_contents, unless_hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from curveroute.agent.types import Attempt, Form, JsonObject, Tool, Toolbox, ToolCall

MOST_TOKENS = 2**53
NO_JSON = "it is no JSON"
FREE_CHOICES = frozenset({"auto", "none"})
_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)
_LONGEST = 200


def check_form(form: Form) -> None:
    """Refuse what no answer could satisfy, before anything is asked.

    Raises:
        QueryError: a limit below 1, a schema that is none, two tools of one name, a choice that names no tool; or a
            text, schema or parameter that no request can carry.
    """
    if form.max_tokens is not None and not 1 <= form.max_tokens <= MOST_TOKENS:
        raise QueryError(f"max_tokens is {shown(form.max_tokens)}; give at least 1, or leave it out")
    for end in form.stop:
        if not isinstance(end, str) or not end:
            raise QueryError(f"a stop text is {shown(end)}; give texts of one letter at least")
        _check_carried("a stop text", end)
    if form.schema is not None:
        _checked_schema("the answer's schema", form.schema)
    toolbox = form.toolbox
    if toolbox is None:
        return
    names = [tool.name for tool in toolbox.tools]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or not all(names):
        raise QueryError(f"tools need names of their own; repeated or empty: {', '.join(repeated) or 'an empty one'}")
    for tool in toolbox.tools:
        _check_carried(f"the name of tool {tool.name!r}", tool.name)
        _check_carried(f"the description of tool {tool.name!r}", tool.description)
        _checked_schema(f"the parameters of tool {tool.name!r}", tool.parameters)
    if toolbox.choice not in FREE_CHOICES | {"required"} | set(names):
        raise QueryError(
            f"tool_choice is {toolbox.choice!r}; give auto, none, required, or one of the tools: {', '.join(names)}"
        )
    if not names:
        raise QueryError("the list of tools is empty; give at least one, or leave it out")


def in_form(form: Form, attempt: Attempt) -> Attempt:
    """The attempt, with what it answered in and what is at fault with that; one in plain words stays as it is."""
    if attempt.error is not None:
        return attempt
    toolbox = form.toolbox
    if attempt.tool_calls or (toolbox is not None and toolbox.choice not in FREE_CHOICES):
        fault = calls_fault(toolbox, attempt.tool_calls)
        answer = None if fault else spelled_calls(attempt.tool_calls)
        return replace(attempt, shape="calls", fault=fault, answer=answer)
    if form.schema is None:
        return attempt
    fault, answer = _read_json(form.schema, attempt.text)
    return replace(attempt, shape="json", fault=fault, answer=answer)


def calls_fault(toolbox: Toolbox | None, calls: Iterable[ToolCall]) -> str:
    """What is wrong with these calls; empty when nothing is."""
    made = list(calls)
    if toolbox is None or toolbox.choice == "none":
        return "it calls a tool, and none may be called"
    if not made:
        return "it calls no tool, and one must be called"
    if toolbox.parallel is False and len(made) > 1:
        return f"it makes {len(made)} calls at once, and may make one"
    tools = {tool.name: tool for tool in toolbox.tools}
    return next((fault for call in made if (fault := _call_fault(toolbox, tools, call))), "")


def arguments_of(call: ToolCall) -> JsonObject | None:
    """The arguments of a call; ``None`` when they are no JSON object. Models write nothing at all for none."""
    value = _parsed(call["arguments"]) if call["arguments"].strip() else {}
    return value if isinstance(value, dict) else None


def spelled_calls(calls: Iterable[ToolCall]) -> str:
    """Sound calls as one text in which equal wishes are equal, whatever their order and spacing."""
    made = [{"name": call["name"], "arguments": arguments_of(call)} for call in calls]
    return json.dumps(sorted(made, key=_spelled), sort_keys=True, ensure_ascii=False)


def unfenced(text: str) -> str:
    """The text without the code fence around all of it, if there is one."""
    found = _FENCED.match(text)
    return text if found is None else found.group(1)


def _call_fault(toolbox: Toolbox, tools: dict[str, Tool], call: ToolCall) -> str:
    name = call["name"]
    if name not in tools:
        return f"it calls {name!r}, which is none of the tools ({', '.join(tools)})"[:_LONGEST]
    if toolbox.choice in tools and name != toolbox.choice:
        return f"it calls {name!r}, and {toolbox.choice!r} must be called"
    arguments = arguments_of(call)
    if arguments is None:
        return f"its arguments of {name!r} are no JSON object"
    misfit = _misfit(tools[name].parameters, arguments)
    return f"its arguments of {name!r} do not fit: {misfit}" if misfit else ""


def _read_json(schema: JsonObject, text: str) -> tuple[str, str | None]:
    value = _parsed(unfenced(text))
    if value is _NOTHING:
        return NO_JSON, None
    misfit = _misfit(schema, value)
    return (f"it does not fit the schema: {misfit}", None) if misfit else ("", _spelled(value))


def _misfit(schema: JsonObject, value: object) -> str:
    """The first thing in a value that does not fit; empty when it fits."""
    error = next(iter(_validator(json.dumps(schema))(value)), None)
    if error is None:
        return ""
    place = "/".join(map(str, error.instance_path))
    return f"{f'at {place}: ' if place else ''}{error.message}"[:_LONGEST]


@lru_cache(maxsize=64)
def _validator(schema: str) -> Callable[[object], Iterable[Any]]:
    import jsonschema_rs

    return jsonschema_rs.validator_for(json.loads(schema), retriever=_refuse).iter_errors


def _check_carried(what: str, value: object) -> None:
    """Refuse what JSON has no word for, or no request can carry; the error quotes none of it."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        fault, remedy = "half a character (a lone surrogate)", "give valid Unicode text"
    except RecursionError:
        fault, remedy = "a depth beyond all reading", "make it flatter"
    except TypeError as error:
        fault, remedy = f"what JSON has no word for ({error})", "give texts, numbers, lists and dicts"
    except ValueError as error:
        circle = ("a circle", "name its parts in $defs and refer to them")
        number = ("NaN or an infinite number", "JSON has neither: leave it out")
        fault, remedy = circle if "Circular" in str(error) else number
    else:
        return
    raise QueryError(f"there is {fault} in {what}; {remedy}")


def _checked_schema(what: str, schema: JsonObject) -> None:
    _check_carried(what, schema)
    try:
        _validator(json.dumps(schema))
    except (ValueError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), "")[:_LONGEST]
        told = unless_hidden(reason)
        raise QueryError(f"{what} is no valid JSON schema: {told}") from (None if hides_contents() else error)


def _refuse(uri: str) -> Any:  # noqa: ANN401 - the library's own type
    message = f"{uri} is not in the schema, and nothing is fetched"
    raise ValueError(message)


_NOTHING = object()


def _parsed(text: str) -> Any:  # noqa: ANN401 - any JSON value, or the mark that there is none
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _NOTHING


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _spelled(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
