"""R2-Bench's files become the curve table they hold, and whatever is odd in them is told."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.columns import Words, read_columns, write_columns
from curveroute.agent.bench.imports import Choice, form_of, import_table, inputs_of, read_prices
from curveroute.agent.errors import MissingExtra, TableError

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("pyarrow")

PRICES = {"small": (0.1, 0.2), "large": (1.0, 4.0)}
HEADER = ["prompts_id", "key", "original_prompt", "10_score", "10_count", "100_score", "100_count"]
LAST = ["10_score_most", "unlimited_score", "unlimited_count"]
ODD = 'two\nlines, "quoted"'


def a_line(number: int, *numbers: Any) -> dict[str, Any]:
    text = ODD if number == 2 else f"{2000 + number}-01-01"
    cells = [number, "sums" if number < 3 else "dates", text, *(numbers or (0.5, 9, 0.75, 110, 0.1, 1, 700))]
    return dict(zip([*HEADER, *LAST], cells, strict=True))


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for model in PRICES:
        write(tmp_path / "r2" / f"{model}.csv", [a_line(number) for number in range(1, 5)])
    (tmp_path / "r2" / "summary.csv").write_text("model,score\nsmall,0.5\n")
    return tmp_path / "r2"


def test_every_score_becomes_a_row(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    found = import_table(str(folder), prices=PRICES, watch=lambda *now: seen.append(now))
    columns = found.columns
    assert (found.form, seen) == ("r2-bench", [(1, 2, "large"), (2, 2, "small")])
    assert found.notes == ("input tokens are estimated as characters / 4",)
    assert len(columns) == 2 * 4 * 3
    assert columns.model.values == ("large", "small")
    assert columns.query_id.values == ("1", "2", "3", "4")
    assert columns.query.values == ("2001-01-01", ODD, "2003-01-01", "2004-01-01")
    assert columns.task.texts()[::3] == ["sums", "sums", "dates", "dates"] * 2
    assert columns.budget.tolist() == [10, 100, np.inf] * 8
    assert columns.quality.tolist() == [0.5, 0.75, 1] * 8
    assert columns.output_tokens.tolist() == [9, 110, 700] * 8
    assert columns.truncated.tolist() == [False, True, False] * 8  # ten tokens of grace; unlimited never is
    assert columns.input_tokens.tolist()[:6] == [3, 3, 3, 5, 5, 5]
    assert columns.cost_usd[0] == pytest.approx((3 * 1.0 + 9 * 4.0) * 1e-6)
    assert columns.cost_usd[-1] == pytest.approx((3 * 0.1 + 700 * 0.2) * 1e-6)
    write_columns(tmp_path / "table.parquet", columns)
    assert len(read_columns(tmp_path / "table.parquet")) == len(columns)


def test_models_and_tasks_are_chosen_before_prices_are_asked_for(folder: Path) -> None:
    for models in (("small",), ("-large",)):
        found = import_table(str(folder), prices={"small": (1, 1)}, choice=Choice(models, ("-dates",)))
        assert found.columns.model.values == ("small",)
        assert found.columns.task.values == ("sums",)
        assert found.columns.query_id.values == ("1", "2")
    with pytest.raises(TableError, match=r"no price for large; give --pool POOL or --prices FILE"):
        import_table(str(folder), prices={"small": (1, 1)})
    with pytest.raises(
        TableError, match=r"no model 'smal' in the source, did you mean 'small'\?; it has: large, small"
    ):
        import_table(str(folder), prices=PRICES, choice=Choice(("smal",)))
    with pytest.raises(TableError, match="no model is left by -small, -large"):
        import_table(str(folder), prices=PRICES, choice=Choice(("-small", "-large")))


def test_recorded_input_tokens_are_kept_and_gaps_are_left_out(tmp_path: Path) -> None:
    lines = [a_line(1) | {"input_tokens": 77}, a_line(2, "", 5, 0.5, "", 0.1, "nan", 9) | {"input_tokens": ""}]
    write(tmp_path / "r2" / "small.csv", lines)
    found = import_table(str(tmp_path / "r2"), prices=PRICES)
    assert found.columns.input_tokens.tolist() == [77, 77, 77]
    assert found.notes == ("3 attempt(s) without a score or a token count left out",)
    write(tmp_path / "r2" / "small.csv", lines[1:])
    with pytest.raises(TableError, match="no attempt with both a score and a token count"):
        import_table(str(tmp_path / "r2"), prices=PRICES)


def test_ids_are_made_where_there_are_none(tmp_path: Path) -> None:
    lines = [{"Question": text, "unlimited_score": 1, "unlimited_count": 3} for text in ("a", "b", "a")]
    write(tmp_path / "small.csv", lines)
    write(tmp_path / "r2" / "large.csv", lines[::-1])
    write(tmp_path / "r2" / "small.csv", lines)
    alone = import_table(str(tmp_path / "small.csv"), prices=PRICES).columns
    assert len(alone.query_id.values) == 3
    assert alone.query.texts() == ["a", "b", "a"]
    assert alone.task.values == ("all",)
    both = import_table(str(tmp_path / "r2"), prices=PRICES).columns
    assert set(both.query_id.values) == set(alone.query_id.values)


def test_a_key_that_names_the_query_is_no_task(tmp_path: Path) -> None:
    write(tmp_path / "small.csv", [a_line(number) | {"key": f"k{number}"} for number in (1, 2)])
    assert import_table(str(tmp_path / "small.csv"), prices=PRICES).columns.task.values == ("all",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"100_score": 1.7}, r"small.csv, row 2, column 100_score: 1.7 is not between 0 and 1"),
        ({"10_count": 2.5}, r"small.csv, row 2, column 10_count: 2.5 is not a whole number"),
        ({"10_count": -1}, r"small.csv, row 2, column 10_count: -1 is not a finite number from 0"),
        ({"10_score": "good"}, r"^small.csv, row 2, column 10_score: 'good' is not a number$"),
        ({"100_count": "1_0"}, r"^small.csv, row 2, column 100_count: '1_0' is not a number$"),
        ({"100_count": "True"}, r"^small.csv, row 2, column 100_count: 'True' is not a number$"),
        ({"original_prompt": "another"}, r"small.csv, row 2: query '2' has another text or task in another file"),
        ({"prompts_id": 1}, r"small.csv, row 2: query '1' is also in row 1; keep one of them"),
        ({"prompts_id": ""}, r"small.csv, row 2, column prompts_id: empty; every query needs an id"),
    ],
)
def test_a_fault_names_file_row_and_column(folder: Path, change: dict[str, Any], why: str) -> None:
    write(folder / "small.csv", [a_line(1), a_line(2) | change, a_line(3)])
    with pytest.raises(TableError, match=why):
        import_table(str(folder), prices=PRICES)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("10_score,10_count,10_score", "small.csv, column 10_score: 2 columns of this name; rename all but one"),
        ("10_count,10_count,10_score", "small.csv, column 10_count: 2 columns of this name; rename all but one"),
        (
            f"{'9' * 20}_score,{'9' * 20}_count,x",
            rf"small.csv, column {'9' * 20}_score: the budget 1e\+20 is not a finite number from 1 to 1e\+12",
        ),
        (f"{'9' * 400}_score,{'9' * 400}_count,x", "the budget inf is not a finite number from 1 to"),
        ("0_score,0_count,x", "small.csv, column 0_score: the budget 0 is not a finite number from 1; remove"),
        (
            "010_score,010_count,10_score,10_count",
            "small.csv, column 10_score: the same budget as 010_score; keep one of them",
        ),
    ],
)
def test_columns_that_no_table_holds_are_named(tmp_path: Path, header: str, why: str) -> None:
    path = tmp_path / "small.csv"
    path.write_text(f"question,{header}\nx{',1' * len(header.split(','))}\n")
    with pytest.raises(TableError, match=why):
        import_table(str(path), prices=PRICES)


@pytest.mark.parametrize(("gone", "left"), [("10_count", "10_score"), ("100_score", "100_count")])
def test_half_a_budget_is_refused(folder: Path, gone: str, left: str) -> None:
    lines = [{name if name != gone else "10_tokens": cell for name, cell in a_line(n).items()} for n in (1, 2)]
    for kept in (lines, [{name: line[name] for name in ("original_prompt", left)} for line in lines]):
        write(folder / "small.csv", kept)
        with pytest.raises(TableError, match=rf"^small.csv: {left} is there and {gone} is missing; rename .* remove"):
            import_table(str(folder), prices=PRICES)


def test_files_that_differ_are_told(folder: Path) -> None:
    lines = [a_line(number) for number in range(2, 6)]
    for line in lines:
        for name in ("100_score", "100_count", "unlimited_score", "unlimited_count"):
            del line[name]
    write(folder / "small.csv", lines)
    assert import_table(str(folder), prices=PRICES).notes[1:] == (
        "small lacks budgets 100, unlimited",
        "2 queries are not in every file",
    )
    write(folder / "small.csv", [a_line(number) for number in range(1, 4)])
    assert import_table(str(folder), prices=PRICES).notes[1:] == ("1 query is not in every file",)


def test_a_repeated_column_that_is_not_read_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "small.csv"
    path.write_text("question,10_score,10_count,x,x\na,1,3,4,5\n")
    assert len(import_table(str(path), prices=PRICES).columns) == 1


@pytest.mark.parametrize("blob", [b"\xff\xfea,b\n", b"query,10_score,10_count\n\xe9t\xe9,1,3\n"])
def test_a_file_of_another_encoding_is_named(folder: Path, blob: bytes) -> None:
    (folder / "latin.csv").write_bytes(blob)
    with pytest.raises(TableError, match=r"latin.csv: 'utf-8' codec can't decode .*; give a Parquet, CSV or JSONL"):
        import_table(str(folder), prices=PRICES | {"latin": (1, 1)})


def test_what_a_source_is_read_from(folder: Path) -> None:
    files = [folder / "large.csv", folder / "small.csv"]
    assert inputs_of(str(folder)) == files
    assert inputs_of(str(files[0])) == files[:1]
    assert set(inputs_of(f"hf:{folder}")) == {*files, folder / "summary.csv"}
    assert inputs_of("hf:owner/name") == []


def test_what_is_no_source_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain.csv").write_text("a,b\n1,2\n")
    (tmp_path / "no_text.csv").write_text("id,10_score,10_count\n1,1,2\n")
    (tmp_path / "no_rows.csv").write_text("query,10_score,10_count\n")
    for source, form, why in (
        ("empty", None, "holds no CSV file with columns like 100_score"),
        ("missing", None, "no table, folder or data set at"),
        ("plain.csv", "r2-bench", "plain.csv has no columns like 100_score"),
        ("plain.csv", "other", "unknown form 'other'; forms: r2-bench, routerbench, table"),
        ("no_text.csv", None, "has no column with the query's text; call it one of: query, "),
        ("no_rows.csv", None, "no_rows.csv has no rows"),
    ):
        with pytest.raises(TableError, match=why):
            import_table(
                str(tmp_path / source), form=form, prices={"plain": (1, 1), "no_text": (1, 1), "no_rows": (1, 1)}
            )


def test_prices_are_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"a": {"input": 1, "output": 2.5}}))
    assert read_prices(path) == {"a": (1.0, 2.5)}
    for text in ("[1]", '{"a": 1}', '{"a": {"input": 1}}', '{"a": {"input": -1, "output": 1}}', "{", '{"a": null}'):
        path.write_text(text)
        with pytest.raises(TableError, match=r'prices.json.* write \{"MODEL": \{"input": USD'):
            read_prices(path)
    with pytest.raises(TableError, match="cannot read prices"):
        read_prices(tmp_path / "none.json")


@pytest.mark.filterwarnings("ignore")  # what datasets' own libraries warn of
def test_a_data_set_of_the_same_shape_is_read_through_its_library(folder: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    home = tmp_path / "set"
    home.mkdir()
    every = []
    for model in PRICES:
        lines = [a_line(number) | {"model": model} for number in range(1, 5)]
        every += lines
    write(home / "train.csv", every)
    datasets.config.HF_DATASETS_CACHE = tmp_path / "cache"
    found = import_table(f"hf:{home}", prices=PRICES).columns
    plain = import_table(str(folder), prices=PRICES, choice=Choice(("small",))).columns
    same = found.at(np.array([name == "small" for name in found.model.texts()]))
    assert set(found.model.values) == set(PRICES)
    for name in ("query", "query_id", "task"):
        words, others = getattr(same, name), getattr(plain, name)
        assert isinstance(words, Words)
        assert words.texts() == others.texts()
    for name in ("budget", "quality", "output_tokens", "cost_usd"):
        assert getattr(same, name).tolist() == getattr(plain, name).tolist()


def test_a_data_set_needs_its_library_and_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert form_of("hf:owner/name") == "r2-bench"
    with pytest.raises(TableError, match="hf:name is not the name of a data set; write hf:OWNER/NAME"):
        import_table("hf:name")
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r'pip install "curveroute\[hub\]"'):
        import_table("hf:owner/name")


class Unreachable(Exception):
    """Of a transport that this project does not know."""


@pytest.mark.filterwarnings("ignore")
def test_a_hub_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    hub = pytest.importorskip("huggingface_hub")

    def refuse(*_: object, **options: Any) -> None:
        assert options["timeout"] <= 10
        raise Unreachable("nobody there\nat all")

    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub.HfApi, "dataset_info", refuse)
    with pytest.raises(
        TableError, match=r"cannot load hf:owner/name: nobody there at all; check the name and the network"
    ):
        import_table("hf:owner/name", prices=PRICES)
