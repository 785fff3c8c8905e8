"""``curveroute table``: what is in a table, what is wrong with it, and other projects' files as tables."""

from __future__ import annotations

import json
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
    assert "16 rows: 4 queries, task sums, 2 models, 4 arms, up to 1 sample(s) of each" in ran.out
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
    assert (ran.status, ran.out, ran.err) == (0, "table.parquet: 16 rows, sound\n", "")
    records = [asdict(row) for row in ROWS]
    records[11]["quality"] = 1.7
    records[2]["output_tokens"] = -1
    (tmp_path / "bad.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    ran = cli("table", "check", "bad.jsonl")
    assert (ran.status, ran.err) == (2, "")
    assert ran.out.splitlines() == [
        "row 3, column output_tokens: -1 is not a finite number from 0",
        "row 12, column quality: 1.7 is not between 0 and 1",
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
        "table.csv: 15 rows, sound",
    ]


def test_convert_makes_a_table_of_r2_bench(cli: Cli, tmp_path: Path, pool: str) -> None:
    r2_folder(tmp_path / "r2")
    ran = cli("table", "convert", "r2", "out.parquet", "--pool", pool, "--models=-weak")
    assert ran.status == 0
    assert ran.out.splitlines() == [
        "r2-bench: 8 rows, 4 queries, 1 models; written to out.parquet",
        "note: input tokens are estimated as characters / 4",
    ]
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
