"""The curve table: the same rows in every format, whole or not at all, and a fault that says where it is."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.bench import table
from curveroute.agent.bench.table import (
    OPTIONAL,
    REQUIRED,
    Row,
    check_writable,
    data_hash,
    read_table,
    row_of,
    write_table,
)
from curveroute.agent.errors import MissingExtra, TableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SUFFIXES = ("parquet", "csv", "jsonl")
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SOME = TEXT.filter(bool)
COUNT = st.integers(0, 10**12)
SHARE = st.floats(0, 1)
MONEY = st.floats(0, 1e6)
ROWS = st.lists(
    st.builds(
        Row,
        query_id=SOME,
        query=TEXT,
        task=SOME,
        model=SOME,
        budget=st.none() | st.integers(1, 2**31),
        sample=st.integers(0, 99),
        quality=SHARE,
        answer=st.none() | SOME,
        reference=st.none() | SOME,
        finish_reason=st.sampled_from(["stop", "length"]),
        input_tokens=COUNT,
        output_tokens=COUNT,
        cost_usd=MONEY,
        response=st.none() | SOME,
        latency_s=st.none() | MONEY,
        prompt_style=st.none() | SOME,
        confidence=st.none() | SHARE,
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda row: (row.query_id, row.model, row.budget, row.sample),
)


def a_row(number: int = 0, **changes: Any) -> Row:
    row = Row(f"q{number}", "2 + 2?", "sums", "small", 16, 0, 1.0, "4", "4", "stop", 9, 3, 1e-5)
    return replace(row, **changes)


def records(path: Path, changes: Sequence[dict[str, object]]) -> Path:
    """Rows as another tool might write them: whatever JSON can hold."""
    path.write_text("\n".join(json.dumps(asdict(a_row(number)) | change) for number, change in enumerate(changes)))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40, deadline=None)
@given(rows=ROWS)
def test_what_is_written_is_what_is_read(suffix: str, rows: list[Row]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"table.{suffix}"
        write_table(path, rows)
        assert read_table(path) == rows
        assert [entry.name for entry in Path(folder).iterdir()] == [path.name]


@settings(max_examples=15, deadline=None)
@given(rows=ROWS, random=st.randoms())
def test_the_hash_depends_on_neither_order_nor_format(rows: list[Row], random: Random) -> None:
    hashes = {data_hash(random.sample(rows, len(rows)))}
    with TemporaryDirectory() as folder:
        for suffix in SUFFIXES:
            path = Path(folder) / f"table.{suffix}"
            write_table(path, rows)
            hashes.add(data_hash(read_table(path)))
    assert len(hashes) == 1


@pytest.mark.parametrize("change", [{"quality": 0.5}, {"query": "other"}, {"output_tokens": 4}, {"budget": None}])
def test_the_hash_depends_on_what_was_measured(change: dict[str, Any]) -> None:
    rows = [a_row(number) for number in range(3)]
    assert data_hash(rows) != data_hash([*rows[:2], replace(rows[2], **change)])
    assert data_hash(rows) == data_hash([*rows[:2], replace(rows[2], latency_s=9.0, quality=1)])


FAULTS = [
    ({"quality": 1.01}, "row 2, column quality: 1.01 is not between 0 and 1"),
    ({"quality": -0.1}, "row 2, column quality: -0.1 is not between 0 and 1"),
    ({"quality": None}, "row 2, column quality: empty"),
    ({"quality": float("nan")}, "row 2, column quality: empty"),
    ({"quality": "good"}, "row 2, column quality: 'good' is not a number"),
    ({"confidence": 7}, "row 2, column confidence: 7 is not between 0 and 1"),
    ({"query_id": ""}, "row 2, column query_id: empty"),
    ({"model": None}, "row 2, column model: empty"),
    ({"budget": 0}, "row 2, column budget: 0 is not a finite number from 1"),
    ({"budget": 2.5}, "row 2, column budget: 2.5 is not a whole number"),
    ({"sample": -1}, "row 2, column sample: -1 is not a finite number from 0"),
    ({"output_tokens": None}, "row 2, column output_tokens: empty"),
    ({"input_tokens": [1]}, r"row 2, column input_tokens: \[1\] is not a number"),
    ({"cost_usd": float("inf")}, "row 2, column cost_usd: inf is not a finite number from 0"),
    ({"cost_usd": 10**400}, "row 2, column cost_usd: .* is not a number"),
    ({"output_tokens": 10**12 + 1}, r"row 2, column output_tokens: 1000000000001 is not .* from 0 to 1e\+12"),
    ({"cost_usd": 1e300}, r"row 2, column cost_usd: 1e\+300 is not a finite number from 0 to 1e\+09"),
    ({"query": {"a": 1}}, r"row 2, column query: \{'a': 1\} is not text"),
    ({"query_id": ["a"]}, r"row 2, column query_id: \['a'\] is not text"),
    ({"answer": []}, r"row 2, column answer: \[\] is not text"),
    ({"latency_s": -1}, "row 2, column latency_s: -1 is not a finite number from 0"),
    ({"finish_reason": "tired"}, "row 2, column finish_reason: 'tired' is neither 'stop' nor 'length'"),
    ({"query_id": "q0"}, r"row 2 repeats row 1: \('q0', 'small', 16, 0\); remove one of them"),
]


@pytest.mark.parametrize(("change", "why"), FAULTS)
def test_a_fault_names_row_and_column(tmp_path: Path, change: dict[str, object], why: str) -> None:
    path = records(tmp_path / "table.jsonl", [{}, change, {}])
    with pytest.raises(TableError, match=f"^table.jsonl, {why}"):
        read_table(path)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    record = asdict(a_row())
    del record[name]
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(record))
        writer.writeheader()
        writer.writerow(record)
    with pytest.raises(TableError, match=rf"table.csv, row 1: missing column\(s\) {name}$"):
        read_table(path)


def test_columns_that_need_not_be_there_and_columns_nobody_knows(tmp_path: Path) -> None:
    record = {name: value for name, value in asdict(a_row()).items() if name not in OPTIONAL} | {"judge": "me"}
    (tmp_path / "table.jsonl").write_text(json.dumps(record))
    assert read_table(tmp_path / "table.jsonl") == [a_row()]


def test_tables_of_other_tools_are_understood(tmp_path: Path) -> None:
    """pandas writes absent whole numbers as NaN and whole numbers as reals; Excel begins a file with a mark."""
    other = records(tmp_path / "table.jsonl", [{"budget": float("nan"), "sample": 0.0, "answer": float("nan")}])
    assert read_table(other) == [a_row(budget=None, answer=None)]
    write_table(tmp_path / "table.csv", [a_row()])
    marked = tmp_path / "marked.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + (tmp_path / "table.csv").read_bytes())
    assert read_table(marked) == [a_row()]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_long_and_odd_texts_survive(tmp_path: Path, suffix: str) -> None:
    odd = 'a\r\nb\rc\nd\u2028e\x85f\x0bg"h,i\tj\x00k'
    rows = [a_row(0, response="long " * 100_000), a_row(1, query=odd, answer=odd, response=odd)]
    write_table(tmp_path / f"table.{suffix}", rows)
    assert read_table(tmp_path / f"table.{suffix}") == rows


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_write_leaves_the_old_table(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"table.{suffix}"
    write_table(path, [a_row()])
    old = path.read_bytes()

    def fill_the_disk(fresh: Path, _records: object) -> None:
        fresh.write_bytes(b"half a tab")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(table._WRITERS, f".{suffix}", fill_the_disk)
    with pytest.raises(TableError, match="No space left on device; free space or choose another path"):
        write_table(path, [a_row(1)])
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path, suffix: str) -> None:
    target, link = tmp_path / "far" / f"real.{suffix}", tmp_path / f"link.{suffix}"
    link.symlink_to(target)
    for number in range(2):  # one that leads nowhere yet, then one to a file
        check_writable(link)
        write_table(link, [a_row(number)])
        assert link.readlink() == target
        assert read_table(target) == [a_row(number)]
    assert [entry.name for entry in target.parent.iterdir()] == [target.name]
    assert {entry.name for entry in tmp_path.iterdir()} == {"far", link.name}
    link.unlink()
    link.symlink_to(link)
    for refuse in (check_writable, lambda where: write_table(where, [a_row()])):
        with pytest.raises(TableError, match="cannot write"):
            refuse(link)
    assert link.is_symlink()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_pipe_is_written_into(tmp_path: Path, suffix: str) -> None:
    pipe, plain = tmp_path / f"pipe.{suffix}", tmp_path / f"plain.{suffix}"
    os.mkfifo(pipe)
    check_writable(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # a small table fits the pipe: nobody waits
    write_table(pipe, [a_row()])
    plain.write_bytes(os.read(reader, 1 << 16))
    os.close(reader)
    assert read_table(plain) == [a_row()]
    assert pipe.is_fifo()
    assert {entry.name for entry in tmp_path.iterdir()} == {pipe.name, plain.name}


def test_a_device_is_written_into(tmp_path: Path) -> None:
    link = tmp_path / "null.csv"
    link.symlink_to("/dev/null")
    check_writable(link)
    write_table(link, [a_row()])
    assert link.is_symlink()
    assert Path("/dev/null").is_char_device()


def test_the_command_s_own_output_is_written_into(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from curveroute.agent.bench.destination import replacing\n"
        "print('before', flush=True)\n"
        "with replacing(Path('out.csv')) as fresh: fresh.write_text('table\\n')\n"
        "print('after')"
    )
    out = tmp_path / "out.csv"
    with out.open("w") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, cwd=tmp_path, check=True)
    assert out.read_text() == "before\ntable\nafter\n"
    out.unlink()
    out.symlink_to("/dev/stdout")
    ran = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=tmp_path, check=True)
    assert ran.stdout == b"before\ntable\nafter\n"
    assert out.is_symlink()


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / "file" / "table.csv", tmp_path / "file" / "deeper" / "table.parquet"):
        for refuse in (check_writable, lambda where: write_table(where, [a_row()])):
            with pytest.raises(TableError, match="cannot write"):
                refuse(path)
    with pytest.raises(TableError, match="it is a folder"):
        check_writable(tmp_path / "folder.csv")
    check_writable(tmp_path / "new" / "table.csv")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_no_tables(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    with pytest.raises(TableError, match="no table at"):
        read_table(path)
    path.write_bytes(b"\xff\xfe\x00 not a table")
    with pytest.raises(TableError, match=f"table.{suffix} is not"):
        read_table(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(TableError, match="no table at"):
        read_table(path)


def test_other_values_than_texts_are_their_texts(tmp_path: Path) -> None:
    path = records(tmp_path / "table.jsonl", [{"answer": 42, "query_id": 7, "reference": 4.5, "response": True}])
    assert read_table(path) == [a_row(answer="42", query_id="7", reference="4.5", response="True")]


def test_a_line_that_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text(f"{json.dumps(asdict(a_row()))}\n\n[1]\n")
    with pytest.raises(TableError, match=r"table\.jsonl, line 3: not a JSON object"):
        read_table(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_without_rows(tmp_path: Path, suffix: str) -> None:
    write_table(tmp_path / f"table.{suffix}", [])
    with pytest.raises(TableError, match="has no rows; collect some first"):
        read_table(tmp_path / f"table.{suffix}")


@pytest.mark.parametrize("name", ["table", "table.xlsx", "table.PARQUET", "parquet"])
def test_the_suffix_says_the_format(tmp_path: Path, name: str) -> None:
    for refuse in (read_table, check_writable):
        with pytest.raises(TableError, match=r"a curve table ends in \.parquet, \.csv, \.jsonl"):
            refuse(tmp_path / name)


def test_parquet_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r'pip install "curveroute\[bench\]"'):
        check_writable(tmp_path / "table.parquet")
    check_writable(tmp_path / "table.csv")


def test_a_record_of_the_ledger_becomes_a_row() -> None:
    record = asdict(a_row(finish_reason="stop")) | {"finish_reason": "content_filter", "budget": None}
    assert row_of(record) == a_row(budget=None)
    assert row_of(record | {"finish_reason": "length"}).finish_reason == "length"
    with pytest.raises(TableError, match="answer to 'q0', column quality: 2 is not between 0 and 1"):
        row_of(record | {"quality": 2})


def test_a_csv_row_with_more_fields_than_the_header_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table(path, [a_row(0), a_row(1)])
    path.write_text(path.read_text().rstrip() + ",more\n")
    with pytest.raises(TableError, match=r"table.csv, row 2: more fields than the header"):
        read_table(path)


def test_a_flipped_bit_in_a_parquet_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_table(path, [a_row(number, query=f"query {number * 7919}") for number in range(50)])
    whole = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    last = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 1
    path.write_bytes(whole[:last] + bytes([whole[last] ^ 1]) + whole[last + 1 :])
    with pytest.raises(TableError, match=r"table\.parquet is not a readable Parquet file"):
        read_table(path)


def test_a_parquet_file_without_checksums_or_with_odd_bytes(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    old = pa.Table.from_pylist([asdict(a_row())])
    pq.write_table(old, path)
    assert read_table(path) == [a_row()]
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"], pa.binary()).buffers())
    pq.write_table(old.set_column(old.schema.get_field_index("query"), "query", bad), path)
    with pytest.raises(TableError, match="not a readable Parquet file"):
        read_table(path)
