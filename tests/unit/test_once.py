"""The seam of the live comparisons: every different call is really made once, alone, and kept."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.errors import ModelCallError, TableError
from curveroute.agent.types import Arm, Message, ModelId, Tool, Toolbox, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import House

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "once.py"
CALL = Call(Arm(ModelId("small"), 16), (Message(role="user", content="é?"),), 16, "é?")


@pytest.fixture(scope="module")
def once() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("once", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["once"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("once", None)


def said(call: Call) -> Reply:
    return Reply(f"{call.arm} {call.sample} …", Usage(30, 10, 3), "length", 0.25, confidence=0.5)


async def test_an_identical_call_is_made_once_and_replayed_with_all_it_took(
    once: Any, house: type[House], tmp_path: Path
) -> None:
    chat, heard = house.chat(said), []
    seam = once.Once(chat, tmp_path / "new" / "record.jsonl")
    first = await seam.complete(CALL)
    second = await seam.complete(CALL, on_token=heard.append)
    assert first == second == said(CALL)
    assert heard == [first.text]
    assert (seam.made, len(seam), chat.calls.count(CALL)) == (1, 1, 1)


async def test_the_same_call_asked_at_once_is_made_once(once: Any, house: type[House], tmp_path: Path) -> None:
    chat = house.chat(said)
    seam = once.Once(chat, tmp_path / "record.jsonl")
    await asyncio.gather(*(seam.complete(CALL) for _ in range(5)))
    assert (seam.made, chat.calls.count(CALL)) == (1, 1)


async def test_real_calls_go_out_one_at_a_time(once: Any, house: type[House], tmp_path: Path) -> None:
    chat = house.chat(said, hold=lambda call: call.max_tokens == 16)
    seam = once.Once(chat, tmp_path / "record.jsonl")
    both = [asyncio.create_task(seam.complete(replace(CALL, sample=sample))) for sample in range(2)]
    await chat.held.wait()
    await asyncio.sleep(0)
    assert sum(call.max_tokens == 16 for call in chat.calls) == 1
    chat.gate.set()
    await asyncio.gather(*both)
    assert sum(call.max_tokens == 16 for call in chat.calls) == 2


async def test_a_models_first_call_is_not_recorded(once: Any, house: type[House], tmp_path: Path) -> None:
    chat = house.chat(said)
    seam = once.Once(chat, tmp_path / "record.jsonl")
    await seam.complete(CALL)
    await seam.complete(replace(CALL, sample=1))
    assert [call.max_tokens for call in chat.calls] == [1, 16, 16]
    assert len(seam) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"arm": Arm(ModelId("big"), 16)},
        {"max_tokens": 17},
        {"messages": (Message(role="user", content="e?"),)},
        {"messages": (Message(role="system", content="é?"),)},
        {"sample": 1},
        {"temperature": 0.7},
        {"schema": {"type": "object"}},
    ],
)
async def test_a_call_that_differs_in_anything_that_is_sent_is_another(
    once: Any, house: type[House], tmp_path: Path, changes: dict[str, Any]
) -> None:
    seam = once.Once(house.chat(said), tmp_path / "record.jsonl")
    await seam.complete(CALL)
    await seam.complete(replace(CALL, **changes))
    assert seam.made == 2


async def test_a_second_start_goes_on_where_the_first_one_was(once: Any, house: type[House], tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    await once.Once(house.chat(said), record).complete(CALL)
    chat = house.chat(lambda _: pytest.fail("asked again"))
    assert await once.Once(chat, record).complete(CALL) == said(CALL)
    assert chat.calls == []


async def test_a_line_that_a_kill_cut_short_is_dropped_and_made_again(
    once: Any, house: type[House], tmp_path: Path
) -> None:
    record, other = tmp_path / "record.jsonl", replace(CALL, sample=1)
    seam = once.Once(house.chat(said), record)
    await seam.complete(CALL)
    await seam.complete(other)
    whole = record.read_bytes()
    for end in range(whole.index(b"\n") + 2, len(whole)):
        record.write_bytes(whole[:end])
        again = once.Once(house.chat(said), record)
        assert len(again) == 1
        assert await again.complete(other) == said(other)
        assert record.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        '{"key": "k"}',
        '{"key": "k", "reply": {}}',
        '{"key": "k", "reply": {"text": 3, "usage": {}, "finish_reason": "stop", "latency_s": 1}}',
        '{"key": "k", "reply": {"text": "", "usage": {}, "finish_reason": "done", "latency_s": 1}}',
        '{"key": "k", "reply": {"text": "", "usage": {}, "finish_reason": "stop", "latency_s": "1"}}',
        '{"key": "k", "reply": {"text": "", "usage": 3, "finish_reason": "stop", "latency_s": 1}}',
    ],
)
def test_a_line_that_is_no_reply_is_named(once: Any, house: type[House], tmp_path: Path, line: str) -> None:
    record = tmp_path / "record.jsonl"
    record.write_text(f'{{"key": "a", "error": "gone", "lost_tries": 1}}\n{line}\n')
    with pytest.raises(TableError, match=r"record.jsonl, line 2: no recorded reply"):
        once.Once(house.chat(said), record)


async def test_a_lost_call_ends_the_comparison_and_is_not_recorded(
    once: Any, house: type[House], tmp_path: Path
) -> None:
    seam = once.Once(house.chat(lambda _: house.dead("gone")), tmp_path / "record.jsonl")
    with pytest.raises(once.CallLost, match="start again"):
        await seam.complete(CALL)
    assert not (tmp_path / "record.jsonl").exists()


async def test_a_failure_is_kept_and_replayed_where_that_is_wanted(
    once: Any, house: type[House], tmp_path: Path
) -> None:
    record = tmp_path / "record.jsonl"
    dead = house.chat(lambda _: house.dead("gone", lost_tries=2))
    for chat in (dead, house.chat(said)):
        with pytest.raises(ModelCallError, match="gone") as caught:
            await once.Once(chat, record, keep_failures=True).complete(CALL)
        assert caught.value.lost_tries == 2


def test_a_call_with_other_tools_or_another_end_is_another_call(once: Any) -> None:
    toolbox = Toolbox((Tool("weather", "", {"type": "object"}),))
    calls = [CALL, replace(CALL, toolbox=toolbox), replace(CALL, toolbox=replace(toolbox, choice="none"))]
    assert len({once.key_of(call) for call in (*calls, replace(CALL, stop=("\n",)))}) == 4
