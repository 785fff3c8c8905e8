"""How much room the form of an answer needs: a budget that cannot hold it would buy half an answer, which is none.

A guess from the schema alone, meant to be a little low for long texts: what it rules out could hardly succeed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.types import Arm, Form, JsonObject, JsonValue, Toolbox

_CHARS_PER_TOKEN = 3  # JSON has shorter tokens than prose
_TEXT, _OTHER = 40, 4  # characters of a usual string, and of a number, truth or null
_CALL = len('{"tool_calls": [{"name": "", "arguments": }]}')
_MEMBER = len('"": , ')
_UNTOLD = 2 * (_MEMBER + _OTHER + _TEXT)  # of any object that is asked for: what is in it stands in the question
_DEEPEST = 6


def with_room(arms: tuple[Arm, ...], form: Form) -> tuple[Arm, ...]:
    """The arms that can hold an answer of this form and keep to its limit; where none can, the nearest ones."""
    longest, least = form.max_tokens, least_tokens(form)
    short = tuple(arm for arm in arms if longest is None or arm.budget is None or arm.budget <= longest)
    if not short:  # every budget is longer than the limit, at which the shortest is then cut
        budget = min(arm.budget for arm in arms if arm.budget is not None)
        return tuple(arm for arm in arms if arm.budget == budget)
    able = tuple(arm for arm in short if arm.budget is None or arm.budget >= least)
    if able:
        return able
    budget = max(arm.budget for arm in short if arm.budget is not None)
    return tuple(arm for arm in short if arm.budget == budget)


def least_tokens(form: Form) -> int:
    """About how many tokens a sound answer of this form takes at least; 0 for plain words."""
    sizes = []
    if form.schema is not None:
        sizes.append(_UNTOLD if _is_any_object(form.schema) else _size(form.schema, form.schema, 0))
    if form.toolbox is not None and form.toolbox.choice != "none":
        sizes.append(_call_size(form.toolbox))
    return max(sizes, default=0) // _CHARS_PER_TOKEN


def _is_any_object(schema: JsonObject) -> bool:
    """Whether a schema says no more than that the answer is an object, as JSON mode does."""
    return schema.get("type") == "object" and set(schema) <= {"type", "title", "description"}


def _call_size(toolbox: Toolbox) -> int:
    """Characters of a call: of the tool that must be called, or of the longest that may be."""
    named = [tool for tool in toolbox.tools if tool.name == toolbox.choice] or toolbox.tools
    sizes = [len(tool.name) + _size(tool.parameters, tool.parameters, 0) for tool in named]
    return _CALL + max(sizes, default=0)


def _size(schema: JsonObject, root: JsonObject, depth: int) -> int:
    """Characters of a value that fits: required members only, one item of a list that needs one."""
    if depth > _DEEPEST:
        return _OTHER
    if isinstance(reference := schema.get("$ref"), str):
        return _size(_object(_at(reference, root)), root, depth + 1)
    if "const" in schema:
        return len(json.dumps(schema["const"]))
    for choices in ("anyOf", "oneOf"):
        if isinstance(found := schema.get(choices), list) and found:
            return min(_size(_object(one), root, depth + 1) for one in found)
    if isinstance(values := schema.get("enum"), list) and values:
        return min(len(json.dumps(value)) for value in values)
    return _size_of_kind(schema, root, depth)


def _size_of_kind(schema: JsonObject, root: JsonObject, depth: int) -> int:
    kind = schema.get("type")
    properties = _object(schema.get("properties"))
    if kind == "object" or properties:
        required = _list(schema.get("required"))
        members = [(str(name), _object(properties.get(str(name)))) for name in required]
        return 2 + sum(_MEMBER + len(name) + _size(member, root, depth + 1) for name, member in members)
    if kind == "array":
        items = _object(schema.get("items"))
        return 2 + (_size(items, root, depth + 1) if schema.get("minItems") else 0)
    return _TEXT if kind == "string" else _OTHER


def _at(reference: str, root: JsonObject) -> JsonValue:
    found: JsonValue = root
    for step in reference.removeprefix("#").split("/")[1:]:
        found = _object(found).get(step)
    return found


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: JsonValue) -> Sequence[JsonValue]:
    return value if isinstance(value, list) else ()
