"""Kept embeddings: a text is embedded once, and a file of another embedder or a damaged one is never read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.embed.kept import kept_embeddings
from curveroute.agent.errors import EmbedError

if TYPE_CHECKING:
    from pathlib import Path

    from curveroute.agent.embed import Vectors


class Counting:
    """Embeds, and counts what it was asked."""

    name, dim = "counting", 2

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False

    async def embed(self, texts: Any) -> Vectors:
        self.asked += texts
        value = np.nan if self.broken else 1.0
        return np.array([[len(text), value] for text in texts], dtype=np.float32)


def test_a_text_is_embedded_once_and_never_again(tmp_path: Path) -> None:
    embedder, seen = Counting(), []
    texts = ["bb", "a", "bb", "\udcff!"]

    def embed() -> Any:
        return asyncio.run(kept_embeddings(texts, embedder, tmp_path / "kept", lambda *now: seen.append(now)))

    assert embed()[:, 0].tolist() == [2, 1, 2, 2]
    assert sorted(embedder.asked) == sorted(set(texts))
    assert seen == [(3, 3)]
    assert embed()[:, 0].tolist() == [2, 1, 2, 2]
    assert len(embedder.asked) == 3
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_bytes(b"damaged")
    assert embed()[:, 0].tolist() == [2, 1, 2, 2]
    assert len(embedder.asked) == 6
    embed()
    assert len(embedder.asked) == 6


def test_another_embedder_is_another_file_and_a_broken_one_keeps_nothing(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    second.name = "another"
    for embedder in (first, second):
        asyncio.run(kept_embeddings(["a"], embedder, tmp_path))
        assert embedder.asked == ["a"]
    second.broken = True
    with pytest.raises(EmbedError, match="not finite"):
        asyncio.run(kept_embeddings(["new"], second, tmp_path))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    embedder = Counting()
    assert asyncio.run(kept_embeddings(["a"], embedder, tmp_path / "file" / "kept")).shape == (1, 2)
    assert asyncio.run(kept_embeddings([], embedder, tmp_path)).shape == (0, 2)
