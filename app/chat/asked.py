"""What one call asks for, beside its messages: settings of the run, and the form of the answer.

Both come from three places: the chat model's own fields, ``bind`` and call arguments, and the ``configurable`` of a
config. A name that nobody knows is an error, because it would be a setting that silently does nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.runnables import ensure_config

from curveroute.agent.errors import SettingError, shown
from curveroute.agent.settings import hides_contents, unless_hidden
from curveroute.agent.types import Form, Tool, Toolbox
from curveroute.configurable import OF_THE_CHAT, checked_limit, checked_model, meant, settings_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from langchain_core.runnables import RunnableConfig

    from curveroute.agent.types import JsonObject

SETTINGS = (
    "tradeoff", "max_cost_usd", "seconds_usd", "max_error", "policy", "plan", "judge", "allow", "deny",
)  # fmt: skip
CONFIGURABLES = frozenset({*SETTINGS, *OF_THE_CHAT})
_FORM = ("tools", "tool_choice", "parallel_tool_calls", "response_format", "strict")
_CALL = frozenset({*CONFIGURABLES, *_FORM, "stream"})
_CHOICES = {True: "required", False: "none", None: "auto"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One call's settings: the pool that is routed over, what the run is told, and what the answer must be."""

    pool: str
    settings: dict[str, Any]
    form: Form


def configured(config: RunnableConfig | None, passed_over: Iterable[str]) -> dict[str, Any]:
    """The settings in the ``configurable`` of a config.

    Args:
        config: of the call; a graph or chain around it may have put names of its own there.
        passed_over: names of others, which are no concern of the router's.

    Raises:
        SettingError: a name that is neither a setting nor another's, or an approval that nobody would be asked for.
    """
    configurable = ensure_config(config).get("configurable") or {}
    if (held := configurable.get("approve_above_usd")) is not None and "approve_above_usd" not in passed_over:
        raise SettingError(f"approve_above_usd is {held!r}, which is no setting{_meant('approve_above_usd', ())}")
    return settings_in(config, CONFIGURABLES, passed_over, "RouterChat")


def asked(pool: str, fields: Mapping[str, Any], given: Mapping[str, Any], stop: Sequence[str] | None) -> Asked:
    """What a call asks for.

    Args:
        pool: of the chat model.
        fields: the chat model's own settings, ``max_tokens`` and ``stop`` included.
        given: call arguments; they win over the fields.
        stop: texts at which the answer ends, instead of the field's.

    Raises:
        SettingError: an unknown argument, or one that cannot be read.
    """
    for name in given:
        if name not in _CALL:
            raise SettingError(
                f"unknown argument {name!r}{_meant(name, _CALL)}; a call takes: {', '.join(sorted(_CALL))}, stop"
            )
    settings = {name: given.get(name, fields[name]) for name in SETTINGS}
    if (model := given.get("model")) is not None:
        checked_model(model)
        if given.get("allow") and model not in given["allow"]:
            raise SettingError(f"model {model!r} is not among those allowed: {', '.join(given['allow'])}")
        settings["allow"] = (model,)
    ends = stop if stop is not None else fields["stop"]
    form = Form(
        toolbox=_toolbox(given),
        schema=schema_of(given.get("response_format")),
        stop=_ends(ends),
        max_tokens=checked_limit(given.get("max_tokens", fields["max_tokens"])),
    )
    return Asked(str(given.get("pool") or pool), settings, form)


def _ends(given: object) -> tuple[str, ...]:
    """The texts at which an answer ends."""
    if given is None or isinstance(given, str | list | tuple):
        return (given,) if isinstance(given, str) else tuple(given or ())
    raise SettingError(f"stop is {shown(given)}; give a text, or a list of texts")


def choice_of(given: object, names: Sequence[str]) -> str:
    """A tool choice in the words of a form, from any that LangChain and OpenAI know.

    Raises:
        SettingError: none of them.
    """
    if isinstance(given, dict):
        function = given.get("function")
        given = function.get("name") if isinstance(function, dict) else given.get("name", given.get("type"))
    if isinstance(given, bool) or given is None:
        return _CHOICES[given]
    if isinstance(given, str) and given in names:
        return given
    choice = "required" if given == "any" else given
    if isinstance(choice, str) and choice in {"auto", "none", "required"}:
        return choice
    raise SettingError(
        f"tool_choice is {shown(given)}; give auto, any, required, none, or one of the tools: {', '.join(names)}"
    )


def choice_is_free(given: object) -> bool:
    """Whether a tool choice, in any words, leaves it to the model whether it calls anything."""
    return given is None or given is False or (isinstance(given, str) and given in {"auto", "none"})


def schema_of(response_format: object) -> JsonObject | None:
    """The JSON schema in a response format of OpenAI's form.

    Raises:
        SettingError: it is none.
    """
    if response_format is None:
        return None
    if isinstance(response_format, dict):
        kind = response_format.get("type")
        if kind == "text":
            return None
        if kind == "json_object":
            return {"type": "object"}
        named = response_format.get("json_schema")
        if kind == "json_schema" and isinstance(named, dict) and isinstance(named.get("schema"), dict):
            return cast("JsonObject", named["schema"])
    raise SettingError(
        "response_format is not understood; give {'type': 'json_schema', 'json_schema': {'schema': …}} or "
        "{'type': 'json_object'}, or use with_structured_output"
    )


def _toolbox(given: Mapping[str, Any]) -> Toolbox | None:
    tools = given.get("tools")
    if not tools:
        if given.get("tool_choice") not in (None, "none", "auto"):  # a choice may be a dict
            raise SettingError("tool_choice was given without tools; bind tools, or leave it out")
        return None
    read = tuple(_tool(one) for one in tools)
    choice = choice_of(given.get("tool_choice"), [tool.name for tool in read])
    parallel = given.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        raise SettingError(f"parallel_tool_calls is {shown(parallel)}; give true or false, or leave it out")
    return Toolbox(read, choice, parallel)


def tool_dict(given: object, *, strict: bool | None = None) -> dict[str, Any]:
    """A tool in OpenAI's form, from anything that LangChain reads as one.

    Raises:
        SettingError: it is none.
    """
    from langchain_core.utils.function_calling import convert_to_openai_tool

    try:
        return convert_to_openai_tool(cast("Any", given), strict=strict)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        told = unless_hidden(str(error))
        raise SettingError(f"{_shown(given)} is no tool: {told}") from (None if hides_contents() else error)


def _tool(given: object) -> Tool:
    function = tool_dict(given).get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise SettingError(f"{_shown(given)} is no tool that a model can call; give functions, tools or their schemas")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool(function["name"], str(function.get("description") or ""), cast("JsonObject", parameters))


def _shown(given: object) -> str:
    try:
        text = json.dumps(given)
    except (TypeError, ValueError):
        text = repr(given)
    return unless_hidden(text[:80])


def _meant(name: str, known: Iterable[str]) -> str:
    if name == "approve_above_usd":
        return (
            " of a chat model: it runs apart from the graph around it, and cannot wait for a person. Use "
            "graphs.build(router.context), or a Router, in a node of a graph with a checkpointer"
        )
    return meant(name, known)


Method = Literal["json_schema", "function_calling", "json_mode"]
