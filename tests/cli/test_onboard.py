"""``curveroute onboard``: a predictor with one more model, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.table import Row, write_table
from curveroute.agent.errors import SettingError
from curveroute.agent.predictor import Predictor, load_predictor, save_predictor
from curveroute.agent.types import Arm, ModelId

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ran

    from curveroute.agent.embed import Vectors

    Cli = Callable[..., Ran]

BUDGETS = (16, None)
OLD = ("small", "large")
HARD = {"small": 3, "large": 9, "fresh": 5}


class Letters:
    """Embeds a text as how often it has which letters."""

    name, dim = "letters", 26

    async def embed(self, texts: Any) -> Vectors:
        counts = [[text.count(chr(97 + place)) for place in range(26)] for text in texts]
        return np.array(counts, dtype=np.float32)


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = Letters()

    def by_name(name: str) -> Letters:
        if name != "letters":
            raise SettingError(f"unknown embedder {name!r}")
        return embedder

    monkeypatch.setattr("curveroute.agent.embed.embedder_by_name", by_name)


def text_of(query: int) -> str:
    return "aeiou"[query % 5] * (1 + query % 4) + f" {query}"


def rows_of(queries: int, models: tuple[str, ...] = (*OLD, "fresh")) -> list[Row]:
    return [
        Row(
            query_id=f"q{query}", query=text_of(query), task="letters", model=model, budget=budget, sample=0,
            quality=float(query % HARD[model] != 0 and (budget is None or query % 2 == 0)), answer="x", reference="x",
            finish_reason="stop", input_tokens=10, output_tokens=8 if budget else 40 + query % 5, cost_usd=1e-5,
        )
        for query in range(queries)
        for model in models
        for budget in BUDGETS
    ]  # fmt: skip


@pytest.fixture
def table() -> str:
    write_table(Path("table.jsonl"), rows_of(60))
    return "table.jsonl"


@pytest.fixture
def old() -> str:
    save_predictor(fitted(), "old")
    return "old"


def fitted(embedder: str = "letters") -> Predictor:
    x = np.array([[text_of(query).count(chr(97 + place)) for place in range(26)] for query in range(60)])
    arms = tuple(Arm(ModelId(model), budget) for model in OLD for budget in BUDGETS)
    rows = {(row.query_id, row.model, row.budget): row for row in rows_of(60)}
    cells = [[rows[f"q{query}", arm.model, arm.budget] for arm in arms] for query in range(60)]
    quality, tokens, cost = (
        np.array([[getattr(cell, name) for cell in line] for line in cells], dtype=float)
        for name in ("quality", "output_tokens", "cost_usd")
    )
    return Predictor(embedder=embedder).fit(x, quality, tokens, cost_usd=cost, arms=arms)


def test_a_model_is_added_and_the_others_stay(cli: Cli, table: str, old: str) -> None:
    ran = cli("onboard", "fresh", "--table", table, "--predictor", old, "--out", "new")
    assert (ran.status, ran.err) == (0, "")
    for words in (
        "fresh@16",
        "fresh@unlimited",
        "60",
        "believed",
        "0.800",
        "added 2 arms of fresh from 60 queries to 4",
    ):
        assert words in ran.out
    before, after = load_predictor("old"), load_predictor("new")
    assert [str(arm) for arm in after.arms_[4:]] == ["fresh@16", "fresh@unlimited"]
    assert after.heads_.weights[:4].tobytes() == before.heads_.weights[:4].tobytes()
    assert after.metrics_["fresh@unlimited"]["queries"] == 60.0


def test_some_random_queries_are_enough_and_the_seed_draws_them(cli: Cli, table: str, old: str) -> None:
    drawn = []
    for seed in ("0", "0", "1"):
        ran = cli(
            "onboard",
            "fresh",
            "--table",
            table,
            "--predictor",
            old,
            "--out",
            f"new-{len(drawn)}",
            "--queries",
            "25",
            "--seed",
            seed,
        )
        assert ran.status == 0
        assert "from 25 queries" in ran.out
        drawn.append(load_predictor(f"new-{len(drawn)}").heads_.weights.tobytes())
    assert drawn[0] == drawn[1] != drawn[2]


def test_fewer_queries_than_asked_are_said(cli: Cli, table: str, old: str) -> None:
    ran = cli("onboard", "fresh", "--table", table, "--predictor", old, "--out", "new", "--queries", "500")
    assert ran.status == 0
    assert ran.err == "note: fresh answered 60 of the 500 queries asked for: all of them are used\n"


def test_answers_of_the_new_model_alone_are_enough(cli: Cli, old: str) -> None:
    write_table(Path("alone.csv"), rows_of(60, ("fresh",)))
    ran = cli("onboard", "fresh", "--table", "alone.csv", "--predictor", old, "--out", "new")
    assert (ran.status, ran.err) == (0, "")


def test_the_predictor_is_replaced_when_asked_to_alone(cli: Cli, table: str, old: str) -> None:
    words = ("onboard", "fresh", "--table", table, "--predictor", old, "--out", old)
    refused = cli(*words)
    assert (refused.status, "holds a predictor already" in refused.complaint) == (2, True)
    assert len(load_predictor(old).arms_) == 4
    assert cli(*words, "--overwrite").status == 0
    assert len(load_predictor(old).arms_) == 6


def test_the_pool_names_the_predictor(cli: Cli, table: str, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curveroute.compose.find_predictor", lambda pool, given: fitted())
    assert cli("onboard", "fresh", "--table", table, "--pool", "local", "--out", "new").status == 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": "fersh"}, "table.jsonl has no answers of model 'fersh'; it has fresh, large, small: name one"),
        ({"model": "small"}, "the predictor already knows model 'small': to replace what it knows, train again"),
        ({"--queries": "19"}, "--queries is 19; give 20 or more"),
        ({"--seed": "-1"}, "--seed is -1; give 0 or more"),
        ({"--predictor": "nowhere"}, "nowhere"),
        ({"--predictor": None}, "no predictor is named; give --predictor"),
        ({"--predictor": None, "--pool": "openai"}, "pool 'openai' has no predictor; give --predictor"),
        ({"--predictor": "other"}, "unknown embedder 'toy'"),
        ({"--predictor": "other", "--embedder": "letters"}, "the predictor reads 'toy' in 26 dimensions"),
        ({"--table": "few.jsonl"}, "has 19 queries that all its 2 arms answered, and needs 20: collect more"),
        ({"--table": "absent.jsonl"}, "absent.jsonl"),
        ({"--table": "bad.jsonl"}, "quality"),
        ({"--out": "taken"}, "taken exists and holds no predictor"),
    ],
)
def test_what_is_wrong_is_one_line(
    cli: Cli, table: str, old: str, changes: dict[str, str | None], complaint: str
) -> None:
    save_predictor(fitted("toy"), "other")
    write_table(Path("few.jsonl"), rows_of(19))
    Path("bad.jsonl").write_text(Path(table).read_text().replace('"quality": 1.0', '"quality": NaN'))
    Path("taken").mkdir()
    Path("taken", "file").touch()
    options = {"model": "fresh", "--table": table, "--predictor": old, "--out": "new", **changes}
    model = str(options.pop("model"))
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    ran = cli("onboard", model, *words)
    assert ran.status == 2
    assert complaint in ran.complaint
    assert not Path("new").exists()


def test_a_shipped_predictor_goes_by_its_name(cli: Cli, table: str) -> None:
    ran = cli("onboard", "fresh", "--table", table, "--predictor", "local", "--out", "new")
    assert "unknown embedder 'use-multilingual-v3" in ran.complaint
