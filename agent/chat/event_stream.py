"""Server-sent events as chat endpoints send them: each one's data, read as JSON; ``[DONE]`` is the last.

The client's own reader is made for every kind of event, and took as long as all that the router decides. Of an event
nothing but its data is read; comments, names and ids say nothing here.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from httpx2 import Response

_DONE = b"[DONE]"
_DRAIN_S = 0.1


class Events:
    """Reads events out of pieces of bytes, wherever these are cut."""

    def __init__(self) -> None:
        self.done = False
        self._cut: list[bytes] = []  # the beginning of a line whose end has not come
        self._data: list[bytes] = []

    def read(self, piece: bytes) -> Iterator[object]:
        """The data of every event that this piece ends; nothing more once the stream has said that it is done."""
        self._cut.append(piece)
        if b"\n" not in piece and b"\r" not in piece:
            return
        lines = b"".join(self._cut).splitlines(keepends=True)
        # A carriage return at the very end may be half of a line's end.
        self._cut = [] if lines[-1].endswith(b"\n") else [lines.pop()]
        for line in lines:
            said = line.rstrip(b"\r\n")
            if said.startswith(b"data:"):
                self._data.append(said[5:].removeprefix(b" "))
            elif not said and self._data:
                data, self._data = b"\n".join(self._data), []
                if data.startswith(_DONE):
                    self.done = True
                    return
                yield json.loads(data)


async def events_of(response: Response) -> AsyncGenerator[object, None]:
    """The events of a response, which is closed at the end, however it comes.

    What follows ``[DONE]`` is read and thrown away for a moment, so that the connection can be used again.
    """
    events = Events()
    encoded = "content-encoding" in response.headers
    pieces = response.aiter_bytes() if encoded else response.aiter_raw()
    try:
        async for piece in pieces:
            for event in events.read(piece):
                yield event
            if events.done:
                await _drain(pieces)
                return
    finally:
        await response.aclose()


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    from httpx2 import RequestError

    try:
        async with asyncio.timeout(_DRAIN_S):
            async for _ in pieces:
                pass
    except (TimeoutError, RequestError):  # the answer is whole
        return
