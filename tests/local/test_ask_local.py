"""The whole path on the real local models: predict, plan, probe, verify, judge, escalate, accept, and what it cost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from curveroute.agent.chat.seam import Call
from curveroute.agent.settings import Settings, child_environment, load_settings
from curveroute.agent.types import Arm, Message, ModelId, Query
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from curveroute.agent.ledger import Ledger
    from curveroute.route import Route

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("local-models")]
pytest.importorskip("xllamacpp")

SMALL, LARGE = ModelId("smollm2-135m"), ModelId("qwen2.5-coder-0.5b")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The machine's weights, and a ledger of this test's own."""
    ledger_url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return replace(load_settings(), data_dir=tmp_path / "data", ledger_url=ledger_url)


@pytest.fixture
def router(settings: Settings) -> Iterator[Router]:
    with Router.from_pool("local", settings=settings) as made:
        yield made


def ledger_of(router: Router) -> Ledger:
    return cast("Ledger", router.parts.ledger)


def test_a_question_gets_a_right_answer_and_an_account_of_it(router: Router) -> None:
    route = router.invoke("What is the capital of Portugal?")
    assert "Lisbon" in route.answer
    assert len(route.candidates) == 8
    assert route.arm in {candidate.arm for candidate in route.candidates}
    assert all(attempt.usage.output_tokens > 0 for attempt in route.attempts)
    assert route.cost_usd == pytest.approx(sum(attempt.cost_usd for attempt in route.attempts))
    served = next(attempt for attempt in route.attempts if attempt.arm == route.arm)
    assert served.verdict is not None
    assert 0 < served.verdict.score < 1
    assert served.confidence is not None
    report = ledger_of(router).verify()
    assert report.ok
    assert report.attempts == len(route.attempts)
    assert ledger_of(router).run(route.run_id).answer == route.answer


async def test_planner_and_judge_are_heard_and_charged_where_quality_is_all(settings: Settings, tmp_path: Path) -> None:
    pool = tmp_path / "heard.toml"  # the shipped pool's planner is off
    pool.write_text('extends = "local"\nname = "heard"\nplanner_lift = 1.0\njudge_reliability = 0.9\n', "utf-8")
    async with Router.from_pool(str(pool), tradeoff=0.0, settings=settings, allow=(LARGE,)) as router:
        route = await router.ainvoke("A shelf holds 9 books. How many books do 4 shelves hold?")
        roles = [attempt.role for attempt in route.attempts]
        assert roles[0] == "planner"
        assert roles.count("planner") == 1
        assert "escalation" in roles
        assert {attempt.arm.model for attempt in route.attempts} == {LARGE}
        assert all(attempt.cost_usd > 0 for attempt in route.attempts)
        assert route.plan is not None
        assert ledger_of(router).verify().ok


async def test_a_budget_is_a_hard_limit_on_the_server(router: Router) -> None:
    arm = Arm(LARGE, 16)
    query = Query((Message(role="user", content="Write a long story about a lighthouse."),))
    messages = router.parts.pool.messages(query, arm)
    reply = await router.parts.chat.complete(Call(arm, messages, 16, query.text))
    assert reply.finish_reason == "length"
    assert reply.usage.output_tokens <= 16
    await router.parts.chat.aclose()


def test_the_pieces_of_a_stream_add_up_to_the_route(router: Router) -> None:
    pieces = list(router.stream("What is the capital of Norway?", tradeoff=1.0))
    whole = _whole(pieces)
    assert whole.answer == "".join(piece.answer for piece in pieces)
    assert len(pieces) > 2, "a run that is committed from the start shows its tokens as they come"
    assert whole.model
    assert whole.status == "accepted"


async def test_a_server_that_dies_in_mid_answer_is_restarted_once_and_the_answer_comes(settings: Settings) -> None:
    async with Router.from_pool("local", settings=settings, allow=(SMALL,), plan=False) as router:
        query, arm = "Write a long story about a lighthouse, a storm and a dog.", Arm(SMALL, 320)
        messages = router.parts.pool.messages(Query((Message(role="user", content=query),)), arm)
        killed: list[int] = []

        def kill_once(_text: str) -> None:
            if not killed:
                killed.extend(_server_pids(os.getpid()))
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)

        call = Call(arm, messages, 320, query)
        first = asyncio.create_task(router.parts.chat.complete(call, on_token=kill_once, may_resend=lambda: True))
        with pytest.raises(Exception, match="no answer"):
            await first  # its tokens were shown already, so it is not asked again behind the reader's back
        assert killed
        reply = await router.parts.chat.complete(call, may_resend=lambda: True)
        assert reply.text
        assert set(_server_pids(os.getpid())).isdisjoint(killed)


def test_the_command_line_prints_one_json_object(settings: Settings) -> None:
    done = _curveroute(settings, "ask", "What is the capital of Portugal?", "--json")
    route = json.loads(done.stdout)
    assert set(route) == {
        "answer", "model", "budget", "status", "cost_usd", "run_id", "attempts", "candidates", "plan",
    }  # fmt: skip
    assert "Lisbon" in route["answer"]


def test_ctrl_c_leaves_no_server_behind(settings: Settings) -> None:
    question = "Write a very long story about a lighthouse, a storm, a dog and a train."
    command = [sys.executable, "-m", "curveroute.cli", "ask", question, "--tradeoff", "0"]
    asking = subprocess.Popen(command, env=_environment(settings), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with asking:
        servers: list[int] = []
        while not servers and asking.poll() is None:
            servers = _server_pids(asking.pid)
        asking.send_signal(signal.SIGINT)
        _, words = asking.communicate(timeout=60)
    assert servers
    assert asking.returncode == 130, words
    assert not [pid for pid in servers if _alive(pid)]


def _curveroute(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "curveroute.cli", *words]
    return subprocess.run(command, env=_environment(settings), capture_output=True, text=True, check=True, timeout=300)


def _environment(settings: Settings) -> dict[str, str]:
    """The same weights, by a home of this test's own that links to them."""
    home = settings.data_dir / "home"
    (home / "cache").mkdir(parents=True, exist_ok=True)
    link = home / "cache" / "weights"
    if not link.exists():
        settings.cache_dir.joinpath("weights").mkdir(parents=True, exist_ok=True)
        link.symlink_to(settings.cache_dir / "weights", target_is_directory=True)
    return child_environment({"CURVEROUTE_HOME": str(home)})


def _server_pids(parent: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(parent), "-f", "serve.py"], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _whole(pieces: list[Route]) -> Route:
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    return whole
