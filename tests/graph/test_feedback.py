"""A router takes feedback on the runs that it made, and tells whoever listens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage

from curveroute import RouterChat
from curveroute.agent.errors import LedgerError, SettingError
from curveroute.agent.ledger import FeedbackRecord, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import House

    from curveroute.router import Router


@pytest.fixture
def router(house: type[House], tmp_path: Path) -> Iterator[Router]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        yield house.router(house.pool(), house.chat(lambda call: f"Answer: {call.arm.model}"), ledger=ledger)


def test_feedback_is_of_the_answer_that_the_route_gave(router: Router) -> None:
    route = router.invoke("What is the capital of Portugal?")
    given = router.feedback(route.run_id, 1, "right")
    assert (given.run_id, given.attempt_id, given.score) == (route.run_id, route.answer_attempt_id, 1.0)
    assert asyncio.run(router.afeedback(route.run_id[:12], 0.5, source="grader")).run_id == route.run_id


def test_the_chat_model_takes_its_own_messages(router: Router) -> None:
    chat = RouterChat.from_router(router)
    answer = chat.invoke("What is the capital of Portugal?")
    run_id = answer.response_metadata["route"]["run_id"]
    assert chat.feedback(answer, 0.5).run_id == chat.feedback(run_id, 1).run_id == run_id
    assert asyncio.run(chat.afeedback(answer, 0)).score == 0
    whole = None
    for piece in chat.stream("What is the capital of Portugal?"):
        whole = piece if whole is None else whole + piece
    assert whole is not None
    assert chat.feedback(whole, 1).run_id == whole.response_metadata["route"]["run_id"]


def test_a_message_of_another_model_is_refused(router: Router) -> None:
    with pytest.raises(SettingError, match="names no run"):
        RouterChat.from_router(router).feedback(AIMessage("Lisbon"), 1)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [(lambda run: ("nobody", 1), "no run 'nobody'"), (lambda run: (run, 2), "score is 2;"),
     (lambda run: (run, float("nan")), "score is nan"), (lambda run: (5, 1), "5 is no run's id"),
     (lambda run: (None, 1), "None is no run's id")],
)  # fmt: skip
def test_feedback_that_cannot_be_is_refused_and_told_to_nobody(
    router: Router, wrong: Callable[[str], tuple[Any, Any]], complaint: str
) -> None:
    heard = Listening()
    router.feedback_listeners.append(heard)
    run_id = router.invoke("What is the capital of Portugal?").run_id
    with pytest.raises((SettingError, LedgerError), match=complaint):
        router.feedback(*wrong(run_id))
    assert heard.given == []


class Listening:
    def __init__(self) -> None:
        self.given: list[FeedbackRecord] = []

    async def heard(self, given: FeedbackRecord) -> None:
        self.given.append(given)


def test_listeners_hear_what_the_ledger_has(router: Router) -> None:
    first, second = Listening(), Listening()
    router.feedback_listeners += [first, second]
    given = router.feedback(router.invoke("What is the capital of Portugal?").run_id, 1)
    assert first.given == second.given == [given]
