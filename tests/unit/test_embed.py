"""Embedders: one finite vector a text, the same for the same text, whoever asks and however often."""

from __future__ import annotations

import asyncio
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.embed import (
    DEFAULT_EMBEDDER,
    USE_EMBEDDER,
    CachedEmbedder,
    UseEmbedder,
    default_embedder,
    embedder_by_name,
    use_embedder,
)
from curveroute.agent.embed.cues import CUES
from curveroute.agent.embed.openai_embed import OpenAIEmbedder
from curveroute.agent.embed.seam import checked
from curveroute.agent.errors import EmbedError, MissingKey, SettingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from conftest import Exchange, OpenAIServer

KEY = "sk-very-secret-1234567890"
ODD = ["", "   ", "\n", "😀", "日本語の質問", "lone \ud800 surrogate", "\x00", "a" * 50_000, "word " * 3000]


class Letters:
    """A small embedder: counts of a, b and c. ``wrong`` is what it gives instead, once set."""

    name = "letters"
    dim = 3

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.wrong: Any = None

    async def embed(self, texts: Sequence[str]) -> Any:
        self.calls.append(list(texts))
        await asyncio.sleep(0)
        if self.wrong is not None:
            return self.wrong
        return np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float32)


# The default


@pytest.fixture(scope="module")
def use() -> UseEmbedder:
    return UseEmbedder()


async def test_the_default_gives_512_numbers_a_text(use: UseEmbedder) -> None:
    vectors = await use.embed(["What is 2+2?", "Name the capital of France."])
    assert vectors.shape == (2, use.dim) == (2, 512)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert not np.allclose(vectors[0], vectors[1], atol=0.1)


async def test_no_text_gives_no_vector(use: UseEmbedder) -> None:
    assert (await use.embed([])).shape == (0, 512)
    assert (await CachedEmbedder(use).embed([])).shape == (0, 512)


def test_a_batch_gives_what_its_texts_give_alone(use: UseEmbedder) -> None:
    texts = [f"question {number} about things of length {'x ' * number}" for number in range(70)] + ODD
    together = use.embed_now(texts)
    for index in (0, 1, 63, 64, 69, *range(70, len(texts))):
        np.testing.assert_allclose(together[index], use.embed_now([texts[index]])[0], atol=1e-5)


def test_near_meanings_are_near(use: UseEmbedder) -> None:
    asked, same, other = use.embed_now(["How old is the king?", "What is the king's age?", "Sort these numbers: 3 1 2"])
    assert asked @ same > asked @ other


def test_threads_and_loops_share_one_encoder() -> None:
    use = UseEmbedder()
    texts = [f"text number {number}" for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda text: asyncio.run(use.embed([text]))[0], texts))
    np.testing.assert_allclose(found, use.embed_now(texts), atol=1e-5)


def test_the_default_is_one_for_the_process_and_known_by_its_name() -> None:
    assert default_embedder() is default_embedder() is embedder_by_name(DEFAULT_EMBEDDER)
    assert default_embedder().name == DEFAULT_EMBEDDER
    assert default_embedder().dim == use_embedder().dim + CUES
    assert use_embedder() is embedder_by_name(USE_EMBEDDER)


# The cache


async def test_a_text_seen_lately_costs_nothing() -> None:
    inner = Letters()
    cached = CachedEmbedder(inner)
    first = await cached.embed(["ab", "c", "ab"])
    again = await cached.embed(["c", "ab"])
    assert inner.calls == [["ab", "c"]]
    np.testing.assert_array_equal(first[[1, 0]], again)
    await cached.embed(["c", "bb"])
    assert inner.calls[1:] == [["bb"]]


async def test_the_text_not_seen_for_longest_is_forgotten_first() -> None:
    inner = Letters()
    cached = CachedEmbedder(inner, size=2)
    await cached.embed(["a"])
    await cached.embed(["b"])
    await cached.embed(["a"])
    await cached.embed(["c"])
    inner.calls.clear()
    await cached.embed(["a"])
    await cached.embed(["c"])
    assert inner.calls == []
    await cached.embed(["b"])
    assert inner.calls == [["b"]]


