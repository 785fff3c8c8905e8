"""Embeddings from any OpenAI-compatible endpoint: the alternative to the default."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import numpy as np

from curveroute.agent.embed.seam import Vectors, checked, encodable
from curveroute.agent.errors import EmbedError
from curveroute.agent.settings import hides_contents, unless_hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from openai import AsyncOpenAI

_BATCH = 128
_LONGEST_REASON = 300
_TRIES = 3


class OpenAIEmbedder:
    """An embeddings endpoint.

    Args:
        model: the model's name at the endpoint; part of this embedder's name.
        dim: the length of its vectors.
        base_url: the endpoint.
        key: reads the secret when it is needed.
        timeout_s: for one request.
    """

    def __init__(
        self, model: str, *, dim: int, base_url: str, key: Callable[[], str] | None = None, timeout_s: float = 30.0
    ) -> None:
        self.model = model
        self.dim = dim
        self.base_url = base_url
        self.timeout_s = timeout_s
        self._key = key
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        """``openai:`` and the model's name."""
        return f"openai:{self.model}"

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dim); see :class:`curveroute.agent.embed.seam.Embedder`."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        batches = [await self._batch(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return np.concatenate(batches)

    async def aclose(self) -> None:
        """Close the client of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    async def _batch(self, texts: Sequence[str]) -> Vectors:
        from openai import APIError

        key = self._key() if self._key else None
        try:
            answer = await self._client(key).embeddings.create(
                model=self.model, input=[encodable(text) or " " for text in texts], encoding_format="float"
            )
            ordered = sorted(answer.data, key=lambda item: item.index)
            vectors = [item.embedding for item in ordered]
        except APIError as error:
            silent = hides_contents() or (key and key in str(error))
            raise self._failed(str(error), key) from (None if silent else error)
        except (AttributeError, TypeError, ValueError) as error:
            raise self._failed(f"its answer is not a list of embeddings ({error})", key) from None
        return checked(cast("Vectors", vectors), len(texts), self.dim, self.name)

    def _failed(self, reason: str, key: str | None) -> EmbedError:
        shown = unless_hidden(reason.replace(key, "[the key]") if key else reason)
        return EmbedError(
            f"{self.name} at {self.base_url} failed: {shown[:_LONGEST_REASON]}; check the endpoint, model and key"
        )

    def _client(self, key: str | None) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = AsyncOpenAI(
                base_url=self.base_url, api_key=key or "none", max_retries=_TRIES - 1, timeout=self.timeout_s
            )
        return self._clients[loop]
