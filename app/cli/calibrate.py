"""``curveroute calibrate``: put a predictor's verdicts on the scale of new answers, and say what can be promised."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.cli.outputs import declare_overwrite
from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.evals.calibrate import Calibration, KindFit
    from curveroute.agent.predictor import Predictor
    from curveroute.agent.verify.conformal import Measured, Promise

_EPSILONS = (0.05, 0.1, 0.2)
_TRADEOFFS = (0.1, 0.3, 0.5)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("table", type=table_path, help="curve table of queries that the predictor was not trained on")
    add("--predictor", required=True, metavar="FOLDER", help="the fitted predictor: a folder, or a shipped one's name")
    add("--epsilon", type=float, nargs="+", default=_EPSILONS, help="errors to promise (default: 0.05 0.1 0.2)")
    add("--delta", type=float, default=0.1, help="the chance that a promise is broken (default: 0.1)")
    add("--tradeoff", type=float, nargs="+", default=_TRADEOFFS, help="where they shall hold (default: 0.1 0.3 0.5)")
    add("--embedder", default=None, help="openai:MODEL?dim=…&url=…&key_env=…, where the predictor's name is another")
    add("--out", type=Path, default=None, metavar="FOLDER", help="write here instead of into the predictor's folder")
    declare_overwrite(parser)
    add("--seed", type=int, default=0, help="of the parts of the table (default: 0)")
    add("--json", action="store_true", help="write what was found to standard output as JSON, and nothing else")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, embed, follow, fit, write, and say what was measured."""
    from curveroute.agent.evals.calibrate import calibrate_predictor
    from curveroute.agent.predictor import load_predictor, save_predictor

    _check(options)
    folder, out = _folders(options)
    predictor = load_predictor(folder)
    grid = _grid(predictor, options)
    calibrated, found = calibrate_predictor(
        predictor,
        grid,
        tradeoffs=sorted(set(options.tradeoff)),
        epsilons=options.epsilon,
        delta=options.delta,
        seed=options.seed,
    )
    save_predictor(calibrated, out)
    if options.json:
        print(json.dumps({**found.to_json(), "written_to": str(out)}, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        show(found, out)
    return 0


def _check(options: argparse.Namespace) -> None:
    from curveroute.agent.errors import SettingError
    from curveroute.cli.checks import at_least, share
    from curveroute.cli.outputs import refuse_taken_folder

    at_least("seed", options.seed, 0)
    if options.out is not None:
        refuse_taken_folder(options.out, overwrite=options.overwrite)
    for name, values in (("epsilon", options.epsilon), ("delta", [options.delta])):
        for value in values:
            if not 0 < value < 1:
                raise SettingError(f"--{name} is {value:g}; give a number between 0 and 1")
    for value in options.tradeoff:
        share("tradeoff", value)


def _folders(options: argparse.Namespace) -> tuple[Path, Path]:
    """Where the predictor is, and where it goes; a shipped one stays as it was shipped."""
    from importlib import resources

    from curveroute.agent.errors import SettingError

    folder = Path(options.predictor).expanduser()
    shipped = Path(str(resources.files("curveroute.pools") / "predictors" / options.predictor))
    if folder.exists() or not shipped.is_dir():
        return folder, options.out or folder
    if options.out is None:
        raise SettingError(f"the shipped predictor {options.predictor!r} is not overwritten; give --out, a folder")
    return shipped, options.out


def _grid(predictor: Predictor, options: argparse.Namespace) -> Grid:
    """The table as arrays, with embeddings; never the one that the predictor knows by heart."""
    import numpy as np

    from curveroute.agent.bench.columns import columns_hash, read_columns
    from curveroute.agent.bench.grid import grid_of
    from curveroute.agent.bench.meaning import heard
    from curveroute.agent.embed import embedder_by_name
    from curveroute.agent.embed.kept import kept_embeddings
    from curveroute.agent.errors import SettingError
    from curveroute.agent.settings import load_settings
    from curveroute.cli.bars import embedding

    columns = read_columns(options.table)
    if columns_hash(columns) == predictor.data_hash_:
        raise SettingError(
            f"the predictor was trained on {options.table.name}, and what it promised there would be about answers it "
            "has seen; give a table of other queries"
        )
    grid = grid_of(columns)
    embedder = embedder_by_name(options.embedder or predictor.embedder)
    predictor.check_embedder(embedder.name, embedder.dim)
    folder = load_settings().cache_dir / "embeddings"

    async def read() -> Grid:
        with embedding() as watch:
            vectors = await kept_embeddings(grid.texts, embedder, folder, watch)
            (whole,) = await heard(grid, embedder=embedder, folder=folder, watch=watch)
        return whole.embedded(np.asarray(vectors, dtype=np.float64))

    return asyncio.run(read())


def show(found: Calibration, out: Path) -> None:
    """Print what was fitted, promised and measured."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    fits = Table("kind", "queries", "line", "ECE", "after", "Brier", "after", box=SIMPLE_HEAD, pad_edge=False)
    for one in found.fits:
        fits.add_row(*_fit_row(one))
    columns = ("tradeoff", "promised", "threshold", "accepted", "wrong", "95 % interval")
    kept = Table(*(Column(name, no_wrap=True) for name in columns), box=SIMPLE_HEAD, pad_edge=False)
    for promise in found.calibrator.promises:
        if promise.measured is not None:
            kept.add_row(*_row(promise, promise.measured))
    fits.title, kept.title = (
        "probabilities, on queries that the lines had not seen",
        "promises, measured on new queries",
    )
    console = Console()
    console.print(fits)
    _tell_worse(found.fits)
    if kept.row_count:
        console.print(kept)
    for promise in found.calibrator.promises:
        if promise.threshold is None:
            print(f"at tradeoff {promise.tradeoff:g}, {promise.epsilon:g} cannot be promised: {promise.why}")
    fitted, tested, measured = found.parts
    print(
        f"fitted on {fitted} queries, thresholds tested on {tested} others at level "
        f"{found.calibrator.promises[0].delta:g}, measured on {measured} more; written to {out}"
    )


def _fit_row(one: KindFit) -> list[str]:
    moved = (one.slope, one.intercept) != (1.0, 0.0)
    line = "" if one.kind == "all" else f"{one.slope:.2f}·x {one.intercept:+.2f}" if moved else "as it is"
    errors = (one.ece_before, one.ece_after, one.brier_before, one.brier_after)
    figures = [f"{value:.3f}" for value in errors] if _is_told(one) else ["too few"]
    return [one.kind, str(one.queries), line, *figures]


def _tell_worse(fits: Sequence[KindFit]) -> None:
    worse = [one.kind for one in fits if _is_told(one) and one.ece_after > one.ece_before]
    if worse:
        why = "a line is kept where it lowers the Brier score of queries that it had not seen"
        print(f"the ECE of {', '.join(worse)} is higher after than before: {why}")


def _is_told(one: KindFit) -> bool:
    """Whether there are queries enough for errors that mean something."""
    from curveroute.agent.evals.calibrate import FEWEST_QUERIES

    return one.queries >= FEWEST_QUERIES


def _row(promise: Promise, one: Measured) -> list[str]:
    return [
        f"{promise.tradeoff:g}",
        f"≤ {promise.epsilon:g}",
        f"{promise.threshold:.3f}",
        f"{one.share:.0%} of {one.queries}",
        "-" if one.error is None else f"{one.error:.3f}",
        f"{one.low:.3f} – {one.high:.3f}",
    ]
