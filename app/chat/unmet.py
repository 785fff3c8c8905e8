"""What is said where no answer satisfies the schema that it was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curveroute.agent.errors import SchemaUnmet
from curveroute.agent.settings import unless_hidden

if TYPE_CHECKING:
    from collections.abc import Mapping

REMEDY = "allow a longer budget or a stronger model, or simplify the schema"


def unmet(route: Mapping[str, Any]) -> SchemaUnmet:
    """The error of an answer at fault.

    Args:
        route: of the answer, as its message tells it.
    """
    return SchemaUnmet(
        f"no answer satisfies the schema (run {route['run_id']}); the best, of {route['arm']}: {fault_of(route)}; "
        f"{REMEDY}"
    )


def fault_of(route: Mapping[str, Any]) -> str:
    """What is at fault with an answer; it may quote the answer, so where contents are hidden only where it is told."""
    return unless_hidden(
        str(route["fault"]), f"its fault is hidden here; curveroute runs show {route.get('run_id', 'RUN')} tells it"
    )
