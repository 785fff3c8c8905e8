"""Collect, train, ask: a table from nothing, and nothing asked twice, however a collection ends."""

from __future__ import annotations

import json
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curveroute.agent.bench.table import read_table
from curveroute.agent.bench.tasks import collection_tasks

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from conftest import Asked, FakeModels, Ran

    Cli = Callable[..., Ran]
    Start = Callable[..., subprocess.Popen[str]]

pytest.importorskip("reasoning_gym")
pytest.importorskip("pyarrow")

QUERIES, ARMS = 24, 4
SMALL = ("--per-family", "1", "--limit", str(QUERIES), "--concurrency", "4")
FEWER = ("--per-family", "0", "--limit", "6", "--concurrency", "3")
REFERENCES = {task.query: task.reference for task in collection_tasks(1, 0)}


def learned(asked: Asked) -> str:
    """The strong model knows everything when it may speak, the weak one the short questions."""
    if asked.role != "answer":
        return "not JSON"
    knows = asked.limit > 16 if asked.model == "strong" else len(asked.question) < 80
    return f"Answer: {REFERENCES.get(asked.question, '?') if knows else 'no idea'}"


def cells(models: FakeModels) -> Counter[tuple[str, str, int]]:
    return Counter((asked.question, asked.model, asked.limit) for asked in models.asked)


def test_from_nothing_to_a_predictor_that_routes(cli: Cli, pool: str, models: FakeModels) -> None:
    models.reply = learned
    collected = cli("collect", "--pool", pool, "--out", "made/here/table.parquet", *SMALL)
    assert collected.status == 0
    assert f"collected {QUERIES * ARMS} of {QUERIES * ARMS} missing attempts (0 failed)" in collected.out
    assert "collect 96/96" in collected.err
    rows = read_table(Path("made/here/table.parquet"))
    assert len(rows) == QUERIES * ARMS
    assert {row.quality for row in rows if (row.model, row.budget) == ("strong", 256)} == {1.0}
    assert 1.0 not in {row.quality for row in rows if (row.model, row.budget) == ("strong", 16)}

    trained = cli("train", "made/here/table.parquet", "--out", "predictor", "--pool", pool)
    assert trained.status == 0
    assert "strong@256" in trained.out
    assert f"fitted {ARMS} arms on {len(rows)} rows" in " ".join(trained.out.split())
    assert max(map(len, trained.out.splitlines()[:-3])) <= 80

    models.asked.clear()
    words = ("What is the capital of Portugal?", "--pool", pool, "--predictor", "predictor")
    route = json.loads(cli("ask", *words, "--tradeoff", "0", "--no-plan", "--no-judge", "--json").out)
    quality = {(one["model"], one["budget"]): one["quality"] for one in route["candidates"]}
    assert quality["strong", 256] > quality["strong", 16] + 0.5
    assert quality[route["model"], route["budget"]] > 0.5


def test_a_second_start_asks_nothing_and_writes_the_same_table(cli: Cli, pool: str, models: FakeModels) -> None:
    assert cli("collect", "--pool", pool, "--out", "first.csv", *FEWER).status == 0
    asked = len(models.asked)
    again = cli("collect", "--pool", pool, "--out", "second.jsonl", *FEWER)
    assert again.status == 0
    assert "collected 0 of 0 missing attempts" in again.out
    assert len(models.asked) == asked
    assert read_table(Path("first.csv")) == read_table(Path("second.jsonl"))


def test_more_of_everything_asks_only_what_is_new(cli: Cli, pool: str, models: FakeModels) -> None:
    cli("collect", "--pool", pool, "--out", "t.csv", *FEWER)
    before = len(models.asked)
    more = cli("collect", "--pool", pool, "--out", "t.csv", *FEWER, "--samples", "2")
    assert f"{2 * before} rows" in more.out
    assert len(models.asked) == 2 * before
    other = cli("collect", "--pool", pool, "--out", "other.csv", *FEWER, "--name", "another")
    assert f"collected {before} of {before}" in other.out


def test_a_killed_collection_goes_on_where_it_was(cli: Cli, start: Start, pool: str, models: FakeModels) -> None:
    words = ("collect", "--pool", pool, "--out", "table.csv", *FEWER)
    models.close_gate_after = 10
    process = start(*words)
    assert models.gate_was_reached.wait(60)
    process.kill()
    process.communicate()
    assert not Path("table.csv").exists()
    in_flight = 3
    models.gate.set()
    assert cli(*words).status == 0
    assert len(read_table(Path("table.csv"))) == 6 * ARMS
    assert len(models.asked) <= 6 * ARMS + in_flight
    assert max(cells(models).values()) <= 2
    assert cli("runs", "verify").status == 0


def test_ctrl_c_says_that_it_can_be_resumed(cli: Cli, start: Start, pool: str, models: FakeModels) -> None:
    words = ("collect", "--pool", pool, "--out", "table.csv", *FEWER)
    models.close_gate_after = 10
    process = start(*words)
    assert models.gate_was_reached.wait(60)
    process.send_signal(signal.SIGINT)
    out, complaints = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in complaints
    last = complaints.splitlines()[-1]
    assert last == "curveroute: interrupted: what was collected is kept; start again the same way to resume"
    models.gate.set()
    done = len(models.asked)
    assert cli(*words).status == 0
    assert len(models.asked) - done < 6 * ARMS
    assert len(read_table(Path("table.csv"))) == 6 * ARMS


