"""Recordings of other projects as curve tables. One registry; a source says by its content what it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.agent.bench.columns import read_columns
from curveroute.agent.bench.imports import hub, r2_bench, routerbench
from curveroute.agent.bench.imports.choice import EVERYTHING, Choice, chosen
from curveroute.agent.bench.imports.imported import Imported
from curveroute.agent.bench.imports.prices import Prices, read_prices
from curveroute.agent.bench.imports.truncation import expand
from curveroute.agent.bench.imports.wide import header_of, refuse_pickle
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.bench.imports.imported import Watch

TABLE = "table"


def _read_table(path: Path, _prices: Prices, _choice: Choice, _watch: Watch | None) -> Imported:
    refuse_pickle(path)
    return Imported(read_columns(path), TABLE)


_IMPORTERS: dict[str, Callable[[Path, Prices, Choice, Watch | None], Imported]] = {
    r2_bench.FORM: r2_bench.read_files,
    routerbench.FORM: routerbench.read_file,
    TABLE: _read_table,
}
FORMS = tuple(_IMPORTERS)


def form_of(source: str) -> str:
    """Which form a source has: by its header, or because it is a folder or a data set.

    Raises:
        TableError: not there, or not readable as any of them.
    """
    path = Path(source)
    if source.startswith(hub.PREFIX) or path.is_dir():
        return r2_bench.FORM
    if not path.exists():
        raise TableError(f"no table, folder or data set at {source}; give a path, or hf:OWNER/NAME")
    header = header_of(path)
    if routerbench.is_routerbench(header):
        return routerbench.FORM
    return r2_bench.FORM if r2_bench.is_r2_bench(header) else TABLE


def inputs_of(source: str) -> list[Path]:
    """The files on this machine that a source is read from.

    Raises:
        TableError: a folder that holds none.
    """
    path = Path(source.removeprefix(hub.PREFIX))
    if source.startswith(hub.PREFIX):
        return [file for file in path.rglob("*") if file.is_file()]
    return list(r2_bench.files_in(path).values()) if path.is_dir() else [path]


def import_table(
    source: str,
    *,
    form: str | None = None,
    prices: Prices | None = None,
    choice: Choice = EVERYTHING,
    watch: Watch | None = None,
) -> Imported:
    """Read a source of any form as a curve table.

    Args:
        source: a file, a folder, or ``hf:OWNER/NAME[/SUBSET]``.
        form: one of ``FORMS``, instead of what the content says.
        prices: USD per million tokens, for forms without costs.
        choice: the models and tasks to keep.
        watch: told of each model that is read.

    Raises:
        TableError: a faulty source, or a model without a price; the message names the remedy.
        MissingExtra: a part that reads it is not installed.
    """
    form = form or form_of(source)
    if form not in _IMPORTERS:
        raise TableError(f"unknown form {form!r}; forms: {', '.join(FORMS)}")
    if source.startswith(hub.PREFIX):
        found = hub.read_hub(source, prices or {}, choice, watch)
    else:
        found = _IMPORTERS[form](Path(source), prices or {}, choice, watch)
    models = () if form != TABLE else choice.models
    return Imported(chosen(found.columns, Choice(models, choice.tasks)), form, found.notes)


__all__ = [
    "EVERYTHING",
    "FORMS",
    "Choice",
    "Imported",
    "Prices",
    "expand",
    "form_of",
    "import_table",
    "inputs_of",
    "read_prices",
]