@given(st.lists(st.lists(st.text("abc", max_size=3), max_size=6), max_size=8), st.integers(0, 4))
def test_a_cache_of_any_size_changes_no_vector(batches: list[list[str]], size: int) -> None:
    async def compare() -> None:
        cached = CachedEmbedder(Letters(), size=size)
        for batch in batches:
            np.testing.assert_array_equal(
                await cached.embed(batch), (await Letters().embed(batch)).reshape(len(batch), Letters.dim)
            )

    asyncio.run(compare())


async def test_what_a_caller_does_to_its_vectors_does_not_reach_the_cache() -> None:
    cached = CachedEmbedder(Letters())
    mine = await cached.embed(["abc"])
    mine += 100
    np.testing.assert_array_equal(await cached.embed(["abc"]), [[1, 1, 1]])


def test_a_cache_is_safe_across_threads_and_loops() -> None:
    cached, start = CachedEmbedder(Letters(), size=5), threading.Barrier(6)

    def work(seed: int) -> None:
        start.wait()
        for turn in range(60):
            texts = ["a" * ((seed + turn) % 9), "b" * (turn % 7)]
            found = asyncio.run(cached.embed(texts))
            assert found.tolist() == [[len(texts[0]), 0, 0], [0, len(texts[1]), 0]]

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert len(cached._kept) <= 5


WRONG = {
    "too few": np.zeros((1, 3)),
    "too many": np.zeros((3, 3)),
    "too short": np.zeros((2, 2)),
    "flat": np.zeros(6),
    "NaN": np.array([[0, 0, 0], [0, np.nan, 0]]),
    "infinite": np.array([[0, 0, 0], [0, np.inf, 0]]),
    "ragged": [[0, 0, 0], [0, 0]],
    "words": [["a", "b", "c"], ["d", "e", "f"]],
    "nothing": [None, None],
}


@pytest.mark.parametrize("fault", WRONG)
async def test_an_embedder_that_breaks_its_promise_is_refused_and_nothing_of_it_kept(fault: str) -> None:
    inner = Letters()
    inner.wrong = WRONG[fault]
    cached = CachedEmbedder(inner)
    with pytest.raises(EmbedError, match="embedder 'letters' gave"):
        await cached.embed(["a", "b"])
    inner.wrong = None
    assert (await cached.embed(["a", "b"])).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_checked_vectors_are_float32() -> None:
    found = checked(np.ones((2, 3), dtype=np.float64), 2, 3, "x")  # type: ignore[arg-type]
    assert found.dtype == np.float32


# Endpoints


@pytest.fixture
async def remote(server: OpenAIServer) -> AsyncIterator[OpenAIEmbedder]:
    embedder = OpenAIEmbedder("tiny-embed", dim=3, base_url=server.url, key=lambda: KEY)
    yield embedder
    await embedder.aclose()


def embedding(*vectors: object) -> dict[str, Any]:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


async def test_an_endpoint_is_asked_for_floats_in_batches_and_its_order_restored(
    server: OpenAIServer, remote: OpenAIEmbedder
) -> None:
    async def in_reverse(exchange: Exchange) -> None:
        whole = embedding(*([float(text), 1, 0] for text in exchange.body["input"]))
        whole["data"].reverse()
        await server.replies(whole)(exchange)

    server.usual = in_reverse
    vectors = await remote.embed([str(number) for number in range(300)])
    assert vectors.dtype == np.float32
    assert vectors[:, 0].tolist() == list(range(300))
    assert [len(seen.body["input"]) for seen in server.seen] == [128, 128, 44]
    assert server.seen[0].path == "/v1/embeddings"
    assert server.seen[0].body["model"] == "tiny-embed"
    assert server.seen[0].body["encoding_format"] == "float"
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert remote.name == "openai:tiny-embed"