def test_an_endpoint_that_dies_ends_it_soon_and_what_was_done_is_kept(cli: Cli, pool: str, models: FakeModels) -> None:
    words = ("collect", "--pool", pool, "--out", "table.csv", *FEWER)
    models.reply = lambda _: 401 if len(models.asked) > 5 else "4"
    ran = cli(*words)
    assert ran.status == 1
    last = ran.err.splitlines()[-1]
    assert last.startswith("curveroute: 12 calls in a row failed, the last with: ")
    assert "no answer after 1 try (HTTP 401)" in last
    assert last.endswith("mend the endpoint and start again: what was collected is kept")
    assert len(models.asked) < 6 * ARMS
    models.reply = lambda _: "4"
    again = cli(*words)
    assert again.status == 0
    assert f"{6 * ARMS} rows" in again.out
    assert sum(cells(models).values()) < 2 * 6 * ARMS


def test_nobody_listens_at_the_endpoint(cli: Cli, pool: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        text = Path(pool).read_text()
        url = text.partition('endpoint = "')[2].partition('"')[0]
        Path(pool).write_text(text.replace(url, f"http://127.0.0.1:{taken.getsockname()[1]}/v1"))
        ran = cli("collect", "--pool", pool, "--out", "table.csv", *FEWER[:-1], "12")
    assert (ran.status, ran.out) == (1, "")
    assert "mend the endpoint and start again" in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err


def test_a_few_failures_leave_holes_and_a_status(cli: Cli, pool: str, models: FakeModels) -> None:
    models.reply = lambda asked: 400 if asked.limit == 16 and asked.model == "weak" else "4"
    ran = cli("collect", "--pool", pool, "--out", "table.csv", *FEWER)
    assert ran.status == 1
    assert "(6 failed)" in ran.out
    assert len(read_table(Path("table.csv"))) == 6 * (ARMS - 1)


def test_a_collection_that_cannot_begin_leaves_the_ledger_as_it_was(cli: Cli, pool: str) -> None:
    words = ("collect", "--pool", pool, "--out", "table.csv", *FEWER)
    open_to_all = Path(pool).read_text()
    keyed = open_to_all.replace("context_window", 'key_env = "NO_SUCH_KEY"\ncontext_window')
    Path(pool).write_text(keyed)
    assert "set the environment variable NO_SUCH_KEY" in cli(*words).complaint
    assert "no run 'collect-fake' in the ledger" in cli("runs", "show", "collect-fake").complaint
    Path(pool).write_text(open_to_all)
    assert cli(*words).status == 0
    Path(pool).write_text(keyed)
    assert cli(*words, "--samples", "2").status == 2
    assert "accepted, every attempt that was missing was made" in cli("runs", "show", "collect-fake").out


def test_a_collection_that_was_done_is_never_lost_to_a_bad_path(cli: Cli, pool: str, models: FakeModels) -> None:
    Path("file").write_text("a file")
    assert "cannot write" in cli("collect", "--pool", pool, "--out", "file/table.csv", *FEWER).complaint
    assert models.asked == []


MINE = (
    '{"query_id": "q1", "query": "Who wrote Faust?", "task": "books", "reference": "Goethe", "kind": "text", '
    '"grader": "contains", "accept": ["Johann Wolfgang von Goethe"]}\n'
    '{"query_id": "q2", "query": "What is 6 x 7?", "task": "sums", "reference": "42", "kind": "number", '
    '"grader": "number"}\n'
)


def test_questions_of_ones_own_are_collected_and_no_others(cli: Cli, pool: str, models: FakeModels) -> None:
    Path("mine.jsonl").write_text(MINE)
    models.reply = lambda asked: "Answer: Goethe" if "Faust" in asked.question else "Answer: 41"
    ran = cli("collect", "--pool", pool, "--questions", "mine.jsonl", "--out", "mine.csv")
    assert ran.status == 0
    rows = read_table(Path("mine.csv"))
    assert {(row.query_id, row.task, row.quality) for row in rows} == {("q1", "books", 1.0), ("q2", "sums", 0.0)}
    assert len(rows) == 2 * ARMS
    assert {asked.question for asked in models.asked} == {"Who wrote Faust?", "What is 6 x 7?"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read"),
        ("", "holds no questions"),
        ("not JSON", "mine.jsonl, line 1: not JSON"),
        (MINE + MINE, "mine.jsonl, line 3: query_id 'q1' occurs twice"),
        (MINE.replace('"number"}', '"guess"}'), "mine.jsonl, line 2: grader 'guess' is none of exact"),
    ],
)
def test_questions_with_a_fault_are_refused_before_anyone_is_asked(
    cli: Cli, pool: str, models: FakeModels, text: str | None, why: str
) -> None:
    if text is not None:
        Path("mine.jsonl").write_text(text)
    ran = cli("collect", "--pool", pool, "--questions", "mine.jsonl", "--out", "mine.csv")
    assert ran.status == 2
    assert why in ran.complaint
    assert models.asked == []
