"""The graph that ``langgraph dev`` serves: the local pool, composed once; a client's context sets its settings.

Importing this module composes the parts, so that a server finds out about a missing part when it starts, and no run
waits for the disk.
"""

from __future__ import annotations

from curveroute.compose import compose_parts
from curveroute.graphs.context import Context
from curveroute.graphs.graph import build

graph = build(Context(parts=compose_parts("local")))
