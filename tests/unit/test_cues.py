from __future__ import annotations

import asyncio

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.embed import USE_EMBEDDER, CuedEmbedder, embedder_by_name
from curveroute.agent.embed.cues import CUES, cue_vectors, cues_of


class Blank:
    name = "blank"
    dim = 3

    async def embed(self, texts: list[str]) -> np.ndarray:
        return np.zeros((len(texts), 3), dtype=np.float32)


@given(st.text())
def test_any_text_has_finite_cues(text: str) -> None:
    cues = cues_of(text)
    assert len(cues) == CUES
    assert np.isfinite(cues).all()


def test_an_empty_text_has_none() -> None:
    assert not any(cues_of(""))


def test_cues_tell_a_sum_from_a_fact_and_a_choice() -> None:
    total, fact, choice = cue_vectors(
        ["How many eggs are left of 12 after 5 are eaten?", "Who wrote Hamlet?", "Pick one.\nA. red\nB. blue\nC. green"]
    )
    assert total[3] > fact[3] == choice[3] == 0  # numbers
    assert choice[2] > total[2] == fact[2] == 0  # options


def test_the_inner_vector_stands_first_and_the_name_says_what_was_added() -> None:
    cued = CuedEmbedder(Blank())
    texts = ["one 1", "two 22"]
    vectors = asyncio.run(cued.embed(texts))
    assert vectors.shape == (2, cued.dim) == (2, 3 + CUES)
    np.testing.assert_array_equal(vectors[:, 3:], cue_vectors(texts))
    assert cued.name == "blank+cues"
    assert asyncio.run(cued.embed([])).shape == (0, cued.dim)


def test_cues_can_be_had_beside_any_embedder_by_name() -> None:
    assert embedder_by_name(USE_EMBEDDER).dim + CUES == embedder_by_name(f"{USE_EMBEDDER}+cues").dim
    named = embedder_by_name("openai:small?dim=8&url=http://127.0.0.1:1/v1+cues")
    assert named.dim == 8 + CUES
