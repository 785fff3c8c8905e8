"""``curveroute evaluate``: compare routers on recorded answers, with every number's uncertainty beside it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shlex
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from curveroute.agent.evals.evaluate import Plan
    from curveroute.agent.evals.subject import Subject
    from curveroute.agent.types import JsonObject

_MOST_SEEDS = 1000
_MOST_WORKERS = 256
_STANDARD_OUTPUT = Path("-")
_SHARES = ("0.1", "0.2", "0.35", "0.5", "1.0")


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("tables", nargs="*", type=table_path, metavar="table", help="curve tables, or shipped ones by name, one by one")
    add("--train", type=table_path, metavar="TABLE", help="with --test: a fixed split instead of random ones")
    add("--test", type=table_path, metavar="TABLE", help="with --train: the queries to test on")
    add("--seeds", type=int, default=None, help="how many splits (default: 5); of a fixed one, runs (default: 1)")
    add("--test-fraction", type=float, default=0.3, metavar="SHARE", help="of the queries (default: 0.3)")
    add("--policies", default="all", metavar="NAMES", help="a,b,…; all: all that can run here (default: all)")
    add("--models", default="", metavar="NAMES", help="only these models a,b,…; or all but -a,-b,…")
    add("--tasks", default="", metavar="NAMES", help="only queries of these tasks a,b,…; or of all but -a,-b,…")
    add("--embedder", default=None, help="openai:MODEL?dim=…&url=…&key_env=…, instead of the default")
    add("--workers", type=int, default=None, help="processes at once (default: the cores, up to 3)")
    add("--json", default=None, metavar="FILE", help="write everything as JSON; - writes it to standard output, alone")
    add("--report", default=None, metavar="DIR", help="write DIR/index.html")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, embed, replay, measure, and say what came out."""
    from curveroute.agent.evals.evaluate import check, chosen
    from curveroute.agent.evals.policies import NAMED

    plan = _plan(options)
    if plan.policies is not None:
        chosen(plan.policies, tuple(NAMED))
    options.tables = _each_once(options.tables)
    targets = _targets(options)
    _check_places(targets, options)
    subjects = list(_subjects(options))
    for subject in subjects:
        check(subject, plan)
    results = [_evaluated(subject, plan, options) for subject in subjects]
    _write(results, targets)
    if targets.get("json") != _STANDARD_OUTPUT:
        _show(results)
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    from curveroute.agent.errors import SettingError
    from curveroute.agent.evals.evaluate import Plan
    from curveroute.cli.checks import at_least, at_most

    if options.seeds is not None:
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


def _targets(options: argparse.Namespace) -> dict[str, Path]:
    """What is written, by the option that asks for it; ``-`` is standard output, by whatever name."""
    from curveroute.agent.errors import SettingError

    for name, what in (("json", "a file, or - for standard output"), ("report", "a folder")):
        if getattr(options, name) == "":
            raise SettingError(f"--{name} is empty; give {what}")
    targets: dict[str, Path] = {}
    if options.json is not None:
        given = Path(options.json)
        targets["json"] = _STANDARD_OUTPUT if _is_standard_output(given) else given
    if options.report is not None:
        targets["report"] = Path(options.report) / "index.html"
    return targets


def _check_places(targets: Mapping[str, Path], options: argparse.Namespace) -> None:
    """Refuse what could not be written, or must not be, before minutes are spent on it."""
    from curveroute.agent.errors import SettingError

    folder, json_path = None if options.report is None else Path(options.report), targets.get("json")
    with _writing(folder or json_path):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise SettingError(f"--report {folder} is a file; give a folder")
    with _writing(json_path):
        if json_path is not None and json_path.is_dir():
            raise SettingError(f"--json {json_path} is a folder; give a file, or -")
    files = {name: path for name, path in targets.items() if path != _STANDARD_OUTPUT}
    for name, path in files.items():
        with _writing(path):
            _check_not_read(name, path, [*options.tables, *filter(None, (options.train, options.test))])
            _check_writable(path)
    if len(files) > 1 and _same(*files.values()):
        raise SettingError(f"--json {json_path} is the report's page; give another file")


def _check_not_read(name: str, path: Path, tables: Sequence[Path]) -> None:
    from curveroute.agent.errors import SettingError

    for table in tables:
        if _same(path, table):
            raise SettingError(f"--{name} would write {path}, which is the table {table.name}; choose another path")


