"""Long work says what it is at: a bar on a terminal, a few lines in a log, and never a word on standard output."""

from __future__ import annotations

from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from curveroute.agent.bench.table import Row, write_table
from curveroute.cli.bars import embedding, training

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ran

    from curveroute.agent.embed import Vectors

    Cli = Callable[..., Ran]

STAGES = ["queries embedded", "heads", "juries", "panels", "courses"]


class Letters:
    """Embeds a text as how often it has which letters."""

    name, dim = "letters", 26

    async def embed(self, texts: Any) -> Vectors:
        return np.array([[text.count(chr(97 + place)) for place in range(26)] for text in texts], dtype=np.float32)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What a terminal in the place of standard error is sent."""
    sent = StringIO()
    seen = partial(Console, file=sent, force_terminal=True, force_interactive=True, width=100)
    monkeypatch.setattr("curveroute.cli.bars.Console", lambda **_: seen())
    return sent


def train(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Ran:
    monkeypatch.setattr("curveroute.agent.embed.embedder_by_name", lambda name: Letters())
    rows = [
        Row(
            query_id=f"q{query}", query=f"{'abcdefgh'[query % 8]} and {query}?", task="sums", model=model, budget=16,
            sample=0, quality=float(query % 3 > place), answer=str(query % 3 > place), reference="True",
            finish_reason="stop", input_tokens=10, output_tokens=4, cost_usd=1e-6 * (1 + 9 * place),
        )
        for query in range(40)
        for place, model in enumerate(("small", "large"))
    ]  # fmt: skip
    write_table(Path("table.csv"), rows)
    return cli("train", "table.csv", "--out", "predictor", "--embedder", "letters")


def test_training_tells_a_log_each_kind_of_work_once(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = train(cli, monkeypatch)
    assert ran.status == 0
    told = [line for line in ran.err.splitlines() if "/" not in line]
    assert [line.removeprefix("train: ").partition(" (")[0] for line in told] == STAGES
    assert told[:2] == ["train: queries embedded (40)", "train: heads (2)"]
    assert "train: " not in ran.out


def test_a_log_hears_how_far_long_work_is(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with training(lambda: now[0]) as watch:
        for done in range(4):
            watch(done, 6, "juries")
            now[0] += 7.0
    assert capsys.readouterr().err.splitlines() == ["train: juries (6)", "train: juries 2/6"]


def test_training_shows_a_terminal_a_bar_and_no_lines(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, screen: StringIO
) -> None:
    ran = train(cli, monkeypatch)
    assert (ran.status, ran.err) == (0, "")
    assert "train: " in screen.getvalue()
    assert "train: " not in ran.out


def test_the_bar_of_training_shows_what_it_is_at_and_how_far(screen: StringIO) -> None:
    with training() as watch:
        watch(0, 6, "juries")
        watch(3, 6, "juries")
    assert "train: juries" in screen.getvalue()
    assert "3/6" in screen.getvalue()


@pytest.mark.parametrize(("total", "lines"), [(499, 0), (500, 4), (100_000, 4)])
def test_embedding_tells_a_log_of_quarters_where_it_takes_a_while(
    capsys: pytest.CaptureFixture[str], total: int, lines: int
) -> None:
    with embedding() as watch:
        for done in range(64, total + 64, 64):
            watch(min(done, total), total)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == lines
    assert told[-1:] == [f"embed {total}/{total}"] * bool(lines)
