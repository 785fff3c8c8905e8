"""A ledger opens where it can, migrated and safe; where it cannot, it says why and what to do."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql

from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger import AttemptMade, Ledger, RunEnd, RunStart, opening, writing
from curveroute.agent.ledger.migrations import HEAD, REVISIONS, VERSION_TABLE
from curveroute.agent.ledger.tables import LedgerTable
from curveroute.agent.types import Arm, Attempt, AttemptId, ModelId, Rejection, RunId, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = RunId("run-1")

# A ledger as the first release wrote it; never edit, later migrations must read it.
FIRST_LEDGER = """
CREATE TABLE curveroute_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO curveroute_version VALUES ('0001');
CREATE TABLE runs (
    run_id VARCHAR NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL, pool VARCHAR NOT NULL,
    query_text VARCHAR NOT NULL, query_sha256 VARCHAR NOT NULL, tradeoff FLOAT NOT NULL, max_cost_usd FLOAT,
    status VARCHAR NOT NULL, answer VARCHAR, answer_attempt_id VARCHAR, model VARCHAR, budget BIGINT,
    cost_usd FLOAT NOT NULL, input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, attempts BIGINT NOT NULL,
    kind VARCHAR NOT NULL, collection VARCHAR, finished_at DATETIME, reason VARCHAR NOT NULL, plan JSON, candidates JSON
);
CREATE INDEX ix_runs_kind_created_at ON runs (kind, created_at);
CREATE INDEX ix_runs_collection ON runs (collection);
CREATE TABLE attempts (
    attempt_id VARCHAR NOT NULL PRIMARY KEY, run_id VARCHAR NOT NULL REFERENCES runs (run_id), seq BIGINT NOT NULL,
    created_at DATETIME NOT NULL, role VARCHAR NOT NULL, model VARCHAR NOT NULL, budget BIGINT, text VARCHAR NOT NULL,
    answer VARCHAR, input_tokens BIGINT NOT NULL, cached_input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL,
    input_price FLOAT NOT NULL, output_price FLOAT NOT NULL, cached_input_price FLOAT NOT NULL,
    cost_usd FLOAT NOT NULL, finish_reason VARCHAR NOT NULL, latency_s FLOAT NOT NULL, error VARCHAR, confidence FLOAT,
    query_id VARCHAR, "query" VARCHAR, task VARCHAR, sample BIGINT, quality FLOAT, reference VARCHAR,
    prompt_style VARCHAR
);
CREATE INDEX ix_attempts_run_id_seq ON attempts (run_id, seq);
CREATE TABLE verdicts (
    id INTEGER NOT NULL PRIMARY KEY, attempt_id VARCHAR NOT NULL REFERENCES attempts (attempt_id),
    score FLOAT NOT NULL, reason VARCHAR NOT NULL, detail VARCHAR NOT NULL, signals JSON NOT NULL,
    created_at DATETIME NOT NULL
);
CREATE INDEX ix_verdicts_attempt_id ON verdicts (attempt_id);
CREATE TABLE decisions (
    id INTEGER NOT NULL PRIMARY KEY, run_id VARCHAR NOT NULL REFERENCES runs (run_id), step BIGINT NOT NULL,
    arms JSON NOT NULL, reason VARCHAR NOT NULL, status VARCHAR, committed BOOLEAN NOT NULL, rejected JSON NOT NULL,
    created_at DATETIME NOT NULL
);
CREATE INDEX ix_decisions_run_id_step ON decisions (run_id, step);
INSERT INTO runs VALUES (
    'old', '2026-11-21 10:00:00.000000', 'local', '2 + 2?',
    '70b499c547e0a11fc693677f477746c45a8133b4dadeb0a2090a1c44cf783b20', 0.5, 0.1, 'accepted', '4', 'a1', 'small', 64,
    0.00014, 100, 40, 1, 'ask', NULL, '2026-11-21 10:00:01.000000', 'good', NULL,
    '[{"model": "small", "budget": 64, "quality": 0.7, "quality_std": 0.1, "input_tokens": 9, "output_tokens": 9.5,
       "cost_usd": 0.1}]'
);
INSERT INTO attempts VALUES (
    'a1', 'old', 1, '2026-11-21 10:00:00.500000', 'probe', 'small', 64, 'It is 4.', '4', 100, 0, 40, 1.0, 1.0, 0.0,
    0.00014, 'stop', 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
);
INSERT INTO verdicts VALUES (1, 'a1', 0.9, 'ok', '', '[["judge", 0.9]]', '2026-11-21 10:00:00.600000');
INSERT INTO decisions VALUES (
    1, 'old', 0, '[{"model": "small", "budget": 64}]', 'gain', NULL, 1,
    '[{"model": "big", "budget": null, "reason": "dear", "net_gain": -0.1}]', '2026-11-21 10:00:00.100000'
);
"""


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.sqlite'}"


def a_start(run_id: str = RUN) -> RunStart:
    return RunStart(RunId(run_id), "local", "?", 0.5)


def a_call(name: str, text: str = "") -> AttemptMade:
    arm = Arm(ModelId("m"), 100)
    attempt = Attempt(AttemptId(name), "probe", arm, text, None, Usage(10, 10), 2e-5, "stop", 0.0)
    return AttemptMade(attempt, (1.0, 1.0, 1.0))


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Any]:
    opened = opening.open_connection(url_of(tmp_path))
    yield opened
    opened.close()


def test_a_blank_ledger_gets_exactly_the_tables_of_the_code(connection: Any) -> None:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "version_table": VERSION_TABLE})
    assert compare_metadata(context, LedgerTable.metadata) == []


def test_the_revisions_in_the_code_are_those_on_disk() -> None:
    script = ScriptDirectory.from_config(opening.migration_config())
    assert [step.revision for step in script.walk_revisions()] == list(reversed(REVISIONS))
    assert script.get_current_head() == HEAD


def test_migrations_go_down_as_they_went_up(connection: Any) -> None:
    with connection.begin():
        command.downgrade(opening.migration_config(connection=connection), "base")
    assert inspect(connection).get_table_names() == [VERSION_TABLE]
    connection.rollback()
    with connection.begin():
        opening.upgrade(connection)
    assert set(inspect(connection).get_table_names()) == {*LedgerTable.metadata.tables, VERSION_TABLE}


def test_the_ledger_of_the_first_release_opens_and_balances(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as old:
        old.executescript(FIRST_LEDGER)
    old.close()
    with Ledger.open(url_of(tmp_path)) as ledger:
        run = ledger.run("old")
        assert run.attempts[0].attempt.verdict is not None
        (old_decision,) = [one.decision for one in run.decisions]
        assert old_decision.rejected == (Rejection(Arm(ModelId("big"), None), "dear", -0.1),)
        assert (old_decision.flips, old_decision.policy, run.seconds_usd) == ((), "closed-form", 0.0)
        assert run.settings is None
        assert run.candidates[0].output_tokens == 9.5
        assert ledger.verify().disagreements == []


def test_the_ledger_of_the_first_release_gets_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as old:
        old.executescript(FIRST_LEDGER)
    old.close()
    opened = opening.open_connection(url_of(tmp_path))
    context = MigrationContext.configure(opened, opts={"compare_type": True, "version_table": VERSION_TABLE})
    differences = compare_metadata(context, LedgerTable.metadata)
    opened.close()
    assert differences == []


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").touch()
    with Ledger.open(url_of(tmp_path)) as ledger:
        assert ledger.runs() == []


def test_postgresql_gets_the_same_tables_and_statements() -> None:
    config = opening.migration_config(dialect="postgresql")
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    sql = config.output_buffer.getvalue()
    assert all(f"CREATE TABLE {table} " in sql for table in LedgerTable.metadata.tables)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    compiled = [str(statement.compile(dialect=dialect)) for statement in writing.statements("postgresql").values()]
    assert sum("ON CONFLICT" in statement for statement in compiled) == 2


def test_sqlite_is_durable_enough_and_checks_references(connection: Any) -> None:
    pragmas = {
        name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 10_000}


def test_a_ledger_that_is_up_to_date_opens_without_alembic(tmp_path: Path) -> None:
    Ledger.open(url_of(tmp_path)).close()
    code = """
