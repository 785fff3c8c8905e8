"""The LangGraph house: state, context, thin nodes, edges, and ``build()``, which returns the uncompiled graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curveroute.graphs.caching import question_key
    from curveroute.graphs.context import Context, Parts
    from curveroute.graphs.graph import build
    from curveroute.graphs.state import STATE_TYPES

__all__ = ["STATE_TYPES", "Context", "Parts", "build", "question_key"]

_HOMES = {
    "build": "curveroute.graphs.graph",
    "Context": "curveroute.graphs.context",
    "Parts": "curveroute.graphs.context",
    "STATE_TYPES": "curveroute.graphs.state",
    "question_key": "curveroute.graphs.caching",
}


def __getattr__(name: str) -> object:
    import importlib

    if name not in _HOMES:
        message = f"module 'curveroute.graphs' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)
