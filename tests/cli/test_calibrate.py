"""``curveroute calibrate``: a predictor that knows what it can promise, or one line that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.columns import columns_hash, read_columns
from curveroute.agent.bench.table import Row, write_table
from curveroute.agent.errors import SettingError
from curveroute.agent.evals.calibrate import Calibration, KindFit
from curveroute.agent.looking.course import BASE, Course
from curveroute.agent.looking.looking import Looking
from curveroute.agent.looking.recorded import Slot
from curveroute.agent.predictor import Predictor, load_predictor, save_predictor
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.conformal import Promise
from curveroute.agent.verify.jury import Jury
from curveroute.agent.verify.scale import Calibrator
from curveroute.cli.calibrate import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ran

    from curveroute.agent.embed import Vectors

    Cli = Callable[..., Ran]

SMALL, LARGE = Arm(ModelId("small"), 16), Arm(ModelId("large"), None)
RIGHT = {SMALL: 0.75, LARGE: 0.97}
COST = {SMALL: 1e-6, LARGE: 5e-5}


class Letters:
    """Embeds a text as how often it has which letters."""

    name, dim = "letters", 26

    async def embed(self, texts: Any) -> Vectors:
        return np.array([[text.count(chr(97 + place)) for place in range(26)] for text in texts], dtype=np.float32)


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_name(name: str) -> Letters:
        if name != "letters":
            raise SettingError(f"unknown embedder {name!r}")
        return Letters()

    monkeypatch.setattr("curveroute.agent.embed.embedder_by_name", by_name)


def rows_of(queries: int, seed: int, arms: tuple[Arm, ...] = (SMALL, LARGE)) -> list[Row]:
    """Sums: a model that errs says something that no other says."""
    random = np.random.default_rng(seed)
    rows = []
    for query in range(queries):
        for place, arm in enumerate(arms):
            right = bool(random.random() < RIGHT.get(arm, 0.5))
            rows.append(
                Row(
                    query_id=f"q{seed}-{query}", query=f"How many is {query} plus {seed}?", task="sums",
                    model=arm.model, budget=arm.budget, sample=0, quality=float(right),
                    answer=str(query if right else 10_000 + query * 10 + place), reference=str(query),
                    finish_reason="stop", input_tokens=10, output_tokens=4, cost_usd=COST.get(arm, 1e-5),
                )
            )  # fmt: skip
    return rows


def a_course(weight: float) -> Course:
    """Ask the small one, then the large one where that is worth its price."""
    weights = np.zeros((4, BASE + 2, 3), dtype=np.float32)
    weights[0, 0, 1] = 1.0  # before anything was asked, the small one comes first
    weights[1, 1, 0], weights[1, 0, 2] = 1.0, 0.95
    weights[2, 1, 0] = weights[3, 1, 0] = 1.0
    return Course((Slot(SMALL), Slot(LARGE)), weight, weights)


@pytest.fixture
def predictor() -> str:
    write_table(Path("old.jsonl"), rows_of(60, 1))
    columns = read_columns(Path("old.jsonl"))
    random = np.random.default_rng(0)
    fitted = Predictor(embedder="letters").fit(
        random.random((60, 26)),
        np.column_stack([random.random(60) < RIGHT[arm] for arm in (SMALL, LARGE)]).astype(float),
        np.full((60, 2), 4.0),
        cost_usd=np.tile([COST[SMALL], COST[LARGE]], (60, 1)),
        arms=(SMALL, LARGE),
        data_hash=columns_hash(columns),
    )
    courses = tuple(a_course(weight) for weight in (0.01, 0.1, 1.0))
    save_predictor(fitted.with_looking(Looking(Jury.unfitted(), courses, COST[LARGE])), "predictor")
    return "predictor"


@pytest.fixture
def table() -> str:
    write_table(Path("new.jsonl"), rows_of(800, 2))
    return "new.jsonl"


def test_calibrating_writes_what_can_be_promised_into_the_predictor(cli: Cli, predictor: str, table: str) -> None:
    before = load_predictor(predictor)
    ran = cli("calibrate", table, "--predictor", predictor, "--epsilon", "0.1", "0.3", "--tradeoff", "0.1")
    assert ran.status == 0, ran.err
    assert "fitted on 200 queries, thresholds tested on 400 others at level 0.1, measured on 200 more" in ran.out
    after = load_predictor(predictor)
    assert after.looking_ is not None
    promise = after.looking_.calibrator.promise(0.3, 0.1)
    assert promise is not None
    assert promise.measured is not None
    assert promise.measured.error is not None
    assert promise.measured.error < 0.3
    assert after.data_hash_ == before.data_hash_
    assert (after.heads_.weights == before.heads_.weights).all()


def test_errors_of_a_few_queries_are_not_told_and_those_that_rose_are(capsys: pytest.CaptureFixture[str]) -> None:
    fits = (
        KindFit("text", 60, 1.2, 0.3, 0.04, 0.05, 0.2, 0.19),
        KindFit("number", 4, 0.9, 0.1, 0.123, 0.456, 0.3, 0.2),
        KindFit("all", 64, 1.0, 0.0, 0.06, 0.05, 0.2, 0.19),
    )
    promise = Promise(0.1, 0.05, 0.1, None, "it takes more answers", 60)
    show(Calibration(Calibrator({}, promises=(promise,)), fits, (64, 120, 60)), Path("predictor"))
    lines = capsys.readouterr().out.splitlines()
    rows = {words[0]: words[1:] for line in lines if (words := line.split()) and words[0] in {"text", "number", "all"}}
    assert rows["text"] == ["60", "1.20·x", "+0.30", "0.040", "0.050", "0.200", "0.190"]
    assert rows["number"] == ["4", "0.90·x", "+0.10", "too", "few"]
    assert rows["all"] == ["64", "0.060", "0.050", "0.200", "0.190"]
    (told,) = (line for line in lines if "higher after than before" in line)
    assert told.startswith("the ECE of text is higher")


def test_the_predictor_stays_as_it_was_where_another_folder_is_given(cli: Cli, predictor: str, table: str) -> None:
    before = [(path.name, path.read_bytes()) for path in sorted(Path(predictor).iterdir())]
    ran = cli("calibrate", table, "--predictor", predictor, "--out", "calibrated", "--json")
    assert [(path.name, path.read_bytes()) for path in sorted(Path(predictor).iterdir())] == before
    found = json.loads(ran.out)
    looking = load_predictor("calibrated").looking_
    assert looking is not None
    assert looking.calibrator.to_json() == {name: found[name] for name in looking.calibrator.to_json()}
    assert found["queries"] == {"calibrator": 200, "thresholds": 400, "measured": 200}
    assert found["written_to"] == "calibrated"
    assert [(one["tradeoff"], one["epsilon"]) for one in found["promises"]] == [
        (tradeoff, epsilon) for tradeoff in (0.1, 0.3, 0.5) for epsilon in (0.05, 0.1, 0.2)
    ]


def test_the_same_seed_finds_the_same(cli: Cli, predictor: str, table: str) -> None:
    words = ("calibrate", table, "--predictor", predictor, "--out", "calibrated", "--json", "--seed", "3")
    first, taken, again = cli(*words), cli(*words), cli(*words, "--overwrite")
    assert first.out == again.out
    assert (taken.status, "calibrated holds a predictor already" in taken.complaint) == (2, True)


def test_too_few_queries_promise_nothing_and_say_why(cli: Cli, predictor: str) -> None:
    write_table(Path("few.jsonl"), rows_of(40, 3))
    ran = cli("calibrate", "few.jsonl", "--predictor", predictor, "--epsilon", "0.05", "--tradeoff", "0.1")
    assert ran.status == 0
    assert "0.05 cannot be promised: it takes 45 answers without an error, and 20 were there to test on, " in ran.out
    assert "that is a table of about 90 queries, not 40" in ran.out


def test_the_table_that_the_predictor_was_trained_on_is_refused(cli: Cli, predictor: str) -> None:
    ran = cli("calibrate", "old.jsonl", "--predictor", predictor)
    assert ran.status == 2
    assert "was trained on old.jsonl" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--epsilon", "1.5"), "--epsilon is 1.5; give a number between 0 and 1"),
        (("--epsilon", "nan"), "--epsilon is nan"),
        (("--delta", "0"), "--delta is 0"),
        (("--tradeoff", "0.1", "2"), "--tradeoff is 2"),
        (("--seed", "-1"), "--seed is -1"),
        (("--embedder", "other"), "unknown embedder 'other'"),
    ],
)
def test_a_value_out_of_range_is_one_line(
    cli: Cli, predictor: str, table: str, words: tuple[str, ...], said: str
) -> None:
    ran = cli("calibrate", table, "--predictor", predictor, *words)
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert said in ran.err


def test_a_shipped_predictor_is_not_overwritten(cli: Cli, table: str) -> None:
    ran = cli("calibrate", table, "--predictor", "local")
    assert ran.status == 2
    assert "give --out" in ran.err


def test_a_table_that_lacks_an_arm_of_the_courses_is_refused(cli: Cli, predictor: str) -> None:
    write_table(Path("half.jsonl"), rows_of(100, 4, (SMALL,)))
    ran = cli("calibrate", "half.jsonl", "--predictor", predictor)
    assert ran.status == 2
    assert "the table has no answers of large@unlimited" in ran.err
    write_table(Path("other.jsonl"), rows_of(100, 4, (Arm(ModelId("other"), 16),)))
    assert "no answers of the predictor's arms" in cli("calibrate", "other.jsonl", "--predictor", predictor).err


def test_a_predictor_that_learned_no_courses_is_refused(cli: Cli, predictor: str, table: str) -> None:
    save_predictor(load_predictor(predictor).with_looking(None), predictor)
    ran = cli("calibrate", table, "--predictor", predictor)
    assert ran.status == 2
    assert "has learned no courses" in ran.err


def test_a_table_with_next_to_no_queries_is_refused(cli: Cli, predictor: str) -> None:
    write_table(Path("tiny.jsonl"), rows_of(5, 4))
    ran = cli("calibrate", "tiny.jsonl", "--predictor", predictor)
    assert ran.status == 2
    assert "the table has 5 different queries; calibration needs 20 or more" in ran.err
