"""Agreement of free text: by meaning, and never across other numbers, negations, names or fillings of one frame."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import EmbedError
from curveroute.agent.verify.free_text import PARAPHRASE_THRESHOLD, groups_of_texts, is_free_text, may_agree
from curveroute.agent.verify.paraphrase import answer_groups

if TYPE_CHECKING:
    from curveroute.agent.embed import Vectors

BLUE = "The sky looks blue because air molecules scatter short wavelengths of sunlight more than long ones."
BLUE_AGAIN = "Sunlight's shorter wavelengths are scattered more strongly by air molecules, and so the sky appears blue."
SEA = "Our sky has the colour of the oceans, which it mirrors like a huge bowl of glass would."
TEXTS = (BLUE, BLUE_AGAIN, SEA, "12 km", "12 kilometres", "Paris", "", "I cannot answer that question for you, sorry.")
VECTORS = {BLUE: [1.0, 0.1], BLUE_AGAIN: [1.0, 0.0], SEA: [0.1, 1.0]}


def vectors(**more: list[float]) -> dict[str, Any]:
    return {text: np.array(vector, dtype=np.float32) for text, vector in {**VECTORS, **more}.items()}


class Fixed:
    """An embedder that knows its texts, or fails."""

    name, dim = "fixed", 2

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.texts: list[str] = []

    async def embed(self, texts: Any) -> Vectors:
        self.texts += texts
        if self.error is not None:
            raise self.error
        return np.array([VECTORS[text] for text in texts], dtype=np.float32)


def test_paraphrases_join_and_rivals_do_not() -> None:
    assert groups_of_texts(TEXTS, vectors()) == (0, 0, 1, 2, 2, 3, None, None)


def test_without_vectors_only_spellings_join() -> None:
    assert groups_of_texts(TEXTS, {}) == (0, 1, 2, 3, 3, 4, None, None)
    assert groups_of_texts((BLUE, BLUE.upper()), {}) == (0, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "The war ended after 12 long years of fighting in the north.",
            "Fighting in the north stopped after 13 years.",
        ),
        (
            "He waited three days before the letter came to his house.",
            "The letter reached his home when five days had gone.",
        ),
        (
            "The experiment does support the claim about sugar in children.",
            "The claim on sugar is not borne out by it.",
        ),
        (
            "The play is, as most believe, by William Shakespeare of Stratford.",
            "It was Marlowe, hence not a later poet, who wrote it: Marlowe.",
        ),
        (
            "Prices rise when demand for goods grows faster than supply.",
            "When demand outgrows what is on offer, prices fall.",
        ),
        (
            "Ice floats because it is less dense than liquid water is.",
            "Ice floats because it is colder than liquid water is.",
        ),
        (
            "The capital was moved from Lagos to Abuja to calm them.",
            "The capital was moved from Abuja to Lagos to calm them.",
        ),
        (
            "The function gives back the largest element of a list.",
            "It returns the smallest element that the list has.",
        ),
    ],
)
def test_no_cosine_joins_what_names_something_else(one: str, other: str) -> None:
    assert not may_agree(one, other)
    assert not may_agree(other, one)
    same_place = {text: np.array([1.0, 0.0], dtype=np.float32) for text in (one, other)}
    assert groups_of_texts((one, other), same_place) == (0, 1)


@pytest.mark.parametrize(
    ("text", "free"),
    [
        (BLUE, True),
        ("Paris", False),
        ("B) it is the only one that is a fruit here", False),
        ('{"a": "b c d e f g h i"}', False),
        ("14 apples in all that they had", False),
        ("", False),
        ("As an AI language model I have no view on that", False),
    ],
)
def test_only_long_prose_is_free_text(text: str, free: bool) -> None:
    assert is_free_text(text) is free


WORDS = st.lists(st.sampled_from(BLUE.split() + SEA.split() + ["not", "12", "no", "Rome"]), max_size=16).map(" ".join)


@given(WORDS, WORDS)
def test_what_may_agree_is_symmetric_and_a_text_may_agree_with_itself(one: str, other: str) -> None:
    assert may_agree(one, other) == may_agree(other, one)
    assert may_agree(one, one)


@given(st.lists(st.tuples(st.sampled_from(TEXTS), st.floats(-1, 1), st.floats(-1, 1)), max_size=8), st.randoms())
def test_the_groups_do_not_depend_on_the_order_and_need_agreement_of_all(drawn: list[Any], random: Any) -> None:
    known = {text: np.array([x, y], dtype=np.float32) for text, x, y in drawn}
    answers = [text for text, _, _ in drawn]
    groups = groups_of_texts(answers, known)
    order = list(range(len(answers)))
    random.shuffle(order)
    shuffled = groups_of_texts([answers[place] for place in order], known)
    for i, place in enumerate(order):
        for j, other in enumerate(order):
            assert (shuffled[i] == shuffled[j]) == (groups[place] == groups[other])
    assert [group is None for group in groups] == [text in TEXTS[-2:] for text in answers]


def test_a_vector_of_nothing_joins_nothing() -> None:
    empty = {text: np.zeros(2, dtype=np.float32) for text in VECTORS}
    assert groups_of_texts(tuple(VECTORS), empty) == (0, 1, 2)


def test_groups_are_found_through_the_embedder_which_sees_free_text_only() -> None:
    embedder = Fixed()
    assert asyncio.run(answer_groups(TEXTS, embedder, PARAPHRASE_THRESHOLD)) == groups_of_texts(TEXTS, vectors())
    assert sorted(embedder.texts) == sorted(VECTORS)


@pytest.mark.parametrize("answers", [("12 km", "12", "Paris"), (BLUE, "7"), (BLUE, BLUE), ()])
def test_nothing_is_embedded_that_could_not_change_anything(answers: tuple[str, ...]) -> None:
    embedder = Fixed()
    asyncio.run(answer_groups(answers, embedder))
    assert embedder.texts == []


def test_an_embedder_that_fails_says_nothing() -> None:
    failed = asyncio.run(answer_groups(TEXTS, Fixed(EmbedError("down"))))
    assert failed == groups_of_texts(TEXTS, {})
