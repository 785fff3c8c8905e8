"""docs/troubles.md quotes what curveroute says: each message is provoked here, and the page knows no other."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from langchain_core.messages import AIMessage
from sqlalchemy.exc import OperationalError

from curveroute.agent.chat.servers import LocalServers
from curveroute.agent.chat.weights import Weights, weights_path
from curveroute.agent.errors import CapabilityError, LocalServerError, MissingExtra, SchemaUnmet
from curveroute.agent.ledger import Ledger
from curveroute.agent.ledger.faults import ledger_error
from curveroute.agent.pool import load_pool
from curveroute.agent.settings import load_settings
from curveroute.chat import structured, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import FakeModels, Ran

    Cli = Callable[..., Ran]

PAGE = Path(__file__).parents[2] / "docs" / "troubles.md"
TABLE = re.compile(r"<!-- messages -->\n\|[^\n]*\n\|[^\n]*\n((?:\|[^\n]*\n)+)")


def messages() -> list[str]:
    """The quoted messages: the first cell of each row, without its quotes."""
    rows = [row for table in TABLE.findall(PAGE.read_text("utf-8")) for row in table.splitlines()]
    return [row.removeprefix("| `").partition("` | ")[0] for row in rows]


class Scene:
    """What a message needs to come about."""

    def __init__(self, cli: Cli, pool: str, models: FakeModels, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cli, self.pool, self.models, self.monkeypatch = cli, pool, models, monkeypatch

    def says(self, *words: str) -> str:
        """The complaint of a command, without the program's name before it."""
        return self.cli(*words).complaint.removeprefix("curveroute: ")

    def ask(self, *words: str) -> str:
        return self.says("ask", "x", "--pool", self.pool, *words)

    def edit(self, old: str, new: str) -> None:
        text = Path(self.pool).read_text()
        assert old in text
        Path(self.pool).write_text(text.replace(old, new))


def no_key(scene: Scene) -> str:
    return scene.says("ask", "x", "--pool", "openai")


def unknown_pool(scene: Scene) -> str:
    return scene.says("ask", "x", "--pool", "mine")


def no_prior(scene: Scene) -> str:
    scene.edit("prior = ", "# ")
    return scene.ask()


def nobody_left(scene: Scene) -> str:
    return scene.ask("--allow", "weak", "--deny", "weak")


def no_capability(scene: Scene) -> str:
    with pytest.raises(CapabilityError) as error:
        load_pool(scene.pool).restricted(needs=frozenset({"images"}))
    return str(error.value)


def too_long(scene: Scene) -> str:
    return scene.says("ask", "word " * 5000, "--pool", scene.pool)


def cap_too_small(scene: Scene) -> str:
    return scene.ask("--max-cost", "1e-9")


def no_promise(scene: Scene) -> str:
    return scene.ask("--max-error", "0.1")


def other_format(scene: Scene) -> str:
    Path("old").mkdir()
    Path("old/predictor.json").write_text(json.dumps({"format": 1}))
    return scene.ask("--predictor", "old")


def no_predictor(scene: Scene) -> str:
    return scene.ask("--predictor", "nowhere")


def offline(scene: Scene) -> str:
    scene.monkeypatch.setenv("CURVEROUTE_OFFLINE", "1")
    return scene.says("models", "fetch")


def no_extra(_scene: Scene) -> str:
    return str(MissingExtra("the local models' runtime", "local"))


def locked(_scene: Scene) -> str:
    fault = OperationalError("BEGIN IMMEDIATE", {}, sqlite3.OperationalError("database is locked"))
    return str(ledger_error(fault, "sqlite:///ledger.sqlite"))


def newer_ledger(scene: Scene) -> str:
    url = load_settings().ledger_url
    Ledger.open(url).close()
    with closing(sqlite3.connect(load_settings().data_dir / "ledger.sqlite")) as ledger:
        ledger.execute("UPDATE curveroute_version SET version_num = '9999'")
        ledger.commit()
    return scene.says("runs", "list")


def no_ledger(scene: Scene) -> str:
    Path("notes.txt").write_text("not a database, but quite some words " * 30)
    scene.monkeypatch.setenv("CURVEROUTE_LEDGER", "sqlite:///notes.txt")
    return scene.says("runs", "list")


def no_driver(scene: Scene) -> str:
    scene.monkeypatch.setenv("CURVEROUTE_LEDGER", "postgresql+nothing://host/db")
    return scene.says("runs", "list")


def no_run(scene: Scene) -> str:
    return scene.says("runs", "show", "beef")


def all_failed(scene: Scene) -> str:
    scene.models.reply = lambda _asked: 401
    return scene.ask()


def no_server(_scene: Scene) -> str:
    settings = load_settings()
    weights = Weights("tiny.gguf", 4, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "none", ())
    path = weights_path(settings, weights)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"test")
    servers = LocalServers(settings, command=lambda _launch: [sys.executable, "-c", "raise SystemExit('no memory')"])
    with pytest.raises(LocalServerError) as error:
        asyncio.run(servers.ensure("tiny", weights, context=512))
    return str(error.value)


def broken_stream(_scene: Scene) -> str:
    return str(told._broken("The answer is"))


def unexpected(scene: Scene) -> str:
    def fail(_name: str) -> None:
        raise ZeroDivisionError("division by zero")

    scene.monkeypatch.setattr("curveroute.agent.pool.load_pool", fail)
    return scene.says("pools", "local")


def schema_unmet(_scene: Scene) -> str:
    route = {"run_id": "b2f0", "arm": "weak@16", "fault": "it is no JSON"}
    with pytest.raises(SchemaUnmet) as error:
        structured._checked(AIMessage("", response_metadata={"route": route}))
    return str(error.value)


# In the order of the page.
SCENES: list[Callable[[Scene], str]] = [
    no_key, unknown_pool, no_prior, nobody_left, no_capability, too_long, cap_too_small, no_promise, other_format,
    no_predictor, offline, no_extra, locked, newer_ledger, no_ledger, no_driver, no_run, all_failed, no_server,
    broken_stream, schema_unmet, unexpected,
]  # fmt: skip


@pytest.fixture
def scene(cli: Cli, pool: str, models: FakeModels, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(cli, pool, models, monkeypatch)


@pytest.mark.parametrize(
    ("message", "provoke"), [pytest.param(*pair, id=pair[1].__name__) for pair in zip(messages(), SCENES, strict=True)]
)
def test_the_page_quotes_what_is_said(message: str, provoke: Callable[[Scene], str], scene: Scene) -> None:
    said = provoke(scene)
    assert re.fullmatch(re.escape(message).replace("…", ".+"), said, re.DOTALL), said
