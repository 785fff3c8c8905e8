"""What a run knows. Every key is written by one node and read by later ones; attempts alone grow from many.

Values are the frozen words of ``curveroute.agent.types``, so that a checkpoint holds data and nothing else.
"""

from __future__ import annotations

from typing import Annotated

from typing_extensions import TypedDict

from curveroute.agent.approval import ApprovalRequest, PricedArm
from curveroute.agent.probe import Ask
from curveroute.agent.step import Turn
from curveroute.agent.types import (
    Arm,
    Attempt,
    AttemptId,
    Decision,
    Estimate,
    Flip,
    Form,
    Message,
    Plan,
    Query,
    Rejection,
    RunId,
    Status,
    Tool,
    Toolbox,
    Usage,
    Verdict,
    Word,
)

STATE_TYPES = (
    Arm, Ask, Attempt, Decision, Estimate, Flip, Form, Plan, Query, Rejection, Tool, Toolbox, Turn, Usage, Verdict,
    Word,
)  # fmt: skip
"""Every class that a checkpoint of this graph holds: ``JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES)``.

A serializer without the list warns about each of them. With ``LANGGRAPH_STRICT_MSGPACK=true`` LangGraph finds them by
itself when the graph is compiled; but ``langgraph dev`` does not: docs/serve.md.
"""


def merge_attempts(known: dict[AttemptId, Attempt], fresh: dict[AttemptId, Attempt]) -> dict[AttemptId, Attempt]:
    """Attempts by id, in the order in which they were made; a later version of one replaces it in its place."""
    return {**known, **fresh}


class Input(TypedDict):
    """What a caller gives: the conversation."""

    messages: list[Message]


class Output(TypedDict, total=False):
    """What a caller gets.

    ``answer_attempt_id`` names the attempt whose text is the answer; it is missing when every attempt failed.
    """

    run_id: RunId
    status: Status
    reason: str
    answer: str
    answer_attempt_id: AttemptId | None
    cost_usd: float
    attempts: Annotated[dict[AttemptId, Attempt], merge_attempts]
    candidates: tuple[Estimate, ...]
    plan: Plan
    decisions: tuple[Decision, ...]


class Update(Output, total=False):
    """What a node may write.

    ``heard`` is what the user's verifiers said of each answer, so that none is asked twice about one.
    ``approval`` is what a person is to be asked before the turn is taken; ``allowed_usd`` what the run may spend in all
    without asking again, and ``refused`` the arms that a person did not allow.
    """

    query: Query
    turn: Turn
    heard: dict[AttemptId, tuple[Word, ...]]
    approval: ApprovalRequest | None
    allowed_usd: float | None
    refused: list[PricedArm]


class State(Input, Update):
    """Everything between."""


class ProbeInput(TypedDict):
    """One arm to be asked: what ``Send`` hands to the probe node."""

    run_id: RunId
    query: Query
    ask: Ask
    live: bool
