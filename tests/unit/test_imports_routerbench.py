"""RouterBench's wide tables: costs are kept, tokens estimated, pickles never opened."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.columns import Words, columns_hash, read_columns, write_columns
from curveroute.agent.bench.imports import Choice, form_of, import_table
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from pathlib import Path

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
arrow_csv = pytest.importorskip("pyarrow.csv")

RECORDS = [
    {
        "sample_id": f"mmlu.{number}",
        "prompt": "1234567 and, 'x'\n" * number,
        "eval_name": "mmlu" if number < 3 else "gsm8k",
        "gpt-4": 1.0,
        "lab/model-7b": None if number == 2 else 0.25,
        "gpt-4|model_response": "['yes, said the model']",
        "lab/model-7b|model_response": "no" * number,
        "gpt-4|total_cost": 0.01 * number,
        "lab/model-7b|total_cost": 0.0001,
        "oracle_model_to_route_to": "gpt-4",
    }
    for number in range(1, 5)
]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    table = pa.Table.from_pylist(records)
    if path.suffix == ".csv":
        arrow_csv.write_csv(table, path)
    elif path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        import json

        path.write_text("\n".join(json.dumps(record) for record in records))
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_every_score_becomes_an_unlimited_answer(tmp_path: Path, suffix: str) -> None:
    source = write(tmp_path / f"wide.{suffix}", RECORDS)
    found = import_table(str(source))
    columns = found.columns
    assert found.form == "routerbench"
    assert found.notes == (
        "input and output tokens are estimated as characters / 4",
        "1 attempt(s) without a score or a cost left out",
    )
    assert columns.model.texts() == ["gpt-4"] * 4 + ["lab/model-7b"] * 3
    assert columns.query_id.texts()[4:] == ["mmlu.1", "mmlu.3", "mmlu.4"]
    assert columns.task.texts()[:4] == ["mmlu", "mmlu", "gsm8k", "gsm8k"]
    assert np.isinf(columns.budget).all()
    assert columns.quality.tolist() == [1, 1, 1, 1, 0.25, 0.25, 0.25]
    assert columns.cost_usd.tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04, 1e-4, 1e-4, 1e-4])
    assert columns.input_tokens.tolist()[:4] == [5, 9, 13, 17]
    assert columns.output_tokens.tolist() == [6, 6, 6, 6, 1, 2, 2]
    response = columns.optional["response"]
    assert isinstance(response, Words)
    assert response.texts()[-1] == "nononono"
    write_columns(tmp_path / "table.jsonl", columns)
    assert columns_hash(read_columns(tmp_path / "table.jsonl")) == columns_hash(columns)


def test_costs_come_from_prices_where_none_are_recorded(tmp_path: Path) -> None:
    records = [{name: cell for name, cell in one.items() if name != "gpt-4|total_cost"} for one in RECORDS]
    source = str(write(tmp_path / "wide.csv", records))
    with pytest.raises(TableError, match="no price for gpt-4; give --pool POOL or --prices FILE"):
        import_table(source)
    found = import_table(source, prices={"gpt-4": (10.0, 30.0)}, choice=Choice(("gpt-4",)))
    assert found.columns.cost_usd[0] == pytest.approx((5 * 10 + 6 * 30) * 1e-6)


def test_a_fault_names_file_row_and_column(tmp_path: Path) -> None:
    source = write(tmp_path / "wide.csv", [RECORDS[0], RECORDS[1] | {"gpt-4": 1.5}])
    with pytest.raises(TableError, match=r"^wide.csv, row 2, column gpt-4: 1.5 is not between 0 and 1"):
        import_table(str(source))
    with pytest.raises(
        TableError, match=r"wide.csv, row 1, column gpt-4\|total_cost: -1 is not a finite number from 0"
    ):
        import_table(str(write(tmp_path / "wide.csv", [RECORDS[0] | {"gpt-4|total_cost": -1.0}])))
    plain = tmp_path / "plain.csv"
    plain.write_text("prompt,gpt-4\nx,1\n")
    with pytest.raises(TableError, match=r"has no columns MODEL and MODEL\|model_response"):
        import_table(str(plain), form="routerbench")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_cell_that_is_no_number_is_named(tmp_path: Path, suffix: str) -> None:
    for name in ("gpt-4", "gpt-4|total_cost"):
        records = [record | {name: cell} for record, cell in zip(RECORDS, ("1", "", "abc", "0"), strict=True)]
        source = write(tmp_path / f"wide.{suffix}", records)
        with pytest.raises(TableError) as caught:
            import_table(str(source))
        assert str(caught.value) == f"wide.{suffix}, row 3, column {name}: 'abc' is not a number"


def test_a_list_is_no_number(tmp_path: Path) -> None:
    for cell in ([1], {"a": 1}):
        with pytest.raises(TableError, match=r"^wide.jsonl, row 1, column gpt-4: .* is not a number$"):
            import_table(str(write(tmp_path / "wide.jsonl", [RECORDS[0] | {"gpt-4": cell}])))


def test_true_and_false_are_scores_but_no_costs(tmp_path: Path) -> None:
    flags = [record | {"gpt-4": cell} for record, cell in zip(RECORDS, ("True", "false", " 0.5 ", "NA"), strict=True)]
    flags[0] |= {"gpt-4|model_response": "NA"}
    columns = import_table(str(write(tmp_path / "wide.csv", flags)), choice=Choice(("gpt-4",))).columns
    assert columns.quality.tolist() == [1, 0, 0.5]
    assert columns.query.texts() == [record["prompt"] for record in RECORDS[:3]]
    response = columns.optional["response"]
    assert isinstance(response, Words)
    assert response.texts()[0] == "NA"  # a text, not an empty cell
    real = [record | {"gpt-4": cell} for record, cell in zip(RECORDS, (True, False, True, None), strict=True)]
    for suffix in ("csv", "parquet", "jsonl"):
        columns = import_table(str(write(tmp_path / f"real.{suffix}", real)), choice=Choice(("gpt-4",))).columns
        assert columns.quality.tolist() == [1, 0, 1]
    with pytest.raises(TableError, match=r"column gpt-4\|total_cost: 'true' is not a number"):
        import_table(str(write(tmp_path / "wide.csv", [RECORDS[0] | {"gpt-4|total_cost": True}])))


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("prompt,a,a|model_response,a|total_cost,a", "wide.csv, column a: 2 columns of this name; rename all but one"),
        (
            "question,a,a|model_response,a|total_cost,question",
            "wide.csv, column question: 2 columns of this name; rename all but one",
        ),
        (
            "prompt,prompt|model_response,prompt|total_cost,x,y",
            "wide.csv, column prompt: stands for two things, a model's cell among them; rename it",
        ),
    ],
)
def test_a_column_of_two_meanings_is_refused(tmp_path: Path, header: str, why: str) -> None:
    (tmp_path / "wide.csv").write_text(f"{header}\n1,1,1,1,1\n")
    with pytest.raises(TableError) as caught:
        import_table(str(tmp_path / "wide.csv"))
    assert str(caught.value) == why


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was opened",)


@pytest.mark.parametrize("name", ["routerbench_0shot.pkl", "wide.parquet", "wide.csv"])
def test_a_pickle_is_never_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb()))
    for form in (None, "routerbench", "table", "r2-bench"):
        with pytest.raises(TableError, match=r"is a pickle, .*pandas.read_pickle\(FILE\).to_parquet\(OUT\)"):
            import_table(str(path), form=form, prices={"wide": (1, 1), "routerbench_0shot": (1, 1)})


def test_a_curve_table_is_itself(tmp_path: Path) -> None:
    columns = import_table(str(write(tmp_path / "wide.parquet", RECORDS))).columns
    write_columns(tmp_path / "table.csv", columns)
    assert form_of(str(tmp_path / "table.csv")) == "table"
    again = import_table(str(tmp_path / "table.csv"), choice=Choice(("-gpt-4",), ("gsm8k",))).columns
    assert (again.model.values, again.task.values, len(again)) == (("lab/model-7b",), ("gsm8k",), 2)
    with pytest.raises(TableError, match="no task 'gsm' in the source, did you mean 'gsm8k'"):
        import_table(str(tmp_path / "table.csv"), choice=Choice((), ("gsm",)))
