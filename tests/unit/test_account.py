"""A run's account: to people as a story in which each thing is told once, to machines as compact JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from curveroute.agent.account import agreements, best_losers, brief, candidates_account, decision_account
from curveroute.agent.types import (
    Arm,
    Attempt,
    AttemptId,
    Decision,
    Estimate,
    Flip,
    ModelId,
    Rejection,
    RunId,
    Usage,
    Verdict,
)
from curveroute.cli.explain import explain, verdict_line
from curveroute.route import Route

SMALL, BIG, OTHER = (Arm(ModelId(name), 64) for name in ("small", "big", "other"))
LOSERS = (
    Rejection(SMALL, "asked already"),
    Rejection(OTHER, "dearer than its expected gain", -0.2, 0.1, 0.4, 0.55),
    Rejection(BIG, "worth less than the chosen arm", 0.1, 0.3, 0.2, 0.75),
)


def answered(name: str, text: str, arm: Arm = SMALL, **changes: Any) -> Attempt:
    made = Attempt(AttemptId(name), "probe", arm, text, text, Usage(10, 5), 1e-5, "stop", 0.1)
    return replace(made, **changes)


def told(capsys: pytest.CaptureFixture[str], *decisions: Decision, tradeoff: float = 0.5) -> str:
    candidates = tuple(Estimate(arm, 0.5, 0.1, 10, 20.0, 1e-5) for arm in (SMALL, BIG, OTHER))
    explain(Route(run_id=RunId("r"), candidates=candidates, decisions=decisions), tradeoff)
    return " ".join(capsys.readouterr().out.split())


def test_answers_are_counted_against_each_other() -> None:
    answers = [
        answered("a", "Lisbon"),
        answered("b", "Lisbon", BIG),
        answered("c", "Porto", OTHER),
        answered("cut", "Lisbon", finish_reason="length"),
        answered("dead", "Lisbon", error="down"),
        answered("judge", "Lisbon", role="judge"),
    ]
    assert agreements(answers) == {"a": (1, 1), "b": (1, 1), "c": (0, 2)}
    assert agreements([]) == {}


def test_a_verdict_says_in_numbers_who_agrees_and_keeps_what_else_was_said() -> None:
    verdict = Verdict(0.62, "ok", "another model agrees, the model differs from itself; judge: right: checked")
    assert verdict_line(answered("a", "x", verdict=verdict), (2, 1)) == (
        "→ 0.62 ok: 2 agree, 1 differs; judge: right: checked"
    )
    for detail in ("2 agree", "2 agree, 1 differs", "1 agrees, 2 differ"):
        line = verdict_line(answered("a", "x", verdict=Verdict(0.6, "ok", f"{detail}; judge: right: checked")), (2, 0))
        assert line == f"→ 0.60 ok: {detail}; judge: right: checked"
    assert verdict_line(answered("a", "x", verdict=Verdict(0.1, "truncated", "cut off")), None) == (
        "→ 0.10 truncated: cut off"
    )
    assert verdict_line(answered("a", "x"), (1, 0)) == ""


def test_a_verdict_that_later_answers_may_have_changed_is_said_to_be_the_last_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second, third = (Decision(step, (SMALL,), f"reason {step}") for step in (1, 2, 3))
    verdict = Verdict(0.9, "ok", "1 agrees")
    attempts = (
        answered("r.1.0", "Lisbon", verdict=verdict),
        answered("r.2.0", "Lisbon", BIG, verdict=verdict),
        answered("r.3.0", "", OTHER, error="down", verdict=Verdict(0.0, "error", "down")),
    )
    explain(Route(run_id=RunId("r"), attempts=attempts, decisions=(first, second, third)), 0.5)
    story = capsys.readouterr().out
    steps = [story.partition(f"step {number}:")[2].partition("step")[0] for number in (1, 2, 3)]
    assert "→ in the end 0.90 ok: 1 agrees" in steps[0]
    assert "→ 0.90 ok: 1 agrees" in steps[1]
    assert "→ 0.00 error" in steps[2]


def test_losers_come_best_first_and_all_of_them() -> None:
    decision = Decision(2, (), "enough", "accepted", rejected=LOSERS)
    assert [one.arm for one in best_losers(decision)] == [BIG, OTHER, SMALL]
    account: Any = decision_account(decision, losers=1)
    assert [one["arm"] for one in account["rejected"]] == ["big@64"]
    assert sum(account["lost_for"].values()) == 3
    json.dumps(decision_account(decision), allow_nan=False)


def test_figures_are_short_and_what_json_cannot_say_is_left_out() -> None:
    assert (brief(0.123456), brief(1234567.0), brief(math.nan), brief(None)) == (0.1235, 1235000.0, None, None)
    table = candidates_account([Estimate(SMALL, 1 / 3, 0.1, 10, 20.0, 1e-5, 0.25)])
    assert (table["arm"], table["quality"], table["latency_s"]) == (["small@64"], [0.3333], [0.25])


def test_a_step_tells_who_lost_with_its_figures_and_where_it_would_go_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flips = (Flip(0.31, (BIG, OTHER), "expected net gain +0.100"), Flip(0.9, ()))
    first = Decision(1, (SMALL,), "highest net gain +0.4", rejected=LOSERS[1:])
    second = Decision(2, (), "enough", "accepted", rejected=LOSERS, flips=flips, policy="learned")
    story = told(capsys, first, second)
    assert "step 1: ask small@64: highest net gain +0.4" in story
    assert "step 2: stop (learned): enough" in story
    assert "with the tradeoff lowered to 0.31 it would ask big@64 and other@64 (expected net gain +0.100);" in story
    assert "; raised to 0.9 it would stop" in story
    assert "small@64 0.50 ± 0.10 20 1.0e-05 +0.40 asked" in story
    later = story.partition("step 2")[2]
    assert "big@64 0.75 0.30 0.20 +0.10 worth less than the chosen arm" in later
    assert "other@64 0.55 0.10 0.40 -0.20 dearer than its expected gain" in later
    assert "1 asked already: small@64" in later
    assert later.count("worth less than the chosen arm") == 1


def test_a_flip_alone_says_on_which_side_of_the_tradeoff_it_lies(capsys: pytest.CaptureFixture[str]) -> None:
    decision = Decision(1, (SMALL,), "first", flips=(Flip(0.4, (BIG,)),))
    assert "with the tradeoff lowered to 0.4 it would ask big@64" in told(capsys, decision, tradeoff=0.5)
    assert "with the tradeoff raised to 0.4 it would ask big@64" in told(capsys, decision, tradeoff=0.3)


def test_the_same_choice_on_both_sides_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    decision = Decision(1, (SMALL,), "first", flips=(Flip(0.2, (BIG,)), Flip(0.8, (BIG,))))
    story = told(capsys, decision)
    assert "with the tradeoff lowered to 0.2 or raised to 0.8 it would ask big@64" in story
    assert story.count("it would") == 1


@pytest.mark.parametrize(("flip", "would"), [((BIG,), "it would ask big@64"), ((), "it would stop")])
def test_a_reason_that_repeats_the_choice_is_not_told(
    capsys: pytest.CaptureFixture[str], flip: tuple[Arm, ...], would: str
) -> None:
    reason = "it would be asked" if flip else "it would stop"
    story = told(capsys, Decision(1, (SMALL,), "first", flips=(Flip(0.2, flip, reason),)))
    assert would in story
    assert story.count("it would") == 1


def test_of_a_later_step_only_flips_nearer_than_those_before_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    first = Decision(1, (SMALL,), "first", flips=(Flip(0.2, (BIG,)), Flip(0.8, ())))
    second = Decision(2, (OTHER,), "second", flips=(Flip(0.2, (BIG,)), Flip(0.7, ())))
    third = Decision(3, (), "third", flips=(Flip(0.1, (BIG,)), Flip(0.75, (BIG,))))
    story = told(capsys, first, second, third)
    steps = [story.partition(f"step {number}:")[2].partition("step")[0] for number in (1, 2, 3)]
    assert "lowered to 0.2 it would ask big@64; raised to 0.8 it would stop" in steps[0]
    assert "with the tradeoff raised to 0.7 it would stop" in steps[1]
    assert [step.count("it would") for step in steps] == [2, 1, 0]


@pytest.mark.parametrize(
    ("tradeoff", "at", "told_as"),
    [
        (0.5, (0.5, 0.5), "lowered a little or raised a little"),
        (0.4, (0.0, 1.0), "lowered to 0 or raised to 1"),
        (1.0, (1.0,), "lowered a little"),
        (0.0, (0.0,), "raised a little"),
    ],
)
def test_a_flip_at_the_tradeoff_itself_or_at_an_end_is_told_plainly(
    capsys: pytest.CaptureFixture[str], tradeoff: float, at: tuple[float, ...], told_as: str
) -> None:
    decision = Decision(1, (SMALL,), "first", flips=tuple(Flip(one, (BIG,)) for one in at))
    assert f"with the tradeoff {told_as} it would ask big@64" in told(capsys, decision, tradeoff=tradeoff)


@pytest.mark.parametrize(
    ("at", "told_as"),
    [
        (0.03487, "lowered to 0.0348"),
        (0.8421, "raised to 0.843"),
        (0.9996, "raised to 1"),
        (0.5, "raised to 0.5"),
        (0.31, "lowered to 0.31"),
    ],
)
def test_what_is_told_of_a_flip_holds_where_it_is_told(
    capsys: pytest.CaptureFixture[str], at: float, told_as: str
) -> None:
    decision = Decision(1, (SMALL,), "first", flips=(Flip(at, (BIG,)),))
    assert f"with the tradeoff {told_as} it would ask big@64" in told(capsys, decision, tradeoff=0.4)
