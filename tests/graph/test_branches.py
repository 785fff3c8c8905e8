"""A thread that is branched off at an earlier checkpoint: the same run is not paid again, another one is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from curveroute.agent.ledger import Ledger
from curveroute.graphs import STATE_TYPES, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call

THREAD: Any = {"configurable": {"thread_id": "1"}}
QUESTION: Any = {"messages": [{"role": "user", "content": "2 + 2?"}]}


def differing(call: Call) -> str:
    return f"Answer: {call.arm.model} {call.max_tokens}"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as made:
        yield made


async def branch(graph: Any, before: str) -> Any:
    """The config of the last checkpoint before a node."""
    states = [state async for state in graph.aget_state_history(THREAD) if state.next == (before,)]
    return states[-1].config


@pytest.mark.parametrize("before", ["plan", "probe", "verify"])
async def test_the_same_settings_find_what_was_paid(house: type[House], ledger: Ledger, before: str) -> None:
    chat = house.chat(differing)
    context = house.context(house.pool(), chat, ledger=ledger, tradeoff=0.05)
    graph: Any = build().compile(checkpointer=InMemorySaver(serde=_serde()))
    first = await graph.ainvoke(QUESTION, THREAD, context=context)
    paid = len(chat.calls)
    second = await graph.ainvoke(None, await branch(graph, before), context=context)
    assert len(chat.calls) == paid
    assert (second["answer"], second["run_id"]) == (first["answer"], first["run_id"])
    assert second["cost_usd"] == pytest.approx(first["cost_usd"])
    assert ledger.verify().ok, ledger.verify().disagreements


async def test_a_question_that_is_put_anew_is_another_run(house: type[House], ledger: Ledger) -> None:
    chat = house.chat(differing)
    context = house.context(house.pool(), chat, ledger=ledger, tradeoff=0.05)
    graph: Any = build().compile(checkpointer=InMemorySaver(serde=_serde()))
    first = await graph.ainvoke(QUESTION, THREAD, context=context)
    second = await graph.ainvoke(None, await branch(graph, "propose"), context=context)
    assert second["run_id"] != first["run_id"]
    assert len(ledger.runs()) == 2
    assert sum(run.totals.attempts for run in ledger.runs()) == len(chat.calls)
    assert ledger.verify().ok, ledger.verify().disagreements


class DiedError(Exception):
    """The process is gone."""


class Slow(InMemorySaver):
    """A checkpointer whose process dies before it has kept any step of the run."""

    dying = True

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if self.dying and metadata["step"] > 0:
            return {"configurable": {**config["configurable"], "checkpoint_id": checkpoint["id"]}}
        return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(self, *args: Any, **kwargs: Any) -> None:
        if not self.dying:
            await super().aput_writes(*args, **kwargs)


async def test_a_run_of_which_no_step_was_kept_is_not_paid_again(house: type[House], ledger: Ledger) -> None:
    dead = [True]

    def answer(call: Call) -> Any:
        if len(chat.calls) == 2 and dead:
            dead.clear()
            raise DiedError
        return differing(call)

    chat, saver = house.chat(answer), Slow(serde=_serde())
    context = house.context(house.pool(), chat, ledger=ledger, tradeoff=0.05)
    graph: Any = build().compile(checkpointer=saver)
    with pytest.raises(DiedError):
        await graph.ainvoke(QUESTION, THREAD, context=context)
    assert (await graph.aget_state(THREAD)).next == ("propose",)
    saver.dying = False
    output = await graph.ainvoke(None, THREAD, context=context)
    assert len(ledger.runs()) == 1
    assert len(output["attempts"]) == len(chat.calls)
    assert len({call.arm for call in chat.calls}) == len(chat.calls) - 1  # the one in flight was asked again
    assert ledger.verify().ok, ledger.verify().disagreements


@pytest.mark.parametrize("before", ["propose", "plan"])
async def test_other_settings_ask_others_and_all_is_charged(house: type[House], ledger: Ledger, before: str) -> None:
    chat = house.chat(differing)
    context = house.context(house.pool(), chat, ledger=ledger, tradeoff=0.0)
    other = house.with_settings(context, tradeoff=1.0)
    graph: Any = build().compile(checkpointer=InMemorySaver(serde=_serde()))
    first = await graph.ainvoke(QUESTION, THREAD, context=context)
    paid = len(chat.calls)
    second = await graph.ainvoke(None, await branch(graph, before), context=other)
    assert len(chat.calls) > paid
    assert [one.arm for one in second["attempts"].values()] == [call.arm for call in chat.calls[paid:]]
    assert next(iter(first["attempts"].values())).arm != next(iter(second["attempts"].values())).arm
    charged = sum(run.totals.attempts for run in ledger.runs())
    assert charged == len(chat.calls)
    assert ledger.verify().ok, ledger.verify().disagreements


def _serde() -> JsonPlusSerializer:
    return JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES)
