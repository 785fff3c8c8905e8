"""What a checkpoint brings back, read before it is used: another version may have written it, in another shape.

Newer fields have defaults, so an older checkpoint resumes. What cannot be read LangGraph brings back as nothing, or as
bare data; that is told in words, and nothing is asked or paid on the strength of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curveroute.agent.errors import CheckpointError
from curveroute.agent.probe import Ask
from curveroute.agent.step import Turn
from curveroute.agent.types import Arm, Attempt, Decision, Estimate, Plan, Query, Usage, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from curveroute.agent.types import AttemptId


def checked(state: Mapping[str, object], *names: str) -> None:
    """See to it that these keys of the state hold what this version puts there.

    Raises:
        CheckpointError: one does not; the message names it and the remedy.
    """
    for name in names:
        if not _READS[name](state.get(name)):
            raise CheckpointError(
                f"the checkpoint of run {state.get('run_id')!r} holds no {name!r} that this version of curveroute can "
                "read: it was written by another version, or read by a serializer without graphs.STATE_TYPES. Ask the "
                "question again on the same thread; what the run had spent stays in the ledger"
            )


def heard_in(state: Mapping[str, object]) -> dict[AttemptId, tuple[Word, ...]]:
    """What verifiers said so far; what an older version did not keep, or cannot be read, they are asked again."""
    found = state.get("heard")
    return {
        name: tuple(one for one in words if isinstance(one, Word))
        for name, words in (found.items() if isinstance(found, dict) else ())
    }


def _is_attempt(one: object) -> bool:
    return isinstance(one, Attempt) and _is_arm(one.arm) and isinstance(one.usage, Usage)


def _is_ask(one: object) -> bool:
    return isinstance(one, Ask) and _is_arm(one.arm)


def _is_turn(one: object) -> bool:
    return isinstance(one, Turn) and isinstance(one.decision, Decision) and all(map(_is_ask, one.asks))


def _are_estimates(given: object) -> bool:
    return isinstance(given, tuple | list) and all(isinstance(one, Estimate) and _is_arm(one.arm) for one in given)


def _is_arm(one: object) -> bool:
    return isinstance(one, Arm)


_READS: dict[str, Callable[[object], bool]] = {
    "run_id": lambda given: isinstance(given, str),
    "query": lambda given: isinstance(given, Query) and given.form is not None,
    "candidates": _are_estimates,
    "plan": lambda given: isinstance(given, Plan) and all(map(_is_arm, given.arms)),
    "turn": _is_turn,
    "ask": _is_ask,
    "attempts": lambda given: isinstance(given, dict) and all(map(_is_attempt, given.values())),
    "decisions": lambda given: isinstance(given, tuple | list) and all(isinstance(one, Decision) for one in given),
}
