"""What it saves that a conversation's last model is priced with the prompt that its provider still holds.

Run ``python benchmarks/conversations.py``. Conversations are made of a long document and of questions of the shipped
table, one a turn; answers, their quality and length are the table's recordings of two models. The providers are played:
each holds the prompts of a conversation that it has read, from ``CACHE_FROM`` tokens on, and charges a tenth for them.
The same conversations go through the same chat model twice: as they are, and with the account of who served them taken
out of the history, so that nothing is known of held prompts. Prints JSON: figures of both for each tradeoff, and what
the knowledge changes, with 95 % bootstrap intervals over conversations. Utility is what the rule maximises, of a turn:
quality and cost in units of the pool, weighed by the tradeoff.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from curveroute import RouterChat
from curveroute.agent.chat.seam import Call, Reply
from curveroute.agent.embed import default_embedder
from curveroute.agent.ledger import NullLedger
from curveroute.agent.pool import Pool, PoolSpec, PriceSpec, load_pool
from curveroute.agent.pool.pool import input_tokens_prior
from curveroute.agent.propose import Outlooker
from curveroute.agent.types import Usage
from curveroute.compose import find_predictor
from curveroute.graphs import Context, Parts
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.types import Message

CONVERSATIONS, TURNS = 60, 5
TRADEOFFS = (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6)
DOCUMENT_TOKENS = 4000
CACHE_FROM, DISCOUNT = 1024, 0.1
RESAMPLES = 2000


def pool_with_memory() -> Pool:
    """The local pool's models with room for a document, a tenth of the price for what is held, and no judge."""
    document = load_pool("local").spec.model_dump(exclude_none=True)
    document |= {"judge": "", "planner": ""}
    document = {key: value for key, value in document.items() if value != ""}
    for model in document["models"]:
        model |= {"context_window": 100_000, "cache_from": CACHE_FROM}
        model["prices"]["cached_input"] = DISCOUNT * model["prices"]["input"]
    spec = PoolSpec.model_validate(document)
    prices = {model.id: model.prices or PriceSpec(input=0, output=0) for model in spec.models}
    return Pool(spec, prices=prices)


@dataclass
class Providers:
    """A seam that answers from recordings, and holds what it has read.

    Attributes:
        rows: the recorded row of a question, a model and a budget.
        read: by model the prompts of this conversation.
    """

    rows: dict[tuple[str, str, int | None], dict[str, Any]]
    read: dict[str, list[tuple[Message, ...]]] = field(default_factory=dict)

    async def complete(
        self,
        call: Call,
        *,
        on_token: Callable[[str], None] | None = None,
        may_resend: Callable[[], bool] | None = None,  # noqa: ARG002
    ) -> Reply:
        row = self.rows[call.query_text.rsplit("\n\n\n", 1)[-1], call.arm.model, call.arm.budget]
        sent, held = input_tokens_prior(call.messages), self._held(call)
        self.read.setdefault(call.arm.model, []).append(call.messages)
        if on_token is not None:
            on_token(str(row["response"]))
        usage = Usage(sent, row["output_tokens"], held)
        finish = "length" if row["finish_reason"] == "length" else "stop"
        return Reply(str(row["response"]), usage, finish, 0.1, row["confidence"])

    def _held(self, call: Call) -> int:
        """Tokens of the longest beginning, in whole messages, that this model has read before."""
        longest = 0
        for before in self.read.get(call.arm.model, []):
            same = 0
            for one, other in zip(before, call.messages, strict=False):
                if one != other:
                    break
                same += 1
            longest = max(longest, input_tokens_prior(call.messages[:same]))
        return longest if longest >= CACHE_FROM else 0

    async def aclose(self) -> None:
        """Nothing is held open."""


@dataclass(frozen=True)
class Walked:
    """What one conversation came to."""

    usd: float
    quality: float
    switches: int
    calls: int
    sent: int
    held: int


