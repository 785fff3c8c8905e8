"""Runs and pools: what happened, from the ledger, and whether its sums agree."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

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
    assert cli("runs", "list", "--status", "failed").out.strip() == "no run is failed"


def test_a_run_is_shown_as_it_was_explained(cli: Cli, pool: str) -> None:
    explained = cli("ask", QUESTION, "--pool", pool, "--tradeoff", "0", "--explain").out
    run_id = cli("runs", "list").out.split()[0]
    ran = cli("runs", "show", run_id)
    assert (ran.status, ran.err) == (0, "")
    assert QUESTION in ran.out
    assert "pool fake, tradeoff 0, no cap" in ran.out
    assert ran.out.partition("considered")[2] == explained.partition("considered")[2]


def test_a_run_is_shown_to_machines_as_one_object(cli: Cli, pool: str) -> None:
    run_id = ask(cli, pool)
    ran = cli("runs", "show", run_id[:8], "--json")
    assert (ran.status, ran.err) == (0, "")
    run = json.loads(ran.out)
    assert (run["run_id"], run["query"], run["pool"]) == (run_id, QUESTION, "fake")
    assert sorted(run["candidates"]["arm"]) == ["strong@16", "strong@256", "weak@16", "weak@256"]
    first, last = run["decisions"][0], run["decisions"][-1]
    assert {one["arm"] for one in first["rejected"]} == set(run["candidates"]["arm"]) - set(first["chosen"])
    assert all(one["reason"] for one in first["rejected"])
    assert last["status"] == run["status"]
    answer = next(one for one in run["attempts"] if one["attempt_id"] == run["answer_attempt_id"])
    assert answer["verdict"]["reason"] == "ok"
    assert run["cost_usd"] == pytest.approx(sum(one["cost_usd"] for one in run["attempts"]))


def test_every_candidate_is_named_with_why_it_lost_however_many(cli: Cli, pool: str, tmp_path: Path) -> None:
    head, weak, strong = Path(pool).read_text().split("[[models]]")
    many = [weak.replace('"weak"', f'"m{number}"') for number in range(30)]
    (tmp_path / "many.toml").write_text("[[models]]".join([head, strong, *many]))
    shown = cli("runs", "show", ask(cli, str(tmp_path / "many.toml"))).out
    assert max(map(len, shown.partition("considered")[2].splitlines())) <= 80
    for number in range(30):
        assert f"m{number}@" in shown
    assert len(shown.partition("plan (")[0].splitlines()) < 60, "grouped, not one line for each of 62"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("show",), "runs show: the following arguments are required: run; `curveroute runs show --help`"),
        (("show", "a", "b"), "runs show: unrecognized arguments: b;"),
        (("show", "a", "--status", "failed"), "runs show: unrecognized arguments: --status failed;"),
        (("list", "a"), "runs list: unrecognized arguments: a;"),
        (("list", "--policy", "single"), "runs list: unrecognized arguments: --policy single;"),
        (("verify", "--json"), "runs verify: unrecognized arguments: --json;"),
        (("replay", "--limit=3"), "runs replay: unrecognized arguments: --limit=3;"),
    ],
)
def test_what_an_action_does_not_know_is_refused_in_its_name(cli: Cli, words: tuple[str, ...], why: str) -> None:
    ran = cli("runs", *words)
    assert (ran.status, why in ran.complaint) == (2, True)


class TestReplay:
    def test_on_the_same_terms_nothing_changes_and_nobody_is_asked(
        self, cli: Cli, pool: str, models: FakeModels
    ) -> None:
        run_id = ask(cli, pool)
        asked = len(models.asked)
        ran = cli("runs", "replay", "--pool", pool)
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.startswith(f"{run_id[:12]}  same  (")
        assert "1 run(s) decided again: 1 same, 0 changed" in ran.out
        assert "would go otherwise" not in ran.out
        assert len(models.asked) == asked
        assert len(cli("runs", "list").out.splitlines()) == 1

    def test_what_was_never_asked_is_marked_and_its_cost_is_an_estimate(self, cli: Cli, pool: str) -> None:
        run_id = ask(cli, pool)
        ran = cli("runs", "replay", run_id[:8], "--tradeoff", "1", "--pool", pool)
        assert "asks weak@16 first (not recorded)" in ran.out
        assert "1 call(s) that were never made" in ran.out
        report = json.loads(cli("runs", "replay", run_id, "--tradeoff", "1", "--pool", pool, "--json").out)
        (one,) = report["runs"]
        assert one["now"]["not_recorded"] == ["weak@16"]
        assert report["totals"]["now_expected_usd"] == pytest.approx(one["now"]["expected_usd"])
        assert report["totals"]["was_usd"] == pytest.approx(one["was"]["known_usd"])

    def test_a_pool_that_is_gone_is_said_and_the_others_are_counted(self, cli: Cli, pool: str) -> None:
        run_id = ask(cli, pool)
        ran = cli("runs", "replay", "--last", "5")
        assert ran.status == 0
        assert f"{run_id[:12]}  not decided again: " in ran.out
        assert "'fake'" in ran.out
        assert "name its file with --pool" in ran.out
        assert "0 run(s) decided again: 0 same, 0 changed; 1 left out" in ran.out

    def test_values_out_of_range_are_refused(self, cli: Cli, pool: str) -> None:
        ask(cli, pool)
        assert "--tradeoff" in cli("runs", "replay", "--tradeoff", "2").complaint
        assert "--last" in cli("runs", "replay", "--last", "0").complaint
        assert "--max-cost-usd" in cli("runs", "replay", "--max-cost-usd", "-1").complaint
        assert "no learned policy" in cli("runs", "replay", "--policy", "learned", "--pool", pool).complaint
        assert "nowhere" in cli("runs", "replay", "--pool", "nowhere").complaint


def test_a_failed_run_can_be_shown(cli: Cli, pool: str, models: FakeModels) -> None:
    models.reply = lambda _: 401
    assert cli("ask", QUESTION, "--pool", pool).status == 1
    run_id = cli("runs", "list", "--status", "failed").out.split()[0]
    shown = cli("runs", "show", run_id).out
    assert "(no answer)" in shown
    assert "HTTP 401" in shown
    assert "no answer: failed" in shown
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
