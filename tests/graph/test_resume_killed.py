"""A process that is killed between a probe and the answer: another takes the run up, and nothing is paid twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from curveroute.agent.ledger import Ledger
from curveroute.agent.pool import load_pool
from curveroute.agent.probe import request_bounds
from curveroute.agent.types import Arm, ModelId, Query

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import ModelServer

pytest.importorskip("langgraph.checkpoint.sqlite", reason="needs langgraph-checkpoint-sqlite")
pytest.importorskip("langgraph.checkpoint.postgres", reason="needs langgraph-checkpoint-postgres")

PROCESS = '''
import asyncio, json, os, signal, sys
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command
from curveroute.agent.ledger import AttemptMade, Ledger
from curveroute.agent.types import Decision
from curveroute.compose import compose_parts
from curveroute.graphs import STATE_TYPES, Context, build

kill, keeper, ledger_url, pool, question = sys.argv[1:]


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Mortal:
    """A ledger whose process dies right after an attempt was stored."""

    def __init__(self, ledger):
        self.ledger = ledger

    async def record(self, run_id, *events):
        await self.ledger.record(run_id, *events)
        if kill == "stored" and any(isinstance(event, AttemptMade) for event in events):
            die()
        if kill == "planned" and any(isinstance(event, Decision) for event in events):
            die()

    def __getattr__(self, name):
        return getattr(self.ledger, name)


def check(question, text, answer):
    """A verifier whose process dies when the first answer is checked."""
    if kill == "checked":
        die()
    return None


async def main():
    saver = AsyncPostgresSaver if keeper.startswith("postgresql") else AsyncSqliteSaver
    async with saver.from_conn_string(keeper) as checkpointer:
        await checkpointer.setup()
        checkpointer.serde = JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES)
        parts = compose_parts(pool, ledger=Mortal(Ledger.open(ledger_url)), verifiers=[check])
        graph = build().compile(checkpointer=checkpointer)
        given = {"messages": [{"role": "user", "content": question}]} if question else None
        thread = {"configurable": {"thread_id": "1"}}
        if kill == "agreed":
            given = Command(resume=1.0)
        above = 0.0 if kill in {"waiting", "agreed"} else None
        context = Context(tradeoff=0.05, approve_above_usd=above, parts=parts)
        output = await graph.ainvoke(given, thread, context=context, durability="sync")
        if kill == "waiting":
            die()
        await parts.aclose()
        print(json.dumps({"run_id": output["run_id"], "cost_usd": output["cost_usd"], "status": output["status"]}))


if kill == "sent":
    print(os.getpid(), flush=True)
asyncio.run(main())
'''


class World:
    """One run's world: the model server, the checkpointer and the ledger outlive its processes."""

    def __init__(self, folder: Path, models: ModelServer, keeper: str, ledger: str) -> None:
        self.folder, self.models, self.keeper, self.ledger = folder, models, keeper, ledger
        self.pool = models.pool_file(folder)

    def start(self, kill: str, question: str = "2 + 2?") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, kill, self.keeper, self.ledger, str(self.pool), question],
            env=os.environ | {"CURVEROUTE_HOME": str(self.folder / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def die(self, kill: str) -> None:
        """The process that begins the run, and is killed."""
        process = self.start(kill)
        if kill == "sent" and process.stdout is not None:
            pid, over = int(process.stdout.readline()), threading.Event()

            def strike(number: int) -> None:
                if not over.is_set():
                    over.set()
                    os.kill(pid, signal.SIGKILL)
                    process.wait()

            self.models.before = strike
        _, error = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, error

    def resume(self, kill: str = "") -> dict[str, Any]:
        """Another process, with the same thread, that is given nothing new (or, ``agreed``, a person's yes)."""
        process = self.start(kill, "")
        said, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        return json.loads(said)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path, models: ModelServer) -> World:
    if request.param == "sqlite":
        return World(tmp_path, models, str(tmp_path / "threads.sqlite"), f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    import psycopg

    server, name = request.getfixturevalue("postgres"), f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    address = server.removesuffix("postgres") + name
    return World(tmp_path, models, address, address.replace("postgresql:", "postgresql+psycopg:"))


@pytest.mark.parametrize("kill", ["stored", "checked"])
def test_no_call_is_made_or_charged_twice(world: World, kill: str) -> None:
    world.die(kill)
    paid = list(world.models.asked)
    assert len(paid) == 1
    end = world.resume()
    asked = world.models.asked
    assert asked[:1] == paid
    assert len(asked) > 1  # there was more to ask
    assert len(set(asked)) == len(asked)
    with Ledger.open(world.ledger) as ledger:
        run = ledger.run(end["run_id"])
        assert [(one.attempt.arm.model, one.attempt.arm.budget) for one in run.attempts] == asked
        assert run.status == end["status"] != "running"
        assert run.totals.cost_usd == pytest.approx(end["cost_usd"])
        assert len(ledger.runs()) == 1
        assert ledger.verify().ok, ledger.verify().disagreements


@pytest.mark.parametrize(("kill", "then"), [("planned", ""), ("waiting", "agreed")])
def test_a_run_that_died_before_its_first_call_is_taken_up(world: World, kill: str, then: str) -> None:
    world.die(kill)
    assert world.models.asked == []
    end = world.resume(then)
    with Ledger.open(world.ledger) as ledger:
        run = ledger.run(end["run_id"])
        assert [(one.attempt.arm.model, one.attempt.arm.budget) for one in run.attempts] == world.models.asked != []
        assert [one.decision.step for one in run.decisions][:2] == [1, 2]
        assert run.status == end["status"] != "running"
        assert len(ledger.runs()) == 1
        assert ledger.verify().ok, ledger.verify().disagreements


def test_a_call_in_flight_is_asked_again_and_the_lost_one_stays_charged_in_full(world: World) -> None:
    world.die("sent")
    assert len(world.models.asked) == 1
    model, budget = world.models.asked[0]
    end = world.resume()
    assert world.models.asked[:2] == [(model, budget)] * 2
    assert len(set(world.models.asked)) == len(world.models.asked) - 1
    pool, arm = load_pool(str(world.pool)), Arm(ModelId(model), budget)
    query = Query(({"role": "user", "content": "2 + 2?"},))
    worst = request_bounds(pool, arm, pool.messages(query, arm))
    with Ledger.open(world.ledger) as ledger:
        run = ledger.run(end["run_id"])
        lost, again, *_ = (one.attempt for one in run.attempts)
        assert lost.cost_usd == pytest.approx(worst.cost_usd)
        assert "may be billed" in str(lost.error)
        assert again.error is None
        assert again.cost_usd < lost.cost_usd
        assert len(run.attempts) == len(world.models.asked)
        assert run.totals.cost_usd == pytest.approx(end["cost_usd"])
        assert ledger.verify().ok, ledger.verify().disagreements