import sys
from curveroute.agent.ledger import NullLedger
assert "sqlalchemy" not in sys.modules
from curveroute.agent.ledger import Ledger
Ledger.open(sys.argv[1]).close()
assert "alembic" not in sys.modules
"""
    assert finish(python(code, url_of(tmp_path))) == (0, "")


WRITER = """
import asyncio, sys
from curveroute.agent.ledger import AttemptMade, Ledger, RunEnd, RunStart
from curveroute.agent.types import Arm, Attempt, Usage

def call(name):
    return AttemptMade(Attempt(name, "probe", Arm("m", 100), "", None, Usage(10, 10), 2e-5, "stop", 0.0), (1, 1, 1))

async def main(ledger, name):
    for number in range(25):
        run_id = f"{name}-{number}"
        await ledger.start_run(RunStart(run_id, "local", "?", 0.5))
        await ledger.record(run_id, call(run_id))
        await ledger.finish_run(run_id, RunEnd("accepted", "ok"))

with Ledger.open(sys.argv[1]) as ledger:
    asyncio.run(main(ledger, sys.argv[2]))
"""


def test_processes_that_start_at_once_share_a_new_ledger(tmp_path: Path) -> None:
    processes = [python(WRITER, url_of(tmp_path / "new" / "folder"), name) for name in "abc"]
    assert [finish(process) for process in processes] == [(0, "")] * 3
    with Ledger.open(url_of(tmp_path / "new" / "folder")) as ledger:
        report = ledger.verify()
        assert (report.runs, report.attempts, report.disagreements) == (75, 75, [])


KILLED = (
    WRITER.split("async def main", maxsplit=1)[0]
    + """
