"""The route: a typed result whose streamed pieces add up, and whose JSON is the documented one."""

from __future__ import annotations

import json
from functools import reduce
from operator import add
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curveroute import Route
from curveroute.agent.types import (
    Arm,
    Attempt,
    AttemptId,
    Decision,
    Estimate,
    ModelId,
    Plan,
    RunId,
    Usage,
    Verdict,
)

ARM = Arm(ModelId("small"), 16)
FREE = Arm(ModelId("big"), None)
CUT = Verdict(0.1, "truncated")
CHEAP = Attempt(AttemptId("r.1.1"), "probe", ARM, "Hm", None, Usage(30, 10), 1e-5, "length", 0.123456, verdict=CUT)
LAST = Attempt(AttemptId("r.2.1"), "escalation", FREE, "Answer: 4", "4", Usage(30, 20), 2e-4, "stop", 1.0, None, 0.9)
BROKEN = Attempt(AttemptId("r.2.2"), "escalation", ARM, "", None, Usage(), 0.0, "error", 0.0, error="down")
PLAN = Plan((ARM, FREE), True, "a number", "planner", "small put small@16 first")
CANDIDATES = (Estimate(ARM, 0.5, 0.2, 30, 10.0, 1e-5), Estimate(FREE, 0.7, 0.2, 30, 90.0, 2e-4))
DECISIONS = (Decision(1, (ARM,), "cheap"), Decision(2, (), "enough", "accepted"))


def output(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": RunId("r"),
        "status": "accepted",
        "reason": "enough",
        "answer": "Answer: 4",
        "answer_attempt_id": AttemptId("r.2.1"),
        "cost_usd": 2.1e-4,
        "attempts": {one.attempt_id: one for one in (CHEAP, LAST, BROKEN)},
        "candidates": CANDIDATES,
        "plan": PLAN,
        "decisions": DECISIONS,
    } | changes


WHOLE = Route.from_output(output())


def test_a_route_is_made_from_the_graphs_output() -> None:
    assert (WHOLE.answer, str(WHOLE), WHOLE.model, WHOLE.budget) == ("Answer: 4", "Answer: 4", "big", None)
    assert WHOLE.arm == FREE
    assert WHOLE.attempts == (CHEAP, LAST, BROKEN)
    assert (WHOLE.status, WHOLE.reason, WHOLE.run_id, WHOLE.cost_usd) == ("accepted", "enough", "r", 2.1e-4)


def test_a_failed_run_has_no_arm() -> None:
    failed = Route.from_output(output(status="failed", answer="", answer_attempt_id=None))
    assert (failed.model, failed.budget, failed.arm) == ("", None, None)


def test_a_checkpoints_lists_become_tuples() -> None:
    listed = Route.from_output(output(candidates=list(CANDIDATES), decisions=list(DECISIONS)))
    assert listed == WHOLE


def test_a_route_does_not_change() -> None:
    with pytest.raises(ValidationError):
        WHOLE.answer = "5"  # type: ignore[misc]


texts = st.builds(Route, answer=st.text(max_size=5), restart=st.booleans())
ends = st.sampled_from([WHOLE.model_copy(update={"answer": ""}), Route()])


@given(st.lists(texts, min_size=1, max_size=5), ends)
def test_pieces_add_up_however_they_are_grouped(pieces: list[Route], end: Route) -> None:
    pieces = [*pieces, end]
    whole = reduce(add, pieces)
    for cut in range(1, len(pieces)):
        assert reduce(add, pieces[:cut]) + reduce(add, pieces[cut:]) == whole


@given(st.lists(st.text(max_size=5), min_size=1, max_size=5))
def test_text_is_joined_and_the_last_piece_brings_the_rest(texts: list[str]) -> None:
    whole = reduce(add, [*[Route(answer=text) for text in texts], WHOLE.model_copy(update={"answer": ""})])
    assert whole.answer == "".join(texts)
    assert whole == WHOLE.model_copy(update={"answer": "".join(texts)})


def test_a_restart_voids_what_came_before() -> None:
    assert (
        Route(answer="The cap") + Route(answer="Answer: 4", restart=True) + Route(answer="!")
    ).answer == "Answer: 4!"


def test_the_json_is_one_object_with_the_documented_keys() -> None:
    told = WHOLE.to_json()
    assert json.loads(json.dumps(told)) == told
    assert list(told) == [
        "answer", "model", "budget", "status", "cost_usd", "run_id", "attempts", "candidates", "plan",
    ]  # fmt: skip
    attempts: Any = told["attempts"]
    assert attempts[0] == {
        "role": "probe",
        "model": "small",
        "budget": 16,
        "input_tokens": 30,
        "output_tokens": 10,
        "cost_usd": 1e-5,
        "finish_reason": "length",
        "latency_s": 0.1235,
        "verdict": {"score": 0.1, "reason": "truncated"},
    }
    assert attempts[1]["verdict"] is None
    assert told["candidates"][0] == {  # type: ignore[index]
        "model": "small",
        "budget": 16,
        "quality": 0.5,
        "quality_std": 0.2,
        "output_tokens": 10.0,
        "cost_usd": 1e-5,
    }
    assert told["plan"] == {
        "arms": [{"model": "small", "budget": 16}, {"model": "big", "budget": None}],
        "probe": True,
        "criteria": "a number",
        "source": "planner",
        "reason": "small put small@16 first",
    }
    assert Route().to_json()["plan"] is None
