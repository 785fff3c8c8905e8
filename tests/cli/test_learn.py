"""``curveroute learn``: a predictor that learned from the ledger's feedback, or one line that says why not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.table import Row, write_table
from curveroute.agent.errors import SettingError
from curveroute.agent.ledger import AttemptMade, Ledger, RunEnd, RunStart
from curveroute.agent.predictor import Predictor, load_predictor, save_predictor
from curveroute.agent.settings import load_settings
from curveroute.agent.types import Arm, Attempt, AttemptId, ModelId, RunId, Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Ran

    from curveroute.agent.embed import Vectors

    Cli = Callable[..., Ran]

ARMS = (Arm(ModelId("small"), 16), Arm(ModelId("big"), 64))


class Letters:
    """Embeds a text as how often it has which letters."""

    name, dim = "letters", 26

    async def embed(self, texts: Any) -> Vectors:
        counts = [[text.count(chr(97 + place)) for place in range(26)] for text in texts]
        return np.array(counts, dtype=np.float32)


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_name(name: str) -> Letters:
        if name != "letters":
            raise SettingError(f"unknown embedder {name!r}")
        return Letters()

    monkeypatch.setattr("curveroute.agent.embed.embedder_by_name", by_name)


def text_of(query: int) -> str:
    return f"{'abcde'[query % 5] * 3} {'fg'[query // 5 % 2] * 2} {query}"


def is_right(query: int, *, new: bool) -> bool:
    """What the models can do; of new queries (with a z) they can do those with an f alone."""
    return query // 5 % 2 == 0 if new else query % 5 != 0


@pytest.fixture
def predictor(tmp_path: Path) -> Path:
    x = asyncio.run(Letters().embed([text_of(query) for query in range(200)]))
    quality = np.array([[is_right(query, new=False)] * 2 for query in range(200)], dtype=np.float64)
    tokens = np.full((200, 2), 9.0)
    fitted = Predictor(embedder="letters").fit(x, quality, tokens, cost_usd=tokens * [1, 2], arms=ARMS)
    return save_predictor(fitted, tmp_path / "mine")


def hear(scores: dict[int, float], *, arm: Arm = ARMS[0], pool: str = "fake") -> None:
    """Runs over new queries, each with its score."""

    async def keep(ledger: Ledger) -> None:
        for query, score in scores.items():
            run = RunId(f"run-{query}-{arm.model}")
            attempt = Attempt(AttemptId(f"{run}.0"), "probe", arm, "x", None, Usage(1, 1), 0.0, "stop", 0.1)
            start = RunStart(run, pool, f"zzz {text_of(query)}", 0.5)
            end = RunEnd("accepted", "good", "x", attempt.attempt_id, arm)
            await ledger.record(run, start, AttemptMade(attempt, (0.0, 0.0, 0.0)), end)
            await ledger.give_feedback(run, score)

    with Ledger.open(load_settings().ledger_url) as ledger:
        asyncio.run(keep(ledger))


def honest(first: int, count: int) -> dict[int, float]:
    return {query: float(is_right(query, new=True)) for query in range(first, first + count)}


def quality(folder: Path, query: int = 1006) -> float:
    x = asyncio.run(Letters().embed([f"zzz {text_of(query)}"]))
    return float(load_predictor(folder).predict(x).quality[0, 0])


def test_it_learns_in_place_once_and_can_take_it_back(cli: Cli, predictor: Path, tmp_path: Path) -> None:
    hear(honest(1000, 120))
    before = quality(predictor)
    ran = cli("learn", "--predictor", str(predictor))
    assert (ran.status, ran.err) == (0, "")
    assert "120 new runs with feedback, served by small@16 (120)" in ran.out
    assert "on feedback not learned from, 120 scores: Brier" in ran.out
    assert "log loss" in ran.out
    assert quality(predictor) < before - 0.2  # a query that is now known to be hard
    assert quality(tmp_path / "mine.before-1") == before

    again = cli("learn", "--predictor", str(predictor))
    assert (again.status, again.out) == (0, "nothing new: all feedback was learned already\n")
    back = cli("learn", "--predictor", str(predictor), "--undo")
    assert "is again what mine.before-1 was" in back.out
    assert quality(predictor) == before
    assert cli("learn", "--predictor", str(predictor), "--undo").status == 2
    assert "120 new runs" in cli("learn", "--predictor", str(predictor), "--dry-run").out
    assert quality(predictor) == before


def test_more_feedback_is_judged_by_itself_and_corrections_are_told(cli: Cli, predictor: Path) -> None:
    hear(honest(1000, 100))
    cli("learn", "--predictor", str(predictor))
    hear({1000: 0.5, **{query: 0.5 + 0.4 * score for query, score in honest(2000, 60).items()}})
    ran = cli("learn", "--predictor", str(predictor), "--dry-run")
    assert "60 new runs" in ran.out
    assert "1 score learned before and changed since, corrected" in ran.out
    assert "100 runs learned before" in ran.out


def test_with_out_the_old_one_stays_where_it_is(cli: Cli, predictor: Path, tmp_path: Path) -> None:
    hear(honest(1000, 120))
    before = quality(predictor)
    ran = cli("learn", "--predictor", str(predictor), "--out", str(tmp_path / "new"))
    assert ran.status == 0
    assert quality(predictor) == before != quality(tmp_path / "new")
    assert not (tmp_path / "mine.before-1").exists()
    taken = cli("learn", "--predictor", str(predictor), "--out", str(tmp_path / "new"))
    assert (taken.status, "new holds a predictor already" in taken.complaint) == (2, True)
    assert cli("learn", "--predictor", str(predictor), "--out", str(tmp_path / "new"), "--overwrite").status == 0


def test_random_scores_are_refused_and_change_nothing(cli: Cli, predictor: Path) -> None:
    rng = np.random.default_rng(3)
    hear({query: float(rng.random()) for query in range(1000, 1150)})
    before = predictor.joinpath("predictor.json").read_bytes()
    ran = cli("learn", "--predictor", str(predictor))
    assert ran.status == 1
    assert "refused, nothing was changed: the scores go with nothing" in ran.out
    assert predictor.joinpath("predictor.json").read_bytes() == before


def table(folder: Path) -> str:
    """Queries like those of the feedback, of which this says the opposite."""
    rows = [
        Row(
            query_id=f"q{query}", query=f"zzz {text_of(query)}", task="t", model=str(arm.model), budget=arm.budget,
            sample=0, quality=float(not is_right(query, new=True)), answer="x", reference="x", finish_reason="stop",
            input_tokens=9, output_tokens=9, cost_usd=1.0,
        )
        for query in range(3000, 3060) for arm in ARMS
    ]  # fmt: skip
    write_table(folder / "table.jsonl", rows)
    return str(folder / "table.jsonl")


def test_a_table_on_which_the_error_would_rise_refuses(cli: Cli, predictor: Path, tmp_path: Path) -> None:
    hear(honest(1000, 120))
    words = ("learn", "--predictor", str(predictor), "--table", table(tmp_path))
    ran = cli(*words)
    assert ran.status == 1
    assert "on the table, 120 scores: Brier" in ran.out
    assert "refused, nothing was changed: the error on the table" in ran.out
    assert cli(*words, "--tolerance", "1", "--dry-run").status == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "there is no feedback yet"),
        (("--tolerance", "-1"), "--tolerance is -1"),
        (("--seed", "-1"), "--seed is -1"),
        (("--embedder", "other"), "there is no feedback yet"),
    ],
)
def test_what_is_wrong_is_one_line(cli: Cli, predictor: Path, words: tuple[str, ...], complaint: str) -> None:
    ran = cli("learn", "--predictor", str(predictor), *words)
    assert ran.status == 2
    assert complaint in ran.complaint


def test_feedback_that_cannot_be_learned_from_says_why(cli: Cli, predictor: Path) -> None:
    hear(honest(1000, 5), arm=Arm(ModelId("strange"), 16))
    assert "answers of strange, and the predictor knows big, small" in cli("learn", "--predictor", str(predictor)).err
    hear(honest(1000, 5))
    ran = cli("learn", "--predictor", str(predictor))
    assert (ran.status, "5 runs with feedback to learn from, and 20 are needed" in ran.err) == (2, True)
    ran = cli("learn", "--predictor", str(predictor), "--embedder", "other")
    assert (ran.status, "unknown embedder 'other'" in ran.err) == (2, True)
    hear({1: 1.0}, pool="elsewhere", arm=ARMS[1])
    ran = cli("learn", "--predictor", str(predictor), "--pool", "elsewhere")
    assert "1 run with feedback" in ran.err


def test_queries_that_were_removed_from_the_ledger_are_told(cli: Cli, predictor: Path) -> None:
    import sqlite3
    from contextlib import closing

    hear(honest(1000, 30))
    path = load_settings().ledger_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE runs SET query_text = ''")
    assert "no longer holds the words of the 30 queries" in cli("learn", "--predictor", str(predictor)).err


def test_a_damaged_predictor_is_one_line(cli: Cli, predictor: Path) -> None:
    (predictor / "weights.safetensors").write_bytes(b"x")
    ran = cli("learn", "--predictor", str(predictor))
    assert (ran.status, "is damaged" in ran.err, ran.err.count("\n")) == (2, True, 1)


def test_the_package_s_own_predictor_is_not_written_over(cli: Cli) -> None:
    ran = cli("learn", "--pool", "local")
    assert (ran.status, "give --out FOLDER" in ran.err) == (2, True)
