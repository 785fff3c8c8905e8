"""Server-sent events as chat endpoints send them: each one's data, read as JSON; ``[DONE]`` is the last.

The client's own reader is made for every kind of event, and took as long as all that the router decides. Of an event
nothing but its data is read; comments, names and ids say nothing here. A server that does not stream answers in one
piece of JSON, which is read as one event.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from httpx2 import Response

_DONE = b"[DONE]"
_BOM = b"\xef\xbb\xbf"
_DRAIN_S = 0.1


class StreamFault(Exception):
    """An error that a server tells of in the midst of its stream, or in the place of one."""


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
            said = line.rstrip(b"\r\n").removeprefix(_BOM)
            if said.startswith(b"data:"):
                self._data.append(said[5:].removeprefix(b" "))
            elif not said and self._data:
                data, self._data = b"\n".join(self._data), []
                if data.startswith(_DONE):
                    self.done = True
                    return
                yield _read(data)


async def events_of(response: Response) -> AsyncGenerator[object, None]:
    """The events of a response, which is closed at the end, however it comes.

    What follows ``[DONE]`` is read and thrown away for a moment, so that the connection can be used again.

    Raises:
        StreamFault: it is of another kind.
    """
    events, before = Events(), [b""]  # what came before the first event
    encoded = "content-encoding" in response.headers
    pieces = response.aiter_bytes() if encoded else response.aiter_raw()
    try:
        async for piece in pieces:
            if before:
                before.append(piece)
            for event in events.read(piece):
                before.clear()
                yield event
            if events.done:
                await _drain(pieces)
                return
        if before:
            for event in _whole(response, b"".join(before)):
                yield event
    finally:
        await response.aclose()


def _whole(response: Response, body: bytes) -> Iterator[object]:
    """The answer of a server that does not stream."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.endswith("json"):
        yield _read(body)
    elif kind != "text/event-stream":
        raise StreamFault(f"the server's answer is {kind or 'of no kind'} and no stream: is the address right?")


def _read(data: bytes) -> object:
    """The JSON in some bytes; what is too long or too deep to be read is none."""
    try:
        return json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), "", 0) from error


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    from httpx2 import RequestError

    try:
        async with asyncio.timeout(_DRAIN_S):
            async for _ in pieces:
                pass
    except (TimeoutError, RequestError):  # the answer is whole
        return
