"""Verifiers of the user's: what they say counts as far as they are reliable, and none of them can stop a run."""

from __future__ import annotations

import asyncio
import math
import queue
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import SettingError
from curveroute.agent.types import Arm, Attempt, AttemptId, Message, ModelId, Query, Usage
from curveroute.agent.verify.checks import run_verifiers, told
from curveroute.agent.verify.found import (
    CallableVerifier,
    Finding,
    Heard,
    Verifier,
    hear,
    log_odds,
    together,
    with_words,
)
from curveroute.agent.verify.judgement import Judgement

if TYPE_CHECKING:
    from collections.abc import Callable

QUERY = Query((Message(role="user", content="What is 3 + 4?"),))
ONE = AttemptId("r.1.1")


def attempt(text: str = "Answer: 7", name: str = ONE, error: str | None = None) -> Attempt:
    arm = Arm(ModelId("small"), 16)
    return Attempt(AttemptId(name), "probe", arm, text, "7", Usage(), 0.0, "stop", 0.1, error=error)


def saying(found: Any, name: str = "mine", reliability: float = 0.8) -> CallableVerifier:
    return CallableVerifier(lambda query, text, answer: found, name, reliability)


async def said(*verifiers: Verifier, timeout_s: float = 5.0) -> tuple[float, str]:
    return told(await run_verifiers(verifiers, QUERY, [attempt()], timeout_s=timeout_s))[ONE]


@pytest.mark.parametrize(
    ("found", "sign"),
    [(True, 1), (False, -1), (1, 1), (0.9, 1), (0.1, -1), (0.5, 0), (Finding(1.0, "why", "7"), 1), (Finding(0.0), -1),
     (np.True_, 1), (np.float32(0.0), -1)],
)  # fmt: skip
async def test_a_bool_a_probability_and_a_finding_move_the_verdict(found: Any, sign: int) -> None:
    moved, reason = await said(saying(found))
    assert np.sign(moved) == sign
    assert reason.startswith("mine: ")


async def test_the_reason_holds_what_was_found_and_on_what_it_rests() -> None:
    assert (await said(saying(Finding(0.0, "an assertion\nfails", "f(2) == 5"))))[1] == (
        "mine: wrong: an assertion fails: f(2) == 5"
    )


@pytest.mark.parametrize("found", [None, Finding(None)])
async def test_a_verifier_that_cannot_tell_says_nothing(found: Any) -> None:
    assert told(await run_verifiers([saying(found)], QUERY, [attempt()])) == {}
    assert await said(saying(Finding(None, "no code"))) == (0.0, "mine: cannot tell: no code")


@pytest.mark.parametrize(
    "found",
    [math.nan, math.inf, -0.1, 1.1, 10**400, "yes", "0.9", [], {}, object(), 1j, Finding(math.nan), Finding(2.0),
     Finding("right"), Finding(None, reason=7), np.array([0.5])],  # type: ignore[arg-type]
)  # fmt: skip
async def test_nan_and_whatever_is_no_probability_says_nothing_and_why(found: Any) -> None:
    moved, reason = await said(saying(found))
    assert moved == 0.0
    assert reason.startswith("mine: ")


async def test_an_answer_that_cannot_even_be_shown_says_nothing() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise ValueError

    assert await said(saying(Rude())) == (0.0, "mine: no word: it answered a Rude, which is no probability")


def raising(error: BaseException) -> Callable[..., Any]:
    def check(*_: object) -> Any:
        raise error

    return check


