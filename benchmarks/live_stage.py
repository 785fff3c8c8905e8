"""What a live check is made with: questions that nobody trained on, and parts whose models are asked once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from once import Once

from curveroute.agent.bench.collect import spread
from curveroute.agent.bench.tasks import collection_tasks, holdout_tasks, parse_questions
from curveroute.agent.chat.servers import LocalServers
from curveroute.agent.errors import TableError
from curveroute.agent.ledger import NullLedger
from curveroute.agent.pool import Pool, PriceSpec
from curveroute.agent.settings import load_settings
from curveroute.compose import compose_chat, compose_parts

if TYPE_CHECKING:
    from curveroute.agent.bench.tasks import Task
    from curveroute.agent.types import ModelId, Usage
    from curveroute.graphs import Parts

WRITTEN = Path(__file__).with_name("held_out.jsonl")
PER_FAMILY = 4
TRAINED = 10, 0


@dataclass(frozen=True)
class Stage:
    """The parts of every policy, and the seam behind them."""

    parts: Parts
    once: Once


def questions(limit: int | None = None, per_family: int = PER_FAMILY) -> list[Task]:
    """The written held-out questions and generated ones, none with the text of a training question.

    Args:
        limit: take only so many, at even distances, so that every kind is among them.
        per_family: how many of each generated family.

    Raises:
        TableError: a written question is a training question.
    """
    written = parse_questions(WRITTEN.read_text("utf-8"), WRITTEN.name)
    trained = {_folded(task.query) for task in collection_tasks(*TRAINED)}
    generated = holdout_tasks(per_family=per_family, seed=1, trained=TRAINED)
    for task in (*written, *generated):
        if _folded(task.query) in trained:
            raise TableError(f"{task.query_id} is a training question: {task.query[:60]!r}")
    return spread([*written, *generated], limit or len(written) + len(generated))


def stage(
    pool: str, predictor: Path | None, record: Path, *, keep_failures: bool = False, paced: bool = False
) -> Stage:
    """Parts for a pool, asked through a record; nothing is written to a ledger.

    Local models read every prompt without the cache that an earlier call may have left, one call at a time: a call
    takes as long as if it were the only one. ``paced`` calls take as long as the pool says that their tokens do.
    """
    settings = load_settings()
    parts = compose_parts(pool, settings=settings, predictor=predictor, ledger=NullLedger())
    servers = LocalServers(settings)
    once = Once(
        compose_chat(without_cache(parts.pool), settings, servers=servers, parallel=1),
        record,
        keep_failures=keep_failures,
        pace=partial(seconds, parts.pool) if paced else None,
    )
    return Stage(replace(parts, chat=once, stop_servers=servers.stop_all), once)


def seconds(pool: Pool, model: ModelId, usage: Usage) -> float:
    """What a call takes at the pool's speeds, from its tokens."""
    speed = pool.model(model).speed
    reading = usage.input_tokens / speed.input_tokens_per_s
    return speed.first_token_s + reading + usage.output_tokens / speed.output_tokens_per_s


def without_cache(pool: Pool) -> Pool:
    """The pool with prompt caches of its local models switched off."""
    models = tuple(
        model.model_copy(update={"extra_body": {**model.extra_body, "cache_prompt": False}})
        if model.endpoint == "local"
        else model
        for model in pool.spec.models
    )
    return changed(pool, models=models)


def changed(pool: Pool, **settings: object) -> Pool:
    """The pool with other settings in its file."""
    prices = (dict(zip(("input", "output", "cached_input"), pool.prices(name), strict=True)) for name in pool.models)
    known: dict[str, PriceSpec] = {name: PriceSpec(**one) for name, one in zip(pool.models, prices, strict=True)}
    return Pool(pool.spec.model_copy(update=settings), prices=known)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
