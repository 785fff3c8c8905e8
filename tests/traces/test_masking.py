"""What traces may not hold: keys ever, and contents where somebody asked for that."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from curveroute import RouterChat
from curveroute.agent.chat.openai_chat import Endpoint, OpenAIChat
from curveroute.agent.chat.retry import RetryPolicy
from curveroute.agent.chat.seam import Reply
from curveroute.agent.errors import AllArmsFailed
from curveroute.agent.settings import hides_contents
from curveroute.agent.types import ModelId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import House

SECRET = "sk-never-to-be-seen"  # noqa: S105 - made up
ASKED, ANSWERED, SAID = "Portugal", "Lisbon", "it-names-the-right-town"


class Refusing(http.server.ThreadingHTTPServer):
    """An endpoint that refuses every request and repeats the key in its words, as some do."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Refuse)
        self.keys: set[str] = set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _Refuse(http.server.BaseHTTPRequestHandler):
    server: Refusing

    def do_POST(self) -> None:
        key = self.headers["Authorization"].removeprefix("Bearer ")
        self.server.keys.add(key)
        body = json.dumps({"error": {"message": f"Incorrect API key provided: {key}"}}).encode()
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    made = Refusing()
    yield made
    made.shutdown()
    made.server_close()


def test_no_key_reaches_a_trace_even_where_a_server_repeats_it(
    house: type[House], langsmith_on: Any, refusing: Refusing
) -> None:
    async def locate() -> str:
        return f"http://127.0.0.1:{refusing.server_address[1]}/v1"

    pool = house.pool()
    endpoints = {
        ModelId(name): Endpoint(locate, name, address="models.example", key=lambda: SECRET) for name in pool.models
    }
    chat = OpenAIChat(endpoints, retry=RetryPolicy(tries=1))
    with house.router(pool, chat, judge=False) as router, pytest.raises(AllArmsFailed):
        router.invoke(house.query)
    told = langsmith_on.settle()
    assert refusing.keys == {SECRET}
    assert any("Incorrect API key" in body for body in told.bodies)
    assert not any(SECRET in body or "lsv2_the_langsmith_key" in body for body in told.bodies)


def judged(house: type[House]) -> None:
    """A run in which prompts, answers, a planner's and a judge's words, and an error's could all be told."""
    models = {"a": (0.4, 0.5, 0.1), "b": (0.4, 0.5, 0.11), "best": (0.6, 0.8, 0.5)}
    pool = house.pool(models, planner="best", planner_lift=1.0, judge="best", judge_reliability=0.9)

    def answer(call: Any) -> Any:
        if call.role == "planner":
            return house.json({"order": ["A", "B"], "probe": True, "criteria": SAID})
        if call.role == "judge":
            return house.json({"quote": ANSWERED, "reason": SAID, "verdict": "right"})
        if call.arm.model == "a":
            return house.dead(f"cannot answer about {ASKED}")
        return Reply(f"Answer: {ANSWERED}", house.usage, "stop", 0.1)

    house.router(pool, house.chat(answer), tradeoff=0.01).invoke(house.query)


def test_contents_are_told_where_nobody_hides_them(house: type[House], langsmith_on: Any) -> None:
    judged(house)
    whole = "".join(langsmith_on.settle().bodies)
    assert all(word in whole for word in (ASKED, ANSWERED, SAID))


def test_hidden_inputs_and_outputs_are_hidden_in_metadata_and_feedback_too(
    house: type[House], langsmith_on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGSMITH_HIDE_INPUTS", "true")
    monkeypatch.setenv("LANGSMITH_HIDE_OUTPUTS", "true")
    langsmith_on.forget()
    judged(house)
    told = langsmith_on.settle()
    assert told.models()
    assert told.feedback
    whole = "".join(told.bodies)
    assert [word for word in (ASKED, ANSWERED, SAID) if word in whole] == []
    assert "curveroute_candidates" in whole


def test_our_own_variable_empties_all_that_a_trace_holds(
    house: type[House], langsmith_on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURVEROUTE_HIDE_CONTENTS", "1")
    judged(house)
    told = langsmith_on.settle()
    assert told.models()
    assert {"curveroute", "propose", "probe", "verify"} <= {run["name"] for run in told.runs.values()}
    whole = "".join(told.bodies)
    assert [word for word in (ASKED, ANSWERED, SAID) if word in whole] == []
    assert "curveroute_candidates" in whole


def test_where_contents_are_hidden_a_run_that_fails_does_not_tell_them_either(
    house: type[House], langsmith_on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURVEROUTE_HIDE_CONTENTS", "1")
    router = house.router(house.pool(), house.chat(lambda call: house.dead(f"cannot answer about {ASKED}")))
    with RouterChat.from_router(router) as chat, pytest.raises(AllArmsFailed, match="curveroute runs show"):
        chat.invoke(house.query)
    told = langsmith_on.settle()
    assert any("every arm that was tried failed" in str(run.get("error")) for run in told.runs.values())
    assert ASKED not in "".join(told.bodies)


def test_whoever_hides_contents_from_a_tool_hides_them_from_all() -> None:
    assert not hides_contents({})
    assert not hides_contents({"CURVEROUTE_HIDE_CONTENTS": "0", "LANGSMITH_HIDE_INPUTS": "false"})
    for tool in ("LANGSMITH", "LANGCHAIN", "OPENINFERENCE"):
        for what in ("INPUTS", "OUTPUTS"):
            assert hides_contents({f"{tool}_HIDE_{what}": "true"})
    assert hides_contents({"CURVEROUTE_HIDE_CONTENTS": "1"})
