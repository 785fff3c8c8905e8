"""Models behind OpenAI-compatible endpoints.

Each event loop gets its own client, because a client's connections belong to the loop that opened them. Cancelling the
awaiting task closes the connection, which stops the server.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from curveroute.agent.chat.client import Client, Refused
from curveroute.agent.chat.event_stream import StreamFault, events_of
from curveroute.agent.chat.gathering import Gathered, gather, reply_of
from curveroute.agent.chat.request import call_body
from curveroute.agent.chat.retry import RetryPolicy, is_ambiguous, is_mendable, retry_after_s
from curveroute.agent.chat.tool_schema import read_tool_reply, with_form_told
from curveroute.agent.errors import LocalServerError, ModelCallError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from httpx2 import Response

    from curveroute.agent.chat.seam import Call, Reply
    from curveroute.agent.types import JsonValue, ModelId

_CLIENT_MODULES = ("openai", "httpx2")
_LONGEST_REASON = 600
_HIDDEN = "[the key]"
_NEVER_SENT = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "LocalProtocolError"}
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one model is reached.

    Attributes:
        locate: finds the base URL; for a local model this starts its server.
        served_as: the name that the server knows the model by.
        address: how errors name the place.
        key: the secret, read when it is needed; ``None`` for servers that want none.
        revive: called once after a lost connection, for servers that are ours to restart.
        logprobs: ask for token probabilities.
        concurrency: calls in flight at most.
        timeout_s: for one request, from sending to the last byte.
        limit_field: the request's name for the token limit; newer endpoints say ``max_completion_tokens``.
        reuse: keep connections open between requests. llama.cpp's server drops a reused connection now and then, and a
            new one costs nothing on this machine, so its endpoints do not.
        extra_body: further fields of the request.
        tools_as_schema: tell tools and schema in the prompt, and hold calls to a schema instead of handing tools over.
    """

    locate: Callable[[], Awaitable[str]]
    served_as: str
    address: str = ""
    key: Callable[[], str] | None = field(default=None, repr=False)
    revive: Callable[[], Awaitable[None]] | None = None
    logprobs: bool = False
    concurrency: int = 8
    timeout_s: float = 120.0
    limit_field: str = "max_tokens"
    reuse: bool = True
    extra_body: Mapping[str, JsonValue] = field(default_factory=dict)
    tools_as_schema: bool = False


@dataclass(slots=True)
class _PerLoop:
    clients: dict[tuple[str, str], Client] = field(default_factory=dict, repr=False)
    slots: dict[ModelId, asyncio.Semaphore] = field(default_factory=dict)


class OpenAIChat:
    """The live seam.

    Args:
        endpoints: where each model is reached.
        retry: when a failed request is repeated.
        clock: seconds; for latencies.
        sleep: waits between tries.
    """

    def __init__(
        self,
        endpoints: Mapping[ModelId, Endpoint],
        *,
        retry: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._endpoints = dict(endpoints)
        self._retry = retry or RetryPolicy()
        self._clock = clock
        self._sleep = sleep
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _PerLoop] = WeakKeyDictionary()

    async def complete(
        self, call: Call, *, on_token: Callable[[str], None] | None = None, may_resend: Callable[[], bool] | None = None
    ) -> Reply:
        """Answer one call; see :class:`curveroute.agent.chat.seam.Chat`."""
        endpoint = self._endpoints.get(call.arm.model)
        if endpoint is None:
            raise ModelCallError(f"model {call.arm.model!r} has no endpoint in this pool")
        if not endpoint.tools_as_schema:
            return await self._complete(endpoint, call, on_token, may_resend)
        silent = call.toolbox is not None  # its words stand inside JSON until it is whole
        reply = await self._complete(endpoint, with_form_told(call), None if silent else on_token, may_resend)
        reply = read_tool_reply(call, reply)
        if silent and reply.text and on_token is not None:
            on_token(reply.text)
        return reply

    async def _complete(
        self,
        endpoint: Endpoint,
        call: Call,
        on_token: Callable[[str], None] | None,
        may_resend: Callable[[], bool] | None,
    ) -> Reply:
        lost, tried, revived = 0, 0, False
        async with self._slot(call.arm.model, endpoint):
            started = self._clock()
            while True:
                tried += 1
                try:
                    gathered = await self._request(endpoint, call, on_token)
                    return reply_of(call, gathered, self._clock() - started, lost)
                except _Failed as failure:
                    lost += failure.ambiguous
                    wait = self._next_wait(failure, tried, may_resend)
                    if wait is None:
                        raise failure.as_error(call.arm.model, endpoint.address, tried, lost) from failure.__cause__
                    if failure.lost_connection and endpoint.revive is not None and not revived:
                        revived = True
                        await _revive(endpoint.revive, lost)
                    await self._sleep(wait)

    async def aclose(self) -> None:
        """Close the clients of the running event loop."""
        held = self._loops.pop(asyncio.get_running_loop(), None)
        for client in held.clients.values() if held else ():
            await client.aclose()

    def _next_wait(self, failure: _Failed, tried: int, may_resend: Callable[[], bool] | None) -> float | None:
        if not failure.mendable or failure.streamed:
            return None
        wait = self._retry.wait_s(tried, failure.retry_after_s)
        if wait is not None and failure.ambiguous and not (may_resend is not None and may_resend()):
            return None
        return wait

    async def _request(self, endpoint: Endpoint, call: Call, on_token: Callable[[str], None] | None) -> Gathered:
        """One request, streamed so that a cancel or a lost reader stops the server at once."""
        gathered = Gathered()
        client = await self._client(endpoint)
        try:
            async with asyncio.timeout(endpoint.timeout_s):
                response = await _send(client, endpoint, call)
                async with aclosing(events_of(response)) as events:
                    await gather(events, gathered, on_token)
        except Exception as error:
            failure = _failure(error, endpoint, client.key, streamed=_was_told(gathered, on_token))
            if failure is None:
                raise
            if gathered.finish is None:  # otherwise the answer is whole, and only the end of its transfer was lost
                raise failure from (None if _HIDDEN in str(failure) else error)
        if gathered.finish is None:
            reason = "the server closed the stream in mid-answer"
            raise _Failed.of_connection(reason, sent=True, streamed=_was_told(gathered, on_token))
        return gathered

    def _slot(self, model: ModelId, endpoint: Endpoint) -> asyncio.Semaphore:
        held = self._loops.setdefault(asyncio.get_running_loop(), _PerLoop())
        return held.slots.setdefault(model, asyncio.Semaphore(endpoint.concurrency))

    async def _client(self, endpoint: Endpoint) -> Client:
        try:
            base_url = await endpoint.locate()
        except (LocalServerError, WeightsError) as error:
            raise _Failed(str(error), mendable=False, ambiguous=False) from error
        key = endpoint.key() if endpoint.key else "none"
        if not (key and key.isascii() and key.isprintable()):
            raise _Failed("its key holds what no HTTP header can carry; set it again", mendable=False, ambiguous=False)
        held = self._loops.setdefault(asyncio.get_running_loop(), _PerLoop())
        if (base_url, key) not in held.clients:
            await asyncio.to_thread(_import_client)
        if (base_url, key) not in held.clients:  # another call may have made it meanwhile
            held.clients[base_url, key] = Client.open(base_url, key, reuse=endpoint.reuse)
        return held.clients[base_url, key]


