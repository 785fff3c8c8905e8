"""The live seam: what goes out, what comes back, and what is never let go: connections, turns, secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import traceback
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.chat.openai_chat import Endpoint, OpenAIChat
from curveroute.agent.chat.seam import Call
from curveroute.agent.errors import MissingKey, ModelCallError
from curveroute.agent.types import Arm, Message, ModelId, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import OpenAIServer

MODEL = ModelId("small")
KEY = "sk-very-secret-1234567890"
MESSAGES = (Message(role="system", content="Be brief."), Message(role="user", content="2+2?\n\nUse at most 20 tokens."))
CALL = Call(Arm(MODEL, 20), MESSAGES, 20, "2+2?")
OPEN: Any = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
SCHEMA: Any = {**OPEN, "additionalProperties": False}


def endpoint_at(url: str, **changes: Any) -> Endpoint:
    async def locate() -> str:
        return url

    return replace(Endpoint(locate=locate, served_as="served/small", key=lambda: KEY), **changes)


# What goes out and what comes back


async def test_a_reply_holds_the_text_the_servers_count_and_the_finish_reason(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.append(server.answers("It ", "is ", "4.", usage=server.counted(31, 7, cached=5), finish="length"))
    reply = await chat_with().complete(CALL)
    assert reply.text == "It is 4."
    assert reply.usage == Usage(31, 7, 5)
    assert reply.finish_reason == "length"
    assert reply.lost_tries == 0
    assert reply.latency_s > 0
    assert reply.confidence is None


async def test_the_budget_goes_out_as_an_instruction_and_as_the_token_limit(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    await chat_with(extra_body={"reasoning": {"enabled": False}}).complete(replace(CALL, sample=3, temperature=0.7))
    body = server.seen[0].body
    assert server.seen[0].path == "/v1/chat/completions"
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert body["model"] == "served/small"
    assert body["messages"] == [dict(message) for message in MESSAGES]
    assert body["max_tokens"] == 20
    assert body["seed"] == 3
    assert body["temperature"] == 0.7
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["reasoning"] == {"enabled": False}
    assert not {"response_format", "logprobs", "timeout"} & set(body)


async def test_the_token_limit_has_the_name_that_the_endpoint_wants(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    await chat_with(limit_field="max_completion_tokens").complete(CALL)
    assert server.seen[0].body["max_completion_tokens"] == 20
    assert "max_tokens" not in server.seen[0].body


async def test_a_schema_goes_out_as_a_strict_response_format(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    await chat_with().complete(replace(CALL, schema=SCHEMA))
    sent = server.seen[0].body["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"] == SCHEMA
    assert sent["json_schema"]["strict"] is True


@pytest.mark.parametrize(
    "schema",
    [OPEN, {**SCHEMA, "required": []}, {"type": "array", "items": OPEN}, {**SCHEMA, "properties": {"a": OPEN}}],
)
async def test_a_schema_that_endpoints_refuse_as_strict_goes_out_without_the_word(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], schema: Any
) -> None:
    await chat_with().complete(replace(CALL, schema=schema))
    assert server.seen[0].body["response_format"]["json_schema"]["strict"] is False


async def test_confidence_is_the_geometric_mean_of_the_tokens_probabilities(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.append(server.answers("a", "b", logprobs=[[-0.1, -0.2], [-0.6]]))
    reply = await chat_with(logprobs=True).complete(CALL)
    assert server.seen[0].body["logprobs"] is True
    assert reply.confidence == pytest.approx(2.718281828**-0.3)


async def test_tokens_are_told_in_order_and_make_up_the_text(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.append(server.answers("one ", "", "two ", "three"))
    told: list[str] = []
    reply = await chat_with().complete(CALL, on_token=told.append)
    assert told == ["one ", "two ", "three"]
    assert reply.text == "".join(told)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
    ],
)
async def test_finish_reasons_are_read_as_the_five_that_are_known(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], given: str, meant: str
) -> None:
    server.acts.append(server.answers("x", finish=given))
    assert (await chat_with().complete(CALL)).finish_reason == meant


async def test_a_server_without_a_count_is_charged_for_what_it_may_have_used(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.extend([server.answers("fünf"), server.answers("fünf", finish="length")])
    server.acts.append(server.answers("fünf", usage={**server.counted(0, 0), "usage": {"prompt_tokens": None}}))
    chat = chat_with()
    whole, cut, partial_count = [await chat.complete(CALL) for _ in range(3)]
    sent = sum(len(message["content"].encode()) for message in MESSAGES)
    assert sent <= whole.usage.input_tokens <= sent + 16 * len(MESSAGES)
    assert whole.usage.output_tokens == len("fünf".encode())
    assert cut.usage.output_tokens == CALL.max_tokens
    assert partial_count.usage == whole.usage


async def test_a_lone_surrogate_does_not_stop_a_call(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    reply = await chat_with().complete(replace(CALL, messages=(Message(role="user", content="odd \ud800 text"),)))
    assert reply.text == "fine"
    assert server.seen[0].body["messages"][0]["content"] == "odd ? text"


async def test_an_odd_but_legal_stream_is_read(server: OpenAIServer, chat_with: Callable[..., OpenAIChat]) -> None:
    odd = [{"choices": None}, {"choices": [{"index": 0, "delta": None, "finish_reason": None}]}, server.piece(None)]
    server.acts.append(server.streams(*odd, server.piece("yes"), server.piece(finish="stop"), "[DONE]", ended=True))
    assert (await chat_with().complete(CALL)).text == "yes"


NONSENSE: list[Any] = [
    7,
    {"choices": 7},
    {"choices": [7]},
    {"choices": [{"delta": 7}]},
    {"choices": [{"delta": {"content": ["no", "text"], "tool_calls": 7}}]},
    {"choices": [{"delta": {"tool_calls": [7]}, "logprobs": 7}]},
    {"choices": [{"delta": {}, "logprobs": {"content": [7, {"logprob": "high"}]}}]},
    {"usage": 7, "choices": []},
    {"usage": {"prompt_tokens": "many", "completion_tokens": -1, "prompt_tokens_details": 7}, "choices": []},
]


async def test_what_makes_no_sense_in_a_stream_is_passed_over(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    told: list[str] = []
    server.acts.append(
        server.streams(server.piece("ye"), *NONSENSE, server.piece("s"), server.piece(finish="stop"), ended=True)
    )
    reply = await chat_with().complete(CALL, on_token=told.append)
    assert (reply.text, reply.tool_calls, reply.confidence, told) == ("yes", (), None, ["ye", "s"])
    assert reply.usage.output_tokens == len("yes"), "counted as the most that it may have been"


@pytest.mark.parametrize(
    "nonsense",
    [
        {"usage": {"prompt_tokens": 10**400, "completion_tokens": 10**18}, "choices": []},
        {"choices": [{"delta": {}, "logprobs": {"content": [{"logprob": -(10**400)}]}}]},
    ],
)
async def test_numbers_that_no_answer_has_are_passed_over(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], nonsense: Any
) -> None:
    server.acts.append(server.streams(server.piece("yes"), nonsense, server.piece(finish="stop"), ended=True))
    reply = await chat_with().complete(CALL)
    assert (reply.confidence, reply.usage.output_tokens) == (None, len("yes"))
    assert reply.usage.input_tokens < 1000


WHOLE: Any = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "4."}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 31, "completion_tokens": 7},
}


async def test_a_server_that_does_not_stream_is_read(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.append(server.replies(json.dumps(WHOLE, indent=1).encode()))
    told: list[str] = []
    reply = await chat_with().complete(CALL, on_token=told.append)
    assert (reply.text, reply.finish_reason, reply.usage, told) == ("4.", "length", Usage(31, 7), ["4."])


async def test_an_empty_finish_reason_is_none(server: OpenAIServer, chat_with: Callable[..., OpenAIChat]) -> None:
    server.acts.append(server.streams(server.piece("half a", finish=""), ended=True))
    with pytest.raises(ModelCallError, match="mid-answer"):
        await chat_with().complete(CALL)


@pytest.mark.parametrize("base", ["", "/", "?api-version=1&a=%2F", "/?api-version=1&a=%2F"])
async def test_a_query_in_an_address_stays_behind_its_path(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], base: str
) -> None:
    await chat_with(url=server.url + base).complete(CALL)
    assert server.seen[0].path == "/v1/chat/completions" + base.removeprefix("/")


async def test_an_unknown_model_is_a_failed_call(chat_with: Callable[..., OpenAIChat]) -> None:
    with pytest.raises(ModelCallError, match="'other' has no endpoint"):
        await chat_with().complete(replace(CALL, arm=Arm(ModelId("other"), 20)))


# What is never let go


async def test_a_cancelled_call_closes_its_connection(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    server.acts.append(server.stalls(server.piece("on and on")))
    chat = chat_with()
    task = asyncio.create_task(chat.complete(CALL, may_resend=lambda: True))
    assert await asyncio.to_thread(server.stalled.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.left.wait, 5)
    assert (await chat.complete(CALL)).text == "fine"


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_calls_are_in_flight_than_the_model_allows(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], concurrency: int
) -> None:
    server.usual = server.slowly(server.usual, 0.02)
    chat = chat_with(concurrency=concurrency)
    replies = await asyncio.gather(*(chat.complete(CALL) for _ in range(7)))
    assert len(replies) == 7
    assert server.most == concurrency
    assert min(reply.latency_s for reply in replies) > 0.015


async def test_waiting_for_a_turn_is_not_latency(server: OpenAIServer) -> None:
    ticks = iter(range(100))
    server.usual = server.slowly(server.usual, 0.02)
    chat = OpenAIChat({MODEL: endpoint_at(server.url, concurrency=1)}, clock=lambda: float(next(ticks)))
    replies = await asyncio.gather(*(chat.complete(CALL) for _ in range(4)))
    await chat.aclose()
    assert [reply.latency_s for reply in replies] == [1.0] * 4


def test_one_seam_serves_several_event_loops(server: OpenAIServer) -> None:
    chat = OpenAIChat({MODEL: endpoint_at(server.url)})

    async def ask_twice() -> list[str]:
        try:
            return [reply.text for reply in await asyncio.gather(chat.complete(CALL), chat.complete(CALL))]
        finally:
            await chat.aclose()

    assert asyncio.run(ask_twice()) == asyncio.run(ask_twice()) == ["fine", "fine"]


async def test_a_closed_seam_can_be_used_again(server: OpenAIServer, chat_with: Callable[..., OpenAIChat]) -> None:
    chat = chat_with()
    await chat.complete(CALL)
    await chat.aclose()
    await chat.aclose()
    assert (await chat.complete(CALL)).text == "fine"


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert (await chat_with().complete(CALL)).text == "fine"


# Secrets


async def test_each_model_at_an_endpoint_is_asked_with_its_own_key(server: OpenAIServer) -> None:
    models = {ModelId(name): endpoint_at(server.url, key=partial(str, f"sk-{name}")) for name in ("one", "two")}
    chat = OpenAIChat(models)
    for name in models:
        await chat.complete(replace(CALL, arm=Arm(name, 20)))
    await chat.aclose()
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer sk-one", "Bearer sk-two"]


async def test_a_changed_key_is_used_from_the_next_call_on(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat]
) -> None:
    keys = ["sk-new", "sk-old"]
    chat = chat_with(key=keys.pop)
    await chat.complete(CALL)
    await chat.complete(CALL)
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer sk-old", "Bearer sk-new"]


async def test_no_message_representation_or_log_holds_the_key(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"bad header Authorization: Bearer {KEY}"
    server.acts.extend([server.says(401, echo), server.says(500, echo), server.says(400, echo)])
    server.acts.append(server.streams({"error": {"message": echo}}, ended=True))
    chat = chat_with()
    for _ in range(3):
        with pytest.raises(ModelCallError) as caught:
            await chat.complete(CALL)
        assert "[the key]" in str(caught.value)
        assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in caplog.text
    assert KEY not in repr(chat._endpoints) + repr(dict(chat._loops)) + str(vars(chat))


@pytest.mark.parametrize("key", ["", "sk-\nX-Injected: 1", "sk-kéy"])
async def test_a_key_that_no_header_can_carry_is_refused_unseen(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], key: str
) -> None:
    with pytest.raises(ModelCallError, match="its key holds what no HTTP header can carry") as caught:
        await chat_with(key=lambda: key).complete(CALL)
    assert "sk-" not in str(caught.value)
    assert server.seen == []


async def test_a_missing_key_stays_a_fault_of_the_setup(chat_with: Callable[..., OpenAIChat]) -> None:
    def missing() -> str:
        raise MissingKey("set the environment variable SMALL_KEY")

    with pytest.raises(MissingKey, match="SMALL_KEY"):
        await chat_with(key=missing).complete(CALL)


async def test_an_endpoint_without_a_key_is_sent_none(
    server: OpenAIServer, chat_with: Callable[..., OpenAIChat], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.acts.append(server.says(400, "none of this"))
    chat = chat_with(key=None)
    with pytest.raises(ModelCallError, match="none of this"):
        await chat.complete(CALL)
    assert server.seen[0].headers["authorization"] == "Bearer none"


FIRST_CALL = """
import asyncio, sys, threading
from curveroute.agent.chat.openai_chat import Endpoint, OpenAIChat
from curveroute.agent.chat.seam import Call
from curveroute.agent.types import Arm

class Watch:
    def find_spec(self, name, path=None, target=None):
        seen.add((name, threading.current_thread() is threading.main_thread()))

async def locate():
    return sys.argv[1]

async def ask():
    chat = OpenAIChat({"m": Endpoint(locate, "m")})
    print((await chat.complete(Call(Arm("m", 20), ({"role": "user", "content": "?"},), 20, "?"))).text)
    await chat.aclose()

seen = set()
sys.meta_path.insert(0, Watch())
asyncio.run(ask())
print(("openai", False) in seen, ("openai", True) in seen, ("httpx2", True) in seen)
"""


def test_the_first_call_imports_its_client_outside_the_event_loop(server: OpenAIServer) -> None:
    command = [sys.executable, "-c", FIRST_CALL, server.url]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["fine", "True", "False", "False"], ran.stderr
