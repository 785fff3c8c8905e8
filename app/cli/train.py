"""``curveroute train``: fit a predictor to a curve table and write its folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.cli.outputs import declare_overwrite
from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    import argparse

    from curveroute.agent.predictor import Predictor


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("table", type=table_path, help="curve table (.parquet, .csv, .jsonl), or a shipped one's name")
    parser.add_argument("--out", type=Path, required=True, help="folder of the predictor")
    declare_overwrite(parser)
    parser.add_argument("--pool", default=None, help="pool whose prices are used for expected costs")
    parser.add_argument("--embedder", default=None, help="openai:MODEL?dim=…&url=…&key_env=…, instead of the default")
    parser.add_argument("--seed", type=int, default=0, help="seed of the calibrator's random sets (default: 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, fit, write, and say what was measured."""
    from curveroute.agent.bench.columns import read_columns
    from curveroute.agent.bench.train import train
    from curveroute.agent.embed import default_embedder, embedder_by_name
    from curveroute.agent.pool import load_pool
    from curveroute.agent.predictor import save_predictor
    from curveroute.agent.settings import load_settings
    from curveroute.cli.bars import training
    from curveroute.cli.checks import at_least
    from curveroute.cli.outputs import refuse_taken_folder

    at_least("seed", options.seed, 0)
    refuse_taken_folder(options.out, overwrite=options.overwrite)
    prices = None
    if options.pool is not None:
        pool = load_pool(options.pool)
        prices = {str(model): pool.prices(model)[1] for model in pool.models}
    embedder = default_embedder() if options.embedder is None else embedder_by_name(options.embedder)
    columns = read_columns(options.table)
    kept = load_settings().cache_dir / "embeddings"
    with training() as watch:
        work = train(columns, embedder, output_prices=prices, seed=options.seed, kept=kept, watch=watch)
        predictor = asyncio.run(work)
    save_predictor(predictor, options.out)
    _report(predictor, options.out, len(columns))
    least, most = float(columns.quality.min()), float(columns.quality.max())
    if least == most:
        print(f"every answer in the table has quality {least:g}: what is learned tells arms apart by their cost alone")
    return 0


def _report(predictor: Predictor, out: Path, rows: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("arm", no_wrap=True), "queries", "quality", "tokens", "USD", "explained", box=SIMPLE_HEAD)
    table.title = "measured per arm"
    for arm, values in predictor.metrics_.items():
        explained = values["explained"]
        table.add_row(
            arm,
            f"{values['queries']:.0f}",
            f"{values['quality']:.3f}",
            f"{values['output_tokens']:.1f}",
            f"{values['cost_usd']:.2e}",
            "-" if explained is None else f"{explained:.3f}",
        )
    Console().print(table)
    choice = predictor.shrinkage_
    print(
        f"fitted {len(predictor.arms_)} arms on {rows} rows: {choice.rho:.0%} of what sets arms apart is kept, "
        f"leave-one-out gain {choice.gain:+.4f} ± {choice.gain_se:.4f}; written to {out}"
    )
