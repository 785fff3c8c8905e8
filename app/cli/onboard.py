"""``curveroute onboard``: add a model to a fitted predictor from few answers, and change nothing else in it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.cli.outputs import declare_overwrite
from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    import argparse

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.embed.seam import Embedder
    from curveroute.agent.predictor import Predictor


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("model", help="the model to add, as the table names it")
    add("--table", type=table_path, required=True, help="curve table with its answers, or a shipped one's name")
    add("--queries", type=int, default=None, metavar="N", help="use so many random queries (default: all)")
    add("--predictor", default=None, metavar="FOLDER", help="the fitted predictor: a folder, or a shipped one's name")
    add("--pool", default=None, help="take the predictor of this pool, where --predictor is not given")
    add("--out", type=Path, required=True, metavar="FOLDER", help="folder of the predictor with the model added")
    declare_overwrite(parser)
    add("--embedder", default=None, help="openai:MODEL?dim=…&url=…&key_env=…, where the predictor's name is another")
    add("--seed", type=int, default=0, help="seed of the random queries (default: 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, embed, add, write, and say what was learned."""
    from curveroute.agent.bench.columns import read_columns
    from curveroute.agent.bench.grid import grid_of, merged
    from curveroute.agent.embed import embedder_by_name
    from curveroute.agent.predictor import save_predictor
    from curveroute.agent.predictor.onboard import FEWEST_QUERIES, check_new, onboard
    from curveroute.cli.checks import at_least
    from curveroute.cli.outputs import refuse_taken_folder

    at_least("seed", options.seed, 0)
    refuse_taken_folder(options.out, overwrite=options.overwrite)
    if options.queries is not None:
        at_least("queries", options.queries, FEWEST_QUERIES)
    predictor = chosen_predictor(options)
    grid = merged(grid_of(read_columns(options.table)))
    new = _columns_of(grid, options.model, options.table)
    check_new(predictor, [grid.arms[column] for column in new])
    embedder = embedder_by_name(options.embedder or predictor.embedder)
    predictor.check_embedder(embedder.name, embedder.dim)
    drawn = _drawn(grid, new, options)
    answers = drawn.keep(new)
    enlarged = onboard(
        predictor,
        embedded(drawn.texts, embedder),
        answers.quality,
        answers.output_tokens,
        cost_usd=answers.cost_usd,
        arms=answers.arms,
        others=_others(drawn, predictor),
    )
    save_predictor(enlarged, options.out)
    _report(enlarged, options)
    return 0


def chosen_predictor(options: argparse.Namespace) -> Predictor:
    """The predictor that ``--predictor`` or ``--pool`` names: a folder, a shipped one, or what the pool names.

    Raises:
        SettingError: neither names one.
        PredictorError: it is missing or damaged.
    """
    from importlib import resources

    from curveroute.agent.errors import SettingError
    from curveroute.agent.pool import load_pool
    from curveroute.agent.predictor import load_predictor
    from curveroute.compose import find_predictor

    if options.predictor is not None:
        folder = Path(options.predictor).expanduser()
        shipped = Path(str(resources.files("curveroute.pools") / "predictors")) / options.predictor
        return load_predictor(shipped if not folder.exists() and shipped.is_dir() else folder)
    found = None if options.pool is None else find_predictor(load_pool(options.pool), None)
    if found is None:
        named = f"pool {options.pool!r} has no predictor" if options.pool else "no predictor is named"
        raise SettingError(f"{named}; give --predictor, the folder of a fitted one")
    return found


def _columns_of(grid: Grid, model: str, table: Path) -> Indices:
    import numpy as np

    from curveroute.agent.errors import TableError

    columns = np.flatnonzero([arm.model == model for arm in grid.arms])
    if not columns.size:
        there = ", ".join(sorted({str(arm.model) for arm in grid.arms}))
        raise TableError(f"{table.name} has no answers of model {model!r}; it has {there}: name one, or collect first")
    return columns


def _drawn(grid: Grid, new: Indices, options: argparse.Namespace) -> Grid:
    """Random queries that every arm of the model answered; that there are fewer than asked is said."""
    import sys

    import numpy as np

    answered = np.flatnonzero(np.isfinite(grid.quality[:, new]).all(axis=1))
    wanted = answered.size if options.queries is None else options.queries
    if wanted > answered.size:
        said = f"{options.model} answered {answered.size} of the {wanted} queries asked for: all of them are used"
        print(f"note: {said}", file=sys.stderr)
    return grid.take(np.sort(np.random.default_rng(options.seed).permutation(answered)[:wanted]))


def embedded(texts: tuple[str, ...], embedder: Embedder) -> Floats:
    """(n, D) embeddings, read from the cache where they are there."""
    import numpy as np

    from curveroute.agent.embed.kept import kept_embeddings
    from curveroute.agent.settings import load_settings
    from curveroute.cli.bars import embedding

    with embedding() as watch:
        folder = load_settings().cache_dir / "embeddings"
        return np.asarray(asyncio.run(kept_embeddings(texts, embedder, folder, watch)), dtype=np.float64)


def _others(drawn: Grid, predictor: Predictor) -> Floats:
    """(N, A) quality of the predictor's own arms, as far as the table holds them."""
    import numpy as np

    place = {arm: column for column, arm in enumerate(drawn.arms)}
    nothing = np.full(len(drawn), np.nan)
    columns = [drawn.quality[:, place[arm]] if arm in place else nothing for arm in predictor.arms_]
    return np.stack(columns, axis=1)


def _report(predictor: Predictor, options: argparse.Namespace) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    new = [arm for arm in predictor.arms_ if arm.model == options.model]
    columns = ("measured", "quality", "tokens", "error", "believed")
    table = Table(Column("arm", no_wrap=True), *columns, box=SIMPLE_HEAD, pad_edge=False)
    for arm in new:
        values = {name: value or 0.0 for name, value in predictor.metrics_[str(arm)].items()}
        queries = f"{values['queries']:.0f} queries"
        table.add_row(
            str(arm),
            f"{values['measured']:.3f}",
            f"{values['quality']:.3f}",
            f"{values['output_tokens']:.1f}",
            f"{values['loo_mse']:.3f}",
            f"{values['believed']:.2f}",
        )
    table.title = f"measured on {queries}"
    Console().print(table)
    print(
        f"added {len(new)} arms of {options.model} from {queries} to {len(predictor.arms_) - len(new)} arms that stay "
        "as they were; quality: to be expected of all queries, less luck; error: leave-one-out mean square; believed: "
        f"share kept of what seemed to set the arm apart; written to {options.out}"
    )
