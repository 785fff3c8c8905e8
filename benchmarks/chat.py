"""What RouterChat adds to a model call: the same recorded endpoint, asked directly and through the router, in turns.

Run ``python benchmarks/chat.py``. The endpoint is a process of its own on the loopback interface; it plays one recorded
answer, at once for what is added to a whole call, and token by token with delays for the first token. Direct calls are
made with the ``openai`` client, whole and streamed. No planner, no judge; the run is accepted without probing. Prints
JSON; times are medians in milliseconds, ratios are of medians in the same run. ``cpu_ms`` is this process's own time
for a call, a mean: it says the same on a machine that others use, too. Bounds: 8 ms a call, 15 ms to the first token.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage
from openai import AsyncOpenAI

from curveroute import RouterChat
from curveroute.agent.chat.openai_chat import Endpoint, OpenAIChat
from curveroute.agent.embed import default_embedder
from curveroute.agent.ledger import Ledger, NullLedger
from curveroute.agent.pool import Pool, PoolSpec, load_pool
from curveroute.agent.propose import Outlooker
from curveroute.agent.types import ModelId
from curveroute.compose import find_predictor
from curveroute.graphs import Context, Parts
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from curveroute.agent.ledger import LedgerPort

ROUNDS = 150
WARM_UP = 15
STREAMS = 40
CONCURRENT = 64
TOKENS = ["The", " capital", " of", " Portugal", " is", " Lisbon", ".", "\n", "Answer:", " Lisbon"]
FIRST_S, NEXT_S = 0.02, 0.005
QUESTION = "What is the capital of Portugal?"


# The recorded endpoint


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "r", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


USAGE = {"prompt_tokens": 40, "completion_tokens": len(TOKENS), "total_tokens": 40 + len(TOKENS)}
WHOLE = {
    "id": "r",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "".join(TOKENS)}},
    ],
    "usage": USAGE,
}


async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request on one connection; ``/slow`` in its path asks for the delays."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:"))
            body = json.loads(await reader.readexactly(length))
            slow = "/slow" in head.split("\r\n", 1)[0]
            if body.get("stream"):
                await stream(writer, slow=slow)
            else:
                data = json.dumps(WHOLE).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
                )
                await writer.drain()
    writer.close()


async def stream(writer: asyncio.StreamWriter, *, slow: bool) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    last: dict[str, Any] = {**chunk({}), "choices": [], "usage": USAGE}
    events = [*(chunk({"content": token}) for token in TOKENS), chunk({}, "stop"), last, "[DONE]"]
    if slow:
        for number, event in enumerate(events):
            await asyncio.sleep(FIRST_S if number == 0 else NEXT_S)
            writer.write(framed(event))
            await writer.drain()
    else:
        writer.write(b"".join(map(framed, events)))
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def framed(event: dict[str, Any] | str) -> bytes:
    data = f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve() -> None:
    server = await asyncio.start_server(play, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# Whom it is asked through


def pool_at(url: str) -> Pool:
    """Two models behind the endpoint, so that there is something to choose."""
    prior = [{"budget": 64, "quality": 0.6}, {"budget": 256, "quality": 0.7}]
    models = [
        {
            "id": name,
            "endpoint": url,
            "prices": {"input": price, "output": 4 * price},
            "context_window": 8192,
            "prior": prior,
        }
        for name, price in (("small", 0.1), ("large", 1.0))
    ]
    budgets = [{"tokens": size, "name": f"b{size}", "style": "Use at most {tokens} tokens."} for size in (64, 256)]
    spec = PoolSpec.model_validate({"name": "bench", "system": "Be right.", "budgets": budgets, "models": models})
    return Pool(spec, prices={model.id: model.prices for model in spec.models if model.prices is not None})


def router_at(url: str, ledger: LedgerPort, *, learned: bool = False) -> Router:
    """With prior curves, or with the shipped predictor, which embeds every question."""
    pool = load_pool("local") if learned else pool_at(url)
    predictor = find_predictor(pool, None) if learned else None

    async def locate() -> str:
        return url

    chat = OpenAIChat({ModelId(name): Endpoint(locate, name) for name in pool.models})
    parts = Parts(pool, chat, default_embedder(), Outlooker(pool, predictor), ledger)
    return Router(Context(tradeoff=1.0, plan=False, judge=False, parts=parts))


async def timed(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Milliseconds on the clock, and of this process's own time."""
    started, worked = time.perf_counter(), time.process_time()
    await work()
    return (time.perf_counter() - started) * 1000, (time.process_time() - worked) * 1000


