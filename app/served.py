"""The graph that ``langgraph dev`` serves: the local pool, composed once; a client's context sets its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curveroute.compose import compose_parts
from curveroute.graphs.build import build
from curveroute.graphs.context import Context

if TYPE_CHECKING:
    from curveroute.graphs.build import Graph


def graph() -> Graph:
    """The uncompiled graph with the local pool's parts bound to it."""
    return build(Context(parts=compose_parts("local")))