def _check_writable(path: Path) -> None:
    """Make what writing will make beside the target, in the nearest folder that is there, and take it away again."""
    if _is_special(path) or path.exists():
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if _is_special(path):
            return
    part = _part(path.resolve())
    folder = next(one for one in part.parents if os.path.lexists(one))
    trial = folder / part.name
    try:
        trial.touch()
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def _same(one: Path, other: Path) -> bool:
    """Whether both are one file, through whatever links."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def _is_special(path: Path) -> bool:
    """A pipe, a terminal, a device: there, and no regular file."""
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)


def _is_standard_output(path: Path) -> bool:
    with suppress(OSError):
        return path == _STANDARD_OUTPUT or os.path.samestat(path.stat(), os.fstat(1))
    return False


@contextmanager
def _writing(path: Path | None) -> Iterator[None]:
    """What the system says of a path, in words of ours."""
    from curveroute.agent.errors import SettingError

    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError in older Pythons
        said = getattr(error, "strerror", None) or error
        raise SettingError(f"cannot write {path}: {said}; free space or choose another path") from error


def _each_once(tables: Sequence[Path]) -> list[Path]:
    """The tables; one that is given again, under whatever path, is not evaluated again."""
    found: list[Path] = []
    for table in tables:
        if any(_is_same_file(table, one) for one in found):
            print(f"note: {_named(table)}: the same table is given twice; it is evaluated once", file=sys.stderr)
        else:
            found.append(table)
    return found


def _is_same_file(one: Path, other: Path) -> bool:
    """Of what is there; what is not, or cannot be, is refused where it is read."""
    with suppress(OSError, ValueError):
        return one.samefile(other)
    return False


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
    words = ["curveroute", "evaluate", *(_named(one) if isinstance(one, Path) else str(one) for one in tables)]
    names = ("models", "tasks", "policies", "seeds", "embedder")
    words += [f"--{name}={value}" for name in names if (value := getattr(options, name))]
    return shlex.join([*words, *([] if options.train else [f"--test-fraction={options.test_fraction:g}"])])


def _named(table: Path) -> str:
    """A file's name, and a shipped table's own."""
    return table.stem if table_path(table.stem) == table else table.name


def _write(results: Sequence[JsonObject], targets: Mapping[str, Path]) -> None:
    from curveroute.agent.evals.report import report_page

    found = results[0] if len(results) == 1 else list(results)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    for name, path in targets.items():
        with _writing(path):
            if path == _STANDARD_OUTPUT:
                print(text)
            else:
                _put(path, report_page(results) if name == "report" else f"{text}\n")


def _put(path: Path, text: str) -> None:
    """Whole or not at all; what is no regular file is written to, and a link stays one."""
    if _is_special(path):
        with path.open("w", encoding="utf-8", errors="backslashreplace") as out:
            out.write(text)
        return
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = _part(target)
    try:
        fresh.write_text(text, encoding="utf-8", errors="backslashreplace")
        fresh.replace(target)
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _show(results: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from curveroute.agent.evals.sentences import JOINED, verdicts

    console = Console(highlight=False)
    for one in results:
        best, table = one["best_single"], _table(one)
        if not console.is_terminal:  # a file is as wide as it must be
            console.width = max(console.width, console.measure(table).maximum)
        console.print(table)
        console.print(
            f"g@: gain at that share of c*; honest: gain@cost/c* at the point chosen on training queries\n"
            f"{JOINED}\n"
            f"best single (q*, c*): {escape(best['model'])}, quality {best['quality']:.3f}, "
            f"{best['cost_usd']:.2e} USD a query; {_over(one['seeds'])}",
            soft_wrap=True,
        )
        for line in verdicts(one["paired"]):
            console.print(escape(line), soft_wrap=True)


def _over(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"means of {seeds} seeds, spread in --json and --report"


def _table(one: dict[str, Any]) -> Any:  # noqa: ANN401  (rich is imported where it is needed)
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Column, Table

    from curveroute.agent.evals.sentences import asked

    gains = [f"g@{share.removesuffix('.0').removeprefix('0')}" for share in _SHARES]
    heads = ["AUDC\nenv", *gains, "QNC", "peak", "honest"]
    columns = (Column(head, justify="right", no_wrap=True) for head in heads)
    table = Table(Column("policy", no_wrap=True), *columns, box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.title = escape(f"{one['table']}: {asked(one)}")
    for name, policy in one["policies"].items():
        table.add_row(escape(name), *_cells(policy, one["seeds"]))
    return table


def _cells(policy: dict[str, Any], seeds: int) -> list[str]:
    reached, point = policy["qnc_ratio"], policy["honest_point"]
    gains = [_figure(policy["gain_at_cost"][share]["mean"], "+.3f") for share in _SHARES]
    where = _figure(point["cost_ratio"]["mean"], ".2f")
    return [
        _figure(policy["audc_envelope"]["mean"], ".3f"),
        *gains,
        _neutral(reached, seeds),
        _figure(policy["peak"]["mean"], ".3f"),
        f"{_figure(point['quality_gain']['mean'], '+.3f')}@{where}",
    ]


def _neutral(reached: dict[str, Any], seeds: int) -> str:
    if reached["reached"] is None:
        return "-"
    return f"{_figure(reached['mean_reached'], '.2f')} {reached['reached']}/{seeds}" if reached["reached"] else "never"


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else re.sub(r"^([+-]?)0\.", r"\1.", format(value, form))