class _Failed(Exception):
    """One request that brought no answer."""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        mendable: bool,
        ambiguous: bool,
        lost_connection: bool = False,
        streamed: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.mendable = mendable
        self.ambiguous = ambiguous
        self.lost_connection = lost_connection
        self.streamed = streamed
        self.retry_after_s = retry_after_s

    @classmethod
    def of_status(cls, status: int, headers: Mapping[str, str], reason: str) -> _Failed:
        mendable, ambiguous = is_mendable(status), is_ambiguous(status)
        return cls(reason, status=status, mendable=mendable, ambiguous=ambiguous, retry_after_s=retry_after_s(headers))

    @classmethod
    def of_connection(cls, reason: str, *, sent: bool, streamed: bool) -> _Failed:
        return cls(reason, mendable=True, ambiguous=sent, lost_connection=True, streamed=streamed)

    def as_error(self, model: str, address: str, tried: int, lost: int) -> ModelCallError:
        status = f" (HTTP {self.status})" if self.status else ""
        times = "1 try" if tried == 1 else f"{tried} tries"
        place = f" at {address}" if address else ""
        return ModelCallError(
            f"{model}{place}: no answer after {times}{status}: {str(self)[:_LONGEST_REASON]}",
            status=self.status,
            lost_tries=lost,
        )


def _import_client() -> None:
    """Import what a client needs, half a second's work the first time: in a thread, for the event loop's sake."""
    for name in _CLIENT_MODULES:
        importlib.import_module(name)


async def _revive(revive: Callable[[], Awaitable[None]], lost: int) -> None:
    try:
        await revive()
    except (LocalServerError, WeightsError) as error:
        raise ModelCallError(str(error), lost_tries=lost) from error


async def _send(client: Client, endpoint: Endpoint, call: Call) -> Response:
    body = call_body(call, served_as=endpoint.served_as, limit_field=endpoint.limit_field, logprobs=endpoint.logprobs)
    return await client.post({**body, **endpoint.extra_body}, endpoint.timeout_s)


def _was_told(gathered: Gathered, on_token: Callable[[str], None] | None) -> bool:
    """Whether someone has seen a part of the answer, so that another try cannot take its place."""
    return on_token is not None and bool(gathered.text)


def _failure(error: Exception, endpoint: Endpoint, key: str, *, streamed: bool) -> _Failed | None:
    """What an exception says about its request; ``None`` when it is not the endpoint's doing."""
    import httpx2

    reason = _reason(error).replace(key, _HIDDEN) if endpoint.key else _reason(error)
    if isinstance(error, Refused):
        return _Failed.of_status(error.status, error.headers, reason)
    if isinstance(error, TimeoutError | httpx2.TimeoutException) and _sent(error):
        reason = f"no complete answer within {endpoint.timeout_s:g} s"
        return _Failed.of_connection(reason, sent=True, streamed=streamed)
    if isinstance(error, httpx2.RequestError):
        return _Failed.of_connection(f"the connection failed ({reason})", sent=_sent(error), streamed=streamed)
    if isinstance(error, StreamFault):
        return _Failed.of_connection(reason, sent=True, streamed=streamed)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return _Failed.of_connection(f"the server's stream is not JSON ({reason})", sent=True, streamed=streamed)
    return None


def _sent(error: Exception) -> bool:
    """Whether the request may have reached the server before the connection failed."""
    return type(error).__name__ not in _NEVER_SENT


def _reason(error: Exception) -> str:
    cause = error.__cause__
    said = str(error) or type(error).__name__
    return said + (f" ({cause})" if cause is not None and str(cause) not in said else "")
