"""``curveroute table split``: one table in two by queries, such as one to train on and one to calibrate with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.cli.outputs import declare_overwrite, refuse_taken
from curveroute.cli.tables import refuse_source, table_path

if TYPE_CHECKING:
    import argparse

    from curveroute.agent.bench.columns import Columns


def declare_split(parser: argparse.ArgumentParser) -> None:
    """Declare the action's options."""
    parser.add_argument("file", type=table_path, help="curve table (.parquet, .csv, .jsonl), or a shipped one's name")
    parser.add_argument("first", type=Path, help="curve table to write, with that share of the queries")
    parser.add_argument("second", type=Path, help="curve table to write, with the others")
    parser.add_argument("--share", type=float, default=0.7, help="of the queries, for the first table (default: 0.7)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    declare_overwrite(parser)
    parser.set_defaults(run=run_split)


def run_split(options: argparse.Namespace) -> int:
    """Read, draw the queries, write both tables whole or neither, and say how large they are."""
    from curveroute.agent.bench.columns import read_columns, write_together
    from curveroute.agent.bench.destination import is_stdout
    from curveroute.agent.bench.halves import halves
    from curveroute.agent.bench.table import check_writable
    from curveroute.cli.checks import at_least, open_share

    open_share("share", options.share)
    at_least("seed", options.seed, 0)
    outs = options.first, options.second
    _refuse_one_place(*outs)
    for out in outs:
        refuse_source(out, [options.file])
        refuse_taken(out, overwrite=options.overwrite)
        check_writable(out)
    parts = dict(zip(outs, halves(read_columns(options.file), options.share, options.seed), strict=True))
    write_together(parts)
    where = (
        sys.stderr if any(is_stdout(out) for out in outs) else sys.stdout
    )  # a table on standard output stays a table
    for out, part in parts.items():
        print(f"{out}: {_size(part)}", file=where)
    return 0


def _refuse_one_place(first: Path, second: Path) -> None:
    """Refuse to write two tables to one place, also through a link."""
    from curveroute.agent.errors import TableError

    if first.resolve() == second.resolve() or (first.exists() and second.exists() and first.samefile(second)):
        raise TableError(f"{first} and {second} are one place; choose two")


def _size(part: Columns) -> str:
    from curveroute.agent.plural import counted, queries

    return ", ".join(
        (counted(len(part), "row"), queries(len(part.query_id.values)), counted(len(part.model.values), "model"))
    )
