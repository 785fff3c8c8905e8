"""Feedback is kept once it was checked, on the attempt that was served; what was said is never erased."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import LedgerError, SettingError
from curveroute.agent.ledger import AttemptMade, Ledger, NullLedger, RunEnd, RunStart, opening
from curveroute.agent.ledger.feedback import LONGEST_COMMENT, checked_feedback, counted
from curveroute.agent.types import Arm, Attempt, AttemptId, ModelId, RunId, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL, BIG = Arm(ModelId("small"), 64), Arm(ModelId("big"), None)
PRICES = (1.0, 1.0, 0.1)


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.sqlite'}"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(url_of(tmp_path)) as opened:
        yield opened


def a_run(ledger: Ledger, name: str = "run-1", *, pool: str = "local", served: bool = True) -> None:
    """Two attempts, of which the second is served."""
    run, attempts = RunId(name), [
        AttemptMade(Attempt(AttemptId(f"{name}.{at}"), "probe", arm, "x", None, Usage(1, 1), 2e-6, "stop", 0.1), PRICES)
        for at, arm in enumerate((SMALL, BIG))
    ]  # fmt: skip
    end = RunEnd("accepted", "good", "x", AttemptId(f"{name}.1"), BIG) if served else RunEnd("failed", "none")
    asyncio.run(ledger.record(run, RunStart(run, pool, f"What of {name}?", 0.5), *attempts, end))


def give(ledger: Ledger, *given: Any, **named: Any) -> Any:
    return asyncio.run(ledger.give_feedback(*given, **named))


def test_feedback_is_kept_on_the_attempt_that_was_served(ledger: Ledger) -> None:
    a_run(ledger)
    said = give(ledger, "run-1", 1.0, "just right")
    assert (said.attempt_id, said.source) == ("run-1.1", "user")
    assert ledger.run("run-1").feedback == (said,)
    (scored,) = ledger.scored_runs()
    assert (scored.arm, scored.query_text, scored.score, scored.at) == (BIG, "What of run-1?", 1.0, said.created_at)
    assert ledger.verify().ok


def test_of_several_by_one_source_the_last_counts_and_sources_are_averaged(ledger: Ledger) -> None:
    a_run(ledger)
    for score, source in ((0.0, "user"), (0.5, "grader"), (1.0, "user")):
        give(ledger, "run-1", score, source=source)
    assert [one.score for one in ledger.run("run-1").feedback] == [0.0, 0.5, 1.0]
    assert ledger.scored_runs()[0].score == 0.75


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), min_size=1, max_size=20))
def test_what_counts_lies_between_what_was_said(said: list[tuple[str, float]]) -> None:
    scores = [score for _, score in said]
    assert min(scores) <= counted(said) <= max(scores) + 1e-12
    assert counted([*said, ("a", 1.0), ("b", 1.0), ("c", 1.0)]) == 1.0


def test_runs_are_told_by_their_last_feedback_and_by_pool(ledger: Ledger) -> None:
    a_run(ledger, "one")
    a_run(ledger, "two", pool="other")
    for name in ("one", "two", "one"):
        give(ledger, name, 0.5)
    assert [one.run_id for one in ledger.scored_runs()] == ["two", "one"]
    assert [one.run_id for one in ledger.scored_runs("local")] == ["one"]


@pytest.mark.parametrize(
    "score", [float("nan"), float("inf"), -0.01, 1.01, "0.5", None, 10**400, pytest.param(10**5000, id="5000 digits")]
)
def test_a_score_out_of_range_is_refused(ledger: Ledger, score: Any) -> None:
    a_run(ledger)
    with pytest.raises(SettingError, match=r"score is .*give a number from 0"):
        give(ledger, "run-1", score)
    assert ledger.scored_runs() == []


@pytest.mark.parametrize(
    ("comment", "source", "complaint"),
    [
        ("x" * (LONGEST_COMMENT + 1), "user", f"at most {LONGEST_COMMENT}"),
        ("", "", "source is ''"),
        ("", "x" * 65, "1 to 64 characters"),
        (None, "user", "comment is None"),
    ],
)
def test_words_that_cannot_be_kept_are_refused(comment: Any, source: str, complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        checked_feedback(0.5, comment, source)
    assert len(checked_feedback(0.5, "x" * LONGEST_COMMENT, "user").comment) == LONGEST_COMMENT


def test_keys_and_what_no_database_stores_do_not_reach_the_ledger(ledger: Ledger) -> None:
    a_run(ledger)
    said = give(ledger, "run-1", 0, "it leaked sk-abcdefgh12345678\x00", source="bot sk-abcdefgh12345678")
    assert (said.comment, said.source) == ("it leaked [key]\ufffd", "bot [key]")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("nobody", "no run 'nobody'"), ("run", "ambiguous"), ("failed", "is failed and has no answer"), ("", "no run ''")],
)
def test_runs_that_served_nothing_take_no_feedback(ledger: Ledger, name: str, complaint: str) -> None:
    a_run(ledger, "run-1")
    a_run(ledger, "run-2")
    a_run(ledger, "failed", served=False)
    with pytest.raises(LedgerError, match=complaint):
        give(ledger, name, 0.5)


def test_a_collection_takes_no_feedback(ledger: Ledger) -> None:
    start = RunStart(RunId("c"), "local", "collection x", 0.0, kind="collect", collection="x")
    asyncio.run(ledger.record(RunId("c"), start, RunEnd("accepted", "done")))
    with pytest.raises(LedgerError, match="a collection"):
        give(ledger, "c", 0.5)


def test_without_a_ledger_there_is_no_feedback() -> None:
    with pytest.raises(LedgerError, match="keeps no ledger"):
        asyncio.run(NullLedger().give_feedback("run-1", 0.5))


def test_a_query_whose_words_are_gone_is_told_as_gone(ledger: Ledger, tmp_path: Path) -> None:
    a_run(ledger)
    give(ledger, "run-1", 0.5)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as raw, raw:
        raw.execute("UPDATE runs SET query_text = '(removed)'")
    assert ledger.scored_runs()[0].query_text is None


def test_a_ledger_that_cannot_be_written_says_so(ledger: Ledger, tmp_path: Path) -> None:
    a_run(ledger)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as raw, raw:
        raw.execute("CREATE TRIGGER full BEFORE INSERT ON feedback BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    with pytest.raises(LedgerError, match="the disk is full: free some space"):
        give(ledger, "run-1", 0.5)


def test_a_ledger_of_before_opens_with_its_runs_and_takes_feedback(tmp_path: Path) -> None:
    with Ledger.open(url_of(tmp_path)) as fresh:
        a_run(fresh)
        before = fresh.run("run-1")
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as raw, raw:
        raw.execute("DROP TABLE feedback")
        raw.execute("UPDATE curveroute_version SET version_num = '0004'")
    with Ledger.open(url_of(tmp_path)) as opened:
        assert opened.run("run-1") == before
        said = give(opened, "run-1", 0.25)
        assert opened.run("run-1").feedback == (said,)
        assert opened.verify().ok


def test_feedback_of_a_run_that_is_gone_is_found(ledger: Ledger, tmp_path: Path) -> None:
    a_run(ledger)
    give(ledger, "run-1", 0.5)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as raw, raw:
        raw.execute("INSERT INTO feedback VALUES (9, 'gone', 'run-1.1', 0.5, '', 'user', '2026-11-26 10:00:00')")
    assert [one.what for one in ledger.verify().disagreements] == ["run of feedback 9"]


def test_feedback_waits_for_what_its_run_has_not_written_yet(ledger: Ledger) -> None:
    """A verdict that waits in the tray goes first, and nothing of it is lost."""
    a_run(ledger)
    asyncio.run(ledger.start_run(RunStart(RunId("next"), "local", "?", 0.5)))
    give(ledger, "run-1", 1)
    assert {one.run_id for one in ledger.runs()} == {"run-1", "next"}


def test_the_schema_of_feedback_goes_down_as_it_went_up(tmp_path: Path) -> None:
    from alembic import command
    from sqlalchemy import inspect

    with closing(opening.open_connection(url_of(tmp_path))) as connection:
        with connection.begin():
            command.downgrade(opening.migration_config(connection=connection), "0004")
        assert "feedback" not in inspect(connection).get_table_names()