async def walk(chat: RouterChat, providers: Providers, questions: list[str], *, known: bool) -> Walked:
    """One conversation, turn by turn; without ``known`` the history does not say who served it."""
    providers.read.clear()
    turns: list[Any] = [
        SystemMessage("Answer from this document where it helps.\n" + "word " * (DOCUMENT_TOKENS * 4 // 5))
    ]
    usd = quality = 0.0
    switches = calls = sent = held = 0
    before = None
    for question in questions:
        turns.append(HumanMessage(f"\n\n{question}" if len(turns) > 1 else question))
        message = await chat.ainvoke(turns)
        route, usage = message.response_metadata["route"], message.usage_metadata
        usd, calls = usd + route["cost_usd"], calls + len(route["attempts"])
        quality += providers.rows[question, route["model"], route["budget"]]["quality"]
        switches += before is not None and route["model"] != before
        before = route["model"]
        if usage is not None:
            sent += usage["input_tokens"]
            held += usage.get("input_token_details", {}).get("cache_read") or 0
        turns.append(message if known else AIMessage(message.content))
    return Walked(usd, quality / len(questions), switches, calls, sent, held)


async def compare(tradeoff: float, providers: Providers, pool: Pool, talks: list[list[str]]) -> dict[str, Any]:
    predictor = find_predictor(load_pool("local"), None)
    outlooker = Outlooker(pool, predictor)
    parts = Parts(pool, providers, default_embedder(), outlooker, NullLedger())
    chat = RouterChat.from_router(Router(Context(tradeoff=tradeoff, plan=False, judge=False, parts=parts)))
    knowing = [await walk(chat, providers, talk, known=True) for talk in talks]
    blind = [await walk(chat, providers, talk, known=False) for talk in talks]

    def utility(walked: Walked) -> float:
        return (1 - tradeoff) * walked.quality - tradeoff * walked.usd / TURNS / outlooker.reference_cost_usd

    return {
        "knowing": figures(knowing),
        "blind": figures(blind),
        "cost_ratio": interval(
            [(one.usd, other.usd) for one, other in zip(knowing, blind, strict=True)],
            lambda pairs: sum(one for one, _ in pairs) / sum(other for _, other in pairs),
        ),
        "quality_change": interval(
            [(one.quality, other.quality) for one, other in zip(knowing, blind, strict=True)],
            gain,
        ),
        "utility_change": interval(
            [(utility(one), utility(other)) for one, other in zip(knowing, blind, strict=True)], gain
        ),
    }


def gain(pairs: list[tuple[float, float]]) -> float:
    return statistics.fmean(one - other for one, other in pairs)


def figures(walked: list[Walked]) -> dict[str, Any]:
    turns = len(walked) * TURNS
    return {
        "usd_per_1000_turns": round(1000 * sum(one.usd for one in walked) / turns, 4),
        "quality": round(statistics.fmean(one.quality for one in walked), 4),
        "switches_per_turn": round(sum(one.switches for one in walked) / (turns - len(walked)), 3),
        "calls_per_turn": round(sum(one.calls for one in walked) / turns, 2),
        "held_share": round(sum(one.held for one in walked) / sum(one.sent for one in walked), 3),
    }


def interval(pairs: list[tuple[float, float]], figure: Callable[[list[tuple[float, float]]], float]) -> list[float]:
    """The figure, and its interval over resampled conversations."""
    rng = random.Random(0)  # noqa: S311
    drawn = sorted(figure(rng.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    low, high = drawn[int(0.025 * RESAMPLES)], drawn[int(0.975 * RESAMPLES)]
    return [round(value, 4) for value in (figure(pairs), low, high)]


def recordings() -> dict[tuple[str, str, int | None], dict[str, Any]]:
    with resources.as_file(resources.files("curveroute.pools") / "tables" / "local.parquet") as path:
        rows = pq.read_table(path).to_pylist()
    return {(row["query"], row["model"], row["budget"]): row for row in rows}


async def main() -> None:
    rows = recordings()
    questions = sorted({query for query, _, _ in rows if "\n\n\n" not in query})
    rng = random.Random(7)  # noqa: S311
    talks = [rng.sample(questions, TURNS) for _ in range(CONVERSATIONS)]
    pool, providers = pool_with_memory(), Providers(rows)
    told = {f"{tradeoff}": await compare(tradeoff, providers, pool, talks) for tradeoff in TRADEOFFS}
    setting = {
        "conversations": CONVERSATIONS,
        "turns": TURNS,
        "document_tokens": DOCUMENT_TOKENS,
        "discount": DISCOUNT,
        "cache_from": CACHE_FROM,
    }
    print(json.dumps({"setting": setting, "tradeoffs": told}, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
