"""Feedback in LangSmith: a verdict on a model's run, or a user's word on a whole one, sent in the background."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from langsmith.utils import LangSmithNotFoundError

from curveroute.graphs.outbox import OUTBOX

if TYPE_CHECKING:
    from uuid import UUID

    from langsmith import Client

VERDICT_KEY = "curveroute.verdict"
# A project's id never changes, and asking for it is a request.
_PROJECTS: WeakKeyDictionary[Client, dict[str, UUID]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Feedback:
    """One word on one run.

    Attributes:
        run_id: the run that it is about, as LangSmith knows it.
        trace_id: the root of that run's trace, where it is known; LangSmith then takes feedback in batches.
        key: what the score measures.
        score: in [0, 1] for verdicts, any number for a user's.
        comment: why.
        source: ``model`` for what was computed, ``api`` for what a person said.
    """

    run_id: UUID
    trace_id: UUID | None
    key: str
    score: float | bool | None
    comment: str | None
    source: str = "model"


def send_later(client: Client, project: str, feedback: Feedback) -> bool:
    """Have feedback sent; false where too much waits already. Never waits for the network."""
    return OUTBOX.put(partial(_send, client, project, feedback))


def _send(client: Client, project: str, feedback: Feedback) -> None:
    session = _project_id(client, project)
    # When the process ends, the client's own threads are gone by now: what is left goes out at once.
    batched = feedback.trace_id if threading.main_thread().is_alive() else None
    client.create_feedback(
        run_id=feedback.run_id,
        trace_id=batched,
        key=feedback.key,
        score=feedback.score,
        comment=feedback.comment,
        feedback_source_type=feedback.source,
        session_id=session,
        stop_after_attempt=3,
    )


def _project_id(client: Client, project: str) -> UUID:
    known = _PROJECTS.setdefault(client, {})
    if project not in known:
        try:
            known[project] = client.read_project(project_name=project).id
        except LangSmithNotFoundError:  # it is made when its first run arrives
            client.flush()
            known[project] = client.read_project(project_name=project).id
    return known[project]
