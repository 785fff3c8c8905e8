"""``curveroute table``: show, check, convert and split curve tables."""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.cli.outputs import declare_overwrite, refuse_taken
from curveroute.cli.table_split import declare_split
from curveroute.cli.tables import refuse_source, table_path
from curveroute.cli.terminal import harmless

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from curveroute.agent.bench.faults import Findings
    from curveroute.agent.bench.imports import Imported
    from curveroute.agent.bench.summary import Summary

_FORMS = ("r2-bench", "routerbench", "table")
_MOST_SHOWN = 1_000_000
_FAULTY = 2


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    info = actions.add_parser("info", help="show a table's models, budgets and means", allow_abbrev=False)
    info.add_argument("file", type=table_path, help="curve table (.parquet, .csv, .jsonl), or a shipped one's name")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=run_info)
    check = actions.add_parser(
        "check", help="list every fault of a table; exits 2 when there is one", allow_abbrev=False
    )
    check.add_argument("file", type=table_path, help="curve table (.parquet, .csv, .jsonl), or a shipped one's name")
    check.add_argument("--limit", type=int, default=20, help="faults to list (default: 20)")
    check.add_argument("--json", action="store_true", help="as JSON")
    check.set_defaults(run=run_check)
    convert = actions.add_parser("convert", help="make a curve table of another project's files", allow_abbrev=False)
    _declare_convert(convert)
    split = actions.add_parser("split", help="make two tables of one, by queries", allow_abbrev=False)
    declare_split(split)
    for action in (info, check, convert, split):  # as after any other command
        action.add_argument("--debug", action="store_true", default=SUPPRESS, help="show the traceback of an error")


def _declare_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a file, a folder with one CSV for each model, or hf:OWNER/NAME[/SUBSET]")
    parser.add_argument("out", type=Path, help="curve table to write (.parquet, .csv, .jsonl)")
    parser.add_argument("--from", dest="form", choices=_FORMS, help="what the source is (default: seen by its content)")
    parser.add_argument("--budgets", help="cut full answers after so many tokens, too: 32,64,128")
    prices = parser.add_mutually_exclusive_group()
    prices.add_argument("--pool", help="pool whose prices turn tokens into costs")
    prices.add_argument("--prices", type=Path, help='JSON file: {"MODEL": {"input": USD, "output": USD}} per million')
    parser.add_argument("--models", default="", help="only these: a,b; or all but these: --models=-a,-b")
    parser.add_argument("--tasks", default="", help="only these: t,u; or all but these: --tasks=-t,-u")
    declare_overwrite(parser)
    parser.set_defaults(run=run_convert)


def run_info(options: argparse.Namespace) -> int:
    """Read the table and show what is in it."""
    from curveroute.agent.bench.columns import read_columns
    from curveroute.agent.bench.summary import summarize

    summary = summarize(read_columns(options.file))
    if options.json:
        _print_json(_summary_document(summary))
    else:
        _show(options.file.name, summary)
    return 0


def run_check(options: argparse.Namespace) -> int:
    """List the faults, and what is worth knowing of a sound table."""
    from curveroute.agent.bench.cells import read_cells
    from curveroute.agent.bench.columns import columns_in
    from curveroute.agent.bench.faults import findings
    from curveroute.agent.bench.summary import notes_on
    from curveroute.cli.checks import at_least, at_most

    at_least("limit", options.limit, 0)
    at_most("limit", options.limit, _MOST_SHOWN)
    cells = read_cells(options.file)
    found = findings(cells)
    notes = [] if found.count else list(notes_on(columns_in(found), cells.extra))
    if options.json:
        _print_json(_check_document(found, options.limit, notes))
    else:
        _list(cells.source, found, options.limit, notes)
    return _FAULTY if found.count else 0


def _source(word: str) -> str:
    """A file, a folder or a hub's name as it was given; a bare name may be that of a shipped table."""
    return word if word.startswith("hf:") else str(table_path(word))


def run_convert(options: argparse.Namespace) -> int:
    """Read the source, keep what was asked for, write the table whole or not at all, and say what was done."""
    from dataclasses import replace

    from curveroute.agent.bench.columns import refuse_unsound, write_columns
    from curveroute.agent.bench.imports import Choice, expand, import_table, inputs_of
    from curveroute.agent.bench.table import check_writable
    from curveroute.cli.bars import importing

    budgets, prices = _budgets(options.budgets), _prices(options)
    choice = Choice(_names("models", options.models), _names("tasks", options.tasks))
    source = _source(options.source)
    refuse_source(options.out, inputs_of(source))
    refuse_taken(options.out, overwrite=options.overwrite)
    check_writable(options.out)
    with importing() as watch:
        found = import_table(source, form=options.form, prices=prices, choice=choice, watch=watch)
        if budgets:
            found = replace(found, columns=expand(found.columns, budgets, prices))
        refuse_unsound(options.source, found.columns)
        write_columns(options.out, found.columns)
    _say(found, options.out)
    return 0


