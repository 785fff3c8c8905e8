"""Collect: every task on every arm once, whatever happens in between."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.bench.collect import (
    FAILURES_IN_A_ROW,
    Job,
    Progress,
    collect,
    done_jobs,
    graded_rows,
    missing_jobs,
    spread,
)
from curveroute.agent.bench.tasks import Task
from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.errors import AllArmsFailed, LedgerError, ModelCallError
from curveroute.agent.ledger import Ledger, NullLedger, RunStart
from curveroute.agent.pool import Pool, PoolSpec, PriceSpec
from curveroute.agent.types import Arm, ModelId, RunId, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RUN = RunId("collect-it")
TASKS = [
    Task(f"q{number}", f"{number} + {number}?", "sums", str(2 * number), "number", "number") for number in range(6)
]
POOL = Pool(
    PoolSpec.model_validate(
        {
            "name": "pair",
            "system": "Answer.",
            "budgets": [{"tokens": 16, "name": "short", "style": "Only the answer."}, {"name": "free", "style": ""}],
            "models": [
                {"id": name, "endpoint": "http://127.0.0.1:1/v1", "context_window": 512, "prices": prices}
                for name, prices in (("small", {"input": 1, "output": 2}), ("large", {"input": 3, "output": 4}))
            ],
        }
    ),
    prices={"small": PriceSpec(input=1, output=2), "large": PriceSpec(input=3, output=4)},
)
EVERYTHING = len(TASKS) * len(POOL.arms)


@dataclass
class Speaker:
    """A chat seam: ``say`` answers (or raises), ``meet`` is awaited before it."""

    say: Callable[[Call], str] = lambda call: str(2 * int(call.query_text.split()[0]))
    meet: Callable[[], asyncio.Future[None]] | None = None
    calls: list[Call] = field(default_factory=list)
    now: int = 0
    most: int = 0

    async def complete(self, call: Call, **_: object) -> Reply:
        self.calls.append(call)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await (asyncio.sleep(0) if self.meet is None else self.meet())
            return Reply(self.say(call), Usage(10, 5), "stop", 0.5, confidence=0.9)
        finally:
            self.now -= 1

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger.open("sqlite://") as opened:
        yield opened


def missing(ledger: Ledger, tasks: Sequence[Task] = TASKS, samples: int = 1) -> list[Job]:
    return missing_jobs(tasks, POOL.arms, samples, done_jobs(tasks, ledger.collected_rows("it")))


async def go(ledger: Ledger, speaker: Speaker, tasks: Sequence[Task] = TASKS, concurrency: int = 3) -> Progress:
    await ledger.start_run(RunStart(RUN, "pair", "", 0.0, kind="collect", collection="it"))
    jobs = missing(ledger, tasks)
    return await collect(POOL, speaker, ledger, RUN, jobs, concurrency=concurrency)


async def test_every_task_on_every_arm_is_asked_graded_and_kept(ledger: Ledger) -> None:
    speaker = Speaker()
    progress = await go(ledger, speaker)
    assert (progress.done, progress.failed, progress.total) == (EVERYTHING, 0, EVERYTHING)
    rows = graded_rows(TASKS, ledger.collected_rows("it"))
    assert {(row.query_id, row.model, row.budget) for row in rows} == {
        (task.query_id, arm.model, arm.budget) for task in TASKS for arm in POOL.arms
    }
    assert {(row.quality, row.output_tokens, row.finish_reason) for row in rows} == {(1.0, 5, "stop")}
    assert {row.prompt_style for row in rows if row.budget == 16} == {"short"}
    assert sum(row.cost_usd for row in rows) == pytest.approx(progress.spent_usd)
    assert progress.spent_usd == pytest.approx(len(TASKS) * 2 * (10 * 1 + 5 * 2 + 10 * 3 + 5 * 4) * 1e-6)
    assert missing(ledger) == []


async def test_what_a_server_says_of_its_confidence_reaches_the_table(ledger: Ledger) -> None:
    await go(ledger, Speaker())
    assert {row.confidence for row in graded_rows(TASKS, ledger.collected_rows("it"))} == {0.9}


async def test_no_more_calls_are_in_flight_than_allowed(ledger: Ledger) -> None:
    for concurrency in (1, 4):
        speaker = Speaker()
        await collect(POOL, speaker, NullLedger(), RUN, missing(ledger), concurrency=concurrency)
        assert speaker.most == concurrency


async def test_the_watcher_sees_every_attempt(ledger: Ledger) -> None:
    seen: list[tuple[int, float]] = []
    jobs = missing(ledger)[:5]
    await collect(
        POOL,
        Speaker(),
        NullLedger(),
        RUN,
        jobs,
        concurrency=2,
        watch=lambda now: seen.append((now.done, now.quality_sum)),
    )
    assert seen == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 5.0)]


async def test_a_cancelled_collection_keeps_what_was_done(ledger: Ledger) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    arrived = asyncio.Event()
    speaker = Speaker()

    def stop_at_ten() -> asyncio.Future[None]:
        if len(speaker.calls) < 10:
            return asyncio.ensure_future(asyncio.sleep(0))
        arrived.set()
        return never

    speaker.meet = stop_at_ten
    collecting = asyncio.create_task(go(ledger, speaker))
    await arrived.wait()
    collecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await collecting
    assert speaker.now == 0
    kept = EVERYTHING - len(missing(ledger))
    assert kept >= 10 - 3
    again = Speaker()
    await go(ledger, again)
    assert len(again.calls) == EVERYTHING - kept
    assert missing(ledger) == []


async def test_many_failures_in_a_row_stop_it(ledger: Ledger) -> None:
    def fail(call: Call) -> str:
        if len(speaker.calls) > 5:
            raise ModelCallError("the plug was pulled")
        return "0"

    speaker = Speaker(fail)
    with pytest.raises(AllArmsFailed, match=f"{FAILURES_IN_A_ROW} calls in a row failed.*the plug was pulled.*is kept"):
        await go(ledger, speaker, concurrency=1)
    assert len(speaker.calls) == 5 + FAILURES_IN_A_ROW
    assert len(missing(ledger)) == EVERYTHING - 5


async def test_failures_here_and_there_are_tried_again_by_the_next_start(ledger: Ledger) -> None:
    def fail(call: Call) -> str:
        if call.arm.model == "large" and call.query_text.startswith("3"):
            raise ModelCallError("not now")
        return "0"

    progress = await go(ledger, Speaker(fail))
    assert (progress.done, progress.failed) == (EVERYTHING, 2)
    assert {(job.task.query_id, job.arm.model) for job in missing(ledger)} == {("q3", "large")}
    assert (await go(ledger, Speaker())).failed == 0
    assert len(graded_rows(TASKS, ledger.collected_rows("it"))) == EVERYTHING


async def test_a_question_that_was_reworded_is_asked_again_once(ledger: Ledger) -> None:
    await go(ledger, Speaker())
    reworded = [replace(TASKS[0], query="0 + 0 = ?"), *TASKS[1:]]
    assert {job.task.query_id for job in missing(ledger, reworded)} == {"q0"}
    again = Speaker()
    await go(ledger, again, reworded)
    assert {call.query_text for call in again.calls} == {"0 + 0 = ?"}
    assert missing(ledger, reworded) == []
    assert missing(ledger) == []
    assert Counter(row.query for row in graded_rows(reworded, ledger.collected_rows("it")))["0 + 0 = ?"] == len(
        POOL.arms
    )


async def test_answers_are_graded_by_the_graders_of_today(ledger: Ledger) -> None:
    await go(ledger, Speaker())
    stricter = [replace(TASKS[0], reference="1"), *TASKS[1:]]
    rows = graded_rows(stricter, ledger.collected_rows("it"))
    assert {row.quality for row in rows if row.query_id == "q0"} == {0.0}
    assert {row.quality for row in rows if row.query_id != "q0"} == {1.0}
    assert missing(ledger, stricter) == []


async def test_tasks_that_are_no_longer_there_leave_the_table(ledger: Ledger) -> None:
    await go(ledger, Speaker())
    assert {row.query_id for row in graded_rows(TASKS[:2], ledger.collected_rows("it"))} == {"q0", "q1"}


async def test_a_ledger_that_fails_stops_it_at_once(ledger: Ledger) -> None:
    class Full(NullLedger):
        async def record_attempt(self, *_: object, **__: object) -> None:
            raise LedgerError("the disk is full")

    speaker = Speaker()
    with pytest.raises(LedgerError, match="the disk is full"):
        await collect(POOL, speaker, Full(), RUN, missing(ledger), concurrency=2)
    assert len(speaker.calls) <= 2 * 2


def test_further_samples_are_drawn_and_the_first_is_not(ledger: Ledger) -> None:
    jobs = missing(ledger, TASKS[:1], samples=3)
    speaker = Speaker()
    asyncio.run(collect(POOL, speaker, NullLedger(), RUN, jobs, concurrency=1))
    assert Counter((call.sample, call.temperature) for call in speaker.calls) == {(0, 0.0): 4, (1, 0.7): 4, (2, 0.7): 4}


def test_prompts_that_begin_alike_are_asked_one_after_another() -> None:
    jobs = missing_jobs(TASKS, POOL.arms, 2, ())
    assert [job.arm.model for job in jobs] == ["small"] * (EVERYTHING) + ["large"] * EVERYTHING
    assert [job.task.query_id for job in jobs[:8]] == ["q0"] * 4 + ["q1"] * 4


@given(st.data())
def test_what_is_missing_and_what_is_done_make_the_whole(data: st.DataObject) -> None:
    arms = [Arm(ModelId(model), budget) for model in ("a", "b") for budget in (16, None)]
    whole = {(task.query_id, arm.model, arm.budget, sample) for task in TASKS for arm in arms for sample in range(2)}
    done = data.draw(st.sets(st.sampled_from(sorted(whole, key=str))))
    jobs = missing_jobs(TASKS, arms, 2, done)
    asked = [(job.task.query_id, job.arm.model, job.arm.budget, job.sample) for job in jobs]
    assert len(asked) == len(set(asked))
    assert set(asked) == whole - done


@given(st.integers(1, 50), st.integers(1, 60))
def test_a_few_tasks_are_taken_from_everywhere(total: int, count: int) -> None:
    tasks = [replace(TASKS[0], query_id=str(number)) for number in range(total)]
    places = [int(task.query_id) for task in spread(tasks, count)]
    assert len(places) == min(total, count)
    gaps = [after - before for before, after in itertools.pairwise(places)]
    assert not gaps or 0 < min(gaps) <= max(gaps) <= min(gaps) + 1
