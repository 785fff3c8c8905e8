"""The names of runs: short at their beginning, where people read them, and the name of a trace when read backwards.

A tracer orders runs by the time that a UUID of version 7 begins with. The first digits of a ledger's run are how people
name it, so they must differ between runs of the same hour. A UUID 7 ends in chance: turned round, it serves both.
"""

from __future__ import annotations

from uuid import UUID

from langchain_core.utils.uuid import uuid7

from curveroute.agent.types import RunId

_UUID_7 = 7


def new_run_id() -> RunId:
    """A name for a new run, whose trace can be found by it; see :func:`trace_id_of`."""
    return RunId(uuid7().hex[::-1])


def trace_id_of(run_id: str) -> UUID | None:
    """The name that a run has in traces; none for runs whose name was not made by :func:`new_run_id`."""
    try:
        found = UUID(hex=run_id[::-1])
    except ValueError:
        return None
    return found if found.version == _UUID_7 else None