@pytest.mark.parametrize(
    "error",
    [ValueError("boom"), SystemExit(3), StopIteration(), KeyError("k"), asyncio.CancelledError(), MemoryError()],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_verifier_that_raises_says_nothing_and_why(error: BaseException, is_async: bool) -> None:
    async def later(*_: object) -> Any:
        raise error

    moved, reason = await said(CallableVerifier(later if is_async else raising(error), "mine"), saying(True, "yours"))
    assert moved == log_odds(1.0, 0.8)
    assert "mine: no word: it " in reason
    assert "yours: right" in reason


async def test_functions_coroutines_and_what_gives_a_coroutine_are_all_heard() -> None:
    async def later(query: str, text: str, answer: str | None) -> bool:
        await asyncio.sleep(0)
        return (query, text, answer) == (QUERY.text, "Answer: 7", "7")

    class Offered:
        name, reliability = "offered", 1.0

        async def check(self, query_text: str, answer_text: str, answer: str | None) -> Finding:
            return Finding(1.0)

    for verifier in (CallableVerifier(later, "a"), Offered()):
        assert (await said(verifier))[0] > 0


async def test_a_coroutine_that_hangs_costs_the_timeout_says_nothing_and_is_cancelled() -> None:
    cancelled = threading.Event()

    async def hang(*_: object) -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return True

    moved, reason = await said(CallableVerifier(hang, "slow"), saying(False), timeout_s=0.5)
    assert moved == log_odds(0.0, 0.8)
    assert "slow: no word: it did not answer within 0.5 s" in reason
    assert await asyncio.to_thread(cancelled.wait, 10)


async def test_a_function_that_hangs_is_left_behind_and_holds_nothing_up() -> None:
    gate, ended = threading.Event(), threading.Event()

    def hang(*_: object) -> bool:
        gate.wait(10)
        ended.set()
        return True

    moved, reason = await said(CallableVerifier(hang, "slow"), timeout_s=0.5)
    assert (moved, reason) == (0.0, "slow: no word: it did not answer within 0.5 s")
    gate.set()
    assert await asyncio.to_thread(ended.wait, 10)


async def test_cancelling_the_run_cancels_every_check() -> None:
    started, stopped = queue.Queue[str](), []

    async def hang(query: str, text: str, answer: str | None) -> bool:
        started.put(text)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(text)
        return True

    attempts = [attempt(str(number), f"r.1.{number}") for number in range(3)]
    task = asyncio.create_task(run_verifiers([CallableVerifier(hang, "slow")], QUERY, attempts))
    for _ in attempts:
        await asyncio.to_thread(started.get, timeout=10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(stopped) == ["0", "1", "2"]


async def test_contradicting_verifiers_add_up_and_the_reason_says_so() -> None:
    moved, reason = await said(saying(True, "yes", 0.5), saying(False, "no", 0.9))
    assert moved == pytest.approx(log_odds(1.0, 0.5) + log_odds(0.0, 0.9))
    assert moved < 0
    assert reason == "verifiers contradict each other; yes: right; no: wrong"
    assert "contradict" not in (await said(saying(True), saying(0.7)))[1]


async def test_failed_attempts_are_not_checked_and_each_answer_has_its_own_word() -> None:
    right = CallableVerifier(lambda query, text, answer: text == "7", "exact")
    attempts = [attempt("7"), attempt("8", "r.1.2"), attempt("", "r.1.3", error="down")]
    words = told(await run_verifiers([right], QUERY, attempts))
    assert {name: moved > 0 for name, (moved, _) in words.items()} == {"r.1.1": True, "r.1.2": False}


@pytest.mark.parametrize("reliability", [0.0, -1.0, 1.1, math.nan, "high", None, True])
def test_a_verifier_needs_a_reliability(reliability: Any) -> None:
    with pytest.raises(SettingError, match="'mine' has reliability"):
        saying(True, reliability=reliability)


@given(st.floats(0, 1), st.floats(0.001, 1))
def test_a_probability_moves_symmetrically_and_never_to_certainty(probability: float, reliability: float) -> None:
    moved = log_odds(probability, reliability)
    assert abs(moved) <= math.log(1.98 / 0.02) + 1e-9
    assert log_odds(1.0 - probability, reliability) == pytest.approx(-moved, abs=1e-9)
    assert log_odds(1.0, reliability) == pytest.approx(Judgement(1.0, "").log_odds(reliability))


@given(st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none()))
def test_whatever_is_found_moves_by_a_finite_amount(found: object) -> None:
    heard = hear("mine", 1.0, found)
    assert heard is None or math.isfinite(heard.log_odds)


@given(st.lists(st.floats(-4, 4), max_size=6))
def test_words_add_up_in_any_order(moves: list[float]) -> None:
    heard = [Heard(move, "x") for move in moves]
    assert together(heard)[0] == together(heard[::-1])[0] == math.fsum(moves)


def test_words_of_two_sources_stand_side_by_side() -> None:
    two = AttemptId("r.1.2")
    merged = with_words({ONE: (1.0, "judge")}, {ONE: (-3.0, "tests"), two: (0.5, "")})
    assert merged == {ONE: (-2.0, "judge; tests"), two: (0.5, "")}
