"""docs/operate.md and docs/choices.md where they are more than words: settings, reasons, what is done to a ledger."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from curveroute.agent.escalate import _WHY_NOT
from curveroute.agent.ledger import Ledger, RunEnd, RunStart, VerdictGiven
from curveroute.agent.settings import load_settings
from curveroute.agent.types import Arm, Attempt, AttemptId, Decision, ModelId, RunId, Usage, Verdict

ROOT = Path(__file__).parents[1]
OPERATE = (ROOT / "docs" / "operate.md").read_text("utf-8")
CHOICES = (ROOT / "docs" / "choices.md").read_text("utf-8")
OLD, NEW = RunId("old"), RunId("new")


def rows_after(mark: str, text: str) -> list[str]:
    """The first cells of the table that follows a mark."""
    table = text.partition(f"<!-- {mark} -->\n")[2].partition("\n\n")[0]
    return [row.split("|")[1].strip() for row in table.splitlines()[2:]]


def block_after(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```python\n(.*?)^```$", OPERATE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_every_setting_of_the_environment_is_told_and_no_other() -> None:
    sources = [path.read_text("utf-8") for top in ("agent", "app", "graphs") for path in (ROOT / top).rglob("*.py")]
    read = {name for text in sources for name in re.findall(r"\bCURVEROUTE_[A-Z_]+\b", text)}
    assert {row.strip("`") for row in rows_after("settings", OPERATE)} == read


def test_every_reason_against_an_arm_is_told_and_no_other() -> None:
    ended = "the run had ended"
    assert f'"{ended}"' in (ROOT / "agent" / "escalate.py").read_text("utf-8")
    assert set(rows_after("reasons", CHOICES)) == {*_WHY_NOT, ended} - {""}


async def _write(ledger: Ledger, run_id: RunId) -> None:
    name, arm = AttemptId(f"{run_id}.1"), Arm(ModelId("small"), 16)
    attempt = Attempt(name, "probe", arm, "Lisbon", "Lisbon", Usage(10, 2), 14e-6, "stop", 0.1)
    await ledger.start_run(RunStart(run_id, "toy", "What is the capital of Portugal?", 0.5))
    await ledger.record_attempt(run_id, attempt, (1.0, 2.0, 1.0))
    await ledger.record(run_id, VerdictGiven(name, Verdict(0.9, "ok")), Decision(1, (), "enough"))
    await ledger.finish_run(run_id, RunEnd("accepted", "enough", "Lisbon", name, arm))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose ledger holds a run of today and one of long ago."""
    settings = load_settings({"CURVEROUTE_HOME": str(tmp_path / "home")})
    with Ledger.open(settings.ledger_url) as ledger:
        for run_id in (OLD, NEW):
            asyncio.run(_write(ledger, run_id))
    with closing(sqlite3.connect(settings.data_dir / "ledger.sqlite")) as ledger:
        ledger.execute("UPDATE runs SET created_at = '2001-02-03 04:05:06.000000' WHERE run_id = 'old'")
        ledger.commit()
    return tmp_path / "home"


def run(code: str, home: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "CURVEROUTE_LEDGER"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=home.parent,
        env=environment | {"CURVEROUTE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_backup_holds_everything(home: Path) -> None:
    assert "runs=2, attempts=2, disagreements=[]" in run(block_after("backup"), home)
    with Ledger.open(f"sqlite:///{home.parent / 'ledger-copy.sqlite'}") as copy:
        assert {one.run_id for one in copy.runs()} == {OLD, NEW}
        assert copy.run(OLD).answer == "Lisbon"


def test_forgetting_leaves_what_is_new_and_nothing_of_what_is_old(home: Path) -> None:
    assert "runs=1, attempts=1, disagreements=[]" in run(block_after("forget"), home)
    settings = load_settings({"CURVEROUTE_HOME": str(home)})
    with Ledger.open(settings.ledger_url) as ledger:
        assert [one.run_id for one in ledger.runs()] == [NEW]
        assert len(ledger.run(NEW).attempts) == 1
    with closing(sqlite3.connect(settings.data_dir / "ledger.sqlite")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        left = {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in tables}  # noqa: S608
    assert "old" not in str(left)
    assert len(left["verdicts"]) == len(left["decisions"]) == 1
