"""A client of one endpoint: the ``openai`` client's address, headers and connections, asked without its detours.

Its ``post`` builds, copies and checks what never changes between two requests, at the price of half a call's overhead.
Here that is done once, when the client is made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpx2 import URL, AsyncClient, Response, Timeout
    from openai import AsyncOpenAI

    from curveroute.agent.types import JsonValue

_CONNECT_TIMEOUT_S = 10.0
# Servers close idle connections after five seconds; a request sent into that moment is lost, so ours are closed before.
_IDLE_S = 2.0


class Refused(Exception):
    """An answer with a status that is no success.

    Args:
        reason: what the server said of it.
        status: HTTP status.
        headers: of the answer.
    """

    def __init__(self, reason: str, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Client:
    """Asks one endpoint with one key, from one event loop."""

    owner: AsyncOpenAI = field(repr=False)
    http: AsyncClient = field(repr=False)
    url: URL
    headers: Mapping[str, str] = field(repr=False)
    key: str = field(repr=False)

    @classmethod
    def open(cls, base_url: str, key: str, *, reuse: bool) -> Self:
        """A client of the endpoint at ``base_url``; with ``reuse``, connections stay open between requests."""
        import httpx2
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        http = DefaultAsyncHttpxClient(
            limits=httpx2.Limits(keepalive_expiry=_IDLE_S, max_keepalive_connections=None if reuse else 0),
            mounts={"all://127.0.0.1": None, "all://localhost": None},  # an environment's proxy cannot reach these
        )
        owner = AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, http_client=http)
        given = {**owner.default_headers, **owner.auth_headers}
        headers = {name: value for name, value in given.items() if isinstance(value, str)}
        path, mark, query = base_url.partition("?")
        url = httpx2.URL(f"{path.rstrip('/')}/chat/completions{mark}{query}")
        return cls(owner, http, url, headers, key)

    async def post(self, body: Mapping[str, JsonValue], timeout_s: float) -> Response:
        """Send a request; what comes back is not read yet, and is the caller's to close.

        Raises:
            Refused: the server answered with a status that is no success.
            RequestError: httpx2's, of a connection.
        """
        request = self.http.build_request(
            "POST", self.url, json=body, headers=self.headers, timeout=_timeout(timeout_s)
        )
        response = await self.http.send(request, stream=True)
        if not response.is_success:
            raise await _refused(response)
        return response

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self.owner.close()


def _timeout(seconds: float) -> Timeout:
    from httpx2 import Timeout

    return Timeout(seconds, connect=min(_CONNECT_TIMEOUT_S, seconds))


async def _refused(response: Response) -> Refused:
    """What the server says of its refusal, in its own words."""
    from httpx2 import RequestError

    try:
        text = (await response.aread()).decode("utf-8", "replace").strip()
    except RequestError:
        text = ""
    finally:
        await response.aclose()
    return Refused(_message_in(text) or text or "no reason was given", response.status_code, response.headers)


def _message_in(text: str) -> str:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    error = told.get("error", told) if isinstance(told, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""
