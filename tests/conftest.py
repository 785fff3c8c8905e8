"""A small house for whole runs: a pool with prior curves, recorded or scripted answers, and a router over them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest

from curveroute.agent.chat.recorded import RecordedChat
from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.errors import ModelCallError
from curveroute.agent.ledger import NullLedger
from curveroute.agent.pool import Pool, PoolSpec, PriceSpec
from curveroute.agent.propose import Outlooker
from curveroute.agent.types import Usage
from curveroute.graphs import Context, Parts
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from curveroute.agent.embed import Vectors
    from curveroute.agent.ledger import LedgerPort
    from curveroute.agent.predictor import Predictor

Answer: TypeAlias = "str | Reply | Exception"
QUERY = "What is the capital of Portugal?"
BUDGETS = (16, 64, 256)
MODELS = {"small": (0.3, 0.5, 0.1), "big": (0.45, 0.8, 1.0)}
USAGE = Usage(30, 10)


class LetterEmbedder:
    """A vector that counts letters: no weights, and different for different texts."""

    name = "letters"
    dim = 8

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: list[str]) -> Vectors:
        self.texts += texts
        counts = [[float(text.count(letter)) for letter in "aeiorstn"] for text in texts]
        return np.array(counts, dtype=np.float32).reshape(-1, self.dim)


class ScriptedChat:
    """Answers every call by a function, in three pieces when they are wanted live.

    Attributes:
        calls: what was asked, in order.
        cancelled: calls that were given up while they waited.
        gate: calls wait for it when ``hold`` says so.
        held: set as soon as one waits.
    """

    def __init__(self, answer: Callable[[Call], Answer], *, hold: Callable[[Call], bool] | None = None) -> None:
        self.answer = answer
        self.hold = hold
        self.gate, self.held = asyncio.Event(), asyncio.Event()
        self.calls: list[Call] = []
        self.cancelled: list[Call] = []
        self.closed = 0

    async def complete(
        self, call: Call, *, on_token: Callable[[str], None] | None = None, may_resend: Callable[[], bool] | None = None
    ) -> Reply:
        self.calls.append(call)
        if self.hold is not None and self.hold(call):
            await self.wait(call)
        said = self.answer(call)
        if isinstance(said, Exception):
            raise said
        reply = said if isinstance(said, Reply) else Reply(said, USAGE, "stop", 0.1)
        if on_token is not None:
            third = max(len(reply.text) // 3, 1)
            for piece in (reply.text[:third], reply.text[third : 2 * third], reply.text[2 * third :]):
                on_token(piece)
        return reply

    async def aclose(self) -> None:
        self.closed += 1

    async def wait(self, call: Call) -> None:
        self.held.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(call)
            raise


class House:
    """Builds the parts; everything has a default."""

    query = QUERY
    usage = USAGE
    chat = ScriptedChat
    embedder = LetterEmbedder

    @staticmethod
    def pool(
        models: Mapping[str, tuple[float, float, float]] | None = None,
        budgets: tuple[int | None, ...] = BUDGETS,
        window: int = 4096,
        **changes: Any,
    ) -> Pool:
        """Models by name: quality at the shortest budget, at the longest, and USD per million input tokens."""
        given = MODELS if models is None else models
        document = {
            "name": "toy",
            "system": "Be right.",
            "budgets": [
                {"tokens": budget, "name": f"b{budget}", "style": "" if budget is None else "At most {tokens} tokens."}
                for budget in budgets
            ],
            "models": [
                {
                    "id": name,
                    "endpoint": "https://models.example/v1",
                    "prices": {"input": price, "output": 4 * price},
                    "context_window": window,
                    "prior": [
                        {"budget": budget, "quality": quality}
                        for budget, quality in {budgets[0]: low, budgets[-1]: high}.items()
                    ],
                }
                for name, (low, high, price) in given.items()
            ],
            **changes,
        }
        spec = PoolSpec.model_validate(document)
        return Pool(spec, prices={one.id: one.prices or PriceSpec(input=0, output=0) for one in spec.models})

    @staticmethod
    def row(model: str, budget: int | None, response: str, query: str = QUERY, **changes: Any) -> dict[str, Any]:
        row: dict[str, Any] = {"query": query, "model": model, "budget": budget, "sample": 0, "response": response}
        row |= {"finish_reason": "stop", "input_tokens": 30, "output_tokens": 10}
        return row | changes

    @classmethod
    def rows(cls, pool: Pool, response: str = "Answer: Lisbon", query: str = QUERY) -> list[dict[str, Any]]:
        """The same answer from every arm."""
        return [cls.row(arm.model, arm.budget, response, query) for arm in pool.arms]

    @staticmethod
    def recorded(*rows: Mapping[str, object]) -> RecordedChat:
        return RecordedChat.from_rows(rows)

    @staticmethod
    def dead(message: str = "connection refused", **changes: Any) -> ModelCallError:
        return ModelCallError(message, **changes)

    @staticmethod
    def cut(text: str = "Let me think", tokens: int = 16) -> Reply:
        return Reply(text, Usage(30, tokens), "length", 0.1)

    @staticmethod
    def json(value: object) -> str:
        return json.dumps(value)

    @staticmethod
    def context(
        pool: Pool,
        chat: Any,
        *,
        ledger: LedgerPort | None = None,
        predictor: Predictor | None = None,
        embedder: LetterEmbedder | None = None,
        **settings: Any,
    ) -> Context:
        parts = Parts(
            pool=pool,
            chat=chat,
            embedder=embedder or LetterEmbedder(),
            outlooker=Outlooker(pool, predictor),
            ledger=ledger or NullLedger(),
        )
        return Context(**settings, parts=parts)

    @classmethod
    def router(cls, pool: Pool, chat: Any, **settings: Any) -> Router:
        return Router(cls.context(pool, chat, **settings))

    @staticmethod
    def with_settings(context: Context, **settings: Any) -> Context:
        return replace(context, **settings)


@pytest.fixture
def house() -> type[House]:
    """Builders of pools, answers and routers."""
    return House
