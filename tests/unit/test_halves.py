"""A table in two: every row once, queries of one text on one side, and the same draw whatever the format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.bench.columns import columns_of, read_columns, rows_of, write_columns, write_together
from curveroute.agent.bench.grid import groups_of
from curveroute.agent.bench.halves import halves
from curveroute.agent.bench.table import Row
from curveroute.agent.errors import TableError

ROW = Row("q", "?", "sums", "weak", 16, 0, 0.5, "4", "4", "stop", 10, 100, 1.1e-4)
TEXTS = st.lists(st.sampled_from(["one", " One ", "two", "TWO", "three", "four  five", "four five"]), min_size=1)


def table(texts: list[str]) -> list[Row]:
    """Two models for each query; every query has an id of its own, however often its text comes."""
    return [
        replace(ROW, query_id=f"q{number}", query=text, model=model)
        for number, text in enumerate(texts)
        for model in ("weak", "strong")
    ]


@given(texts=TEXTS, share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_every_row_is_on_one_side_and_with_it_all_rows_of_its_text(texts: list[str], share: float, seed: int) -> None:
    rows = table(texts)
    different = int(groups_of(texts).max()) + 1
    if different == 1:
        with pytest.raises(TableError, match="1 different query"):
            halves(columns_of(rows), share, seed)
        return
    first, second = (rows_of(part) for part in halves(columns_of(rows), share, seed))
    assert sorted(map(repr, first + second)) == sorted(map(repr, rows))
    assert [row for row in rows if row in first] == first, "in their order"
    sides = [{" ".join(row.query.split()).casefold() for row in part} for part in (first, second)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) == min(max(round(different * share), 1), different - 1)


def test_a_seed_draws_the_same_and_another_one_other_queries() -> None:
    columns = columns_of(table([f"text {number}" for number in range(40)]))
    drawn = [halves(columns, 0.5, seed)[0].query_id.values for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@settings(deadline=None, max_examples=20)
@given(texts=st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=20), seed=st.integers(0, 20))
def test_the_draw_does_not_depend_on_the_format(texts: list[str], seed: int) -> None:
    pytest.importorskip("pyarrow")
    columns = columns_of(table([*texts, "i", "j"]))
    with TemporaryDirectory() as folder:
        found = []
        for suffix in ("parquet", "csv", "jsonl"):
            path = Path(folder) / f"t.{suffix}"
            write_columns(path, columns)
            found.append([rows_of(part) for part in halves(read_columns(path), 0.6, seed)])
    assert found[0] == found[1] == found[2]


def test_of_tables_that_are_written_together_none_is_there_before_all_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = columns_of(table(["a", "b"]))
    old = {tmp_path / name: name.encode() for name in ("a.csv", "b.jsonl")}
    for path, content in old.items():
        path.write_bytes(content)

    def fails(*_: object, **__: object) -> str:
        raise OSError("disk full")

    monkeypatch.setattr("curveroute.agent.bench.columns.json.dumps", fails)
    with pytest.raises(TableError, match="disk full"):
        write_together(dict.fromkeys(old, columns))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == old
    monkeypatch.undo()
    write_together(dict.fromkeys(old, columns))
    assert [len(read_columns(path)) for path in old] == [4, 4]
    assert np.isclose(read_columns(tmp_path / "a.csv").quality, 0.5).all()
