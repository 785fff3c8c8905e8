"""Settings in the ``configurable`` of a config, among whatever else a chain or graph has put there.

A name that nobody knows is an error, because it would be a setting that silently does nothing.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from curveroute.agent.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OTHERS = frozenset(
    {"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "session_id", "user_id", "conversation_id"}
    | {"run_id", "assistant_id", "graph_id", "ls_agent_type"}
)
_OTHERS_BEGIN = ("__", "langgraph_", "x-")
_INSIDE_A_GRAPH = "__pregel_"


def settings_in(
    configurable: Mapping[str, Any], ours: frozenset[str], passed_over: Iterable[str], face: str
) -> dict[str, Any]:
    """Our settings in the ``configurable`` of a config.

    Args:
        configurable: of the config, what a graph or chain around it has put there included.
        ours: names of the settings.
        passed_over: names of others, which are no concern of the router's.
        face: what takes ``pass_over``, for the error.

    Raises:
        SettingError: a name that is neither a setting nor known to be another's. Inside a graph all other names are
            the graph's.
    """
    found = {name: value for name, value in configurable.items() if name in ours}
    if any(name.startswith(_INSIDE_A_GRAPH) for name in configurable):
        return found
    known = ours | _OTHERS | set(passed_over)
    for name in configurable:
        if name not in known and not name.startswith(_OTHERS_BEGIN):
            remedy = f"for a name of your own, give it in {face}(pass_over=[…])"
            raise SettingError(f"unknown configurable {name!r}{meant(name, ours)}; {remedy}")
    return found


def meant(name: str, known: Iterable[str]) -> str:
    """What an unknown name was perhaps meant to be, as a part of a sentence."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
