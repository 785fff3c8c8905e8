"""Books that were kept by the ledger always balance; books that were touched never do."""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger import AttemptMade, Disagreement, Ledger, RunEnd, RunStart, Totals, attempt_cost
from curveroute.agent.types import Arm, Attempt, AttemptId, ModelId, RunId, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS = itertools.count()
tokens = st.integers(0, 200_000)
prices = st.tuples(*[st.floats(0, 600, allow_nan=False)] * 3)
calls = st.lists(st.tuples(st.builds(Usage, tokens, tokens, tokens), prices), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    with Ledger.open("sqlite://") as opened:
        yield opened


def keep_books(ledger: Ledger, spent: list[tuple[Usage, Any]], cap: float | None = None) -> RunId:
    run_id = RunId(f"run-{next(NUMBERS):06}")
    made = []
    for number, (usage, price) in enumerate(spent):
        cost = attempt_cost(usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, price)
        arm = Arm(ModelId("m"), 100)
        attempt = Attempt(AttemptId(f"{run_id}-{number}"), "probe", arm, "", None, usage, cost, "stop", 0.0)
        made.append(AttemptMade(attempt, price))
    totals = Totals(
        math.fsum(event.attempt.cost_usd for event in made),
        sum(usage.input_tokens for usage, _ in spent),
        sum(usage.output_tokens for usage, _ in spent),
        len(spent),
    )
    asyncio.run(
        ledger.record(
            run_id,
            RunStart(run_id, "local", "?", 0.5, cap),
            *made,
            RunEnd("accepted", "ok", answer_attempt_id=AttemptId(f"{run_id}-0"), totals=totals),
        )
    )
    return run_id


def tamper(ledger: Ledger, run_id: RunId, *statements: str) -> None:
    def change(connection: Any) -> None:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        for statement in statements:
            connection.exec_driver_sql(statement, {"run_id": run_id})
        connection.commit()
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.commit()

    ledger._ask(change)


@settings(max_examples=40, deadline=None)
@given(calls)
def test_books_always_balance(ledger: Ledger, spent: list[tuple[Usage, Any]]) -> None:
    run_id = keep_books(ledger, spent)
    report = ledger.verify(run_id)
    assert report.disagreements == []
    assert (report.runs, report.attempts) == (1, len(spent))


TOUCHES = (
    "UPDATE attempts SET cost_usd = cost_usd + 0.001 WHERE attempt_id = :run_id || '-0'",
    "UPDATE attempts SET input_tokens = input_tokens + 1 WHERE attempt_id = :run_id || '-0'",
    "UPDATE attempts SET output_tokens = output_tokens + 1 WHERE attempt_id = :run_id || '-0'",
    "DELETE FROM attempts WHERE attempt_id = :run_id || '-0'",
    "UPDATE runs SET cost_usd = cost_usd + 0.001 WHERE run_id = :run_id",
    "UPDATE runs SET attempts = attempts + 1 WHERE run_id = :run_id",
    "UPDATE runs SET query_text = query_text || '!' WHERE run_id = :run_id",
    "UPDATE runs SET answer_attempt_id = 'nobody' WHERE run_id = :run_id",
)


@settings(max_examples=40, deadline=None)
@given(calls, st.sampled_from(TOUCHES))
def test_a_touched_row_is_always_found(ledger: Ledger, spent: list[tuple[Usage, Any]], touch: str) -> None:
    run_id = keep_books(ledger, spent)
    tamper(ledger, run_id, touch)
    found = ledger.verify(run_id).disagreements
    assert found
    assert {disagreement.run_id for disagreement in found} == {run_id}


def test_a_disagreement_names_both_figures(ledger: Ledger) -> None:
    run_id = keep_books(ledger, [(Usage(1_000_000, 0), (2.0, 0.0, 0.0))])
    tamper(ledger, run_id, "UPDATE attempts SET cost_usd = 5.0 WHERE run_id = :run_id")
    report = ledger.verify(run_id)
    assert not report.ok
    assert report.disagreements == [
        Disagreement(run_id, f"attempt {run_id}-0 cost_usd", 5.0, 2.0),
        Disagreement(run_id, "cost_usd", 2.0, 5.0),
    ]
    assert str(report.disagreements[1]) == f"run {run_id}: cost_usd is stored as 2.0, recomputed as 5.0"


def test_a_run_over_its_cap_is_found(ledger: Ledger) -> None:
    spent = [(Usage(1_000_000, 0), (2.0, 0.0, 0.0))]
    exact, over = keep_books(ledger, spent, 2.0), keep_books(ledger, spent, 1.5)
    assert ledger.verify(exact).ok
    assert ledger.verify(over).disagreements == [Disagreement(over, "max_cost_usd", 1.5, 2.0)]


def test_a_running_run_may_have_no_totals_yet_but_no_wrong_ones(ledger: Ledger) -> None:
    run_id = keep_books(ledger, [(Usage(10, 10), (2.0, 1.0, 0.0))])
    tamper(ledger, run_id, "UPDATE runs SET status = 'running', attempts = 0, input_tokens = 0 WHERE run_id = :run_id")
    assert ledger.verify(run_id).ok
    tamper(ledger, run_id, "UPDATE runs SET attempts = 7 WHERE run_id = :run_id")
    assert [found.what for found in ledger.verify(run_id).disagreements] == ["attempts"]


def test_rows_without_a_parent_are_found() -> None:
    with Ledger.open("sqlite://") as ledger:
        run_id = keep_books(ledger, [(Usage(10, 10), (2.0, 1.0, 0.0))])
        tamper(
            ledger,
            run_id,
            "DELETE FROM runs WHERE run_id = :run_id",
            "INSERT INTO verdicts VALUES (7, 'nobody', 0.5, 'ok', '', '[]', '2026-01-01 00:00:00.000000')",
            "INSERT INTO decisions VALUES (8, 'gone', 0, '[]', '', NULL, 0, '[]', '2026-01-01 00:00:00', NULL, NULL)",
        )
        assert ledger.verify().disagreements == [
            Disagreement(run_id, f"run of attempt {run_id}-0", run_id, None),
            Disagreement("gone", "run of decision 8", "gone", None),
            Disagreement("", "attempt of verdict 7", "nobody", None),
        ]


def test_verify_takes_a_prefix_and_refuses_the_unknown(ledger: Ledger) -> None:
    keep_books(ledger, [(Usage(1, 1), (1.0, 1.0, 1.0))])
    assert ledger.verify("run-000000").runs == 1
    with pytest.raises(LedgerError, match="no run"):
        ledger.verify("nothing-like-it")


def test_cached_tokens_are_a_part_of_the_input() -> None:
    assert attempt_cost(1_000_000, 400_000, 0, (2.0, 0.0, 0.5)) == pytest.approx(1.4)
    assert attempt_cost(100, 500, 0, (2.0, 0.0, 1.0)) == pytest.approx(1e-4)
