"""A checkpoint that an older version wrote: it resumes, or says in words why not, and nothing is paid twice."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, make_dataclass
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Send

from curveroute.agent.errors import CheckpointError
from curveroute.agent.ledger import Ledger
from curveroute.graphs import STATE_TYPES, build

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call

THREAD: Any = {"configurable": {"thread_id": "1"}}
QUESTION: Any = {"messages": [{"role": "user", "content": "2 + 2?"}]}
YOUNGER = {  # fields that the first version had not
    "Query": {"form"},
    "Attempt": {"tool_calls", "shape", "fault"},
    "Estimate": {"input_bound", "output_limit"},
}
YOUNGER_KEYS = ("heard", "approval", "allowed_usd", "refused")


def differing(call: Call) -> str:
    return f"Answer: {call.arm.model} {call.max_tokens}"


def aged(value: Any, changed: Mapping[str, Mapping[str, str]]) -> Any:
    """A value as an older version would have kept it: without younger fields, and with other names for some."""
    if isinstance(value, Send):
        return Send(value.node, aged(value.arg, changed))
    if isinstance(value, dict):
        return {key: aged(one, changed) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(aged(one, changed) for one in value)
    if not is_dataclass(value):
        return value
    kind = type(value)
    names = changed.get(kind.__name__, {})
    kept = [one.name for one in fields(value) if one.name not in YOUNGER.get(kind.__name__, ())]
    older: Any = make_dataclass(kind.__name__, [names.get(name, name) for name in kept])
    older.__module__ = kind.__module__
    return older(*(aged(getattr(value, name), changed) for name in kept))


class Thread:
    """One thread of an older version, by hand: a run of ours that waits, with all that it keeps aged."""

    def __init__(self, house: type[House], ledger: Ledger) -> None:
        self.chat = house.chat(differing)
        self.saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES))
        self.context = house.context(house.pool(), self.chat, ledger=ledger, tradeoff=0.05)
        self.graph: Any = build().compile(checkpointer=self.saver)

    async def pause(self, before: str) -> None:
        paused: Any = build().compile(checkpointer=self.saver, interrupt_before=[before])
        await paused.ainvoke(QUESTION, THREAD, context=self.context)

    def age(self, *missing: str, **changed: dict[str, str]) -> None:
        writing = JsonPlusSerializer()
        for key in list(self.saver.blobs):
            kind, data = self.saver.blobs[key]
            if key[2] in {*YOUNGER_KEYS, *missing}:
                del self.saver.blobs[key]
            elif kind == "msgpack":
                value = self.saver.serde.loads_typed((kind, data))
                self.saver.blobs[key] = writing.dumps_typed(aged(value, changed))

    async def resume(self) -> dict[str, Any]:
        return await self.graph.ainvoke(None, THREAD, context=self.context)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as made:
        yield made


@pytest.mark.parametrize("before", ["plan", "probe", "verify"])
async def test_one_without_younger_keys_and_fields_resumes(house: type[House], ledger: Ledger, before: str) -> None:
    thread, twin = Thread(house, ledger), Thread(house, ledger)
    await thread.pause(before)
    whole = await twin.graph.ainvoke(QUESTION, {"configurable": {"thread_id": "2"}}, context=twin.context)
    kept = b"".join(data for _, data in thread.saver.blobs.values())
    thread.age()
    older = b"".join(data for _, data in thread.saver.blobs.values())
    assert b"max_tokens" in kept
    assert b"max_tokens" not in older
    output = await thread.resume()
    assert output["answer"] == whole["answer"]
    assert [call.arm for call in thread.chat.calls] == [call.arm for call in twin.chat.calls]
    assert output["cost_usd"] == pytest.approx(whole["cost_usd"])
    assert ledger.verify().ok, ledger.verify().disagreements


@pytest.mark.parametrize(
    ("before", "missing", "changed", "named"),
    [
        ("verify", (), {"Turn": {"decision": "choice"}}, "turn"),
        ("verify", (), {"Arm": {"budget": "limit"}}, "candidates"),
        ("verify", (), {"Attempt": {"usage": "tokens"}}, "attempts"),
        ("verify", ("plan",), {}, "plan"),
        ("verify", ("decisions",), {}, "decisions"),
        ("probe", (), {"Ask": {"arm": "asked"}}, "ask"),
        ("plan", (), {"Query": {"messages": "conversation"}}, "query"),
    ],
)
async def test_one_that_cannot_be_read_says_so_and_the_thread_goes_on(
    house: type[House],
    ledger: Ledger,
    before: str,
    missing: tuple[str, ...],
    changed: dict[str, dict[str, str]],
    named: str,
) -> None:
    thread = Thread(house, ledger)
    await thread.pause(before)
    asked = len(thread.chat.calls)
    thread.age(*missing, **changed)
    for _ in range(2):
        with pytest.raises(CheckpointError, match=f"holds no {named!r} .* Ask the question again on the same thread"):
            await thread.resume()
    assert len(thread.chat.calls) == asked
    again = await thread.graph.ainvoke(QUESTION, THREAD, context=thread.context)
    assert again["answer"].startswith("Answer: ")
    assert len(again["attempts"]) == len(thread.chat.calls) - asked
    assert ledger.verify().ok, ledger.verify().disagreements
