"""The table by columns: what the table by rows is, in every format, faster."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.bench.columns import (
    Columns,
    Words,
    columns_hash,
    columns_of,
    read_columns,
    refuse_unsound,
    write_columns,
)
from curveroute.agent.bench.table import Row, data_hash, read_table, write_table
from curveroute.agent.bench.words import joint, repeats, words_of
from curveroute.agent.errors import MissingExtra, TableError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SUFFIXES = ("parquet", "csv", "jsonl")
RECORDED = Path(__file__).parents[2].parent / "shared" / "data"
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
SOME = TEXT.filter(bool)
FEW = st.sampled_from(["a", "b", "a\t", "a\tb", "ab", "é", "\U0001f600", "\uffff"])  # ids that begin as others do
COUNT = st.integers(0, 10**12)
SHARE = st.floats(0, 1)


@st.composite
def tables(draw: Any) -> list[Row]:
    """Rows without a fault: one text for each id, no attempt twice."""
    texts = draw(st.dictionaries(FEW, TEXT | FEW, min_size=1, max_size=5))
    rows = draw(
        st.lists(
            st.builds(
                Row,
                query_id=st.sampled_from(sorted(texts)),
                query=st.just(""),
                task=SOME,
                model=FEW,
                budget=st.none() | st.integers(1, 10**12) | st.sampled_from([2, 10, 16]),
                sample=st.integers(0, 10**12) | st.integers(0, 11),
                quality=SHARE,
                answer=st.none() | SOME,
                reference=st.none() | SOME,
                finish_reason=st.sampled_from(["stop", "length"]),
                input_tokens=COUNT,
                output_tokens=COUNT,
                cost_usd=st.floats(0, 1e6),
                response=st.none() | SOME,
                latency_s=st.none() | st.floats(0, 1e6),
                prompt_style=st.none() | SOME,
                confidence=st.none() | SHARE,
            ),
            min_size=1,
            max_size=12,
            unique_by=lambda row: (row.query_id, row.model, row.budget, row.sample),
        )
    )
    return [replace(row, query=texts[row.query_id]) for row in rows]


def a_row(number: int = 0, **changes: Any) -> Row:
    row = Row(f"q{number}", f"{number} + 2?", "sums", "small", 16, 0, 1.0, "4", "4", "stop", 9, 3, 1e-5)
    return replace(row, **changes)


def plain(columns: Columns) -> dict[str, Any]:
    """Everything in the columns, as lists."""
    names = [name for name in Columns.__dataclass_fields__ if name != "optional"]
    every = {name: getattr(columns, name) for name in names} | dict(columns.optional)
    return {
        name: column.texts() if isinstance(column, Words) else [repr(value) for value in column.tolist()]
        for name, column in every.items()
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40, deadline=None)
@given(rows=tables())
def test_what_is_written_by_columns_is_what_both_read(suffix: str, rows: list[Row]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"table.{suffix}"
        write_columns(path, columns_of(rows))
        assert read_table(path) == rows
        assert plain(read_columns(path)) == plain(columns_of(rows))
        assert [entry.name for entry in Path(folder).iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=20, deadline=None)
@given(rows=tables())
def test_what_is_written_by_rows_is_read_by_columns(suffix: str, rows: list[Row]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"table.{suffix}"
        write_table(path, rows)
        assert plain(read_columns(path)) == plain(columns_of(rows))


@settings(max_examples=200, deadline=None)
@given(rows=tables(), random=st.randoms())
def test_the_hash_is_the_table_s_hash_in_any_order(rows: list[Row], random: Any) -> None:
    assert columns_hash(columns_of(random.sample(rows, len(rows)))) == data_hash(rows)


def test_rows_are_taken_in_the_order_asked_for() -> None:
    rows = [a_row(number, answer=None if number else "x", latency_s=float(number)) for number in range(5)]
    columns = columns_of(rows)
    assert plain(columns.at(np.array([3, 0]))) == plain(columns_of([rows[3], rows[0]]))
    assert len(columns.at(columns.sample == 1)) == 0
    assert columns.at(np.array([1])).query.values == ("1 + 2?",)


def test_what_other_tools_write_is_understood(tmp_path: Path) -> None:
    """pandas writes absent whole numbers as NaN, categories as codes, and its own columns besides."""
    kinds = {"budget": pa.array([None, 16.0]), "sample": pa.array([0, 0], pa.int8()), "index": pa.array([7, 8])}
    records = [asdict(a_row()), asdict(a_row(1))]
    table = pa.Table.from_pylist([{k: v for k, v in one.items() if v is not None} for one in records])
    for name, column in kinds.items():
        place = table.schema.get_field_index(name)
        table = table.append_column(name, column) if place < 0 else table.set_column(place, name, column)
    table = table.set_column(3, "model", table.column("model").dictionary_encode())
    table = table.set_column(0, "query_id", pa.array([10, 11]))
    pq.write_table(table, tmp_path / "table.parquet")
    columns = read_columns(tmp_path / "table.parquet")
    assert columns.budget.tolist() == [np.inf, 16.0]
    assert columns.query_id.texts() == ["10", "11"]
    assert columns.model == columns.model
    assert columns.model.texts() == ["small", "small"]
    assert columns.sample.dtype == np.int64
    assert not columns.optional


def test_optional_columns_are_there_where_a_row_has_one(tmp_path: Path) -> None:
    records = [asdict(a_row()), asdict(a_row(1, prompt_style="short")) | {"judge": "me"}]
    (tmp_path / "table.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    columns = read_columns(tmp_path / "table.jsonl")
    optional = {name: column.texts() for name, column in columns.optional.items() if isinstance(column, Words)}
    assert optional == {"prompt_style": [None, "short"], "judge": [None, "me"]}
    write_columns(tmp_path / "again.csv", columns)
    assert plain(read_columns(tmp_path / "again.csv")) == plain(columns)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_not_a_table_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    with pytest.raises(TableError, match="no table at"):
        read_columns(path)
    path.write_bytes(b"\xff\xfe\x00 not a table")
    with pytest.raises(TableError, match=rf"table.{suffix} is not"):
        read_columns(path)
    write_table(path, [])
    with pytest.raises(TableError, match="has no rows; collect some first"):
        read_columns(path)


def test_the_first_fault_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    bad = [asdict(a_row(number)) | {"quality": 1.7} for number in range(3)]
    path.write_text("\n".join(json.dumps(record) for record in [asdict(a_row(9)), *bad]))
    why = r"^table.jsonl, row 2, column quality: 1.7 is not between 0 and 1 \(and 2 more; `curveroute table check FILE`"
    with pytest.raises(TableError, match=why):
        read_columns(path)


def test_columns_that_would_not_be_read_again_are_refused() -> None:
    refuse_unsound("here", columns_of([a_row(number) for number in range(3)]))
    bad = columns_of([a_row(number, cost_usd=1e300, quality=number) for number in range(3)])
    with pytest.raises(TableError) as caught:
        refuse_unsound("here", bad)
    assert str(caught.value) == (
        "here makes no sound table: row 1, column cost_usd: 1e+300 is not a finite number from 0 to 1e+09 (query 'q0', "
        "model 'small'); row 2, column cost_usd: 1e+300 is not a finite number from 0 to 1e+09 (query 'q1', model "
        "'small'); row 3, column quality: 2 is not between 0 and 1 (query 'q2', model 'small') (and 1 more); nothing "
        "is written"
    )
    with pytest.raises(TableError, match=r"row 2, column sample: repeats row 1: \('q0', 'small', 16, 0\)"):
        refuse_unsound("here", columns_of([a_row(), a_row()]))


@settings(max_examples=40, deadline=None)
@given(rows=tables())
def test_sound_columns_are_not_refused(rows: list[Row]) -> None:
    refuse_unsound("here", columns_of(rows))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("query_id,query,query\n1,a,b\n")
    with pytest.raises(TableError, match="several are called 'query'; rename all but one"):
        read_columns(path)
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["model", "model"]), tmp_path / "table.parquet")
    with pytest.raises(TableError, match="several are called 'model'"):
        read_columns(tmp_path / "table.parquet")


def test_a_failed_write_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    write_columns(path, columns_of([a_row()]))
    old = path.read_bytes()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("curveroute.agent.bench.columns._plain", stop)
    with pytest.raises(KeyboardInterrupt):
        write_columns(path, columns_of([a_row(1)]))
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_parquet_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_columns(tmp_path / "table.csv", columns_of([a_row()]))
    (tmp_path / "table.parquet").write_text("x")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r'pip install "curveroute\[bench\]"'):
        read_columns(tmp_path / "table.parquet")
    assert len(read_columns(tmp_path / "table.csv")) == 1


@given(
    st.lists(st.tuples(st.integers(-(2**40), 2**40), st.integers(-3, 3), st.integers(0, 2**40)), min_size=1, max_size=9)
)
def test_a_joint_key_is_equal_where_all_columns_are(rows: list[tuple[int, int, int]]) -> None:
    keys = joint(*(np.array(column) for column in zip(*rows, strict=True))).tolist()
    assert [keys.index(key) for key in keys] == [rows.index(row) for row in rows]
    later, first = repeats(np.array(keys))
    assert dict(zip(later.tolist(), first.tolist(), strict=True)) == {
        place: rows.index(row) for place, row in enumerate(rows) if rows.index(row) != place
    }


@given(st.lists(st.none() | TEXT))
def test_words_are_texts(texts: list[str | None]) -> None:
    words = words_of(texts)
    assert words.texts() == texts
    assert len(words) == len(texts)
    assert sorted(words.values) == sorted({text for text in texts if text is not None})


@pytest.mark.skipif(not (RECORDED / "gsm8k.parquet").is_file(), reason="no recorded tables beside the project")
def test_a_recorded_table_reads_the_same_both_ways() -> None:
    path = RECORDED / "gsm8k.parquet"
    rows, columns = read_table(path), read_columns(path)
    assert columns_hash(columns) == data_hash(rows)
    assert plain(columns) == plain(columns_of(rows))
