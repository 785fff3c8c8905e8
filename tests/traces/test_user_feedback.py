"""A user's word on a run reaches LangSmith by the ledger's name of the run, or by the trace's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langsmith import uuid7

from curveroute.agent.errors import SettingError
from curveroute.agent.ledger import Ledger
from curveroute.cli import main
from curveroute.graphs.run_ids import new_run_id, trace_id_of
from curveroute.tracing import flush, send_feedback

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House


def test_feedback_finds_the_run_by_its_name_in_the_ledger(house: type[House], langsmith_on: Any) -> None:
    pool = house.pool()
    route = house.router(pool, house.recorded(*house.rows(pool))).invoke(house.query)
    assert send_feedback(route.run_id, 1.0, "it is the capital")
    told = langsmith_on.settle()
    (root,) = told.roots()
    (said,) = [one for one in told.feedback.values() if one["key"] == "user"]
    assert said["run_id"] == root["id"]
    assert (said["score"], said["comment"]) == (1.0, "it is the capital")
    assert said["feedback_source"]["type"] == "api"


def test_what_a_router_is_told_reaches_the_trace(house: type[House], langsmith_on: Any, tmp_path: Path) -> None:
    pool = house.pool()
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        router = house.router(pool, house.recorded(*house.rows(pool)), ledger=ledger)
        route = router.invoke(house.query)
        router.feedback(route.run_id, 0.25, "too short")
    (said,) = [one for one in langsmith_on.settle().feedback.values() if one["key"] == "user"]
    assert (said["run_id"], said["score"]) == (str(trace_id_of(route.run_id)), 0.25)
    assert said["comment"] == "too short"


def test_what_is_said_in_the_shell_reaches_the_trace(
    house: type[House], langsmith_on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, url = house.pool(), f"sqlite:///{tmp_path / 'l.sqlite'}"
    monkeypatch.setenv("CURVEROUTE_LEDGER", url)
    with Ledger.open(url) as ledger:
        route = house.router(pool, house.recorded(*house.rows(pool)), ledger=ledger).invoke(house.query)
    assert main(["feedback", route.run_id, "--score", "0.25", "--comment", "too short"]) == 0
    (said,) = [one for one in langsmith_on.settle().feedback.values() if one["key"] == "user"]
    assert (said["run_id"], said["score"]) == (str(trace_id_of(route.run_id)), 0.25)
    assert said["comment"] == "too short"


def test_feedback_takes_a_traces_own_name_and_another_key(house: type[House], langsmith_on: Any) -> None:
    pool, named = house.pool(), uuid7()
    house.router(pool, house.recorded(*house.rows(pool))).invoke(house.query, {"run_id": named})
    assert send_feedback(named, False, key="helpful")
    said = [one for one in langsmith_on.settle().feedback.values() if one["key"] == "helpful"]
    assert [(one["run_id"], one["score"]) for one in said] == [(str(named), False)]


def test_nothing_is_sent_where_nothing_is_traced(monkeypatch: pytest.MonkeyPatch, langsmith_on: Any) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    langsmith_on.forget()
    assert not send_feedback(new_run_id(), 1.0)
    assert flush(30.0)
    assert langsmith_on.receiver.paths == []


def test_a_run_of_a_foreign_name_has_no_known_trace(langsmith_on: Any) -> None:
    assert not send_feedback("my-own-name", 1.0)


def test_a_score_is_a_number() -> None:
    for wrong in ("good", None, float("nan")):
        with pytest.raises(SettingError, match="give a number"):
            send_feedback(new_run_id(), wrong)  # type: ignore[arg-type]


def test_names_of_runs_differ_at_their_beginning_and_lead_to_their_traces() -> None:
    names = [new_run_id() for _ in range(200)]
    assert len({name[:8] for name in names}) == 200
    traces = [trace_id_of(name) for name in names]
    assert all(trace is not None and trace.version == 7 for trace in traces)
    assert trace_id_of("0" * 32) is None
    assert trace_id_of("") is None
