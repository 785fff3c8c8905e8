"""Verifiers of the user's in a whole run: however one breaks, the run ends as if it had not been there, and says so."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from curveroute.agent import review
from curveroute.agent.ledger import Ledger
from curveroute.agent.verify.checks import run_verifiers
from curveroute.agent.verify.found import CallableVerifier
from curveroute.graphs import STATE_TYPES, build
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.agent.types import Verdict
    from curveroute.route import Route

MODELS = {"a": (0.5, 0.5, 0.1), "b": (0.6, 0.6, 0.11), "c": (0.7, 0.7, 0.12)}


def raises(*_: Any) -> NoReturn:
    raise ZeroDivisionError("by zero")


def leaves(*_: Any) -> NoReturn:
    raise SystemExit(3)


async def hangs(*_: Any) -> None:
    await asyncio.Event().wait()


BROKEN = {
    "raises": (raises, "no word: it raised ZeroDivisionError: by zero"),
    "leaves": (leaves, "no word: it raised SystemExit: 3"),
    "hangs": (hangs, "no word: it did not answer within 0.5 s"),
    "nan": (lambda *_: math.nan, "no word"),
    "infinite": (lambda *_: math.inf, "no word"),
    "prose": (lambda *_: "looks right to me", "no word"),
}


def broken(how: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., Any], str]:
    """A verifier, and what is told of it; nobody waits long for the one that is never ready."""
    if how == "hangs":
        monkeypatch.setattr(review, "run_verifiers", partial(run_verifiers, timeout_s=0.5))
    return BROKEN[how]


def run(
    house: type[House], *checks: Callable[..., Any], said: Callable[[Call], Any] | None = None, **settings: Any
) -> Route:
    """Three models that contradict each other, unless told otherwise."""
    chat = house.chat(said or (lambda call: f"Answer: {call.arm.model}"))
    context = house.context(house.pool(MODELS, budgets=(16,)), chat, **{"tradeoff": 0.02, "plan": False} | settings)
    assert context.parts is not None
    own = tuple(CallableVerifier(check, f"own{place}") for place, check in enumerate(checks))
    return Router(replace(context, parts=replace(context.parts, verifiers=own))).invoke(house.query)


def verdicts(route: Route) -> list[Verdict]:
    return [one.verdict for one in route.attempts if one.verdict is not None]


@pytest.mark.parametrize("tradeoff", [0.0, 0.02, 1.0])
@pytest.mark.parametrize("how", BROKEN)
def test_one_that_breaks_changes_nothing_and_every_verdict_tells_how(
    house: type[House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, tradeoff: float
) -> None:
    check, told = broken(how, monkeypatch)
    plain = run(house, tradeoff=tradeoff)
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        route = run(house, check, tradeoff=tradeoff, ledger=ledger)
        assert ledger.run(route.run_id).status == route.status
        assert ledger.verify().ok
    assert (route.answer, route.status, route.reason) == (plain.answer, plain.status, plain.reason)
    assert route.reason
    assert [one.score for one in verdicts(route)] == [one.score for one in verdicts(plain)]
    assert verdicts(route)
    assert all("own0: " in one.detail and told in one.detail for one in verdicts(route))


@pytest.mark.parametrize("how", BROKEN)
def test_one_that_breaks_does_not_silence_another(
    house: type[House], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async def knows(query: str, text: str, answer: str | None) -> bool:
        return answer == "a"

    alone, beside = run(house, knows), run(house, broken(how, monkeypatch)[0], knows)
    assert (beside.answer, beside.status, beside.model) == ("Answer: a", alone.status, "a")
    assert [one.score for one in verdicts(beside)] == [one.score for one in verdicts(alone)]


def test_two_that_contradict_each_other_leave_the_verdict_and_say_so(house: type[House]) -> None:
    plain, torn = run(house), run(house, lambda *_: True, lambda *_: False)
    assert (torn.answer, torn.status) == (plain.answer, plain.status)
    assert [one.score for one in verdicts(torn)] == pytest.approx([one.score for one in verdicts(plain)])
    assert all("verifiers contradict each other" in one.detail for one in verdicts(torn))


def test_one_that_finds_everything_wrong_leaves_the_best_of_it(house: type[House]) -> None:
    """Nothing is left to ask, and something is given all the same: with the reason, and never as accepted by it."""
    route = run(house, lambda *_: False, tradeoff=0.0)
    assert len(route.attempts) == len(MODELS)
    assert route.status == "best_so_far"
    assert route.answer in {f"Answer: {name}" for name in MODELS}
    assert route.reason == "every arm was tried"


def test_one_that_breaks_where_every_call_but_one_fails_leaves_that_one(house: type[House]) -> None:
    route = run(house, raises, said=lambda call: "Answer: b" if call.arm.model == "b" else house.dead())
    assert route.answer == "Answer: b"
    assert route.reason


def test_each_is_asked_once_about_each_answer(house: type[House]) -> None:
    asked: list[str] = []
    route = run(house, lambda query, text, answer: asked.append(text), tradeoff=0.0)
    assert len(route.attempts) == len(MODELS)
    assert sorted(asked) == sorted(one.text for one in route.attempts)


def test_one_that_hangs_is_asked_about_the_first_answers_alone(
    house: type[House], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def hang(query: str, text: str, answer: str | None) -> None:
        asked.append(text)
        await hangs()

    monkeypatch.setattr(review, "run_verifiers", partial(run_verifiers, timeout_s=0.5))
    route = run(house, hang, tradeoff=0.0)
    assert len(route.attempts) == len(MODELS)
    assert asked == [route.attempts[0].text]
    assert all("is not asked again in this run" in one.detail for one in verdicts(route)[1:])


async def test_a_run_that_is_taken_up_again_asks_none_about_what_it_has_heard(house: type[House]) -> None:
    asked: list[str] = []

    def check(query: str, text: str, answer: str | None) -> bool:
        asked.append(text)
        return answer == "a"

    chat = house.chat(lambda call: f"Answer: {call.arm.model}")
    context = house.context(house.pool(MODELS, budgets=(16,)), chat, tradeoff=0.0, plan=False)
    assert context.parts is not None
    context = replace(context, parts=replace(context.parts, verifiers=(CallableVerifier(check, "own"),)))
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES))
    thread: Any = {"configurable": {"thread_id": "1"}}
    question: Any = {"messages": [{"role": "user", "content": house.query}]}
    graph: Any = build().compile(checkpointer=saver, interrupt_after=["verify"])
    output = await graph.ainvoke(question, thread, context=context)
    while graph.get_state(thread).next:
        graph = build().compile(checkpointer=saver, interrupt_after=["verify"])
        output = await graph.ainvoke(None, thread, context=context)
    assert len(output["attempts"]) == len(MODELS)
    assert sorted(asked) == sorted(one.text for one in output["attempts"].values())
    assert output["answer"] == "Answer: a"
    await graph.ainvoke(question, thread, context=context)
    assert len(asked) == len(MODELS) + 1, "another question on the thread is another run"
