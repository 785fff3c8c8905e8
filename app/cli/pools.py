"""``curveroute pools``: the shipped pools, or one pool's models, budgets and prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from curveroute.agent.pool import Pool


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("name", nargs="?", help="name or file of a pool to show")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List or show."""
    from curveroute.agent.pool import list_pools, load_pool

    if options.name is not None:
        _show(load_pool(options.name))
        return 0
    for name in list_pools():
        print(f"{name:14} {load_pool(name).spec.description}")
    return 0


def _show(pool: Pool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    columns = [Column(name, overflow="fold") for name in ("budgets", "USD/M in", "out", "window", "endpoint")]
    table = Table(Column("model", no_wrap=True), *columns, title=pool.spec.description, box=SIMPLE_HEAD)
    for name in pool.models:
        budgets = [str(arm.budget or "unlimited") for arm in pool.arms if arm.model == name]
        spec, prices = pool.model(name), pool.prices(name)
        table.add_row(
            name, " ".join(budgets), f"{prices[0]:g}", f"{prices[1]:g}", str(spec.context_window), spec.endpoint
        )
    Console().print(table)