def _names(option: str, text: str) -> tuple[str, ...]:
    from curveroute.agent.errors import SettingError

    names = tuple(name.strip() for name in text.split(",")) if text else ()
    if "" in names or "-" in names:
        raise SettingError(f"--{option} is {text!r}; give names with commas between them, such as a,b")
    return names


def _budgets(text: str | None) -> list[int]:
    from curveroute.agent.errors import SettingError

    if text is None:
        return []
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and word.isascii() and int(word) > 0 for word in words):
        raise SettingError(f"--budgets is {text!r}; give whole numbers of output tokens from 1, such as 32,64,128")
    return [int(word) for word in words]


def _prices(options: argparse.Namespace) -> Mapping[str, tuple[float, float]]:
    from curveroute.agent.bench.imports import read_prices
    from curveroute.agent.pool import load_pool

    if options.prices is not None:
        return read_prices(options.prices)
    if options.pool is None:
        return {}
    pool = load_pool(options.pool)
    return {str(model): pool.prices(model)[:2] for model in pool.models}


def _say(found: Imported, out: Path) -> None:
    from curveroute.agent.bench.destination import is_stdout
    from curveroute.agent.plural import counted, queries

    columns = found.columns
    where = sys.stderr if is_stdout(out) else sys.stdout  # a table on standard output stays a table
    print(
        f"{found.form}: {counted(len(columns), 'row')}, {queries(len(columns.query_id.values))}, "
        f"{counted(len(columns.model.values), 'model')}; written to {out}",
        file=where,
    )
    for note in found.notes:
        print(harmless(f"note: {note}"), file=sys.stderr)


def _list(source: str, found: Findings, limit: int, notes: list[str]) -> None:
    shown = list(found.faults(limit))
    for fault in shown:
        print(harmless(" ".join(str(fault).splitlines())))
    if found.count > limit:
        print(f"and {found.count - limit:,} more; --limit {found.count} lists them")
    if any(fault.row is not None for fault in shown):
        print("rows are counted from 1, without the header")
    for note in notes:
        print(harmless(f"note: {note}"))
    from curveroute.agent.plural import counted

    print(f"{source}: {counted(found.rows, 'row')}, {f'{found.count:,} fault(s)' if found.count else 'sound'}")


def _check_document(found: Findings, limit: int, notes: list[str]) -> dict[str, object]:
    shown = [{"row": one.row, "column": one.column, "why": one.why} for one in found.faults(limit)]
    return {"rows": found.rows, "sound": not found.count, "faults": found.count, "shown": shown, "notes": notes}


def _summary_document(summary: Summary) -> dict[str, object]:
    arms = [
        {
            "model": one.arm.model,
            "budget": one.arm.budget,
            "rows": one.rows,
            "queries": one.queries,
            "quality": one.quality,
            "output_tokens": one.output_tokens,
            "cost_usd": one.cost_usd,
        }
        for one in summary.arms
    ]
    return {
        "rows": summary.rows,
        "queries": summary.queries,
        "samples": summary.samples,
        "tasks": list(summary.tasks),
        "models": list(summary.models),
        "arms": arms,
        "data_hash": summary.data_hash,
    }


def _print_json(document: dict[str, object]) -> None:
    import json

    print(json.dumps(document, indent=2))


def _show(source: str, summary: Summary) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    numbers = [
        Column(name, justify="right", no_wrap=True) for name in ("budget", "queries", "quality", "tokens", "USD")
    ]
    table = Table(
        Column("model", overflow="fold"), *numbers, box=SIMPLE_HEAD, title=escape(f"{source}: means over rows")
    )
    last = None
    for one in summary.arms:
        model, last = "" if one.arm.model == last else one.arm.model, one.arm.model
        budget = "unlimited" if one.arm.budget is None else str(one.arm.budget)
        means = f"{one.quality:.3f}", f"{one.output_tokens:.1f}", f"{one.cost_usd:.2e}"
        table.add_row(escape(harmless(model)), budget, f"{one.queries:,}", *means)
    Console().print(table)
    from curveroute.agent.plural import counted, queries

    tasks = f"{len(summary.tasks)} tasks" if len(summary.tasks) != 1 else f"task {harmless(summary.tasks[0])}"
    print(
        f"{counted(summary.rows, 'row')}: {queries(summary.queries)}, {tasks}, "
        f"{counted(len(summary.models), 'model')}, {counted(len(summary.arms), 'arm')}, "
        f"up to {counted(summary.samples, 'sample')} of each; hash {summary.data_hash[:16]}"
    )
