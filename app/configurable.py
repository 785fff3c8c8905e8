"""Settings in the ``configurable`` of a config, among whatever else a chain or graph has put there.

A name that nobody knows is an error, because it would be a setting that silently does nothing.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from langchain_core.runnables import ensure_config

from curveroute.agent.errors import SettingError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_core.runnables import RunnableConfig

    from curveroute.graphs.context import Context, Parts

_OTHERS = frozenset(
    {"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "session_id", "user_id", "conversation_id"}
    | {"run_id", "assistant_id", "graph_id", "ls_agent_type"}
)
_OTHERS_BEGIN = ("__", "langgraph_", "x-")
_INSIDE_A_GRAPH = "__pregel_"
OF_THE_CHAT = ("pool", "model", "max_tokens")
"""What a ``RouterChat`` takes beside a router's settings."""


def settings_in(
    config: RunnableConfig | None, ours: frozenset[str], passed_over: Iterable[str], face: str
) -> dict[str, Any]:
    """Our settings in the ``configurable`` of a config.

    Args:
        config: of the call; a graph or chain around it may have put names of its own there.
        ours: names of the settings.
        passed_over: names of others, which are no concern of the router's.
        face: what takes ``pass_over``, for the error.

    Raises:
        SettingError: a name that is neither a setting nor another's. Inside a graph all other names are the graph's;
            inside a chain those that do not read like a setting are another part's.
    """
    whole = ensure_config(config)
    configurable = {str(name): value for name, value in (whole.get("configurable") or {}).items()}
    others = frozenset(passed_over)
    found = {name: value for name, value in configurable.items() if name in ours - others}
    if any(name.startswith(_INSIDE_A_GRAPH) for name in configurable):
        return found
    chained = getattr(whole.get("callbacks"), "parent_run_id", None) is not None
    for name in configurable:
        if name in ours or _is_others(name, others) or (chained and not meant(name, ours)):
            continue
        remedy = f"for a name of your own, give it in {face}(pass_over=[…])"
        raise SettingError(f"unknown configurable {name!r}{meant(name, ours)}; {remedy}")
    return found


def _is_others(name: str, passed_over: frozenset[str]) -> bool:
    """Whether a name is known to be another's; ``id==choice/field`` is LangChain's for a field of an alternative."""
    known = _OTHERS | passed_over
    return name in known or name.partition("==")[0] in known or name.startswith(_OTHERS_BEGIN)


def without_chat_settings(
    given: Mapping[str, Any], overrides: Mapping[str, Any], context: Context, passed_over: Iterable[str]
) -> dict[str, Any]:
    """The settings of a router, with what a ``RouterChat`` takes beside them put in a router's terms.

    Args:
        given: settings in the config.
        overrides: arguments of the call, which win.
        context: of the router.
        passed_over: names among the chat model's that are not meant for the router.

    Raises:
        SettingError: another pool than the router's, a model beside an ``allow`` without it, or a limit that is none.
    """
    rest = {name: value for name, value in given.items() if name not in OF_THE_CHAT}
    chat = {name: given[name] for name in OF_THE_CHAT if given.get(name) is not None and name not in set(passed_over)}
    if "pool" in chat and chat["pool"] != (own := cast("Parts", context.parts).pool.name):
        raise SettingError(
            f"pool is {chat['pool']!r} in the configurable, and this Router routes over {own!r}: make a Router for "
            "that pool, or give Router(pass_over=['pool']) where it is meant for another"
        )
    if "model" in chat and "allow" not in overrides:
        checked_model(chat["model"])
        if rest.get("allow") and chat["model"] not in rest["allow"]:
            raise SettingError(f"model {chat['model']!r} is not among those allowed: {', '.join(rest['allow'])}")
        rest["allow"] = (chat["model"],)
    if "max_tokens" in chat and "form" not in overrides:
        rest["form"] = replace(context.form, max_tokens=checked_limit(chat["max_tokens"]))
    return rest


def checked_model(given: object) -> None:
    """Refuse what is no model's id.

    Raises:
        SettingError: it is no text.
    """
    if not isinstance(given, str):
        raise SettingError(f"model is {shown(given)}; give the id of one model, or several as allow")


def checked_limit(given: object) -> int | None:
    """A limit of output tokens, or none.

    Raises:
        SettingError: it is no whole number.
    """
    if given is not None and (not isinstance(given, int) or isinstance(given, bool)):
        raise SettingError(f"max_tokens is {shown(given)}; give a whole number of tokens, or none")
    return given


def meant(name: str, known: Iterable[str]) -> str:
    """What an unknown name was perhaps meant to be, as a part of a sentence."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
