"""The recorded seam: the same question of the same arm gets the same answer, and nothing is made up."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from curveroute.agent.bench.table import Row
from curveroute.agent.chat.recorded import RecordedChat, Recording
from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.errors import ModelCallError, TableError
from curveroute.agent.types import Arm, Message, ModelId, Usage

ARM = Arm(ModelId("small"), 64)
REPLY = Reply("It is 4.", Usage(12, 5), "stop", 0.25, confidence=0.9)
RECORDING = Recording("2+2?", ARM, 0, REPLY)
CALL = Call(ARM, (Message(role="user", content="2+2?\n\nBe brief."),), 64, "2+2?")
ROW = Row(
    query_id="q1",
    query="2+2?",
    task="sums",
    model="small",
    budget=None,
    sample=0,
    quality=1.0,
    answer="4",
    reference="4",
    finish_reason="length",
    input_tokens=12,
    output_tokens=5,
    cost_usd=1e-6,
    response="It is 4.",
    latency_s=0.5,
    confidence=0.75,
)


async def test_what_was_recorded_is_replayed_as_it_was() -> None:
    chat = RecordedChat([RECORDING])
    told: list[str] = []
    assert len(chat) == 1
    assert await chat.complete(CALL, on_token=told.append, may_resend=lambda: True) == REPLY
    assert await chat.complete(CALL) == REPLY
    assert told == [REPLY.text]
    await chat.aclose()


@pytest.mark.parametrize(
    "change",
    [
        {"query_text": "3+3?"},
        {"sample": 1},
        {"arm": Arm(ModelId("small"), 65)},
        {"arm": Arm(ModelId("small"), None)},
        {"arm": Arm(ModelId("big"), 64)},
        {"schema": {"type": "object"}},
    ],
)
async def test_what_was_never_recorded_is_a_failed_call(change: dict[str, Any]) -> None:
    with pytest.raises(ModelCallError, match="nothing recorded") as caught:
        await RecordedChat([RECORDING]).complete(replace(CALL, **change))
    assert caught.value.lost_tries == 0


def test_the_same_attempt_twice_is_a_fault_of_the_table() -> None:
    with pytest.raises(TableError, match=r"recorded twice: small@64 sample 0 of '2\+2\?'"):
        RecordedChat([RECORDING, replace(RECORDING, reply=replace(REPLY, text="5"))])


async def test_a_row_of_a_curve_table_is_replayed() -> None:
    chat = RecordedChat.from_rows([asdict(ROW)])
    reply = await chat.complete(replace(CALL, arm=Arm(ModelId("small"), None)))
    assert reply == Reply("It is 4.", Usage(12, 5), "length", 0.5, confidence=0.75)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"response": None}, "4"),
        ({"response": None, "answer": None}, ""),
        ({"response": ""}, "4"),
    ],
)
async def test_without_a_response_the_answer_is_the_text(change: dict[str, Any], text: str) -> None:
    row = asdict(replace(ROW, budget=64, latency_s=None, confidence=None, **change))
    reply = await RecordedChat.from_rows([row]).complete(CALL)
    assert (reply.text, reply.latency_s, reply.confidence) == (text, 0.0, None)


async def test_whole_numbers_may_come_as_floats() -> None:
    chat = RecordedChat.from_rows([{**asdict(ROW), "budget": 64.0, "input_tokens": 12.0}])
    assert (await chat.complete(CALL)).usage == Usage(12, 5)


@pytest.mark.parametrize("name", ["budget", "sample", "input_tokens", "output_tokens", "latency_s"])
@pytest.mark.parametrize("value", ["many", 1.5, float("nan"), float("inf")])
def test_a_count_that_is_no_number_is_a_fault_of_the_table(name: str, value: object) -> None:
    if name == "latency_s" and value != "many":
        return
    with pytest.raises(TableError, match=r"not a (whole )?number"):
        RecordedChat.from_rows([{**asdict(ROW), name: value}])


def test_a_missing_column_is_named() -> None:
    row = asdict(ROW)
    del row["output_tokens"], row["sample"]
    with pytest.raises(TableError, match="no column sample, output_tokens"):
        RecordedChat.from_rows([row])
