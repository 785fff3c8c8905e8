"""Replaying runs that a predictor decided: with the run's own, on its own rule and promise, or it is told why not."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.embed import DEFAULT_EMBEDDER, default_embedder
from curveroute.agent.looking.course import BASE, Course
from curveroute.agent.looking.looking import Looking
from curveroute.agent.looking.recorded import Slot
from curveroute.agent.predictor import Predictor, save_predictor
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.conformal import Measured, Promise
from curveroute.agent.verify.jury import Jury
from curveroute.agent.verify.scale import Calibrator
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ran

    Cli = Callable[..., Ran]

QUESTION = "How many minutes from 14:10 to 16:45?"
ARMS = [Arm(ModelId(model), budget) for model in ("weak", "strong") for budget in (16, 256)]
WEAK, STRONG = ARMS[1], ARMS[3]
GOOD = {WEAK: 0.5, STRONG: 0.95}
PROMISE = Promise(0.0, 0.1, 0.1, 0.999, "", 100, Measured(50, 40, 0.0, 0.0, 0.1))


def a_predictor(folder: str, first: Arm = STRONG, *, courses: bool = True, **calibrated: Any) -> str:
    """Believes the strong model; its one course asks ``first`` and nobody else."""
    random = np.random.default_rng(0)
    believed = np.array([GOOD.get(arm, 0.2) for arm in ARMS])
    quality = (random.random((40, len(ARMS))) < believed).astype(float)
    cost = np.tile([1e-5 if arm.model == "weak" else 4e-5 for arm in ARMS], (40, 1))
    x = random.normal(size=(40, default_embedder().dim))
    fitted = Predictor(embedder=DEFAULT_EMBEDDER)
    fitted.fit(x, quality, np.full(quality.shape, 9.0), cost_usd=cost, arms=ARMS)
    weights = np.zeros((2, BASE + 1, 2), dtype=np.float32)
    course = (Course((Slot(first),), 0.01, weights),) if courses else ()
    looking = Looking(Jury.unfitted(), course, 4e-5, Calibrator({}, **calibrated))
    save_predictor(fitted.with_looking(looking), folder)
    return folder


def ask(pool: str, predictor: str | None, **terms: Any) -> str:
    with Router.from_pool(pool, tradeoff=0.0, plan=False, judge=False, predictor=predictor) as router:
        return router.invoke(QUESTION, **terms).run_id


def replayed(cli: Cli, pool: str, *words: str) -> dict[str, Any]:
    ran = cli("runs", "replay", "--pool", pool, *words, "--json")
    assert (ran.status, ran.err) == (0, "")
    report: dict[str, Any] = json.loads(ran.out)
    return report


def test_a_run_is_decided_again_with_the_predictor_that_it_was_made_with(cli: Cli, pool: str) -> None:
    a_predictor("weak", WEAK)
    ask(pool, a_predictor("strong"))
    (own,) = replayed(cli, pool)["runs"]
    assert (own["reproduced"], own["changes"], own["notes"]) == (True, [], [])
    (other,) = replayed(cli, pool, "--predictor", "weak")["runs"]
    assert not other["reproduced"]
    assert other["now"]["asked"] == ["weak@256"]
    told = "the predictor is another one than they were made with"
    assert (own["otherwise"], other["otherwise"]) == ("", told)
    shown = cli("runs", "replay", "--pool", pool, "--predictor", "weak").out
    assert f"1 of them would go otherwise today on their own terms too: {told}" in shown


def test_runs_of_one_pool_keep_their_predictors_apart(cli: Cli, pool: str) -> None:
    for predictor in (a_predictor("weak", WEAK), a_predictor("strong"), None):
        ask(pool, predictor)
    runs = replayed(cli, pool)["runs"]
    assert [(one["reproduced"], one["notes"]) for one in runs] == [(True, [])] * 3
    assert [one["now"]["asked"][0] for one in runs[1:]] == ["strong@256", "weak@256"]


def test_a_predictor_that_became_another_one_is_used_and_told(cli: Cli, pool: str) -> None:
    ask(pool, a_predictor("p"))
    a_predictor("p", WEAK)
    (one,) = replayed(cli, pool)["runs"]
    (note,) = one["notes"]
    assert f"the predictor in {Path('p').resolve()} is another one by now" in note
    assert (one["reproduced"], one["now"]["asked"]) == (False, ["weak@256"])
    assert f"note: 1 run(s): {note}" in cli("runs", "replay", "--pool", pool).out


def test_a_predictor_that_is_gone_is_told_with_what_stood_in_for_it(cli: Cli, pool: str) -> None:
    ask(pool, a_predictor("p"))
    shutil.rmtree("p")
    (one,) = replayed(cli, pool)["runs"]
    assert one["notes"] == [
        f"the predictor that they were made with is gone from {Path('p').resolve()}: "
        "decided with the pool's prior curves"
    ]


def test_a_predictor_that_moved_with_its_pool_is_the_same(cli: Cli, pool: str) -> None:
    ask(pool, a_predictor("p"))
    Path("p").rename("moved")
    Path(pool).write_text(f'predictor = "moved"\n{Path(pool).read_text()}')
    (one,) = replayed(cli, pool)["runs"]
    assert (one["reproduced"], one["notes"]) == (True, [])


def test_a_run_that_does_not_know_its_predictor_says_so(cli: Cli, pool: str, home: Path) -> None:
    ask(pool, None)
    with closing(sqlite3.connect(home / "data" / "ledger.sqlite")) as database, database:
        database.execute("UPDATE runs SET settings = NULL")
    (one,) = replayed(cli, pool)["runs"]
    assert "not on record" in one["notes"][0]
    assert one["reproduced"]


def test_a_cap_on_a_run_whose_bounds_are_not_known_is_told(cli: Cli, pool: str, home: Path) -> None:
    ask(pool, None)
    (known,) = replayed(cli, pool, "--max-cost", "0.01")["runs"]
    with closing(sqlite3.connect(home / "data" / "ledger.sqlite")) as database, database:
        ((kept,),) = database.execute("SELECT candidates FROM runs")
        older = [{key: one[key] for key in one.keys() - {"input_bound", "output_limit"}} for one in json.loads(kept)]
        database.execute("UPDATE runs SET candidates = ?", (json.dumps(older),))
    (capped,) = replayed(cli, pool, "--max-cost", "0.01")["runs"]
    (free,) = replayed(cli, pool)["runs"]
    assert (known["notes"], free["notes"]) == ([], [])
    assert "does not say how long conversation and form were" in capped["notes"][0]


def test_a_runs_own_rule_is_followed_unless_another_is_given(cli: Cli, pool: str) -> None:
    ask(pool, a_predictor("p", WEAK), policy="closed-form")
    (own,) = replayed(cli, pool)["runs"]
    assert (own["reproduced"], own["was"]["asked"][0]) == (True, "strong@256")
    (other,) = replayed(cli, pool, "--policy", "learned")["runs"]
    assert other["reproduced"], "its own terms are still those that it was decided on"
    assert other["now"]["asked"] == ["weak@256"]


def test_a_rule_that_the_predictor_no_longer_holds_leaves_the_run_out(cli: Cli, pool: str) -> None:
    ask(pool, a_predictor("p"), policy="learned")
    a_predictor("p", courses=False)
    report = replayed(cli, pool)
    assert report["runs"] == []
    assert "no learned policy" in report["left_out"][0]["reason"]
    assert len(replayed(cli, pool, "--policy", "closed-form")["runs"]) == 1


def test_a_runs_own_promise_is_kept_unless_another_is_given(cli: Cli, pool: str) -> None:
    ask(pool, a_predictor("p", promises=(PROMISE,)), max_error=0.1)
    (own,) = replayed(cli, pool)["runs"]
    assert (own["reproduced"], own["now"]["status"]) == (True, "best_so_far")
    assert "of the promise" in own["now"]["reason"]
    ask(pool, "p")
    (newest,) = replayed(cli, pool, "--last", "1", "--max-error", "0.1")["runs"]
    assert (newest["was"]["status"], newest["now"]["status"]) == ("accepted", "best_so_far")
    assert newest["changes"][0].startswith("ends best_so_far instead of accepted: ")


def test_a_promise_that_is_not_known_on_the_new_terms_is_told_or_refused(cli: Cli, pool: str) -> None:
    ask(pool, a_predictor("p", promises=(PROMISE,)), max_error=0.1)
    (one,) = replayed(cli, pool, "--tradeoff", "0.5")["runs"]
    assert one["notes"] == ["no promise of 0.1 is known at tradeoff 0.5: decided without it"]
    assert "calibrate the predictor" in cli("runs", "replay", "--pool", pool, "--max-error", "0.05").complaint
    assert "--max-error is 1" in cli("runs", "replay", "--pool", pool, "--max-error", "1").complaint


def test_what_decided_a_run_is_shown(cli: Cli, pool: str) -> None:
    run_id = ask(pool, a_predictor("p", promises=(PROMISE,)), policy="closed-form", max_error=0.1)
    folder = str(Path("p").resolve())
    shown = " ".join(cli("runs", "show", run_id).out.split())
    assert f"rule closed-form, at most 0.1 wrong, predictor {folder}" in shown
    run = json.loads(cli("runs", "show", run_id, "--json").out)
    assert (run["policy"], run["max_error"], run["predictor"]["folder"]) == ("closed-form", 0.1, folder)


@pytest.mark.parametrize("given", [(), ("--predictor", "p")])
def test_a_damaged_predictor_is_named(cli: Cli, pool: str, given: tuple[str, ...]) -> None:
    ask(pool, a_predictor("p"))
    Path("p/predictor.json").write_text("{")
    if given:
        assert "is damaged" in cli("runs", "replay", "--pool", pool, *given).complaint
        return
    (left,) = replayed(cli, pool)["left_out"]
    assert "is damaged" in left["reason"]
    assert left["reason"].endswith("or name another predictor with --predictor")