async def test_texts_that_an_endpoint_would_refuse_are_made_sendable(
    server: OpenAIServer, remote: OpenAIEmbedder
) -> None:
    server.acts.append(server.replies(embedding([1, 2, 3], [4, 5, 6])))
    assert (await remote.embed(["", "lone \ud800"])).shape == (2, 3)
    assert server.seen[0].body["input"] == [" ", "lone ?"]
    assert (await remote.embed([])).shape == (0, 3)


async def test_an_endpoint_that_is_busy_is_asked_again(server: OpenAIServer, remote: OpenAIEmbedder) -> None:
    server.acts.extend([server.says(429, Retry_After_Ms="1"), server.replies(embedding([1, 2, 3]))])
    assert (await remote.embed(["a"])).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    "answer",
    [
        embedding([1, 2, 3]),
        embedding([1, 2], [3, 4]),
        embedding([1, 2, 3], [4, 5]),
        embedding([1, 2, 3], [4, None, 6]),
        embedding([1, 2, 3], "none"),
        {"object": "list", "data": []},
        {"object": "list", "data": None},
        {"object": "list"},
        [],
        b"<html>",
        b'{"data": [{"index": 0, "embedding": [NaN, 1, 2]}, {"index": 1, "embedding": [1, 2, 3]}]}',
        b'{"data": [{"embedding": [1, 1, 2]}, {"index": 1}]}',
    ],
)
async def test_an_endpoint_that_gives_something_else_is_an_embed_error(
    server: OpenAIServer, remote: OpenAIEmbedder, answer: object
) -> None:
    server.usual = server.replies(answer)
    with pytest.raises(EmbedError, match="openai:tiny-embed"):
        await remote.embed(["a", "b"])


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_a_refusal_names_the_endpoint_and_the_remedy_but_not_the_key(
    server: OpenAIServer, remote: OpenAIEmbedder, status: int
) -> None:
    server.usual = server.says(status, f"not with Bearer {KEY}")
    with pytest.raises(
        EmbedError, match=r"openai:tiny-embed at http.* failed: .*\[the key\].*check the endpoint"
    ) as caught:
        await remote.embed(["a"])
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert len(server.seen) == 1


async def test_an_endpoint_that_stays_broken_is_given_up(server: OpenAIServer, remote: OpenAIEmbedder) -> None:
    server.usual = server.says(503, Retry_After_Ms="1")
    with pytest.raises(EmbedError, match="503"):
        await remote.embed(["a"])
    assert len(server.seen) == 3


def test_an_endpoint_serves_several_event_loops(server: OpenAIServer) -> None:
    server.usual = server.replies(embedding([1, 2, 3]))
    embedder = OpenAIEmbedder("tiny-embed", dim=3, base_url=server.url)

    async def once() -> list[list[float]]:
        try:
            found: list[list[float]] = (await embedder.embed(["a"])).tolist()
            return found
        finally:
            await embedder.aclose()

    assert asyncio.run(once()) == asyncio.run(once()) == [[1, 2, 3]]
    assert server.seen[0].headers["authorization"] == "Bearer none"


# Names


def test_an_endpoint_is_described_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", KEY)
    embedder = embedder_by_name("openai:tiny-embed?dim=3&url=https://example.org/v1&key_env=TINY_KEY")
    assert (embedder.name, embedder.dim) == ("openai:tiny-embed", 3)
    assert KEY not in repr(embedder) + str(vars(embedder)) + str(vars(embedder.inner))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name",
    [
        "word2vec",
        "openai:",
        "openai:m",
        "openai:m?dim=3",
        "openai:m?url=https://example.org",
        "openai:m?dim=x&url=https://example.org",
        "openai:m?dim=0&url=https://example.org",
        "openai:m?dim=3&url=https://example.org&colour=red",
        "",
    ],
)
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="embedder"):
        embedder_by_name(name)


def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINY_KEY", raising=False)
    with pytest.raises(MissingKey, match="TINY_KEY"):
        embedder_by_name("openai:tiny-embed?dim=3&url=https://example.org/v1&key_env=TINY_KEY")
