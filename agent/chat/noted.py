"""Calls that are noted before they are sent, so that a process which dies while one is in flight leaves its trace.

Whoever takes such a run up finds the note and no answer: the call may have been billed, so it stays charged at its
worst case. A call that comes back takes its note with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from curveroute.agent.chat.seam import Call, Chat, Reply
    from curveroute.agent.types import Attempt


@dataclass(frozen=True, slots=True)
class NotedChat:
    """A chat seam that writes a note before each call.

    Attributes:
        chat: the seam that answers.
        note: keeps what the call would be charged if no answer ever came; it is durable when this returns.
        number: of this try of the same call, from 1; earlier ones died in flight.
    """

    chat: Chat
    note: Callable[[Attempt], Awaitable[None]]
    number: int = 1

    async def complete(
        self, call: Call, *, on_token: Callable[[str], None] | None = None, may_resend: Callable[[], bool] | None = None
    ) -> Reply:
        """Answer one call, as the seam does; whoever sends it writes the note, who knows its worst case."""
        return await self.chat.complete(call, on_token=on_token, may_resend=may_resend)

    async def aclose(self) -> None:
        """Close the seam."""
        await self.chat.aclose()
