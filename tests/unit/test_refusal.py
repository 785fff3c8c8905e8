"""What answers nothing, in whatever words, and what only sounds like it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.answers import claim_of, claims_nothing, looks_refused, query_kind, same
from curveroute.agent.verify.refusal import declines, says_nothing
from curveroute.agent.verify.signals import Answered, read_answer

QUERY = "What is the capital of Portugal?"
REFUSALS = [
    "I don't have enough information.", "I'm just a language model.", "I refuse to answer", "The question is unclear.",
    "As a large language model, I have no opinions.", "Unfortunately, I am not able to answer that.",
    "I do not have access to real-time data.", "I'm not allowed to discuss that.", "Sorry, but I can't help with that.",
    "I apologize, but that is beyond my abilities.", "I have no information about that", "There is no way to know.",
    "Lo siento, no puedo ayudar con eso.", "No puedo responder a esa pregunta.",
    "Es tut mir leid, dabei kann ich nicht helfen.", "Das kann ich leider nicht sagen.", "Ich weiß es nicht.",
    "Je ne peux pas répondre.", "Je suis désolé, mais je ne peux pas vous aider.", "Non posso rispondere.",
    "Desculpe, mas não posso ajudar.", "抱歉，我无法回答。", "我不知道。", "I'm sorry.", "I can't.",
]  # fmt: skip
NOTHING = [
    "Internal server error", "Error: rate limit exceeded", "502 Bad Gateway", "<|im_end|>", "<|endoftext|>", "</s>",
    "{}", '{"answer": null}', '{"answer": ""}', "Answer: <final answer>", "Answer: <answer>",
    "Answer: [your answer here]", "Therefore, the final answer is:\n<final answer>",
    "Let's think step by step",
    "The answer is not known.",
    "[object Object]", "I'm here to help!", "How may I assist you?", "That's a great question!", "Answer: ...",
]  # fmt: skip
ANSWERS = {
    "Lisbon": "lisbon",
    "Answer: <final answer> Lisbon": "lisbon",
    "Answer: <final answer>Lisbon</final answer>": "lisbon",
    "Answer: Lisbon<|im_end|>": "lisbon",
    "I cannot come tomorrow.": "i cannot come tomorrow",
    "Ich kann morgen nicht kommen.": "ich kann morgen nicht kommen",
    "Sorry seems to be the hardest word": "sorry seems to be the hardest word",
    "I cannot help but admire it.": "i cannot help but admire it",
    "[]": "[]",
    '{"missing": null}': '{"missing": null}',
}
LETTER = """Subject: Apology

Dear customer,

I am sorry that your delivery arrived late. We have refunded the shipping cost and see to it
that it does not happen again.

Kind regards,
The team"""
TOLD = (
    "Luther stood before the Emperor and said that he could not recant. I cannot do otherwise, he declared before the "
    "whole assembly, and the phrase has been repeated ever since."
)


def read(text: str, query: str = QUERY) -> Answered:
    return read_answer(Arm(ModelId("a"), 64), text, claim_of(text, query_kind(query)), "stop", None, query)


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_seen_in_any_of_these_languages(text: str) -> None:
    assert looks_refused(text)
    one = read(text)
    assert one.refused
    assert one.answer == ""


@pytest.mark.parametrize("text", REFUSALS + NOTHING)
def test_what_answers_nothing_claims_nothing(text: str) -> None:
    assert read(text).answer == ""


@pytest.mark.parametrize("text", REFUSALS)
def test_a_long_refusal_is_one_too(text: str) -> None:
    long = f"{text} What you ask for is nothing that could be said in a few words, and many have tried before. " * 2
    assert looks_refused(long)
    assert read(long, "Why is the sky blue?").answer == ""


@pytest.mark.parametrize(("text", "answer"), ANSWERS.items(), ids=ANSWERS)
def test_an_answer_that_sounds_like_one_is_read(text: str, answer: str) -> None:
    one = read(text)
    assert (one.answer, one.refused) == (answer, False)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("Write an apology email to a customer for a late delivery.", LETTER),
        ("Describe what Luther did at Worms.", TOLD),
        ("What did Luther say at Worms?", 'He said: "Here I stand, I cannot do otherwise."'),
        ("Tell me a story.", f"{TOLD} As an AI, he would have known better."),
    ],
)
def test_an_apology_and_a_quotation_in_an_answer_are_no_refusal(query: str, text: str) -> None:
    one = read(text, query)
    assert not one.refused
    assert one.answer


@given(st.sampled_from([*REFUSALS, *NOTHING, *ANSWERS, LETTER, TOLD]), st.text(max_size=20))
def test_every_text_is_judged_alike_however_it_is_set(text: str, more: str) -> None:
    assert declines(text) == declines(f"  {text.upper()} \n") == declines(text.replace("'", "’"))
    assert says_nothing(more.casefold()) in {True, False}
    assert same(text, text) != claims_nothing(text)


@pytest.mark.parametrize("piece", ["i am sorry ", "ich kann ", '"', "i cannot, ", "let us think ", "<", "dear "])
def test_a_hostile_text_takes_linear_time(piece: str) -> None:
    started = time.perf_counter()
    text = piece * 5_000
    declines(text)
    says_nothing(text)
    read(text)
    assert time.perf_counter() - started < 5.0
