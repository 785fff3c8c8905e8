"""``curveroute feedback``: kept, shown, or one line that says why not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ran

    Cli = Callable[..., Ran]


@pytest.fixture
def run_id(cli: Cli, pool: str) -> str:
    asked = cli("ask", "How many minutes from 14:10 to 16:45?", "--pool", pool, "--tradeoff", "0", "--json")
    name: str = json.loads(asked.out)["run_id"]
    return name


def test_feedback_is_kept_and_shown(cli: Cli, run_id: str) -> None:
    ran = cli("feedback", run_id[:6], "--score", "0.25", "--comment", "half of it\nis wrong")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"kept: 0.25 by user for the answer of strong@256 in run {run_id}\n"
    cli("feedback", run_id, "--score", "1", "--source", "grader")
    shown = cli("runs", "show", run_id).out
    assert "feedback: 0.62" in shown
    assert "user  0.25: half of it is wrong" in shown
    told = json.loads(cli("runs", "show", run_id, "--json").out)["feedback"]
    assert [(one["source"], one["score"], one["comment"]) for one in told] == [
        ("user", 0.25, "half of it\nis wrong"),
        ("grader", 1.0, ""),
    ]


def test_a_run_without_feedback_says_nothing_of_it(cli: Cli, run_id: str) -> None:
    assert "feedback" not in cli("runs", "show", run_id).out
    assert json.loads(cli("runs", "show", run_id, "--json").out)["feedback"] == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("nobody", "--score", "1"), "no run 'nobody' in the ledger"),
        (
            ("zzz", "--score", "1"),
            "no run 'zzz' in the ledger: list the runs to see their ids; feedback takes at least 6",
        ),
        (("{run:.1}", "--score", "1"), "is too little of a run's id to be sure which is meant: give at least 6"),
        (("{run:.5}", "--score", "1"), "is too little of a run's id to be sure which is meant: give at least 6"),
        (("{run}", "--score", "1.5"), "score is 1.5; give a number from 0"),
        (("{run}", "--score", "nan"), "score is nan"),
        (("{run}", "--score", "1", "--comment", "x" * 10_001), "the comment has 10001 characters"),
        (("{run}",), "--score"),
    ],
)
def test_what_is_wrong_is_one_line(cli: Cli, run_id: str, words: tuple[str, ...], complaint: str) -> None:
    ran = cli("feedback", *(word.format(run=run_id) for word in words))
    assert ran.status == 2
    assert complaint in ran.err
    assert ran.err.count("\n") == 1
