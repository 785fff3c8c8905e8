"""What is wrong with a table: every fault found, none invented, by the rules that read it."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.bench.cells import read_cells
from curveroute.agent.bench.columns import columns_in, columns_of, read_columns
from curveroute.agent.bench.faults import Fault, findings, outside, why_not
from curveroute.agent.bench.summary import notes_on
from curveroute.agent.bench.table import REAL, REQUIRED, WHOLE, Row, read_table, value_of
from curveroute.agent.errors import TableError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

BAD = {
    "query_id": [None, ""],
    "query": [{"a": 1}, ["x"], []],
    "task": [None, "", ["sums"]],
    "model": [None, {"name": "small"}],
    "answer": [{"is": 4}, [4]],
    "response": [["a"], {}],
    "budget": [0, 2.5, -1, 10**13, "many", float("inf")],
    "sample": [-1, None, 0.5],
    "quality": [1.7, -0.1, None, float("nan"), float("inf"), "good"],
    "finish_reason": ["tired", None, 3],
    "input_tokens": [-1, 1.5, None, "?"],
    "output_tokens": [-1, 1.5, None, 10**13],
    "cost_usd": [1e300, 10**9 + 1, -0.1, float("nan"), float("inf"), "free"],
    "latency_s": [-1.0, "soon"],
    "confidence": [2.0],
}


def a_row(number: int = 0, **changes: Any) -> Row:
    row = Row(
        f"q{number}", f"{number}?", "sums", "small", 16, 0, 1.0, "4", "4", "stop", 9, 3, 1e-5, None, 0.5, None, 0.5
    )
    return replace(row, **changes)


def found_in(path: Path) -> list[Fault]:
    return list(findings(read_cells(path)).faults())


def jsonl(folder: str | Path, records: list[dict[str, Any]]) -> Path:
    path = Path(folder) / "table.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


@settings(max_examples=60, deadline=None)
@given(
    plants=st.dictionaries(st.tuples(st.integers(0, 29), st.sampled_from(sorted(BAD))), st.integers(0, 9), max_size=12)
)
def test_planted_faults_are_found_and_no_other(plants: dict[tuple[int, str], int]) -> None:
    records = [asdict(a_row(number)) for number in range(30)]
    for (row, column), choice in plants.items():
        records[row][column] = BAD[column][choice % len(BAD[column])]
    with TemporaryDirectory() as folder:
        path = jsonl(folder, records)
        found = found_in(path)
        assert {(fault.row, fault.column) for fault in found} == {(row + 1, column) for row, column in plants}
        assert len(found) == len(plants)
        assert [fault.row for fault in found] == sorted(row + 1 for row, _ in plants)
        for read in (read_table, read_columns):
            if plants:
                with pytest.raises(TableError, match=f"row {found[0].row}, column "):
                    read(path)
            else:
                assert len(read(path)) == len(records)


@settings(max_examples=300)
@given(
    name=st.sampled_from(sorted(WHOLE | REAL)),
    number=st.floats()
    | st.integers(-3, 10).map(float)
    | st.sampled_from([1e9, 1e9 + 1, 1e12, 1e12 + 1, 0.5, 1 + 1e-12]),
)
def test_an_array_of_numbers_is_judged_as_each_number_is(name: str, number: float) -> None:
    bad = bool(outside(name, np.array([number]))[0])
    assert bad == bool(why_not(name, number))
    if bad:
        with pytest.raises(TableError):
            value_of(name, number)
    else:
        value_of(name, number)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_faults_are_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    records = [asdict(a_row(number)) for number in range(6)]
    records[1]["quality"] = 1.7
    records[2]["cost_usd"] = -1.0
    records[3]["model"] = None
    records[4] |= {key: records[0][key] for key in ("query_id", "query")}
    records[5] |= {"query_id": "q1", "sample": 1, "finish_reason": "tired"}
    path = tmp_path / f"table.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif suffix == "csv":
        pytest.importorskip("pyarrow.csv").write_csv(pa.Table.from_pylist(records), path)
    else:
        jsonl(tmp_path, records)
    told = [str(fault).replace("'1.7'", "1.7").replace("'-1'", "-1").replace("-1.0", "-1") for fault in found_in(path)]
    assert told == [
        "row 2, column quality: 1.7 is not between 0 and 1",
        "row 3, column cost_usd: -1 is not a finite number from 0",
        "row 4, column model: empty; every row needs a value there",
        "row 5, column sample: repeats row 1: ('q0', 'small', 16, 0); remove one of them, or number the samples",
        "row 6, column finish_reason: 'tired' is neither 'stop' nor 'length'",
        "row 6, column query: query_id 'q1' has another text in row 2; give each text its own id",
    ]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_column_is_one_fault(tmp_path: Path, name: str) -> None:
    records = [asdict(a_row(number)) for number in range(3)]
    for record in records:
        del record[name]
    assert [str(fault) for fault in found_in(jsonl(tmp_path, records))] == [
        f"column {name}: missing; every curve table has it"
    ]
    with pytest.raises(TableError, match=f"^table.jsonl, column {name}: missing"):
        read_columns(tmp_path / "table.jsonl")


def test_a_cell_of_several_values_is_no_text_in_parquet_either(tmp_path: Path) -> None:
    names = {"answer": [["4"], None], "model": [{"name": "small"}] * 2}
    table = pa.Table.from_pylist([asdict(a_row(number)) for number in range(2)])
    for name, cells in names.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(cells))
    pq.write_table(table, tmp_path / "table.parquet")
    assert [str(fault) for fault in found_in(tmp_path / "table.parquet")] == [
        "row 1, column model: {'name': 'small'} is not text",
        "row 1, column answer: ['4'] is not text",
        "row 2, column model: {'name': 'small'} is not text",
    ]


def test_numbers_are_texts_where_texts_are_asked_for(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [asdict(a_row()) | {"answer": 42, "query": 7, "task": True}])
    columns = read_columns(path)
    assert (columns.answer.texts(), columns.query.texts(), columns.task.texts()) == (["42"], ["7"], ["True"])


def test_a_key_that_some_objects_lack_is_a_fault_where_it_is_required(tmp_path: Path) -> None:
    records = [asdict(a_row(number)) for number in range(3)]
    del records[1]["answer"], records[1]["latency_s"], records[2]["quality"]
    assert [(fault.row, fault.column) for fault in found_in(jsonl(tmp_path, records))] == [
        (2, "answer"),
        (3, "quality"),
    ]


def test_only_so_many_faults_are_told_as_are_asked_for(tmp_path: Path) -> None:
    records = [asdict(a_row(number)) | {"quality": 2, "cost_usd": -1} for number in range(4)]
    for record in records:
        del record["task"]
    found = findings(read_cells(jsonl(tmp_path, records)))
    assert found.count == 9
    assert [len(list(found.faults(limit))) for limit in (0, 1, 2, 9, 20)] == [0, 1, 2, 9, 9]
    assert [(one.row, one.column) for one in found.faults(3)] == [(None, "task"), (1, "quality"), (1, "cost_usd")]


def test_repeats_are_all_of_the_first(tmp_path: Path) -> None:
    rows = [a_row(0), a_row(1), a_row(0), a_row(0, budget=None), a_row(0), a_row(0, budget=None)]
    found = found_in(jsonl(tmp_path, [asdict(row) for row in rows]))
    assert [(one.row, one.why.partition(":")[0]) for one in found] == [
        (3, "repeats row 1"),
        (5, "repeats row 1"),
        (6, "repeats row 4"),
    ]


def test_a_fault_in_a_key_is_not_told_twice(tmp_path: Path) -> None:
    records = [asdict(a_row(0)) | {"sample": "x"} for _ in range(2)] + [asdict(a_row(0)) | {"budget": 0}] * 2
    assert {one.column for one in found_in(jsonl(tmp_path, records))} == {"sample", "budget"}


def test_notes_tell_what_is_no_fault(tmp_path: Path) -> None:
    rows = [a_row(number, model=model, budget=budget) for number in range(3) for model in "ab" for budget in (4, None)]
    kept = [row for place, row in enumerate(rows) if place not in {0, 4}]
    kept[-1] = replace(kept[-1], query_id="other", query="0?")
    path = jsonl(tmp_path, [asdict(row) | {"colour": "red"} for row in kept])
    cells = read_cells(path)
    notes = list(notes_on(columns_in(findings(cells)), cells.extra))
    assert notes == [
        "ignored column(s), which no curve table has: colour",
        "model 'a' is not recorded on 4 of 8 (query, budget) pairs",
        "model 'b' is not recorded on 2 of 8 (query, budget) pairs",
        "1 more query ids than query texts: splits by id may put one text on both sides",
    ]
    assert not list(notes_on(columns_of(rows)))


def test_answers_over_their_budget_are_noted(tmp_path: Path) -> None:
    sizes = [(100, 110), (100, 111), (100, 300), (None, 9000)]
    rows = [a_row(number, budget=budget, output_tokens=used) for number, (budget, used) in enumerate(sizes)]
    columns = columns_of(rows)
    assert "2 rows used more than 1.1 times their budget" in list(notes_on(columns))
    assert "1 row used more than 1.1 times their budget" in list(notes_on(columns_of(rows[1:2])))
    assert not list(notes_on(columns_of(rows[:1])))


def test_a_misspelt_column_is_named(tmp_path: Path) -> None:
    records = [asdict(a_row(number)) for number in range(2)]
    renamed = {"model": "modle", "quality": "Quality", "task": "colour"}
    records = [{renamed.get(name, name): value for name, value in record.items()} for record in records]
    assert [str(fault) for fault in found_in(jsonl(tmp_path, records))] == [
        "column task: missing; every curve table has it",
        "column model: missing; every curve table has it (did you mean the column 'modle'?)",
        "column quality: missing; every curve table has it (did you mean the column 'Quality'?)",
    ]


@pytest.mark.parametrize(("separator", "named"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'")])
def test_another_separator_is_one_fault(tmp_path: Path, separator: str, named: str) -> None:
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(a_row())), delimiter=separator)
        writer.writeheader()
        writer.writerows(asdict(a_row(number, query="one, two")) for number in range(3))
    found = findings(read_cells(path))
    why = f"the file seems to be separated by {named}; separate its fields with commas"
    assert (found.rows, list(found.faults())) == (3, [Fault(None, None, why)])
    with pytest.raises(TableError, match=r"^table\.csv, the file seems to be separated by"):
        read_columns(path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_unlimited_is_a_budget(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    records = [asdict(a_row(0)), asdict(a_row(1)) | {"budget": "unlimited"}]
    if suffix == "csv":
        pytest.importorskip("pyarrow.csv").write_csv(
            pa.Table.from_pylist([one | {"budget": str(one["budget"])} for one in records]), path
        )
    else:
        jsonl(tmp_path, records)
    assert [row.budget for row in read_table(path)] == [16, None]
    assert read_columns(path).budget.tolist() == [16, np.inf]
    with pytest.raises(TableError, match="'unlimited' is not a number"):
        value_of("output_tokens", "unlimited")


def test_a_bare_name_that_is_nothing_names_the_shipped_tables() -> None:
    with pytest.raises(
        TableError, match=r"^nosuch: a curve table ends in .*\.jsonl, or is a shipped one: local, local-large$"
    ):
        read_cells(Path("nosuch"))
