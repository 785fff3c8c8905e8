"""Prose as an answer: a text that states nothing short is a claim of its own, and different ones never agree."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.answers import claim_of, extract_answer, query_kind, same, spell
from curveroute.agent.verify.found import CallableVerifier
from curveroute.agent.verify.free_text import MOST_WORDS, groups_of_texts, is_free_text, may_agree
from curveroute.agent.verify.signals import read_answer
from curveroute.router import Router

if TYPE_CHECKING:
    from conftest import House

    from curveroute.agent.chat.seam import Call

SKY = """Sunlight contains all the colours of the rainbow, and each colour has its own wavelength.

When that light enters the atmosphere it meets molecules of nitrogen and oxygen, which scatter short waves far more.

Because blue is scattered in every direction, we see blue light coming from the whole dome of the sky."""
SEA = SKY.replace("molecules of nitrogen and oxygen", "drops of water").replace("blue light", "the colour of the sea")
POEM = """Leaves are falling, red and gold,
whispering the stories that the summer told,
and the wind that carries them over the lane
sings of the winter that is coming again."""
HAMLET = (
    "Prince Hamlet learns from his father's ghost that his uncle Claudius murdered the king, and he feigns madness. "
    "In the end a poisoned duel leaves Hamlet, Claudius, Gertrude and Laertes dead."
)
SHORT = "The sky looks blue because air molecules scatter short wavelengths of sunlight far more than long ones."
ASKED = {
    "Explain why the sky is blue.": SKY,
    "Write a short poem about autumn.": POEM,
    "Please summarise the plot of Hamlet in two sentences.": HAMLET,
    "Why is the sky blue?": SHORT,
    "Could you explain how light scatters?": SKY,
    "How does light scatter?": SHORT,
    "What do you make of the sky?": SKY,
    "Tell me about the sky.": SHORT,
}
SENTENCES = st.lists(st.sampled_from(f"{SKY} {HAMLET} {SHORT}".split()), min_size=30, max_size=90).map(" ".join)


def read(query: str, text: str, finish: Any = "stop") -> Any:
    answer = claim_of(text, query_kind(query))
    return read_answer(Arm(ModelId("a"), 256), text, answer, finish, None, query)


@pytest.mark.parametrize(("query", "text"), ASKED.items(), ids=ASKED)
def test_it_claims_itself(query: str, text: str) -> None:
    assert claim_of(text, query_kind(query)) == text
    one = read(query, text)
    assert one.answer
    assert (one.malformed, one.refused) == (False, False)


@pytest.mark.parametrize(
    ("query", "text", "answer"),
    [
        ("Why is the sky blue?", f"Let me think.\nAnswer: {SHORT}", SHORT),
        ("Why is the sky blue?", f"**Answer:** {SKY}", SKY),
        ("Explain in a word what water is.", "A liquid.", "A liquid"),
        ("What is the capital of Portugal?", f"{HAMLET} {SKY}\nThe answer is Lisbon.", "Lisbon"),
        ("What is the capital of Germany?", "Berlin is the capital. It has been so since 1990, as we know.", "Berlin"),
        ("Write a Python function.", f"{SKY}\n```python\ndef f(): pass\n```", "```python\ndef f(): pass\n```"),
        ("How many legs has a spider?", "Spiders have legs, as everybody knows who has seen one in a corner.", None),
        ("Why is that so?", "Sure! Here is the explanation of why that is so, for you:", None),
        ("Explain it.", "", None),
    ],
)
def test_a_short_answer_is_read_where_there_is_one_and_prose_is_no_number(
    query: str, text: str, answer: str | None
) -> None:
    assert claim_of(text, query_kind(query)) == answer


@pytest.mark.parametrize(
    "query",
    [
        "Write the first letter of each word: world health organization",
        "Describe the ocean in exactly three words.",
        "James writes a 3-page letter to 2 friends. How many pages does he write?",
        "Which explains it?\nA) this\nB) that",
        "Who wrote Hamlet?",
    ],
)
def test_not_every_query_that_speaks_of_texts_asks_for_one(query: str) -> None:
    assert query_kind(query) != "prose"


def test_a_cut_text_claims_nothing() -> None:
    assert read("Why is the sky blue?", SKY, "length").answer == ""


def test_what_is_read_of_a_recorded_answer_stays() -> None:
    assert extract_answer(SKY) is None


@pytest.mark.parametrize(("one", "other"), list(combinations((SKY, SEA, POEM, HAMLET, SHORT), 2)))
def test_different_texts_do_not_agree(one: str, other: str) -> None:
    assert not same(one, other)
    assert groups_of_texts((one, other), {}) == (0, 1)


@given(SENTENCES, SENTENCES)
def test_no_vector_joins_long_texts_that_differ(one: str, other: str) -> None:
    near = {text: np.array([1.0, 0.0], dtype=np.float32) for text in (one, other)}
    joined = len(set(groups_of_texts((one, other), near))) == 1
    assert joined <= (same(one, other) or (is_free_text(one) and is_free_text(other)))
    assert is_free_text(one) == (len(spell(one).split()) <= MOST_WORDS)


@pytest.mark.parametrize("word", ["isnt", "doesn't", "won’t", "couldnt"])
def test_a_negation_is_heard_however_it_is_spelled(word: str) -> None:
    assert not may_agree(f"The claim {word} hold for small children at all.", "For small children it holds, the claim.")


@pytest.mark.parametrize("word", [True, False])
def test_verifiers_move_prose_as_any_claim(house: type[House], word: bool) -> None:
    def said(call: Call) -> str:
        return f"{SKY} {call.arm.model}"

    def score(*verifiers: Any) -> float:
        context = house.context(house.pool({"solo": (0.5, 0.5, 1.0)}, (256,)), house.chat(said), tradeoff=0.5)
        parts = dataclasses.replace(context.parts, verifiers=verifiers)
        route = Router(dataclasses.replace(context, parts=parts)).invoke("Why is the sky blue?")
        (attempt,) = route.attempts
        assert route.status == ("accepted" if word or not verifiers else "best_so_far")
        assert attempt.verdict is not None
        assert attempt.verdict.reason == ("wrong" if verifiers and not word else "ok")
        return attempt.verdict.score

    assert score() == pytest.approx(0.5, abs=0.05)
    assert (score(CallableVerifier(lambda *_: word, "sure", 1.0)) > 0.9) == word
