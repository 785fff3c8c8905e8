"""``curveroute evaluate``: compare routers on recorded answers, with every number's uncertainty beside it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from curveroute.agent.evals.evaluate import Plan
    from curveroute.agent.evals.subject import Subject
    from curveroute.agent.types import JsonObject

_MOST_SEEDS = 1000
_MOST_WORKERS = 256
_SHARES = ("0.1", "0.2", "0.35", "0.5", "1.0")


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("tables", nargs="*", type=table_path, metavar="table", help="curve tables, or shipped ones by name, one by one")
    add("--train", type=table_path, metavar="TABLE", help="with --test: a fixed split instead of random ones")
    add("--test", type=table_path, metavar="TABLE", help="with --train: the queries to test on")
    add("--seeds", type=int, default=5, help="how many splits (default: 5)")
    add("--test-fraction", type=float, default=0.3, metavar="SHARE", help="of the queries (default: 0.3)")
    add("--policies", default="all", metavar="NAMES", help="a,b,… or all that can run here (default: all)")
    add("--models", default="", metavar="NAMES", help="only these models a,b,…; or all but -a,-b,…")
    add("--tasks", default="", metavar="NAMES", help="only queries of these tasks a,b,…; or of all but -a,-b,…")
    add("--embedder", default=None, help="openai:MODEL?dim=…&url=…&key_env=…, instead of the default")
    add("--workers", type=int, default=None, help="processes at once (default: the cores, up to 3)")
    add("--json", default=None, metavar="FILE", help="write everything as JSON; - writes it to standard output, alone")
    add("--report", type=Path, default=None, metavar="DIR", help="write DIR/index.html")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, embed, replay, measure, and say what came out."""
    from curveroute.agent.evals.evaluate import chosen
    from curveroute.agent.evals.policies import NAMED

    plan = _plan(options)
    if plan.policies is not None:
        chosen(plan.policies, tuple(NAMED))
    _check_places(options)
    results = [_evaluated(subject, plan, options) for subject in _subjects(options)]
    _write(results, options)
    if options.json != "-":
        _show(results)
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    from curveroute.agent.errors import SettingError
    from curveroute.agent.evals.evaluate import Plan
    from curveroute.cli.checks import at_least, at_most

    at_least("seeds", options.seeds, 1)
    at_most("seeds", options.seeds, _MOST_SEEDS)
    if options.workers is not None:
        at_least("workers", options.workers, 1)
        at_most("workers", options.workers, _MOST_WORKERS)
    if not 0 < options.test_fraction < 1:
        raise SettingError(f"--test-fraction is {options.test_fraction:g}; give a number between 0 and 1")
    if (options.train is None) != (options.test is None):
        raise SettingError("--train and --test go together; give both, or neither")
    if bool(options.tables) == (options.train is not None):
        raise SettingError("give tables to split, or --train and --test, and not both")
    names = None if options.policies == "all" else tuple(_words(options.policies))
    if names == ():
        raise SettingError("--policies names none; give a,b,… or all")
    return Plan(names, options.seeds, options.test_fraction, options.workers)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _check_places(options: argparse.Namespace) -> None:
    """Refuse what could not be written before minutes are spent on it."""
    from curveroute.agent.errors import SettingError

    if options.report is not None and options.report.exists() and not options.report.is_dir():
        raise SettingError(f"--report {options.report} is a file; give a folder")
    if options.json not in {None, "-"} and Path(options.json).is_dir():
        raise SettingError(f"--json {options.json} is a folder; give a file, or -")


def _subjects(options: argparse.Namespace) -> Iterator[Subject]:
    from curveroute.agent.evals.subject import read_pair, read_subject

    only = _words(options.models), _words(options.tasks)
    if options.train is not None:
        yield read_pair(options.train, options.test, *only)
    for table in options.tables:
        yield read_subject(table, *only)


