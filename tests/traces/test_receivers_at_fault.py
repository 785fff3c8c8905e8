"""A receiver that is down, slow or full of errors costs an answer nothing: the run ends while nobody has answered."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.graphs.outbox import Outbox
from curveroute.tracing import send_feedback

if TYPE_CHECKING:
    from conftest import House

SILENT = pytest.mark.parametrize("receiver", [{"silent": True}], indirect=True)


@SILENT
def test_a_run_ends_while_the_receiver_never_answers(house: type[House], langsmith_on: Any) -> None:
    pool = house.pool()
    router = house.router(pool, house.recorded(*house.rows(pool)))
    assert [router.invoke(house.query).answer for _ in range(3)] == ["Answer: Lisbon"] * 3
    assert langsmith_on.receiver.asked.wait(30), "the client did try"
    assert langsmith_on.receiver.runs == {}
    assert send_feedback(router.invoke(house.query).run_id, 1.0)


def test_a_run_ends_where_nobody_listens(
    house: type[House], langsmith_on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound, and never listened on: every connection is refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("LANGSMITH_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        langsmith_on.forget()
        pool = house.pool()
        route = house.router(pool, house.recorded(*house.rows(pool))).invoke(house.query)
    assert route.answer == "Answer: Lisbon"
    assert langsmith_on.receiver.paths == []


def test_what_comes_on_top_of_a_full_box_is_dropped_at_once() -> None:
    box, started, go = Outbox(most=1), threading.Event(), threading.Event()
    done: list[str] = []

    def wait() -> None:
        started.set()
        go.wait()

    assert box.put(wait)
    started.wait()
    assert box.put(lambda: done.append("second"))
    assert not box.put(lambda: done.append("third"))
    assert not box.flush(0.0)
    go.set()
    assert box.flush(30.0)
    assert done == ["second"]


def test_a_job_that_fails_leaves_the_next_one_its_turn() -> None:
    box, done = Outbox(), []

    def fail() -> None:
        raise OSError("the receiver is down")

    box.put(fail)
    box.put(lambda: done.append("after"))
    assert box.flush(30.0)
    assert done == ["after"]


def test_an_idle_box_is_flushed_already() -> None:
    assert Outbox().flush(0.0)
