"""A seam that really makes each call once and keeps the reply: whoever asks the same again gets it with its usage and
latency.

So policies are compared on the very same answers, and a comparison that was stopped goes on where it was. Real calls
go out one at a time, and none is a model's first: no latency holds another call's work or a server's start.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, get_args

from curveroute.agent.chat.seam import Reply
from curveroute.agent.errors import CurverouteError, ModelCallError, TableError
from curveroute.agent.types import FinishReason, Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from curveroute.agent.chat.seam import Call, Chat
    from curveroute.agent.types import ModelId

    Pace = Callable[[ModelId, Usage], float]

Kept = Reply | ModelCallError


class CallLost(CurverouteError):
    """A call failed for good. It is not recorded, so the next start makes it again."""


class Once:
    """Replays what was recorded, and records what was not.

    Args:
        chat: makes the real calls.
        record: JSON lines, one a call; made when it is missing, for one pool on one machine.
        keep_failures: record a failed call as a reply of its own, instead of ending the comparison.
        pace: seconds of a call from its tokens, told in place of those measured, for a record of a busy machine.

    Raises:
        TableError: a line of the record that is no reply. A last line that was cut short is dropped.
    """

    def __init__(self, chat: Chat, record: Path, *, keep_failures: bool = False, pace: Pace | None = None) -> None:
        self._pace = pace
        self._chat = chat
        self._record = record
        self._keep_failures = keep_failures
        self._kept = read_record(record)
        self._warm: set[ModelId] = set()
        self._alone = asyncio.Lock()
        self.made = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def complete(
        self, call: Call, *, on_token: Callable[[str], None] | None = None, may_resend: Callable[[], bool] | None = None
    ) -> Reply:
        """The reply, from the record or from the model; see :class:`curveroute.agent.chat.seam.Chat`."""
        key = key_of(call)
        async with self._alone:
            kept = self._kept.get(key)
            if kept is None:
                kept = await self._really(call, may_resend)
                self._keep(key, call, kept)
        if isinstance(kept, ModelCallError):
            raise ModelCallError(str(kept), lost_tries=kept.lost_tries)
        if on_token is not None:
            on_token(kept.text)
        return kept if self._pace is None else replace(kept, latency_s=self._pace(call.arm.model, kept.usage))

    async def aclose(self) -> None:
        """Let go of the connections of the seam behind."""
        await self._chat.aclose()

    async def _really(self, call: Call, may_resend: Callable[[], bool] | None) -> Kept:
        try:
            if call.arm.model not in self._warm:
                await self._chat.complete(replace(call, max_tokens=1, schema=None, toolbox=None))
                self._warm.add(call.arm.model)
            self.made += 1
            return await self._chat.complete(call, may_resend=may_resend)
        except ModelCallError as error:
            if self._keep_failures:
                return error
            raise CallLost(f"{error}; start again: what was answered is kept in {self._record}") from error

    def _keep(self, key: str, call: Call, kept: Kept) -> None:
        asked = {"key": key, "model": call.arm.model, "max_tokens": call.max_tokens, "query": call.query_text}
        if isinstance(kept, ModelCallError):
            said: dict[str, Any] = {"error": str(kept), "lost_tries": kept.lost_tries}
        else:
            said = {"reply": asdict(kept)}
        self._record.parent.mkdir(parents=True, exist_ok=True)
        with self._record.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asked, **said}) + "\n")
        self._kept[key] = kept


def key_of(call: Call) -> str:
    """One name for each request: everything that the model is sent. The budget is in its prompt and its token limit."""
    sent: list[Any] = [call.arm.model, call.max_tokens, call.messages, call.sample, call.temperature, call.schema]
    if call.toolbox is not None or call.stop:  # keys of plain calls stay what they were
        sent += [None if call.toolbox is None else asdict(call.toolbox), call.stop]
    return hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()[:32]


def read_record(record: Path) -> dict[str, Kept]:
    """What was recorded, by key. A last line without its end is what a kill left, and is cut off the file.

    Raises:
        TableError: another line that is no reply, with its number.
    """
    if not record.exists():
        return {}
    held = record.read_bytes()
    whole = held[: held.rfind(b"\n") + 1]
    if whole != held:
        with record.open("r+b") as file:
            file.truncate(len(whole))
    lines = whole.decode("utf-8", "replace").split("\n")[:-1]
    return dict(_kept(line, f"{record.name}, line {number}") for number, line in enumerate(lines, start=1))


def _kept(line: str, where: str) -> tuple[str, Kept]:
    try:
        row: dict[str, Any] = json.loads(line)
        key = str(row["key"])
        if "error" in row:
            return key, ModelCallError(str(row["error"]), lost_tries=int(row["lost_tries"]))
        return key, _reply(row["reply"])
    except (ValueError, KeyError, TypeError) as error:
        raise TableError(
            f"{where}: no recorded reply ({error!r}); remove the line, and its call is made again"
        ) from error


def _reply(said: dict[str, Any]) -> Reply:
    reply = Reply(**{**said, "usage": Usage(**said["usage"]), "tool_calls": tuple(said.get("tool_calls", ()))})
    if not isinstance(reply.text, str) or reply.finish_reason not in get_args(FinishReason):
        raise ValueError(said)
    if not all(isinstance(number, int | float) for number in (reply.latency_s, *asdict(reply.usage).values())):
        raise TypeError(said)
    return reply
