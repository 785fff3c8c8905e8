"""Bad input: one clear line on standard error, a status that is not 0, nothing on standard output, nothing spent."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from curveroute.agent.bench.table import Row
from curveroute.agent.embed import DEFAULT_EMBEDDER, default_embedder
from curveroute.agent.errors import CurverouteError
from curveroute.agent.predictor import Predictor, save_predictor
from curveroute.agent.types import Arm, ModelId
from curveroute.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import FakeModels, Ran

    Cli = Callable[..., Ran]

FAULTS: list[tuple[list[str], int, str]] = [
    (["ask", ""], 1, "the question is empty"),
    (["ask", " \n"], 1, "the question is empty"),
    (["ask", "-"], 1, "the question is empty"),
    (["ask", "\udcff"], 1, "not valid UTF-8"),
    (["ask"], 2, "required: question"),
    (["ask", "x", "--pool", "lokal"], 2, "Did you mean 'local'?"),
    (["ask", "x", "--pool", "no/such.toml"], 2, "'no/such.toml' does not exist"),
    (["ask", "x", "--allow", "smol"], 2, "unknown model 'smol'"),
    (["ask", "x", "--deny", "smol"], 2, "unknown model 'smol'"),
    (["ask", "x", "--tradeoff", "1.5"], 2, "--tradeoff is 1.5; give a number from 0 to 1"),
    (["ask", "x", "--tradeoff", "-0.1"], 2, "from 0 to 1"),
    (["ask", "x", "--tradeoff", "nan"], 2, "from 0 to 1"),
    (["ask", "x", "--tradeoff", "abc"], 2, "'abc'"),
    (["ask", "x", "--max-cost", "0"], 2, "a positive number of USD"),
    (["ask", "x", "--max-cost", "-1"], 2, "a positive number of USD"),
    (["ask", "x", "--max-cost", "nan"], 2, "a positive number of USD"),
    (["ask", "x", "--max-cost", "inf"], 2, "a positive number of USD"),
    (["ask", "x", "--seconds-usd", "-1"], 2, "--seconds-usd is -1; give a number of USD, 0 or more"),
    (["ask", "x", "--seconds-usd", "nan"], 2, "0 or more"),
    (["ask", "x", "--seconds-usd", "inf"], 2, "0 or more"),
    (["ask", "x", "--seconds-usd", "soon"], 2, "'soon'"),
    (["ask", "x", "--explain", "--json"], 2, "not allowed with"),
    (["ask", "x", "--trade", "0.5"], 2, "unrecognized arguments: --trade"),
    (["ask", "x", "--predictor", "nowhere"], 2, "nowhere"),
    (["asq", "x"], 2, "did you mean 'ask'?"),
    (
        ["bogus"],
        2,
        "commands: ask, models, collect, table, train, calibrate, onboard, evaluate, feedback, learn, runs, ",
    ),
    (["--bogus"], 2, "--bogus"),
    (["runs", "show"], 2, "arguments are required: run"),
    (["runs", "show", "beef"], 2, "no run 'beef'"),
    (["runs", "verify", "beef"], 2, "no run 'beef'"),
    (["runs", "list", "--limit", "0"], 2, "--limit is 0; give 1 or more"),
    (["runs", "list", "--limit", str(10**30)], 2, "give 1000000 or less"),
    (["runs", "forget"], 2, "'forget'"),
    (["pools", "lokal"], 2, "Did you mean 'local'?"),
    (["models", "fetch", "gpt"], 2, "unknown model 'gpt'"),
    (["collect", "--out", "table.xlsx"], 2, "table.xlsx: a curve table ends in .parquet, .csv, .jsonl"),
    (["collect", "--out", "table"], 2, "not 'nothing'"),
    (["collect", "--out", "file/table.csv"], 2, "cannot write"),
    (["collect", "--out", "folder.csv"], 2, "it is a folder"),
    (["collect", "--out", "table.csv", "--limit", "0"], 2, "--limit is 0; give 1 or more"),
    (["collect", "--out", "table.csv", "--samples", "0"], 2, "--samples is 0"),
    (["collect", "--out", "table.csv", "--concurrency", "0"], 2, "--concurrency is 0"),
    (["collect", "--out", "table.csv", "--per-family", "-1"], 2, "--per-family is -1"),
    (["train", "table.xlsx", "--out", "p"], 2, "a curve table ends in"),
    (["train", "nowhere.csv", "--out", "p"], 2, "no table at nowhere.csv"),
    (["train", "file", "--out", "p"], 2, "a curve table ends in"),
]


@pytest.mark.parametrize(("words", "status", "why"), FAULTS, ids=[" ".join(fault[0]) for fault in FAULTS])
def test_one_clear_line_and_a_status(cli: Cli, tmp_path: Path, words: list[str], status: int, why: str) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder.csv").mkdir()
    ran = cli(*words)
    assert ran.status == status
    assert why in ran.complaint


def test_errors_of_usage_name_the_command_that_tells_the_usage(cli: Cli) -> None:
    assert cli("ask", "x", "--tradeoff", "abc").complaint.endswith("`curveroute ask --help` shows the usage")
    assert cli("asq").complaint.endswith("`curveroute --help` shows the usage")


@pytest.mark.parametrize("at_end", [False, True])
def test_debug_shows_where(cli: Cli, at_end: bool) -> None:
    words = ["ask", "x", "--pool", "nowhere"]
    with pytest.raises(CurverouteError):
        cli(*([*words, "--debug"] if at_end else ["--debug", *words]))


def test_a_fault_of_the_program_is_one_line_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_name: str) -> None:
        raise ZeroDivisionError("line one\nline two")

    monkeypatch.setattr("curveroute.agent.pool.load_pool", fail)
    assert "unexpected ZeroDivisionError: line one; line two; --debug shows where" in cli("pools", "local").complaint
    with pytest.raises(ZeroDivisionError):
        main(["pools", "local", "--debug"])


def test_a_hosted_pool_without_its_key(cli: Cli, pool: str, models: FakeModels) -> None:
    edit(pool, 'id = "strong"', 'id = "strong"\nkey_env = "SOME_PROVIDER_KEY"')
    ran = cli("ask", "x", "--pool", pool)
    assert ran.status == 2
    assert "model 'strong' needs a key: set the environment variable SOME_PROVIDER_KEY" in ran.complaint
    assert models.asked == []


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("tokens = 16", "tokens = -16", "fake.toml: budgets[0].tokens: "),
        ('planner = "strong"', 'planner = "strnog"', "planner = 'strnog' is not a model of this pool"),
        ('planner = "strong"', 'planer = "strong"', "fake.toml: planer: "),
        ("[[models]]", "[models", "not valid TOML"),
        ("context_window = 4096", "", "fake.toml: models[0] (weak).context_window: Field required"),
    ],
)
def test_a_malformed_pool_names_file_key_and_remedy(cli: Cli, pool: str, old: str, new: str, why: str) -> None:
    edit(pool, old, new)
    for words in (["ask", "x", "--pool", pool], ["pools", pool], ["collect", "--out", "t.csv", "--pool", pool]):
        ran = cli(*words)
        assert ran.status == 2
        assert why in ran.complaint


def test_a_pool_without_any_opinion_of_its_models(cli: Cli, pool: str) -> None:
    edit(pool, "prior = ", "# ")
    assert "known neither to the predictor nor by a `prior` curve" in cli("ask", "x", "--pool", pool).complaint


def test_a_cap_too_small_for_any_arm(cli: Cli, pool: str, models: FakeModels) -> None:
    ran = cli("ask", "x", "--pool", pool, "--max-cost", "1e-9", "--json")
    assert ran.status == 1
    assert "raise the cap" in ran.complaint
    assert models.asked == []


def test_a_question_that_no_model_can_read(cli: Cli, pool: str, models: FakeModels) -> None:
    assert "shorten it" in cli("ask", "word " * 5000, "--pool", pool).complaint
    assert models.asked == []


def test_every_model_denied(cli: Cli, pool: str) -> None:
    assert "no arm" in cli("ask", "x", "--pool", pool, "--deny", "weak", "--deny", "strong").complaint


def test_a_ledger_that_cannot_be_opened(cli: Cli, pool: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    for url in ("nonsense", f"sqlite:///{tmp_path}/file/ledger.sqlite", f"sqlite:///{tmp_path}/file"):
        monkeypatch.setenv("CURVEROUTE_LEDGER", url)
        for words in (["runs", "list"], ["ask", "x", "--pool", pool]):
            ran = cli(*words)
            assert ran.status == 2
            assert "ledger" in ran.complaint


def test_a_damaged_predictor(cli: Cli, pool: str, tmp_path: Path) -> None:
    folder = a_predictor(tmp_path / "damaged", "weak", "strong")
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    ran = cli("ask", "x", "--pool", pool, "--predictor", str(folder))
    assert ran.status == 2
    assert "is damaged" in ran.complaint
    (folder / "predictor.json").write_text("{")
    assert "is damaged" in cli("ask", "x", "--pool", pool, "--predictor", str(folder)).complaint


def test_a_predictor_made_for_another_embedder_or_pool(cli: Cli, pool: str, tmp_path: Path) -> None:
    other_space = a_predictor(tmp_path / "space", "weak", "strong", embedder="minilm")
    assert "choose the embedder 'minilm'" in cli("ask", "x", "--pool", pool, "--predictor", str(other_space)).complaint
    other_pool = a_predictor(tmp_path / "pool", "gpt", "claude")
    ran = cli("ask", "x", "--pool", pool, "--predictor", str(other_pool))
    assert "pool 'fake' has none of them" in ran.complaint
    assert ran.status == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"quality": 1.5}, "table.jsonl, row 3, column quality: 1.5 is not between 0 and 1"),
        ({"query": "another text"}, "table.jsonl, row 4, column query: query_id 'q1' has another text in row 3"),
        ({"model": "gpt"}, "which has no price"),
    ],
)
def test_a_faulty_table_names_row_and_column(cli: Cli, pool: str, change: dict[str, object], why: str) -> None:
    rows = [asdict(a_row(number)) for number in range(60)]
    rows[2] |= change
    Path("table.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    ran = cli("train", "table.jsonl", "--out", "p", "--pool", pool)
    assert ran.status == 2
    assert why in ran.complaint
    assert not Path("p").exists()


def a_row(number: int) -> Row:
    model, quality = ("weak", "strong")[number % 2], number % 3 / 2
    query, answer = (f"q{number // 2}", f"text {number // 2}", "t"), ("1", "1", "stop", 9, 3, 1e-5)
    return Row(*query, model, 16, 0, quality, *answer)


def edit(pool: str, old: str, new: str) -> None:
    text = Path(pool).read_text()
    assert old in text
    Path(pool).write_text(text.replace(old, new))


def a_predictor(folder: Path, *models: str, embedder: str = DEFAULT_EMBEDDER) -> Path:
    random = np.random.default_rng(0)
    arms = [Arm(ModelId(model), budget) for model in models for budget in (16, 256)]
    quality = random.integers(0, 2, (40, len(arms)))
    tokens = np.full(quality.shape, 9.0)
    predictor = Predictor(embedder=embedder)
    predictor.fit(random.normal(size=(40, default_embedder().dim)), quality, tokens, cost_usd=tokens * 1e-6, arms=arms)
    return save_predictor(predictor, folder)
