"""``curveroute table``: what is in a table, what is wrong with it, and other projects' files as tables."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.bench.table import Row, data_hash, read_table, write_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Ran

    Cli = Callable[..., Ran]

pytest.importorskip("pyarrow")


def a_row(number: int, model: str = "weak", budget: int | None = None, **changes: Any) -> Row:
    row = Row(f"q{number}", f"{number}?", "sums", model, budget, 0, 0.5, "4", "4", "stop", 10, 100, 1.1e-4)
    return replace(row, **changes)


ROWS = [a_row(number, model, budget) for number in range(4) for model in ("weak", "strong") for budget in (16, None)]

OVER = "note: %d rows used more than 1.1 times their budget"
BUDGETS_TWICE = "0_score,0_count,010_score,010_count,10_score,10_count"


def r2_folder(folder: Path) -> Path:
    folder.mkdir()
    for model in ("weak", "strong"):
        lines = [f"{number},{number}?,0.{number},{9 + number},1,300" for number in range(4)]
        header = "prompts_id,original_prompt,10_score,10_count,unlimited_score,unlimited_count"
        (folder / f"{model}.csv").write_text("\n".join([header, *lines]))
    return folder


def test_info_shows_models_budgets_and_means(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", ROWS)
    ran = cli("table", "info", "table.csv")
    assert (ran.status, ran.err) == (0, "")
    for word in ("weak", "strong", "16", "unlimited", "0.500", "100.0", "1.10e-04"):
        assert word in ran.out
    assert "16 rows: 4 queries, task sums, 2 models, 4 arms, up to 1 sample of each" in ran.out
    shown = json.loads(cli("table", "info", "table.csv", "--json").out)
    assert shown["data_hash"] == data_hash(ROWS)
    assert (shown["rows"], shown["queries"], shown["samples"], shown["models"]) == (16, 4, 1, ["weak", "strong"])
    assert [(arm["model"], arm["budget"], arm["rows"]) for arm in shown["arms"]] == [
        (model, budget, 4) for model in ("weak", "strong") for budget in (16, None)
    ]


def test_check_tells_a_sound_table_and_lists_faults(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path / "table.parquet", ROWS)
    assert cli("table", "check", "table.parquet") == cli("table", "check", "table.parquet", "--limit", "0")
    ran = cli("table", "check", "table.parquet")
    assert (ran.status, ran.out, ran.err) == (0, f"{OVER % 8}\ntable.parquet: 16 rows, sound\n", "")
    records = [asdict(row) for row in ROWS]
    records[11]["quality"] = 1.7
    records[2]["output_tokens"] = -1
    (tmp_path / "bad.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    ran = cli("table", "check", "bad.jsonl")
    assert (ran.status, ran.err) == (2, "")
    assert ran.out.splitlines() == [
        "row 3, column output_tokens: -1 is not a finite number from 0",
        "row 12, column quality: 1.7 is not between 0 and 1",
        "rows are counted from 1, without the header",
        "bad.jsonl: 16 rows, 2 fault(s)",
    ]
    assert "and 1 more; --limit 2 lists them" in cli("table", "check", "bad.jsonl", "--limit", "1").out
    shown = json.loads(cli("table", "check", "bad.jsonl", "--json", "--limit", "1").out)
    assert (shown["sound"], shown["faults"], len(shown["shown"])) == (False, 2, 1)
    assert shown["shown"][0]["row"] == 3


def test_check_ends_with_notes(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", ROWS[1:])
    ran = cli("table", "check", "table.csv")
    assert ran.status == 0
    assert ran.out.splitlines() == [
        "note: model 'weak' is not recorded on 1 of 8 (query, budget) pairs",
        OVER % 7,
        "table.csv: 15 rows, sound",
    ]


def test_convert_makes_a_table_of_r2_bench(cli: Cli, tmp_path: Path, pool: str) -> None:
    r2_folder(tmp_path / "r2")
    ran = cli("table", "convert", "r2", "out.parquet", "--pool", pool, "--models=-weak")
    assert ran.status == 0
    assert ran.out == "r2-bench: 8 rows, 4 queries, 1 model; written to out.parquet\n"
    assert ran.err.splitlines()[-1] == "note: input tokens are estimated as characters / 4"
    rows = read_table(tmp_path / "out.parquet")
    assert {(row.model, row.budget) for row in rows} == {("strong", 10), ("strong", None)}
    assert rows[1].cost_usd == pytest.approx((1 + 300) * 4e-6)
    (tmp_path / "prices.json").write_text('{"weak": {"input": 1, "output": 1}}')
    ran = cli("table", "convert", "r2", "out.csv", "--prices", "prices.json", "--models", "weak")
    assert ran.status == 0
    assert {row.model for row in read_table(tmp_path / "out.csv")} == {"weak"}


def test_convert_changes_format_and_cuts_answers(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", ROWS)
    assert cli("table", "convert", "table.csv", "same.jsonl", "--from", "table").status == 0
    assert read_table(tmp_path / "same.jsonl") == ROWS
    (tmp_path / "prices.json").write_text(
        json.dumps({model: {"input": 1, "output": 1} for model in ("weak", "strong")})
    )
    ran = cli("table", "convert", "table.csv", "cut.csv", "--budgets", "16,32,200", "--prices", "prices.json")
    assert "table: 32 rows" in ran.out
    cut = [row for row in read_table(tmp_path / "cut.csv") if row.budget == 32]
    assert {(row.quality, row.finish_reason, row.output_tokens) for row in cut} == {(0.0, "length", 32)}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["info", "none.csv"], "no table at none.csv; give the path of a .parquet, .csv, .jsonl file"),
        (["info", "nosuch"], "nosuch: a curve table ends in .parquet, .csv, .jsonl, or is a shipped one: local"),
        (["check", "table.csv", "--limit", "-1"], "--limit is -1; give 0 or more"),
        (["convert", "r2", "out.csv"], "no price for strong, weak; give --pool POOL or --prices FILE"),
        (["convert", "none", "out.csv"], "no table, folder or data set at none; give a path, or hf:OWNER/NAME"),
        (["convert", "table.csv", "out.txt"], "out.txt: a curve table ends in .parquet, .csv, .jsonl"),
        (["convert", "table.csv", "out.csv", "--budgets", "16,x"], "--budgets is '16,x'; give whole numbers"),
        (
            ["convert", "table.csv", "out.csv", "--models", "weka"],
            "no model 'weka' in the source, did you mean 'weak'?",
        ),
        (["convert", "table.csv", "out.csv", "--tasks", "a,,b"], "--tasks is 'a,,b'; give names with commas between"),
        (["convert", "table.csv", "out.csv", "--from", "r2-bench"], "no price for table"),
        (["convert", "table.csv", "out.csv", "--prices", "none.json"], "cannot read prices from none.json"),
        (["convert", "table.csv", "out.csv", "--from", "other"], "invalid choice: 'other'"),
        (["convert", "hf:name", "out.csv"], "hf:name is not the name of a data set; write hf:OWNER/NAME"),
        ([], "the following arguments are required: action"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(cli: Cli, tmp_path: Path, words: list[str], why: str) -> None:
    write_table(tmp_path / "table.csv", ROWS)
    r2_folder(tmp_path / "r2")
    before = sorted(entry.name for entry in tmp_path.iterdir())
    ran = cli("table", *words)
    assert ran.status == 2
    assert why in ran.complaint
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


def rb_file(path: Path, **cells: str) -> Path:
    cells = {"prompt": "x", "weak": "True", "weak|model_response": "y", "weak|total_cost": "0.1"} | cells
    path.write_text(f"{','.join(cells)}\n{','.join(cells.values())}\n")
    return path


def test_convert_never_writes_over_what_it_reads(cli: Cli, tmp_path: Path, pool: str) -> None:
    source, folder = rb_file(tmp_path / "rb.csv"), r2_folder(tmp_path / "r2")
    (tmp_path / "link.csv").symlink_to("rb.csv")
    (tmp_path / "hard.csv").hardlink_to(source)
    before = {path: path.read_bytes() for path in (source, *folder.iterdir())}
    for words in (
        ("rb.csv", "rb.csv"),
        ("rb.csv", "link.csv"),
        ("link.csv", "r2/../rb.csv"),
        ("rb.csv", "hard.csv"),
        ("r2", "r2/weak.csv", "--models=-weak"),
        (f"hf:{folder}", "r2/weak.csv"),
    ):
        ran = cli("table", "convert", *words, "--pool", pool)
        assert ran.status == 2
        assert f"{words[1]} is what would be read, and writing would replace it; choose another path" in ran.complaint
    assert {path: path.read_bytes() for path in before} == before
    for _ in range(2):  # what was written there before is no source
        assert cli("table", "convert", "r2", "r2/out.csv", "--pool", pool, "--overwrite").status == 0


def test_convert_replaces_a_file_when_told_to_alone(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", ROWS)
    (tmp_path / "mine.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to("mine.csv")
    for out in ("mine.csv", "link.csv"):
        ran = cli("table", "convert", "table.csv", out)
        assert ran.status == 2
        assert f"{out} exists already: choose another path, or replace it with --overwrite" in ran.complaint
    assert (tmp_path / "mine.csv").read_text() == "mine"
    assert cli("table", "convert", "table.csv", "link.csv", "--overwrite").status == 0
    assert data_hash(read_table(tmp_path / "mine.csv")) == data_hash(ROWS)


def test_convert_writes_through_a_link_and_into_a_device(cli: Cli, tmp_path: Path) -> None:
    rb_file(tmp_path / "rb.csv")
    (tmp_path / "link.csv").symlink_to("real.csv")
    (tmp_path / "null.csv").symlink_to("/dev/null")
    assert cli("table", "convert", "rb.csv", "link.csv").status == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert read_table(tmp_path / "real.csv")[0].quality == 1
    assert cli("table", "convert", "rb.csv", "null.csv").status == 0
    assert (tmp_path / "null.csv").is_symlink()


def test_a_table_on_standard_output_is_nothing_but_the_table(tmp_path: Path) -> None:
    rb_file(tmp_path / "rb.csv")
    (tmp_path / "out.csv").symlink_to("/dev/stdout")
    words = [sys.executable, "-m", "curveroute.cli", "table", "convert", "rb.csv", "out.csv"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    assert b"routerbench: 1 row," in ran.stderr
    (tmp_path / "piped.csv").write_bytes(ran.stdout)
    assert len(read_table(tmp_path / "piped.csv")) == 1


def test_convert_writes_nothing_that_check_refuses(cli: Cli, tmp_path: Path) -> None:
    rb_file(tmp_path / "dear.csv", **{"weak|total_cost": "1e300"})
    rb_file(tmp_path / "free.csv", unpriced="1", **{"unpriced|model_response": "long answer"})
    (tmp_path / "prices.json").write_text('{"unpriced": {"input": 1e300, "output": 1}}')
    (tmp_path / "weak.csv").write_text(f"question,{BUDGETS_TWICE}\nx,1,3,1,3,1,3\n")
    (tmp_path / "weak.json").write_text('{"weak": {"input": 1, "output": 1}}')
    for source, prices, why in (
        ("dear.csv", "prices.json", "dear.csv, row 1, column weak|total_cost: 1e+300 is not a finite number from 0 to"),
        ("free.csv", "prices.json", "free.csv makes no sound table: row 2, column cost_usd: "),
        ("weak.csv", "weak.json", "weak.csv, column 0_score: the budget 0 is not a finite number from 1"),
    ):
        ran = cli("table", "convert", source, "out.csv", "--prices", prices)
        assert ran.status == 2
        assert why in ran.err.splitlines()[-1]
        assert not (tmp_path / "out.csv").exists()


def test_an_interrupted_conversion_leaves_nothing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "table.csv", ROWS)
    half_written: list[str] = []

    def interrupt(*_: object) -> None:
        half_written.extend(entry.name for entry in tmp_path.iterdir() if entry.name.endswith(".part"))
        raise KeyboardInterrupt

    monkeypatch.setattr("curveroute.agent.bench.columns._plain", interrupt)
    ran = cli("table", "convert", "table.csv", "out.jsonl")
    assert (ran.status, ran.complaint) == (130, "curveroute: interrupted")
    assert half_written
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


def test_a_shipped_table_is_known_by_its_name(cli: Cli, tmp_path: Path) -> None:
    assert cli("table", "check", "local").out == "local.parquet: 3,856 rows, sound\n"
    missing = cli("table", "info", "lokal")
    assert missing.status == 2
    assert "lokal" in missing.complaint
    (tmp_path / "local").write_text("mine")
    assert cli("table", "check", str(tmp_path / "local")).status == 2


class TestSplit:
    """One table in two, by queries."""

    def test_it_writes_both_tables_and_says_how_large_they_are(self, cli: Cli, tmp_path: Path) -> None:
        write_table(tmp_path / "table.csv", ROWS)
        ran = cli("table", "split", "table.csv", "new/first.jsonl", "second.parquet", "--share", "0.75")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines() == [
            "new/first.jsonl: 12 rows, 3 queries, 2 models",
            "second.parquet: 4 rows, 1 query, 2 models",
        ]
        both = read_table(tmp_path / "new" / "first.jsonl") + read_table(tmp_path / "second.parquet")
        assert data_hash(both) == data_hash(ROWS)

    def test_it_never_writes_over_what_it_reads_nor_twice_to_one_place(self, cli: Cli, tmp_path: Path) -> None:
        write_table(tmp_path / "table.csv", ROWS)
        (tmp_path / "link.csv").symlink_to("table.csv")
        (tmp_path / "out.csv").symlink_to("new.csv")
        before = (tmp_path / "table.csv").read_bytes()
        for first, second, why in (
            ("table.csv", "b.csv", "table.csv is what would be read"),
            ("a.csv", "link.csv", "link.csv is what would be read"),
            ("a.csv", "./a.csv", "are one place; choose two"),
            ("new.csv", "out.csv", "are one place; choose two"),
        ):
            ran = cli("table", "split", "table.csv", first, second)
            assert ran.status == 2
            assert why in ran.complaint
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.csv", "out.csv", "table.csv"]
        assert (tmp_path / "table.csv").read_bytes() == before

    @pytest.mark.parametrize("taken", ["a.csv", "b.csv"])
    def test_it_replaces_a_table_when_told_to_alone(self, cli: Cli, tmp_path: Path, taken: str) -> None:
        write_table(tmp_path / "table.csv", ROWS)
        (tmp_path / taken).write_text("mine")
        ran = cli("table", "split", "table.csv", "a.csv", "b.csv")
        assert ran.status == 2
        assert f"{taken} exists already: choose another path, or replace it with --overwrite" in ran.complaint
        assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([taken, "table.csv"])
        assert (tmp_path / taken).read_text() == "mine"
        assert cli("table", "split", "table.csv", "a.csv", "b.csv", "--overwrite").status == 0
        assert len(read_table(tmp_path / taken)) > 0

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (("--share", "1"), "--share is 1; give a number between 0 and 1"),
            (("--share", "nan"), "--share is nan"),
            (("--seed", "-1"), "--seed is -1"),
        ],
    )
    def test_values_out_of_range_are_refused(self, cli: Cli, tmp_path: Path, words: tuple[str, ...], why: str) -> None:
        write_table(tmp_path / "table.csv", ROWS)
        ran = cli("table", "split", "table.csv", "a.csv", "b.csv", *words)
        assert ran.status == 2
        assert why in ran.complaint

    def test_where_one_table_cannot_be_written_neither_is(self, cli: Cli, tmp_path: Path) -> None:
        write_table(tmp_path / "table.csv", ROWS)
        (tmp_path / "folder.csv").mkdir()
        assert "it is a folder" in cli("table", "split", "table.csv", "a.csv", "folder.csv").complaint
        assert "a curve table ends in" in cli("table", "split", "table.csv", "a.csv", "b.txt").complaint
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder.csv", "table.csv"]

    def test_an_interrupted_split_leaves_nothing(
        self, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_table(tmp_path / "table.csv", ROWS)

        def interrupt(*_: object, **__: object) -> str:
            raise KeyboardInterrupt

        monkeypatch.setattr("curveroute.agent.bench.columns.json.dumps", interrupt)
        assert cli("table", "split", "table.csv", "a.csv", "b.jsonl").status == 130
        assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]

    @pytest.mark.parametrize("outs", [("out.csv", "b.csv"), ("b.csv", "out.csv")])
    def test_a_part_on_standard_output_is_nothing_but_the_table(self, tmp_path: Path, outs: tuple[str, str]) -> None:
        write_table(tmp_path / "table.csv", ROWS)
        (tmp_path / "out.csv").symlink_to("/dev/stdout")
        words = [sys.executable, "-m", "curveroute.cli", "table", "split", "table.csv", *outs]
        ran = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
        assert b"out.csv: " in ran.stderr
        (tmp_path / "piped.csv").write_bytes(ran.stdout)
        both = read_table(tmp_path / "piped.csv") + read_table(tmp_path / "b.csv")
        assert data_hash(both) == data_hash(ROWS)
