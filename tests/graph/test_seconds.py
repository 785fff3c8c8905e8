"""What a second of waiting is worth reaches every run, and what a call is expected to take is kept with the run."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from curveroute.agent.ledger import Ledger
from curveroute.graphs import Context
from curveroute.router import Router, context_with

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from conftest import House


def test_seconds_are_worth_nothing_unless_someone_says_so(house: type[House]) -> None:
    assert Context().seconds_usd == 0.0
    context = house.context(house.pool(), house.chat(lambda call: "Answer: Lisbon"), seconds_usd=0.01)
    assert context.seconds_usd == 0.01
    assert context_with(context, {"seconds_usd": 2}).seconds_usd == 2
    assert context_with(context, {"tradeoff": 0.1}).seconds_usd == 0.01


def test_a_router_takes_the_worth_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curveroute.router.compose_parts", lambda *_names, **_settings: None)
    assert Router.from_pool("local", seconds_usd=0.002).context.seconds_usd == 0.002
    assert Router.from_pool("local").context.seconds_usd == 0.0


def test_a_graph_tells_its_clients_of_the_setting(house: type[House]) -> None:
    router = house.router(house.pool(), house.chat(lambda call: "Answer: Lisbon"))
    schema: Any = router.graph.get_context_jsonschema()
    assert schema["properties"]["seconds_usd"]["default"] == 0.0


def test_runs_that_were_written_before_latencies_were_estimated_are_read(house: type[House], tmp_path: Path) -> None:
    path, chat = tmp_path / "l.sqlite", house.chat(lambda call: "Answer: Lisbon")
    with Ledger.open(f"sqlite:///{path}") as ledger:
        route = house.router(house.pool(), chat, ledger=ledger).invoke(house.query)
        assert ledger.run(route.run_id).candidates == route.candidates
        assert all(one.latency_s > 0 for one in route.candidates)
    with sqlite3.connect(path) as rows:
        (written,) = rows.execute("SELECT candidates FROM runs").fetchone()
        old = [{name: value for name, value in one.items() if name != "latency_s"} for one in json.loads(written)]
        rows.execute("UPDATE runs SET candidates = ?", (json.dumps(old),))
    rows.close()
    with Ledger.open(f"sqlite:///{path}") as ledger:
        assert {one.latency_s for one in ledger.run(route.run_id).candidates} == {0.0}
