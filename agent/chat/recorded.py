"""A seam that replays recorded attempts: the same graph runs over thousands of queries at no cost.

An attempt is found by what was asked and of whom: query text, model, budget, sample. What was never recorded fails like
a model that cannot answer, so a planner or judge without recordings falls back in the open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.errors import ModelCallError, TableError
from curveroute.agent.types import Arm, Budget, FinishReason, ModelId, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Key = tuple[str, str, Budget, int]

_NEEDED = ("query", "model", "budget", "sample", "finish_reason", "input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of a curve table, as the seam needs it."""

    query: str
    arm: Arm
    sample: int
    reply: Reply


class RecordedChat:
    """Replays recordings.

    Args:
        recordings: what was seen; a repeated key is an error.
    """

    def __init__(self, recordings: Iterable[Recording]) -> None:
        self._replies: dict[Key, Reply] = {}
        for recording in recordings:
            key = (recording.query, recording.arm.model, recording.arm.budget, recording.sample)
            if key in self._replies:
                raise TableError(
                    f"recorded twice: {recording.arm} sample {recording.sample} of {recording.query[:60]!r}"
                )
            self._replies[key] = recording.reply

    def __len__(self) -> int:
        return len(self._replies)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, object]]) -> RecordedChat:
        """From the rows of a curve table; the text is ``response`` where it was kept, else ``answer``.

        Raises:
            TableError: a row without a needed column, with a count that is no whole number, or recorded twice.
        """
        return cls(_recording(row) for row in rows)

    async def complete(
        self,
        call: Call,
        *,
        on_token: Callable[[str], None] | None = None,
        may_resend: Callable[[], bool] | None = None,  # noqa: ARG002  (nothing is ever resent)
    ) -> Reply:
        """The recorded reply; see :class:`curveroute.agent.chat.seam.Chat`."""
        reply = self._replies.get((call.query_text, call.arm.model, call.arm.budget, call.sample))
        if reply is None or call.schema is not None:
            raise ModelCallError(f"nothing recorded for {call.arm} sample {call.sample} of {call.query_text[:60]!r}")
        if on_token is not None:
            on_token(reply.text)
        return reply

    async def aclose(self) -> None:
        """Nothing is held."""


def _recording(row: Mapping[str, object]) -> Recording:
    missing = [name for name in _NEEDED if name not in row]
    if missing:
        raise TableError(f"a recorded row has no column {', '.join(missing)}; give the rows of a curve table")
    budget = row["budget"]
    text = row.get("response") or row.get("answer") or ""
    finish: FinishReason = "length" if row["finish_reason"] == "length" else "stop"
    return Recording(
        query=str(row["query"]),
        arm=Arm(ModelId(str(row["model"])), None if budget is None else _integer(budget)),
        sample=_integer(row["sample"]),
        reply=Reply(
            text=str(text),
            usage=Usage(_integer(row["input_tokens"]), _integer(row["output_tokens"])),
            finish_reason=finish,
            latency_s=_number(row.get("latency_s")),
            confidence=None if row.get("confidence") is None else _number(row["confidence"]),
        ),
    )


def _integer(value: object) -> int:
    if isinstance(value, int | float) and math.isfinite(value) and value == int(value):
        return int(value)
    raise TableError(f"{value!r} is not a whole number")


def _number(value: object) -> float:
    if value is None:
        return 0.0
    if isinstance(value, int | float):
        return float(value)
    raise TableError(f"{value!r} is not a number")
