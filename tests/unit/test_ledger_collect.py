"""A collection goes on where it stopped, and becomes a curve table with one row per cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger import Collected, Ledger, RunEnd, RunStart
from curveroute.agent.types import Arm, Attempt, AttemptId, Budget, ModelId, RunId, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = RunId("collect-first")


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger.open("sqlite://") as opened:
        yield opened


def start(collection: str = "first") -> RunStart:
    return RunStart(RunId(f"collect-{collection}"), "local", "", 0.0, kind="collect", collection=collection)


def call(name: str, budget: Budget = 64, error: str | None = None) -> Attempt:
    arm = Arm(ModelId("small"), budget)
    return Attempt(AttemptId(name), "probe", arm, f"text {name}", "4", Usage(), 0.0, "stop", 0.5, error)


def cell(query_id: str = "q1", sample: int = 0, **changes: Any) -> Collected:
    values: dict[str, Any] = {"quality": 1.0, "reference": "4", "prompt_style": "plain", "query": "2 + 2?", **changes}
    return Collected(query_id, "sums", sample, **values)


async def test_a_collection_knows_what_is_done(ledger: Ledger) -> None:
    await ledger.start_run(start())
    await ledger.record_attempt(RUN, call("a"), (0, 0, 0), cell())
    await ledger.record_attempt(RUN, call("b", None), (0, 0, 0), cell(sample=1))
    await ledger.record_attempt(RUN, call("c", error="timeout"), (0, 0, 0), cell("q2", quality=0.0))
    await ledger.record_attempt(RUN, call("judge"), (0, 0, 0))
    await ledger.start_run(start("second"))
    await ledger.record_attempt(RunId("collect-second"), call("d"), (0, 0, 0), cell("q3"))
    assert ledger.collected("first") == {("q1", "small", 64, 0), ("q1", "small", None, 1)}
    assert ledger.collected("second") == {("q3", "small", 64, 0)}
    assert ledger.collected("third") == set()


async def test_a_collection_is_a_curve_table_with_one_row_per_cell(ledger: Ledger) -> None:
    await ledger.start_run(start())
    await ledger.record_attempt(RUN, call("z", None), (0, 0, 0), cell())
    await ledger.record_attempt(RUN, call("a", 64), (0, 0, 0), cell(sample=1))
    await ledger.record_attempt(RUN, call("b", 64), (0, 0, 0), cell(sample=0, quality=0.5))
    await ledger.record_attempt(RUN, call("again", 64), (0, 0, 0), cell(sample=0))
    await ledger.finish_run(RUN, RunEnd("accepted", "collected"))
    rows = ledger.collected_rows("first")
    assert [(row["budget"], row["sample"], row["quality"]) for row in rows] == [
        (64, 0, 0.5),
        (64, 1, 1.0),
        (None, 0, 1.0),
    ]
    assert rows[0] == {
        "query_id": "q1",
        "query": "2 + 2?",
        "task": "sums",
        "model": "small",
        "budget": 64,
        "sample": 0,
        "quality": 0.5,
        "answer": "4",
        "reference": "4",
        "finish_reason": "stop",
        "input_tokens": 0,
        "output_tokens": 0,
        "cost_usd": 0.0,
        "response": "text b",
        "latency_s": 0.5,
        "prompt_style": "plain",
        "confidence": None,
    }
    assert ledger.verify().ok


async def test_where_an_attempt_belongs_reads_back(ledger: Ledger) -> None:
    await ledger.start_run(start())
    await ledger.record_attempt(RUN, call("a"), (0, 0, 0), cell())
    await ledger.record_attempt(RUN, call("b"), (0, 0, 0))
    assert [record.collected for record in ledger.run(RUN).attempts] == [cell(), None]


@pytest.mark.parametrize("quality", [-0.1, 1.1, float("nan")])
async def test_a_quality_outside_its_range_is_refused(ledger: Ledger, quality: float) -> None:
    await ledger.start_run(start())
    with pytest.raises(LedgerError, match="quality"):
        await ledger.record_attempt(RUN, call("a"), (0, 0, 0), cell(quality=quality))
