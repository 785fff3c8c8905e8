"""``curveroute models``: fetch the weights of local models; start, stop and show their servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from curveroute.agent.chat.servers import LocalServers
    from curveroute.agent.pool import ModelSpec, Pool, WeightsSpec
    from curveroute.agent.settings import Settings


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("action", choices=("fetch", "up", "down", "status"), help="what to do")
    parser.add_argument(
        "names", nargs="*", metavar="model", help="models; all of the pool's local ones when none is named"
    )
    parser.add_argument("--pool", default="local", help="name or file of the pool (default: local)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do what was asked for each model."""
    from curveroute.agent.chat.servers import LocalServers
    from curveroute.agent.pool import load_pool
    from curveroute.compose import load_settings

    pool, settings = load_pool(options.pool), load_settings()
    models = _local_models(pool, options.names)
    servers = LocalServers(settings)
    if options.action == "fetch":
        asyncio.run(_fetch(models, settings))
    elif options.action == "up":
        asyncio.run(_up(models, servers))
    elif options.action == "down":
        for model in models:
            print(f"{model.id}: {'stopped' if servers.down(model.id) else 'was not up'}")
    else:
        _status(models, servers, settings)
    return 0


def _local_models(pool: Pool, names: list[str]) -> list[ModelSpec]:
    from curveroute.agent.errors import PoolError

    chosen = [pool.model(name) for name in names or pool.models]
    hosted = [model.id for model in chosen if model.endpoint != "local"]
    if names and hosted:
        raise PoolError(
            f"{hosted[0]!r} is served at {pool.model(hosted[0]).endpoint}; only local models are fetched or run"
        )
    local = [model for model in chosen if model.endpoint == "local"]
    if not local:
        raise PoolError(f"pool {pool.name!r} has no local models; pools that have: local, local-large")
    return local


async def fetch_weights(model: ModelSpec, settings: Settings) -> Path:
    """Where the weights of a local model are, fetched under a bar if they were not there."""
    from curveroute.agent.chat.weights import fetch
    from curveroute.cli.bars import fetching
    from curveroute.compose import weights_of

    with fetching() as watch:
        return await fetch(weights_of(_weights(model)), settings, watch)


async def _fetch(models: list[ModelSpec], settings: Settings) -> None:
    from curveroute.agent.chat.weights import verify_file
    from curveroute.compose import weights_of

    for model in models:
        path = await fetch_weights(model, settings)
        # Asked for by name, a file is read again: the note beside it vouches for its size and time only.
        await asyncio.to_thread(verify_file, path, weights_of(_weights(model)))
        print(f"{model.id}: {path} ({path.stat().st_size / 1e6:.0f} MB, hash checked)")


async def _up(models: list[ModelSpec], servers: LocalServers) -> None:
    from curveroute.cli.bars import fetching
    from curveroute.compose import weights_of

    for model in models:
        with fetching() as watch:
            url = await servers.up(
                model.id,
                weights_of(_weights(model)),
                context=model.context_window,
                parallel=model.concurrency,
                on_progress=watch,
            )
        print(f"{model.id}: up at {url}")


def _status(models: list[ModelSpec], servers: LocalServers, settings: Settings) -> None:
    from curveroute.agent.chat.weights import is_fetched
    from curveroute.compose import weights_of

    running = {status.model_id: status for status in servers.status()}
    for model in models:
        fetched = "fetched" if is_fetched(settings, weights_of(_weights(model))) else "not fetched"
        server = running.get(model.id)
        state = (
            "down"
            if server is None
            else f"{'up' if server.healthy else 'not answering'} at port {server.port}, pid {server.pid}"
        )
        print(f"{model.id}: {fetched}, {state}")


def _weights(model: ModelSpec) -> WeightsSpec:
    if model.weights is None:
        message = f"local model {model.id!r} has no weights"
        raise AssertionError(message)
    return model.weights
