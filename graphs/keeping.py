"""What a run keeps where it may be taken up again: an id that a restart finds again, and notes of calls in flight.

Only under a checkpointer: without one nobody can take a run up, and nothing is written for it.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from langgraph.config import get_config

from curveroute.agent.chat.noted import NotedChat
from curveroute.agent.ledger.events import CallLanded, CallSent, Totals, note_id
from curveroute.agent.step import spent_usd
from curveroute.agent.types import Attempt, AttemptId, RunId
from curveroute.graphs.model_runs import traced_chat
from curveroute.graphs.run_ids import new_run_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    from langgraph.runtime import Runtime

    from curveroute.agent.chat.seam import Chat
    from curveroute.agent.ledger.events import Event
    from curveroute.agent.probe import Ask
    from curveroute.graphs.context import Context, Parts

    Made: TypeAlias = Callable[[AttemptId], Awaitable[tuple[Attempt, ...]]]

_CHECKPOINTER = "__pregel_checkpointer"
_NAMESPACE = uuid.UUID("5f2b0c9e-6f0c-4d57-9a3a-3b0b9f3d6a11")


def is_kept() -> bool:
    """Whether the graph that the calling node belongs to, or one around it, has a checkpointer."""
    return bool(get_config().get("configurable", {}).get(_CHECKPOINTER))


def run_id_of(runtime: Runtime[Context], context: Context) -> RunId:
    """The id of a run that begins here: under a checkpointer the same one when it begins here again after a crash.

    With other settings it is another run: a thread may be branched off at an earlier checkpoint.
    """
    here = runtime.execution_info
    if here is None or not is_kept():
        return new_run_id()
    settings = replace(context, parts=None)
    return RunId(uuid.uuid5(_NAMESPACE, f"{here.thread_id} {here.checkpoint_ns} {here.checkpoint_id} {settings}").hex)


def ledger_before(context: Context, parts: Parts) -> Made:
    """Where to look for calls that were made before; a run that nobody can have taken up has none, and asks nobody."""
    return _none_made if context.fresh and not is_kept() else parts.ledger.made


async def made_before(made: Made, ask: Ask) -> tuple[Ask, tuple[Attempt, ...]]:
    """What of an ask was made before this process, and the ask by the name under which it is looked for.

    A branch of a thread may ask another arm at the same step of the same run: that is another attempt.
    """
    before = await made(ask.attempt_id)
    if all(attempt.arm == ask.arm for attempt in before):
        return ask, before
    ask = replace(ask, attempt_id=AttemptId(f"{ask.attempt_id}.{ask.arm}"))
    return ask, await made(ask.attempt_id)


async def _none_made(attempt_id: AttemptId) -> tuple[Attempt, ...]:  # noqa: ARG001
    return ()


def totals_of(attempts: Sequence[Attempt]) -> Totals | None:
    """What a run counted; none where the ledger is to sum, which knows of all branches of a thread."""
    if is_kept():
        return None
    return Totals(
        cost_usd=spent_usd(attempts),
        input_tokens=sum(attempt.usage.input_tokens for attempt in attempts),
        output_tokens=sum(attempt.usage.output_tokens for attempt in attempts),
        attempts=len(attempts),
    )


def noted_chat(parts: Parts, run_id: RunId, number: int = 1) -> Chat:
    """The chat seam, told to tracers, with a note in the ledger before each call where the run may be taken up again.

    Args:
        parts: chat seam, ledger and prices.
        run_id: of the run.
        number: of this try of the same call, from 1.
    """
    chat = traced_chat(parts.chat, parts.pool)
    if not is_kept():
        return chat

    async def note(attempt: Attempt) -> None:
        await parts.ledger.record(run_id, CallSent(attempt, parts.pool.prices(attempt.arm.model)))

    return NotedChat(chat, note, number)


def landed(attempt_ids: Sequence[AttemptId], number: int = 1) -> list[Event]:
    """The end of the notes of these calls."""
    return [CallLanded(note_id(name, number)) for name in attempt_ids] if is_kept() else []


def notes_among(attempts: Sequence[Attempt], attempt_id: AttemptId) -> int:
    """How many processes died while this call was in flight."""
    return sum(attempt.attempt_id.startswith(f"{attempt_id}.sent") for attempt in attempts)
