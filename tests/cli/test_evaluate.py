"""``curveroute evaluate``: JSON alone on standard output, a page in a folder, and one line for whatever is wrong."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.table import Row, write_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ran

    from curveroute.agent.embed import Vectors

    Cli = Callable[..., Ran]
    Start = Callable[..., subprocess.Popen[str]]

POLICY_NAMES = ("best-single", "constant-arm", "oracle-curve", "carrot-linear")
QUICK = ("--seeds", "2", "--workers", "1", "--policies", ",".join(POLICY_NAMES))


class Letters:
    """Embeds a text as how often it has which letters."""

    name, dim = "letters", 26
    asked = 0

    async def embed(self, texts: Any) -> Vectors:
        self.asked += len(texts)
        counts = [[text.count(chr(97 + place)) for place in range(26)] for text in texts]
        return np.array(counts, dtype=np.float32)


@pytest.fixture(autouse=True)
def embedder(monkeypatch: pytest.MonkeyPatch) -> Letters:
    letters = Letters()
    monkeypatch.setattr("curveroute.agent.embed.use_embedder", lambda: letters)
    monkeypatch.setattr("curveroute.agent.embed.by_name.use_embedder", lambda: letters)
    return letters


def rows_of(queries: int = 40) -> list[Row]:
    return [
        Row(
            query_id=f"q{query}", query="aeiou"[query % 5] * (1 + query % 4) + f" {query}", task=f"task {query % 2}",
            model=model, budget=budget, sample=0, quality=float(query % every != 0), answer="x", reference="x",
            finish_reason="stop", input_tokens=10, output_tokens=8, cost_usd=cost,
        )
        for query in range(queries)
        for model, budget, cost, every in (("-odd", 16, 1e-6, 2), ("small", None, 1e-5, 3), ("large", None, 1e-4, 9))
    ]  # fmt: skip


@pytest.fixture
def table() -> str:
    write_table(Path("table.jsonl"), rows_of())
    return "table.jsonl"


def test_json_alone_is_on_standard_output(cli: Cli, table: str) -> None:
    ran = cli("evaluate", table, *QUICK, "--json", "-")
    assert ran.status == 0
    found = json.loads(ran.out)
    assert list(found["policies"]) == list(POLICY_NAMES)
    assert found["made_with"]["command"].startswith("curveroute evaluate table.jsonl ")
    assert "evaluate table" in ran.err


def test_a_table_and_sentences_are_shown(cli: Cli) -> None:
    write_table(Path("large.jsonl"), rows_of(120))
    ran = cli("evaluate", "large.jsonl", *QUICK)
    assert ran.status == 0
    for words in (
        "AUDC-env",
        "carrot-linear",
        "best single (q*, c*): large",
        "best-single against oracle-curve: loses",
        "AUDC-envelope and gains include the constant arms, which anyone may use;",
        "peak, QNC and the honest point do not",
    ):
        assert words in ran.out
    assert "…" not in ran.out


def test_the_report_and_the_json_are_written_whole(cli: Cli, table: str) -> None:
    ran = cli("evaluate", table, *QUICK, "--json", "made/all.json", "--report", "made/page")
    assert ran.status == 0
    assert json.loads(Path("made/all.json").read_text())["table"] == "table"
    assert Path("made/page/index.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in Path("made").rglob("*")) == ["all.json", "index.html", "page"]


def test_several_tables_are_a_list(cli: Cli, table: str) -> None:
    write_table(Path("other.csv"), [replace(row, query=f"{row.query}?") for row in rows_of()])
    found = json.loads(cli("evaluate", table, "other.csv", *QUICK, "--json", "-").out)
    assert [one["table"] for one in found] == ["table", "other"]


def test_a_second_evaluation_embeds_nothing(cli: Cli, table: str, embedder: Letters, home: Path) -> None:
    first = cli("evaluate", table, *QUICK, "--json", "-")
    assert embedder.asked == 40
    assert cli("evaluate", table, *QUICK, "--json", "-").out == first.out
    assert embedder.asked == 40
    assert [path.suffix for path in (home / "cache" / "embeddings").iterdir()] == [".npy"]


def test_models_and_tasks_are_left_out_by_a_leading_dash(cli: Cli, table: str) -> None:
    found = json.loads(cli("evaluate", table, *QUICK, "--json", "-", "--models", "-small", "--tasks", "-task 0").out)
    assert set(found["models"]) == {"-odd", "large"}
    assert set(found["tasks"]) == {"task 1"}
    assert found["queries"] == 20
    again = json.loads(cli("evaluate", table, *QUICK, "--json", "-", "--models=-small", "--tasks=-task 0").out)
    again["made_with"] = found["made_with"]
    assert again == found
    odd = json.loads(cli("evaluate", table, *QUICK, "--json", "-", "--models", "-odd,large").out)
    assert set(odd["models"]) == {"-odd", "large"}


def test_a_fixed_split(cli: Cli, table: str) -> None:
    write_table(Path("test.jsonl"), [replace(row, query=f"{row.query}?") for row in rows_of(10)])
    found = json.loads(cli("evaluate", "--train", table, "--test", "test.jsonl", *QUICK, "--json", "-").out)
    assert (found["table"], found["train_table"]) == ("test", "table")
    assert [(one["train"], one["test"]) for one in found["splits"]] == [(40, 10)] * 2
    once = cli("evaluate", "--train", table, "--test", "test.jsonl", *QUICK[2:])
    assert "one seed" in once.out
    assert "test: 10 test queries (fitted on 40 of table), 3 arms" in once.out
    assert "too few test queries for a claim (10; it takes 30)" in once.out


def test_a_few_queries_make_no_claim(cli: Cli, table: str) -> None:
    ran = cli("evaluate", table, *QUICK)
    assert "best-single against oracle-curve: too few test queries for a claim (12; it takes 30)" in ran.out
    assert "wins" not in ran.out


def test_one_split_makes_no_claim(cli: Cli) -> None:
    write_table(Path("large.jsonl"), rows_of(120))
    ran = cli("evaluate", "large.jsonl", *QUICK, "--seeds", "1")
    assert "best-single against oracle-curve: AUDC-envelope (-0." in ran.out
    assert ran.out.count("one split makes no claim: give --seeds 3 or more") == 1
    assert not {"wins", "loses"} & set(ran.out.split())


def test_all_and_a_policy_by_name(cli: Cli, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from curveroute.agent.evals import evaluate, policies

    few = {name: policies.NAMED[name] for name in ("best-single", "constant-arm")}
    monkeypatch.setattr(evaluate, "POLICIES", few)
    options = ("--workers", "1", "--seeds", "2", "--json", "-", "--policies")
    found = json.loads(cli("evaluate", table, *options, "all,cheapest,best-single").out)
    assert list(found["policies"]) == ["best-single", "constant-arm", "cheapest"]
    assert "--policies=all,cheapest,best-single" in found["made_with"]["command"]


def test_the_same_table_twice_is_evaluated_once(cli: Cli, table: str) -> None:
    Path("link.jsonl").symlink_to(table)
    ran = cli("evaluate", table, "./table.jsonl", "link.jsonl", *QUICK, "--json", "-")
    assert json.loads(ran.out)["table"] == "table"
    assert json.loads(ran.out)["made_with"]["command"].count(".jsonl") == 1
    assert "note: link.jsonl: the same table is given twice; it is evaluated once" in ran.err


def test_where_all_is_free_nothing_is_said_to_be_never_reached(cli: Cli) -> None:
    write_table(Path("free.jsonl"), [replace(row, cost_usd=0.0) for row in rows_of()])
    ran = cli("evaluate", "free.jsonl", *QUICK)
    assert ran.status == 0
    assert "never" not in ran.out
    assert "ratios to its cost are undefined" in ran.err


def test_the_command_makes_the_result_again(cli: Cli, table: str) -> None:
    Path("two words.jsonl").write_bytes(Path(table).read_bytes())
    extra = ("--embedder", "use-multilingual-v3", "--tasks=-task 0", "--json", "-")
    found = json.loads(cli("evaluate", "two words.jsonl", *QUICK, *extra).out)
    words = shlex.split(found["made_with"]["command"])
    assert words[:3] == ["curveroute", "evaluate", "two words.jsonl"]
    assert {"--embedder=use-multilingual-v3", "--tasks=-task 0", "--seeds=2"} < set(words)
    again = json.loads(cli(*words[1:], "--workers", "1", "--json", "-").out)
    assert again == found


def test_all_tables_are_read_and_checked_before_any_is_evaluated(cli: Cli, table: str, embedder: Letters) -> None:
    write_table(Path("lone.jsonl"), rows_of(1))
    write_table(Path("two.jsonl"), rows_of(2))
    for bad in ("missing.jsonl", "lone.jsonl", "two.jsonl"):
        assert cli("evaluate", table, bad, *QUICK).status == 2
    assert embedder.asked == 0


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_an_input_is_never_written_over(cli: Cli, table: str, embedder: Letters, link: Callable[..., None]) -> None:
    before = Path(table).read_bytes()
    Path("page").mkdir()
    for alias in ("alias.json", "page/index.html"):
        link(Path(table).absolute(), alias)
    for place in (("--json", table), ("--json", "alias.json"), ("--report", "page")):
        ran = cli("evaluate", table, *QUICK, *place)
        assert ran.status == 2
        assert "which is the table table.jsonl; choose another path" in ran.complaint
    fixed = cli("evaluate", "--train", "other.jsonl", "--test", table, *QUICK, "--json", table)
    assert "which is the table" in fixed.complaint
    assert Path(table).read_bytes() == before
    assert embedder.asked == 0


def test_the_page_and_the_json_are_two_files(cli: Cli, table: str) -> None:
    ran = cli("evaluate", table, *QUICK, "--report", "page", "--json", "page/index.html")
    assert "is the report's page" in ran.complaint


def test_a_link_stays_one_and_its_target_is_written(cli: Cli, table: str) -> None:
    Path("real").mkdir()
    Path("link.json").symlink_to("real/all.json")
    assert cli("evaluate", table, *QUICK, "--json", "link.json").status == 0
    assert Path("link.json").is_symlink()
    assert json.loads(Path("real/all.json").read_text())["table"] == "table"
    assert [path.name for path in Path("real").iterdir()] == ["all.json"]


def test_a_pipe_and_a_device_are_written_to_and_stay(cli: Cli, table: str) -> None:
    os.mkfifo("pipe")
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(Path("pipe").read_text()))
    reader.start()
    assert cli("evaluate", table, *QUICK, "--json", "pipe").status == 0
    reader.join()
    assert json.loads(heard[0])["table"] == "table"
    assert Path("pipe").is_fifo()
    assert cli("evaluate", table, *QUICK, "--json", "/dev/null").status == 0
    assert Path("/dev/null").is_char_device()


def test_standard_output_by_its_path_is_alone_there(cli: Cli, table: str) -> None:
    assert json.loads(cli("evaluate", table, *QUICK, "--json", "/dev/stdout").out)["table"] == "table"


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_where_nothing_can_be_written_is_refused_before_the_run(
    cli: Cli, table: str, embedder: Letters, option: str
) -> None:
    Path("closed").mkdir(mode=0o555)
    Path("loop").symlink_to("loop")
    Path("file").touch()
    places = ["/proc/x.json", "file/x/y", f"{'long' * 99}/x", "loop/x"] + ["closed/x"] * (os.geteuid() != 0)
    for place in places:
        ran = cli("evaluate", table, *QUICK, option, place)
        assert ran.status == 2
        assert f"cannot write {place}" in ran.complaint
    assert "is empty; give a " in cli("evaluate", table, *QUICK, option, "").complaint
    assert cli("evaluate", "missing.jsonl", *QUICK, option, "new/x").status == 2
    assert not Path("new").exists()
    assert embedder.asked == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give tables to split, or --train and --test"),
        (["table.jsonl", "--train", "table.jsonl", "--test", "table.jsonl"], "and not both"),
        (["--train", "table.jsonl"], "--train and --test go together"),
        (["table.jsonl", "--seeds", "0"], "--seeds is 0; give 1 or more"),
        (["table.jsonl", "--workers", "0"], "--workers is 0; give 1 or more"),
        (["table.jsonl", "--test-fraction", "1"], "--test-fraction is 1; give a number between 0 and 1"),
        (["table.jsonl", "--test-fraction", "nan"], "between 0 and 1"),
        (["table.jsonl", "--policies", "carrot-liner"], "did you mean 'carrot-linear'?"),
        (["table.jsonl", "--policies", ","], "--policies names none"),
        (["table.jsonl", "--models", "largo"], "did you mean 'large'?"),
        (["table.jsonl", "--tasks", "zz"], "it has task 0, task 1"),
        (["table.jsonl", "--report", "table.jsonl"], "is a file; give a folder"),
        (["table.jsonl", "--json", "."], "is a folder; give a file, or -"),
        (["table.jsonl", "--embedder", "bogus"], "unknown embedder 'bogus'"),
        (["missing.jsonl"], "no table at missing.jsonl"),
        (["empty.jsonl"], "no rows"),
        (["lone.jsonl", *QUICK], "1 different queries cannot be split"),
        (["two.jsonl", *QUICK], "the training part has 1 different query; routers need 2 or more"),
        (["table.jsonl", *QUICK, "--test-fraction", "0.999"], "or a smaller --test-fraction"),
        (["--train", "lone.jsonl", "--test", "other.jsonl", *QUICK], "give another --train table"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(cli: Cli, table: str, words: list[str], said: str) -> None:
    Path("empty.jsonl").touch()
    write_table(Path("lone.jsonl"), rows_of(1))
    write_table(Path("two.jsonl"), rows_of(2))
    write_table(Path("other.jsonl"), [replace(row, query=f"{row.query}?") for row in rows_of()])
    ran = cli("evaluate", *words)
    assert ran.status == 2
    assert ran.out == ""
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_report_that_cannot_be_written_is_an_error(cli: Cli, table: str) -> None:
    Path("file").touch()
    ran = cli("evaluate", table, *QUICK, "--report", "file/page")
    assert ran.status == 2
    assert "cannot write" in ran.err


def test_an_interrupt_ends_every_worker_and_says_so(start: Start, table: str) -> None:
    process = start(
        "evaluate", table, "--seeds", "60", "--workers", "2", "--policies", "best-single",
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert "evaluate table" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()  # which ends when the last process that could write has ended
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("curveroute: interrupted")
    assert "Traceback" not in err
