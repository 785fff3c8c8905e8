"""Recent texts are embedded once: an LRU on the hash of the text, safe across threads and event loops."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.embed.seam import checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.embed.seam import Embedder, Vectors

DEFAULT_SIZE = 4096


class CachedEmbedder:
    """Any embedder, behind an LRU cache.

    Args:
        inner: what embeds the texts that were not seen lately.
        size: how many vectors are kept.
    """

    def __init__(self, inner: Embedder, *, size: int = DEFAULT_SIZE) -> None:
        self.inner = inner
        self.size = size
        self._kept: OrderedDict[bytes, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The inner embedder's name."""
        return self.inner.name

    @property
    def dim(self) -> int:
        """The inner embedder's dimension."""
        return self.inner.dim

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dim); texts that repeat, or were seen lately, cost nothing."""
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        found = self._look_up(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            given = await self.inner.embed(list(missing.values()))
            vectors = checked(given, len(missing), self.dim, self.name)
            fresh = {key: _frozen(vector) for key, vector in zip(missing, vectors, strict=True)}
            self._keep(fresh)
            found |= fresh
        return np.stack([found[key] for key in keys]) if keys else np.zeros((0, self.dim), dtype=np.float32)

    def _look_up(self, keys: list[bytes]) -> dict[bytes, Vectors]:
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
        return found

    def _keep(self, fresh: dict[bytes, Vectors]) -> None:
        with self._lock:
            self._kept.update(fresh)
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)


def _frozen(vector: Vectors) -> Vectors:
    own = np.array(vector, dtype=np.float32)
    own.flags.writeable = False
    return own