async def first_routed(chat: RouterChat, asked: str) -> float:
    """Milliseconds to the first text; the rest is read, so that nothing is cancelled."""
    started, first = time.perf_counter(), 0.0
    async for piece in chat.astream([HumanMessage(asked)]):
        if not first and piece.content:
            first = (time.perf_counter() - started) * 1000
    return first


def question(number: int) -> str:
    return f"{QUESTION} ({number})"


async def whole_calls(url: str, folder: Path) -> dict[str, Any]:
    """Whole calls, each way in turn."""
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    with Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
        chats = {
            "router_chat": RouterChat.from_router(router_at(url, NullLedger())),
            "with_the_ledger": RouterChat.from_router(router_at(url, ledger)),
            "with_predictor_and_embedder": RouterChat.from_router(router_at(url, NullLedger(), learned=True)),
            "with_all_three": RouterChat.from_router(router_at(url, ledger, learned=True)),
        }

        def ways(number: int) -> dict[str, Callable[[], Awaitable[object]]]:
            asked = question(number)
            told = [{"role": "system", "content": "Be right."}, {"role": "user", "content": asked}]
            direct: dict[str, Any] = {"model": "small", "messages": told, "max_tokens": 64}
            found: dict[str, Callable[[], Awaitable[object]]] = {
                "direct": lambda: client.chat.completions.create(**direct),
            }
            for place, (name, chat) in enumerate(chats.items(), start=1):
                own = question(number + 1000 * place)  # what one has embedded, another need not
                found[name] = lambda chat=chat, own=own: chat.ainvoke([HumanMessage(own)])  # type: ignore[misc]
            return found

        times: dict[str, list[tuple[float, float]]] = {}
        for number in range(WARM_UP + ROUNDS):
            for name, work in ways(number).items():
                took = await timed(work)
                if number >= WARM_UP:
                    times.setdefault(name, []).append(took)
        together = await concurrent(chats["router_chat"])
        for chat in chats.values():
            await chat.routers.get(chat.pool).parts.chat.aclose()
    await client.close()
    medians = {name: statistics.median(wall for wall, _ in taken) for name, taken in times.items()}
    worked = {name: statistics.fmean(cpu for _, cpu in taken) for name, taken in times.items()}
    added = {name: round(took - medians["direct"], 2) for name, took in medians.items() if name != "direct"}
    return {
        "median_ms": {name: round(took, 2) for name, took in medians.items()},
        "added_ms": added,
        "cpu_ms": {name: round(took, 2) for name, took in worked.items()},
        "added_cpu_ms": {name: round(worked[name] - worked["direct"], 2) for name in added},
        "times_direct": {name: round(medians[name] / medians["direct"], 2) for name in added},
        "bound_ms": 8,
        f"{CONCURRENT}_at_once": together,
    }


async def concurrent(chat: RouterChat) -> dict[str, Any]:
    started = time.perf_counter()
    answers = await asyncio.gather(
        *(chat.ainvoke(question(number)) for number in range(CONCURRENT)), return_exceptions=True
    )
    seconds = time.perf_counter() - started
    errors = sum(isinstance(answer, BaseException) for answer in answers)
    return {"errors": errors, "calls_per_s": round(CONCURRENT / seconds, 1)}


async def first_tokens(url: str) -> dict[str, Any]:
    """The first token of a committed answer, each way in turn."""
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    chat = RouterChat.from_router(router_at(url, NullLedger()))
    direct, routed = [], []
    for number in range(STREAMS + 5):
        told: list[Any] = [{"role": "user", "content": question(number)}]
        direct.append(await first_direct(client, told))
        routed.append(await first_routed(chat, question(number)))
    await client.close()
    await chat.routers.get(chat.pool).parts.chat.aclose()
    one, other = statistics.median(direct[5:]), statistics.median(routed[5:])
    return {
        "direct_ms": round(one, 2),
        "router_chat_ms": round(other, 2),
        "added_ms": round(other - one, 2),
        "bound_ms": 15,
    }


async def first_direct(client: AsyncOpenAI, told: list[Any]) -> float:
    started, first = time.perf_counter(), 0.0
    pieces = await client.chat.completions.create(model="small", messages=told, max_tokens=64, stream=True)
    async for piece in pieces:
        if not first and piece.choices and piece.choices[0].delta.content:
            first = (time.perf_counter() - started) * 1000
    return first


async def measure(port: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        calls = await whole_calls(f"http://127.0.0.1:{port}/v1", Path(folder))
    return {"whole_call": calls, "first_token": await first_tokens(f"http://127.0.0.1:{port}/slow/v1")}


def main() -> None:
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as endpoint:
        try:
            port = int(endpoint.stdout.readline()) if endpoint.stdout else 0
            print(json.dumps(asyncio.run(measure(port)), indent=2))
        finally:
            endpoint.terminate()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        main()
