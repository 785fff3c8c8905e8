"""Embeddings kept on disk: a second evaluation of the same texts reads in a moment what took a minute.

One file holds the vectors of one set of texts by one embedder; its name is the hash of both, so a file is never wrong,
only absent or damaged, and a damaged one is made again.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.embed.seam import checked
from curveroute.agent.errors import EmbedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from curveroute.agent.embed.seam import Embedder, Vectors

_BATCH = 64


async def kept_embeddings(
    texts: Sequence[str], embedder: Embedder, folder: Path | None, watch: Callable[[int, int], None] | None = None
) -> Vectors:
    """Vectors of shape (len(texts), dim); each distinct text is embedded once, and never again in that folder.

    Args:
        texts: in any order, repeats welcome.
        embedder: what embeds them.
        folder: of the cache, made when missing; one that cannot be written, or None, only costs time.
        watch: told how many distinct texts of how many are embedded.

    Raises:
        EmbedError: the texts could not be embedded.
    """
    distinct = sorted(set(texts))
    path = None if folder is None else folder / f"{_key(distinct, embedder)}.npy"
    vectors = None if path is None else _read(path, len(distinct), embedder)
    if vectors is None:
        vectors = await _embedded(distinct, embedder, watch)
        if path is not None:
            _write(path, vectors)
    place = {text: row for row, text in enumerate(distinct)}
    return vectors[[place[text] for text in texts]]


async def _embedded(texts: Sequence[str], embedder: Embedder, watch: Callable[[int, int], None] | None) -> Vectors:
    vectors: list[Vectors] = [np.zeros((0, embedder.dim), dtype=np.float32)]
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        vectors.append(checked(await embedder.embed(batch), len(batch), embedder.dim, embedder.name))
        if watch is not None:
            watch(start + len(batch), len(texts))
    return np.concatenate(vectors)


def _key(texts: Sequence[str], embedder: Embedder) -> str:
    known = hashlib.sha256(f"{embedder.name}\0{embedder.dim}".encode())
    for text in texts:
        known.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return known.hexdigest()[:40]


def _read(path: Path, count: int, embedder: Embedder) -> Vectors | None:
    try:
        return checked(np.load(path, allow_pickle=False), count, embedder.dim, embedder.name)
    except (OSError, ValueError, EOFError, EmbedError):
        return None


def _write(path: Path, vectors: Vectors) -> None:
    """Whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(OSError):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                np.save(file, vectors, allow_pickle=False)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
