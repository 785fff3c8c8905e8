"""Data sets of the Hugging Face hub that have R2-Bench's columns, through the ``datasets`` library.

The source is ``hf:OWNER/NAME`` or ``hf:OWNER/NAME/SUBSET``; a folder on this machine may stand for OWNER/NAME. Models
are told apart by a column ``model``, else by the subsets' names, else by the splits' names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.agent.bench.imports import r2_bench
from curveroute.agent.bench.imports.choice import EVERYTHING, Choice
from curveroute.agent.bench.imports.wide import as_wide
from curveroute.agent.bench.table import pyarrow
from curveroute.agent.errors import MissingExtra, TableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from pyarrow import Table

    from curveroute.agent.bench.imports.imported import Imported, Watch
    from curveroute.agent.bench.imports.prices import Prices
    from curveroute.agent.bench.imports.r2_bench import Reader

PREFIX = "hf:"
_PATIENCE_S = 10.0
_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<subset>[\w.-]+))?")
_ORDINARY = {"train", "test", "validation", "default", "all"}
_MODEL_COLUMNS = ("model", "model_name")


def read_hub(source: str, prices: Prices, choice: Choice = EVERYTHING, watch: Watch | None = None) -> Imported:
    """Import a data set.

    Raises:
        TableError: a name of another form, a hub that does not answer within ten seconds, or a data set without the
            columns of R2-Bench.
        MissingExtra: no ``datasets``.
    """
    name, subset = _split(source.removeprefix(PREFIX))
    datasets = _library()
    try:
        if not Path(name).is_dir():
            _knock(name)
        found = dict(_tables(datasets, name, subset))
    except Exception as error:  # its transport has errors of its own, and others with every version
        raise TableError(f"cannot load {PREFIX}{name}: {_one_line(error)}; {_REMEDY}") from error
    wide = {model: table for model, table in found.items() if r2_bench.is_r2_bench(table.column_names)}
    if not wide:
        raise TableError(f"{PREFIX}{name} has no columns like 100_score and 100_count; {_REMEDY}")
    return r2_bench.read_tables(
        {model: (table.column_names, _reader(table)) for model, table in wide.items()}, prices, choice, watch
    )


_REMEDY = "check the name and the network, or download its CSV files and give their folder"


def _split(name: str) -> tuple[str, str | None]:
    if Path(name).is_dir():
        return name, None
    match = _NAME.fullmatch(name)
    if match is None:
        raise TableError(f"{PREFIX}{name} is not the name of a data set; write hf:OWNER/NAME or hf:OWNER/NAME/SUBSET")
    return match["name"], match["subset"]


def _library() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("reading data sets of the Hugging Face hub", "hub") from error
    datasets.disable_progress_bars()
    return datasets  # type: ignore[no-any-return]


def _knock(name: str) -> None:
    """Ask for the data set once, so that a hub out of reach is told in seconds, not after the library's retries."""
    from huggingface_hub import HfApi, constants

    if not constants.HF_HUB_OFFLINE:
        HfApi().dataset_info(name, timeout=_PATIENCE_S)


def _tables(datasets: ModuleType, name: str, subset: str | None) -> Iterator[tuple[str, Table]]:
    """Tables by their models' names."""
    subsets = [subset] if subset else datasets.get_dataset_config_names(name)
    for one in subsets:
        splits = datasets.load_dataset(name, one)
        for split, data in splits.items():
            table = data.data.table.combine_chunks()
            column = next((column for column in _MODEL_COLUMNS if column in table.column_names), None)
            if column is not None:
                yield from _by_model(table, column)
            else:
                yield _model(name, one, split), table


def _model(name: str, subset: str, split: str) -> str:
    return next((one for one in (subset, split) if one not in _ORDINARY), Path(name).name)


def _by_model(table: Table, column: str) -> Iterator[tuple[str, Table]]:
    from pyarrow import compute

    for model in compute.unique(table.column(column)).to_pylist():
        yield str(model), table.filter(compute.equal(table.column(column), model))


def _reader(table: Table) -> Reader:
    def read(texts: Sequence[str], numbers: Sequence[str]) -> Table:
        pa = pyarrow()
        types = [(name, pa.string()) for name in texts] + [(name, pa.float64()) for name in numbers]
        try:
            return as_wide(table, pa.schema(types))
        except pa.ArrowException as error:
            raise TableError(f"a column of the data set is not of R2-Bench's type: {_one_line(error)}") from error

    return read


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