import os, signal

async def main(ledger):
    await ledger.start_run(RunStart("run-1", "local", "?", 0.5))
    for number in range(3):
        await ledger.record("run-1", call(f"a{number}"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(Ledger.open(sys.argv[1])))
"""
)


async def test_a_killed_process_loses_no_attempt_and_can_be_resumed(tmp_path: Path) -> None:
    status, _ = finish(python(KILLED, url_of(tmp_path)))
    assert status == -9
    with Ledger.open(url_of(tmp_path)) as ledger:
        assert [record.attempt.attempt_id for record in ledger.run(RUN).attempts] == ["a0", "a1", "a2"]
        assert ledger.verify().ok
        await ledger.record(RUN, a_start(), a_call("a2"), a_call("a3"), RunEnd("accepted", "resumed"))
        assert (ledger.run(RUN).totals.attempts, ledger.verify().ok) == (4, True)


async def test_a_locked_ledger_says_so_and_writes_when_it_can(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.0)
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    with Ledger.open(url_of(tmp_path)) as ledger:
        other.execute("BEGIN IMMEDIATE")
        await ledger.start_run(a_start())
        with pytest.raises(LedgerError, match="another process holds it"):
            await ledger.record(RUN, a_call("a1"))
        assert ledger.runs() == []
        other.execute("ROLLBACK")
        await ledger.record(RUN, a_call("a2"))
        assert [record.attempt.attempt_id for record in ledger.run(RUN).attempts] == ["a1", "a2"]
    other.close()


async def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    def grow_to(connection: Any, pages: int) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        connection.rollback()

    with Ledger.open(url_of(tmp_path)) as ledger:
        await ledger.record(RUN, a_start(), a_call("a1"))
        ledger._ask(lambda connection: grow_to(connection, 20))
        with pytest.raises(LedgerError, match="the disk is full"):
            await ledger.record(RUN, a_call("a2", "x" * 1_000_000), RunEnd("accepted", "ok"))
        run = ledger.run(RUN)
        assert (run.status, len(run.attempts)) == ("running", 1)
        ledger._ask(lambda connection: grow_to(connection, 10_000))
        await ledger.record(RUN, RunEnd("accepted", "ok"))
        assert (len(ledger.run(RUN).attempts), ledger.verify().ok) == (2, True)


async def test_a_read_only_ledger_can_be_read_but_not_written(tmp_path: Path) -> None:
    with Ledger.open(url_of(tmp_path)) as ledger:
        await ledger.record(RUN, a_start(), a_call("a1"))
    reader = Ledger.open(f"sqlite:///file:{tmp_path / 'ledger.sqlite'}?mode=ro&uri=true")
    assert reader.verify().attempts == 1
    with pytest.raises(LedgerError, match="read-only"):
        await reader.record(RUN, a_call("a2"))
    with pytest.raises(LedgerError, match="read-only"):
        reader.close()


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Ledger.open(url_of(tmp_path)).close()
    newer = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    newer.execute("UPDATE curveroute_version SET version_num = '9999'")
    newer.close()
    with pytest.raises(LedgerError, match=r"'9999'.*upgrade curveroute"):
        Ledger.open(url_of(tmp_path))


def test_a_database_of_another_application_is_left_alone(tmp_path: Path) -> None:
    foreign = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    foreign.execute("CREATE TABLE attempts (mine TEXT)")
    with pytest.raises(LedgerError, match="another application"):
        Ledger.open(url_of(tmp_path))
    assert foreign.execute("SELECT name FROM sqlite_master").fetchall() == [("attempts",)]
    foreign.close()


def test_what_is_no_ledger_is_refused_with_a_remedy(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("this is not a database, whatever its name says" * 100)
    for url, remedy in (
        (f"sqlite:///{text}", "not a SQLite database"),
        (f"sqlite:///{tmp_path}", "choose a folder you can write to"),
        (f"sqlite:///{text / 'below' / 'ledger.sqlite'}", "choose one you can write to"),
        ("mysql://host/db", "choose sqlite:/// or postgresql://"),
        ("sqlite+aiosqlite://", "driver"),
        ("postgresql+nothing://host/db", "driver is missing"),
        ("ledger.sqlite", "write CURVEROUTE_LEDGER like"),
    ):
        with pytest.raises(LedgerError, match=remedy):
            Ledger.open(url)


@pytest.mark.parametrize("url", ["postgresql+nothing://me:hunter2@host/db", "mysql://me:hunter2@host/db"])
def test_the_password_of_a_ledger_is_never_shown(url: str) -> None:
    with pytest.raises(LedgerError) as raised:
        Ledger.open(url)
    assert "hunter2" not in str(raised.value)


async def test_many_transactions_keep_the_log_short(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("curveroute.agent.ledger.scribe._TIDY_EVERY", 5)
    with Ledger.open(url_of(tmp_path)) as ledger:
        await ledger.start_run(a_start())
        for number in range(50):
            await ledger.record(RUN, a_call(f"a{number}", "x" * 4096))
        assert (tmp_path / "ledger.sqlite-wal").stat().st_size < 50 * 4096


FORKED = """
import asyncio, os, sys
from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger import Ledger, RunEnd, RunStart

ledger = Ledger.open(sys.argv[1])
asyncio.run(ledger.start_run(RunStart("run", "pool", "2 + 2?", 0.5)))
child = os.fork()
if not child:
    for ask in (ledger.runs, lambda: asyncio.run(ledger.finish_run("run", RunEnd("accepted", ""))),
                lambda: asyncio.run(ledger.made("a"))):
        try:
            ask()
        except LedgerError as error:
            print(f"opened in another process (pid {os.getppid()}): open it again" in str(error), flush=True)
    ledger.close()
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
asyncio.run(ledger.finish_run("run", RunEnd("accepted", "")))
print(ledger.runs()[0].status)
ledger.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_fork_is_told_to_open_its_own_ledger(tmp_path: Path) -> None:
    words = [sys.executable, "-W", "ignore", "-c", FORKED, f"sqlite:///{tmp_path}/ledger.sqlite"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert ran.stdout.split() == ["True", "True", "True", "7", "accepted"], ran.stderr
    assert ran.stderr == ""
