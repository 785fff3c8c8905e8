"""Runs and pools: what happened, from the ledger, and whether its sums agree."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import FakeModels, Ran

    Cli = Callable[..., Ran]

QUESTION = "How many minutes from 14:10 to 16:45?"


def ask(cli: Cli, pool: str) -> str:
    run_id: str = json.loads(cli("ask", QUESTION, "--pool", pool, "--tradeoff", "0", "--json").out)["run_id"]
    return run_id


def test_an_empty_ledger_says_how_to_fill_it(cli: Cli) -> None:
    ran = cli("runs", "list")
    assert (ran.status, ran.err) == (0, "")
    assert "no runs yet" in ran.out
    assert cli("runs", "verify").out == "0 run(s), 0 attempt(s), 0 disagreement(s)\n"


def test_runs_are_listed_newest_first(cli: Cli, pool: str) -> None:
    first, second = ask(cli, pool), ask(cli, pool)
    lines = cli("runs", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == [second[:12], first[:12]]
    assert all(QUESTION in line and "strong@256" in line for line in lines)
    assert len(cli("runs", "list", "--limit", "1").out.splitlines()) == 1
    assert "no runs yet" in cli("runs", "list", "--status", "failed").out


def test_a_run_is_shown_as_it_was_explained(cli: Cli, pool: str) -> None:
    explained = cli("ask", QUESTION, "--pool", pool, "--tradeoff", "0", "--explain").out
    run_id = cli("runs", "list").out.split()[0]
    ran = cli("runs", "show", run_id)
    assert (ran.status, ran.err) == (0, "")
    assert QUESTION in ran.out
    assert "pool fake, tradeoff 0, no cap" in ran.out
    assert ran.out.partition("considered")[2] == explained.partition("considered")[2]


def test_a_failed_run_can_be_shown(cli: Cli, pool: str, models: FakeModels) -> None:
    models.reply = lambda _: 401
    assert cli("ask", QUESTION, "--pool", pool).status == 1
    run_id = cli("runs", "list", "--status", "failed").out.split()[0]
    shown = cli("runs", "show", run_id).out
    assert "(no answer)" in shown
    assert "HTTP 401" in shown
    assert "no answer: failed, " in shown
    assert "None" not in shown


def test_a_collection_is_a_run_too_but_listed_apart(cli: Cli, pool: str) -> None:
    words = ("--per-family", "0", "--limit", "2")
    assert cli("collect", "--pool", pool, "--out", "t.csv", *words).status == 0
    assert "no runs yet" in cli("runs", "list").out
    shown = cli("runs", "show", "collect-fake").out
    assert "collection fake" in shown
    assert "accepted, every attempt that was missing was made; " in shown
    assert cli("runs", "verify").status == 0


def test_sums_that_were_tampered_with_are_found(cli: Cli, pool: str, home: Path) -> None:
    run_id = ask(cli, pool)
    assert cli("runs", "verify").status == 0
    assert cli("runs", "verify", run_id[:8]).status == 0
    with closing(sqlite3.connect(home / "data" / "ledger.sqlite")) as database, database:
        database.execute("UPDATE attempts SET output_tokens = output_tokens + 1000 WHERE role = 'probe'")
    ran = cli("runs", "verify")
    assert (ran.status, ran.err) == (1, "")
    assert f"run {run_id}: output_tokens is stored as" in ran.out
    assert ran.out.splitlines()[-1].endswith("2 disagreement(s)")


def test_pools_are_listed_and_shown_without_cutting_a_name(cli: Cli, pool: str) -> None:
    listed = cli("pools")
    assert listed.status == 0
    assert "local" in listed.out
    for name in [line.split()[0] for line in listed.out.splitlines()] + [pool]:
        shown = cli("pools", name)
        assert (shown.status, shown.err) == (0, "")
        assert "…" not in shown.out
        assert max(map(len, shown.out.splitlines())) <= 80
    assert "qwen2.5-coder-0.5b" in cli("pools", "local").out