def _evaluated(subject: Subject, plan: Plan, options: argparse.Namespace) -> JsonObject:
    from curveroute.agent.embed import embedder_by_name, use_embedder
    from curveroute.agent.evals.evaluate import evaluate
    from curveroute.agent.evals.subject import embedded
    from curveroute.agent.settings import load_settings
    from curveroute.cli.bars import embedding, evaluating

    embedder = use_embedder() if options.embedder is None else embedder_by_name(options.embedder)
    folder = load_settings().cache_dir / "embeddings"
    with embedding() as watch:
        subject = asyncio.run(embedded(subject, embedder, folder, watch))
    made_with: JsonObject = {"command": _command(options), "embedder": embedder.name}
    with evaluating(subject.name) as progress:
        result: dict[str, Any] = evaluate(subject, plan, made_with=made_with, watch=progress)
    for note in result["notes"]:
        print(f"note: {subject.name}: {note}", file=sys.stderr)
    return result


def _command(options: argparse.Namespace) -> str:
    """The command that makes this result again, without the folders of this machine."""
    tables = [*options.tables, *(("--train", options.train, "--test", options.test) if options.train else ())]
    words = ["curveroute", "evaluate", *(one.name if isinstance(one, Path) else str(one) for one in tables)]
    given = {"models": options.models, "tasks": options.tasks, "policies": options.policies, "seeds": options.seeds}
    words += [f"--{name}={value}" for name, value in given.items() if value]
    return " ".join([*words, *([] if options.train else [f"--test-fraction={options.test_fraction:g}"])])


def _write(results: Sequence[JsonObject], options: argparse.Namespace) -> None:
    from curveroute.agent.errors import SettingError
    from curveroute.agent.evals.report import report_page

    found = results[0] if len(results) == 1 else list(results)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        if options.json == "-":
            print(text)
        elif options.json is not None:
            _replace(Path(options.json), f"{text}\n")
        if options.report is not None:
            _replace(options.report / "index.html", report_page(results))
    except BrokenPipeError:
        raise
    except OSError as error:
        where = error.filename or options.json or options.report
        raise SettingError(
            f"cannot write {where}: {error.strerror or error}; free space or choose another path"
        ) from error


def _replace(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fresh.write_text(text, encoding="utf-8", errors="backslashreplace")
        fresh.replace(path)
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def _show(results: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from curveroute.agent.evals.sentences import verdicts

    console = Console(highlight=False)
    for one in results:
        best, table = one["best_single"], _table(one)
        if not console.is_terminal:  # a file is as wide as it must be
            console.width = max(console.width, console.measure(table).maximum)
        console.print(table)
        console.print(
            f"g@: gain at that share of c*; honest: gain@cost/c* at the point chosen on training queries\n"
            f"best single (q*, c*): {escape(best['model'])}, quality {best['quality']:.3f}, "
            f"{best['cost_usd']:.2e} USD a query; means of {one['seeds']} seeds, spread in --json and --report",
            soft_wrap=True,
        )
        for line in verdicts(one["paired"]):
            console.print(escape(line), soft_wrap=True)


def _table(one: dict[str, Any]) -> Any:  # noqa: ANN401  (rich is imported where it is needed)
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Column, Table

    gains = [f"g@{share.removesuffix('.0').removeprefix('0')}" for share in _SHARES]
    heads = ["AUDC\nenv", *gains, "QNC", "peak", "honest"]
    columns = (Column(head, justify="right", no_wrap=True) for head in heads)
    table = Table(Column("policy", no_wrap=True), *columns, box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.title = escape(f"{one['table']}: {one['queries']} queries, {one['arms']} arms")
    for name, policy in one["policies"].items():
        table.add_row(escape(name), *_cells(policy, one["seeds"]))
    return table


def _cells(policy: dict[str, Any], seeds: int) -> list[str]:
    reached, point = policy["qnc_ratio"], policy["honest_point"]
    gains = [_figure(policy["gain_at_cost"][share]["mean"], "+.3f") for share in _SHARES]
    neutral = _figure(reached["mean_reached"], ".2f")
    where = _figure(point["cost_ratio"]["mean"], ".2f")
    return [
        _figure(policy["audc_envelope"]["mean"], ".3f"),
        *gains,
        f"{neutral} {reached['reached']}/{seeds}" if reached["reached"] else "never",
        _figure(policy["peak"]["mean"], ".3f"),
        f"{_figure(point['quality_gain']['mean'], '+.3f')}@{where}",
    ]


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else re.sub(r"^([+-]?)0\.", r"\1.", format(value, form))
