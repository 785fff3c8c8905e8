"""What a run writes is what the ledger tells; nothing is counted twice, lost, or half-written."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger import (
    AttemptMade,
    Ledger,
    LedgerPort,
    NullLedger,
    RunEnd,
    RunSettings,
    RunStart,
    Totals,
    VerdictGiven,
    attempt_cost,
)
from curveroute.agent.ledger.losers import losers_json
from curveroute.agent.types import (
    Arm,
    Attempt,
    AttemptId,
    Decision,
    Estimate,
    Flip,
    ModelId,
    Plan,
    PredictorOrigin,
    Rejection,
    RunId,
    Usage,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBERS = itertools.count()
PRICES = (0.5, 1.5, 0.05)
ARM = Arm(ModelId("small"), 256)
BIG = Arm(ModelId("big"), None)
RUN = RunId("run-1")


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.sqlite'}"


def an_attempt(name: str = "a1", **changes: Any) -> Attempt:
    usage = changes.pop("usage", Usage(100, 40, 20))
    cost = attempt_cost(usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, PRICES)
    attempt = Attempt(AttemptId(name), "probe", ARM, "It is 4.", "4", usage, cost, "stop", 0.25)
    return replace(attempt, **changes)


def a_start(run_id: str = RUN, **changes: Any) -> RunStart:
    return replace(RunStart(RunId(run_id), "local", "2 + 2?", 0.5, 0.01), **changes)


def an_end(*attempts: Attempt, **changes: Any) -> RunEnd:
    totals = Totals(
        math.fsum(attempt.cost_usd for attempt in attempts),
        sum(attempt.usage.input_tokens for attempt in attempts),
        sum(attempt.usage.output_tokens for attempt in attempts),
        len(attempts),
    )
    return replace(RunEnd("accepted", "good enough", "4", AttemptId("a1"), ARM, totals), **changes)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(url_of(tmp_path)) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared() -> Iterator[Ledger]:
    with Ledger.open("sqlite://") as opened:
        yield opened


def mended(text: str) -> str:
    return "".join("\ufffd" if mark == "\0" or "\ud800" <= mark <= "\udfff" else mark for mark in text)


async def test_a_run_reads_back_as_it_was_written(ledger: Ledger) -> None:
    attempt = an_attempt(confidence=0.8, error=None)
    verdict = Verdict(0.9, "ok", "agrees", (("agreement", 1.0), ("judge", 0.7)))
    decision = Decision(
        0,
        (ARM, BIG),
        "gain",
        "accepted",
        committed=True,
        rejected=(Rejection(BIG, "dear", -0.1, 0.2, 0.3, 0.4), Rejection(ARM, "x"), Rejection(BIG, "dear")),
        flips=(Flip(0.31, (BIG,), "worth it"), Flip(0.9, ())),
        policy="learned",
    )
    plan = Plan((ARM, BIG), probe=True, criteria="a number", source="planner", reason="close")
    candidates = (Estimate(ARM, 0.7, 0.1, 100, 41.5, 1e-5), Estimate(BIG, 0.9, 0.05, 100, 300.0, 1e-3, 0.5, 900, 4096))
    end = an_end(attempt, plan=plan, candidates=candidates)

    await ledger.start_run(a_start())
    await ledger.record(RUN, decision)
    await ledger.record_attempt(RUN, attempt, PRICES)
    await ledger.record(RUN, VerdictGiven(attempt.attempt_id, verdict))
    await ledger.finish_run(RUN, end)

    run = ledger.run(RUN)
    assert (run.status, run.answer, run.arm, run.totals) == ("accepted", "4", ARM, end.totals)
    assert (run.pool, run.query_text, run.tradeoff, run.max_cost_usd) == ("local", "2 + 2?", 0.5, 0.01)
    assert (run.plan, run.candidates) == (plan, candidates)
    assert [record.attempt for record in run.attempts] == [replace(attempt, verdict=verdict)]
    assert run.attempts[0].prices == PRICES
    assert [record.verdict for record in run.verdicts] == [verdict]
    assert [record.decision for record in run.decisions] == [decision]
    assert run.finished_at is not None
    assert run.created_at <= run.finished_at
    assert run.created_at.tzinfo is not None
    assert ledger.verify().ok


async def test_what_lost_among_hundreds_of_arms_stays_small(ledger: Ledger) -> None:
    arms = [Arm(ModelId(f"provider/model-{model}"), 2**budget) for model in range(17) for budget in range(4, 15)]
    rejected = tuple(Rejection(arm, "dearer than its expected gain", -0.1234, 0.1234, 0.4321, 0.5432) for arm in arms)
    await ledger.start_run(a_start())
    await ledger.record(RUN, Decision(1, (), "x", rejected=rejected), an_end(answer_attempt_id=None))
    assert ledger.run(RUN).decisions[0].decision.rejected == rejected
    stored = json.dumps(losers_json(rejected), separators=(",", ":"))
    assert len(stored) < 45 * len(arms)


async def test_what_a_second_is_worth_reads_back(ledger: Ledger) -> None:
    await ledger.record(RUN, a_start(seconds_usd=0.002), an_end(answer_attempt_id=None))
    assert ledger.run(RUN).seconds_usd == 0.002


@pytest.mark.parametrize(
    "decided_by",
    [None, RunSettings(), RunSettings("closed-form", 0.1, PredictorOrigin("/somewhere/p\u00e9", "ab12"))],
)
async def test_what_decided_a_run_reads_back(ledger: Ledger, decided_by: RunSettings | None) -> None:
    await ledger.record(RUN, a_start(settings=decided_by), an_end(answer_attempt_id=None))
    assert ledger.run(RUN).settings == decided_by


async def test_attempts_are_numbered_in_order(ledger: Ledger) -> None:
    await ledger.start_run(a_start())
    for name in "cab":
        await ledger.record_attempt(RUN, an_attempt(name), PRICES)
    assert [(record.seq, record.attempt.attempt_id) for record in ledger.run(RUN).attempts] == [
        (1, "c"),
        (2, "a"),
        (3, "b"),
    ]


async def test_the_same_attempt_again_changes_nothing(ledger: Ledger) -> None:
    attempt = an_attempt()
    await ledger.start_run(a_start())
    await ledger.record_attempt(RUN, attempt, PRICES)
    await ledger.start_run(a_start(query_text="another"))
    await ledger.record_attempt(RUN, replace(attempt, text="later"), PRICES)
    await ledger.finish_run(RUN, an_end(attempt))
    run = ledger.run(RUN)
    assert [record.attempt.text for record in run.attempts] == ["It is 4."]
    assert run.query_text == "2 + 2?"
    assert ledger.verify().ok


async def test_an_attempt_of_another_run_is_refused(ledger: Ledger) -> None:
    await ledger.start_run(a_start("one"))
    await ledger.record_attempt(RunId("one"), an_attempt(), PRICES)
    await ledger.start_run(a_start("two"))
    with pytest.raises(LedgerError, match="belongs to run 'one'"):
        await ledger.record_attempt(RunId("two"), an_attempt(), PRICES)
    await ledger.record_attempt(RunId("two"), an_attempt("a2"), PRICES)
    assert len(ledger.run("two").attempts) == 1


async def test_the_events_of_one_call_are_written_together_or_not_at_all(ledger: Ledger) -> None:
    await ledger.start_run(a_start())
    await ledger.record_attempt(RUN, an_attempt(), PRICES)
    orphan = VerdictGiven(AttemptId("nobody"), Verdict(0.5, "wrong"))
    with pytest.raises(LedgerError, match="record the run and the attempt first"):
        await ledger.record(RUN, AttemptMade(an_attempt("a2"), PRICES), orphan)
    assert len(ledger.run(RUN).attempts) == 1


async def test_an_attempt_survives_a_bad_event_that_waited_before_it(ledger: Ledger) -> None:
    await ledger.start_run(a_start())
    await ledger.record(RUN, VerdictGiven(AttemptId("nobody"), Verdict(0.5, "wrong")))
    with pytest.raises(LedgerError, match="record the run and the attempt first"):
        await ledger.record_attempt(RUN, an_attempt(), PRICES)
    assert len(ledger.run(RUN).attempts) == 1
    await ledger.finish_run(RUN, an_end(an_attempt()))
    assert ledger.verify().ok


async def test_what_waits_is_written_on_close(tmp_path: Path) -> None:
    with Ledger.open(url_of(tmp_path)) as ledger:
        await ledger.start_run(a_start())
        assert ledger.runs() == []
    with Ledger.open(url_of(tmp_path)) as ledger:
        assert [run.status for run in ledger.runs()] == ["running"]


async def test_a_cancelled_call_still_stores_the_attempt(ledger: Ledger) -> None:
    await ledger.start_run(a_start())
    task = asyncio.create_task(ledger.record_attempt(RUN, an_attempt(), PRICES))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(ledger.run(RUN).attempts) == 1


async def test_a_run_that_never_started_cannot_be_written(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="record the run and the attempt first"):
        await ledger.record_attempt(RUN, an_attempt(), PRICES)
    with pytest.raises(LedgerError, match="start it before you finish it"):
        await ledger.finish_run(RUN, an_end())
    with pytest.raises(LedgerError, match="cannot start inside"):
        await ledger.record(RunId("other"), a_start())


async def test_a_later_end_replaces_an_earlier_one(ledger: Ledger) -> None:
    attempt = an_attempt()
    await ledger.record(RUN, a_start(), AttemptMade(attempt, PRICES), an_end(attempt, status="best_so_far"))
    await ledger.finish_run(RUN, an_end(attempt))
    assert [run.status for run in ledger.runs()] == ["accepted"]


async def test_an_end_without_totals_sums_the_attempts(ledger: Ledger) -> None:
    await ledger.start_run(a_start())
    for name in "abc":
        await ledger.record_attempt(RUN, an_attempt(name), PRICES)
    await ledger.finish_run(RUN, RunEnd("accepted", "done"))
    totals = ledger.run(RUN).totals
    assert (totals.input_tokens, totals.output_tokens, totals.attempts) == (300, 120, 3)
    assert ledger.verify().ok


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["cost_usd", "latency_s", "confidence"])
async def test_numbers_that_are_not_finite_are_refused(ledger: Ledger, field: str, value: float) -> None:
    with pytest.raises(LedgerError, match=field):
        await ledger.record(RUN, a_start(), AttemptMade(an_attempt(**{field: value}), PRICES))
    assert ledger.runs() == []


async def test_what_no_ledger_should_hold_is_refused(ledger: Ledger) -> None:
    bad: list[Any] = [
        AttemptMade(an_attempt(), (1.0, math.nan, 0.0)),
        AttemptMade(an_attempt(cost_usd=-1.0), PRICES),
        AttemptMade(an_attempt(usage=Usage(2**63, 0)), PRICES),
        VerdictGiven(AttemptId("a1"), Verdict(math.nan, "ok")),
        VerdictGiven(AttemptId("a1"), Verdict(0.5, "ok", signals=(("judge", math.inf),))),
        Decision(0, (), "x", rejected=(Rejection(ARM, "x", math.nan),)),
        Decision(0, (), "x", rejected=(Rejection(ARM, "x", price=math.inf),)),
        Decision(0, (), "x", flips=(Flip(math.nan, ()),)),
        a_start(seconds_usd=-1.0),
        a_start(settings=RunSettings(max_error=math.nan)),
        RunEnd("failed", "x", totals=Totals(math.nan)),
        RunEnd("failed", "x", candidates=(Estimate(ARM, math.nan, 0.1, 1, 1.0, 0.0),)),
        a_start(max_cost_usd=math.inf),
    ]
    for event in bad:
        with pytest.raises(LedgerError):
            await ledger.record(RUN, event)
    assert ledger.verify().runs == 0


async def test_text_that_no_database_stores_is_mended(ledger: Ledger) -> None:
    await ledger.record(RUN, a_start(query_text="a\ud800b"), AttemptMade(an_attempt(text="x\x00y é 漢 🙂"), PRICES))
    run = ledger.run(RUN)
    assert run.query_text == "a\ufffdb"
    assert run.attempts[0].attempt.text == "x\ufffdy é 漢 🙂"
    assert ledger.verify().ok


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_reads_back(shared: Ledger, text: str, answer: str) -> None:
    run_id = RunId(f"run-{next(NUMBERS)}")
    attempt = an_attempt(f"{run_id}-a", text=text, answer=answer)
    asyncio.run(shared.record(run_id, a_start(run_id, query_text=text), AttemptMade(attempt, PRICES)))
    run = shared.run(run_id)
    assert (run.query_text, run.attempts[0].attempt.text) == (mended(text), mended(text))
    assert run.attempts[0].attempt.answer == mended(answer)


async def test_keys_quoted_in_an_error_are_not_stored(ledger: Ledger) -> None:
    said = "401: Incorrect API key provided: sk-proj-abcdef123456. Authorization: Bearer eyJhbGciOi"
    await ledger.record(RUN, a_start(), AttemptMade(an_attempt(error=said), PRICES))
    stored = ledger.run(RUN).attempts[0].attempt.error
    assert stored == "401: Incorrect API key provided: [key] Authorization: Bearer [key]"


async def test_runs_are_listed_newest_first_and_filtered(ledger: Ledger) -> None:
    for name in "abc":
        await ledger.record(RunId(name), a_start(name), an_end(answer_attempt_id=None))
    await ledger.record(RunId("k"), a_start("k", kind="collect", collection="first"), RunEnd("failed", "x"))
    assert [run.run_id for run in ledger.runs(2)] == ["c", "b"]
    assert [run.run_id for run in ledger.runs(9, status="failed", kind=None)] == ["k"]
    assert [run.collection for run in ledger.runs(kind="collect")] == ["first"]
    with pytest.raises(LedgerError, match="limit 0"):
        ledger.runs(0)


async def test_a_run_is_found_by_an_unambiguous_prefix(ledger: Ledger) -> None:
    for name in ("ab", "ab1", "ab2", "x_%"):
        await ledger.record(RunId(name), a_start(name), an_end(answer_attempt_id=None))
    assert ledger.run("ab").run_id == "ab"
    assert ledger.run("ab1").run_id == "ab1"
    assert ledger.run("x").run_id == "x_%"
    for unknown in ("", "%", "AB", "abc"):
        with pytest.raises(LedgerError, match="no run"):
            ledger.run(unknown)
    with pytest.raises(LedgerError, match="ambiguous"):
        ledger.run("a")


def test_one_ledger_serves_several_event_loops(ledger: Ledger) -> None:
    async def one(name: str) -> None:
        await ledger.record(RunId(name), a_start(name), AttemptMade(an_attempt(name), PRICES))

    for name in "abc":
        asyncio.run(one(name))
    assert ledger.verify().runs == 3


async def test_runs_in_parallel_keep_their_own_books(ledger: Ledger) -> None:
    async def one(name: str) -> None:
        run_id = RunId(name)
        attempts = [an_attempt(f"{name}-{number}") for number in range(3)]
        await ledger.start_run(a_start(name))
        await asyncio.gather(*(ledger.record_attempt(run_id, attempt, PRICES) for attempt in attempts))
        await ledger.finish_run(run_id, an_end(*attempts, answer_attempt_id=None))

    await asyncio.gather(*(one(f"r{number}") for number in range(20)))
    report = ledger.verify()
    assert (report.runs, report.attempts, report.disagreements) == (20, 60, [])
    assert [record.seq for record in ledger.run("r7").attempts] == [1, 2, 3]


async def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    ledger = Ledger.open("sqlite://")
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        await ledger.start_run(a_start())
    with pytest.raises(LedgerError, match="closed"):
        ledger.runs()


async def test_the_null_ledger_forgets_everything() -> None:
    ledger: LedgerPort = NullLedger()
    await ledger.start_run(a_start())
    await ledger.record_attempt(RUN, an_attempt(), PRICES)
    await ledger.record(RUN, VerdictGiven(AttemptId("a1"), Verdict(1.0, "ok")))
    await ledger.record(RUN, Decision(0, (), "stop"))
    await ledger.finish_run(RUN, an_end())
    await ledger.record(RUN, a_start())
    ledger.close()


def test_a_ledger_fits_the_port(ledger: Ledger) -> None:
    port: LedgerPort = ledger
    assert port is ledger
