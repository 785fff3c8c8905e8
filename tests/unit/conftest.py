"""A real OpenAI-compatible server on a free port: it plays one scripted act a request and remembers what it saw.

And the live seam on it, which tries three times and never sleeps.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from curveroute.agent.chat.openai_chat import Endpoint, OpenAIChat
from curveroute.agent.chat.retry import RetryPolicy
from curveroute.agent.ledger import Ledger
from curveroute.agent.types import ModelId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PATIENCE_S = 10.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened


@dataclass
class Exchange:
    """One request as it came in, and the way back to who sent it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)

    async def head(self, status: int = 200, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.write("\r\n".join([*lines, "", ""]).encode())

    async def chunk(self, data: bytes) -> None:
        await self.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def events(self, *events: object) -> None:
        for event in events:
            shown = event if isinstance(event, str) else json.dumps(event)
            await self.chunk(f"data: {shown}\n\n".encode())

    async def stream(self, *events: object) -> None:
        """The head of a streamed answer and its first events."""
        await self.head(Content_Type="text/event-stream", Transfer_Encoding="chunked")
        await self.events(*events)

    async def end(self) -> None:
        await self.write(b"0\r\n\r\n")

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Act: TypeAlias = Callable[[Exchange], Awaitable[None]]


def piece(text: str | None = None, finish: str | None = None, logprobs: list[float] | None = None) -> dict[str, Any]:
    tokens = [{"token": "t", "logprob": value, "bytes": None, "top_logprobs": []} for value in logprobs or ()]
    choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    if logprobs is not None:
        choice["logprobs"] = {"content": tokens, "refusal": None}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def counted(prompt: int, completion: int, cached: int | None = None) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage}


def answers(*texts: str, usage: dict[str, Any] | None = None, finish: str = "stop", logprobs: Any = None) -> Act:
    """A whole answer in pieces; ``logprobs`` holds one list for each piece."""

    async def act(exchange: Exchange) -> None:
        given = logprobs or [None] * len(texts)
        pieces = [piece(text, logprobs=values) for text, values in zip(texts, given, strict=True)]
        await exchange.stream(*pieces, piece(finish=finish), *([usage] if usage else []), "[DONE]")
        await exchange.end()

    return act


def says(status: int, message: str = "no", **headers: str) -> Act:
    """An HTTP status with an error as body."""
    return replies({"error": {"message": message}}, status=status, **headers)


def replies(body: object, status: int = 200, **headers: str) -> Act:
    """A plain JSON answer."""

    async def act(exchange: Exchange) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers.setdefault("Content_Type", "application/json")
        await exchange.head(status, Content_Length=str(len(data)), **headers)
        await exchange.write(data)

    return act


def streams(*events: object, ended: bool) -> Act:
    """Some events; then a clean end of the stream, or the connection is cut in the middle."""

    async def act(exchange: Exchange) -> None:
        await exchange.stream(*events)
        if ended:
            await exchange.end()

    return act


async def hangs_up(exchange: Exchange) -> None:
    """The request is read and the connection closed without a word."""


class OpenAIServer:
    """Plays ``acts`` in order, then ``usual`` for ever.

    Attributes:
        seen: the requests, in order.
        most: requests that were in its hands at the same time, at most.
        left: set when a client goes away while ``stalls`` plays.
        stalled: set when ``stalls`` has sent what it had.
    """

    answers = staticmethod(answers)
    says = staticmethod(says)
    replies = staticmethod(replies)
    streams = staticmethod(streams)
    hangs_up = staticmethod(hangs_up)
    piece = staticmethod(piece)
    counted = staticmethod(counted)

    def __init__(self) -> None:
        self.acts: deque[Act] = deque()
        self.usual: Act = answers("fine", usage=counted(10, 2))
        self.seen: list[Exchange] = []
        self.most = 0
        self.left = threading.Event()
        self.stalled = threading.Event()
        self._now = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def stalls(self, *events: object) -> Act:
        """Some events, then nothing until the client goes away."""

        async def act(exchange: Exchange) -> None:
            await exchange.stream(*events)
            self.stalled.set()
            while await exchange.reader.read(1024):
                pass
            self.left.set()

        return act

    def slowly(self, act: Act, seconds: float) -> Act:
        async def later(exchange: Exchange) -> None:
            await asyncio.sleep(seconds)
            await act(exchange)

        return later

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            exchange = await _read(reader, writer)
            self.seen.append(exchange)
            await (self.acts.popleft() if self.acts else self.usual)(exchange)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            self._now -= 1
            writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    data = await reader.readexactly(int(headers.get("content-length", "0")))
    return Exchange(head[0].split()[1], headers, json.loads(data or b"{}"), reader, writer)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """An OpenAI-compatible server of this test's own."""
    started = OpenAIServer()
    started.start()
    yield started
    started.stop()


class Waits(list[float]):
    """Stands in for sleeping, and remembers for how long."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
async def chat_with(server: OpenAIServer, waits: Waits) -> AsyncIterator[Callable[..., OpenAIChat]]:
    """Makes live seams for the model "small" on the test's server (or at ``url``), and closes them."""
    made: list[OpenAIChat] = []

    def make(url: str = server.url, **changes: Any) -> OpenAIChat:
        async def locate() -> str:
            return url

        known = {"locate": locate, "served_as": "served/small", "key": lambda: "sk-very-secret-1234567890"}
        endpoint = Endpoint(**{**known, **changes})
        made.append(OpenAIChat({ModelId("small"): endpoint}, retry=RetryPolicy(tries=3, base_s=0.5), sleep=waits))
        return made[-1]

    yield make
    for chat in made:
        await chat.aclose()


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
