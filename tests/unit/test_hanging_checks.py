"""A verifier that blocks, hangs or is late holds up no run: it is left behind, and its word does not count."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.types import Arm, Attempt, AttemptId, Message, ModelId, Query, Usage, Word
from curveroute.agent.verify.checks import run_verifiers, told
from curveroute.agent.verify.found import CallableVerifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curveroute.agent.verify.found import Verifier

QUERY = Query((Message(role="user", content="What is 3 + 4?"),))
ONE, TWO = AttemptId("r.1.1"), AttemptId("r.1.2")


def attempt(name: str = ONE, text: str = "Answer: 7") -> Attempt:
    return Attempt(AttemptId(name), "probe", Arm(ModelId("small"), 16), text, "7", Usage(), 0.0, "stop", 0.1)


class Gate:
    """What blocks until the test is over."""

    def __init__(self) -> None:
        self.opened, self.left = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.opened.wait(30)
        self.left.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


class Blocking:
    """A coroutine that blocks as long as it is told to."""

    name, reliability = "blocks", 1.0

    def __init__(self, gate: Gate) -> None:
        self.gate: Gate | None = gate

    async def check(self, query_text: str, answer_text: str, answer: str | None) -> bool:
        if self.gate is not None:
            self.gate.wait()
        return True


async def words(verifier: Verifier, *names: AttemptId, **how: Any) -> dict[AttemptId, tuple[Word, ...]]:
    return await run_verifiers([verifier], QUERY, [attempt(name) for name in names or (ONE,)], **how)


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_coroutine_that_blocks_leaves_the_loop_of_the_run_alone(gate: Gate, wrapped: bool) -> None:
    own = Blocking(gate)
    verifier = CallableVerifier(own.check, "blocks") if wrapped else own
    (word,) = (await words(verifier, timeout_s=0.02))[ONE]
    assert not gate.left.is_set(), "it blocks still, and the run went on"
    assert word == Word("blocks", 0.0, "blocks: no word: it did not answer within 0.02 s", hung=True)


async def test_one_that_blocked_may_be_asked_in_the_next_run(gate: Gate) -> None:
    verifier = Blocking(gate)
    await words(verifier, timeout_s=0.02)
    verifier.gate = None
    (word,) = (await asyncio.wait_for(words(verifier, TWO, timeout_s=20), 20))[TWO]
    assert (word.log_odds > 0, word.hung) == (True, False)
    assert not gate.left.is_set()


@pytest.mark.parametrize("seconds", [9.9, 10.1])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_word_that_comes_after_the_time_limit_never_counts(seconds: float, is_async: bool) -> None:
    async def later(*_: object) -> bool:
        return True

    readings = iter([100.0, 100.0 + seconds])
    verifier = CallableVerifier(later if is_async else (lambda *_: True), "slow")
    (word,) = (await words(verifier, clock=lambda: next(readings)))[ONE]
    assert (word.log_odds > 0, word.hung) == ((True, False) if seconds <= 10.0 else (False, True))


async def test_an_answer_that_has_a_word_is_not_asked_about_again() -> None:
    asked: list[str] = []
    verifier = CallableVerifier(lambda query, text, answer: asked.append(text), "counts")
    first = await run_verifiers([verifier], QUERY, [attempt(ONE, "one")])
    both = await run_verifiers([verifier], QUERY, [attempt(ONE, "one"), attempt(TWO, "two")], first)
    assert asked == ["one", "two"]
    assert both == {ONE: (Word("counts", 0.0, ""),), TWO: (Word("counts", 0.0, ""),)}
    assert told(both) == {}


async def test_verifiers_of_one_name_keep_their_words_apart() -> None:
    pair = [CallableVerifier(lambda *_, found=found: found, "same") for found in (True, False)]
    pair += [CallableVerifier(lambda *_: None, "same (2)")]
    found = await run_verifiers(pair, QUERY, [attempt()])
    assert len({word.verifier for word in found[ONE]}) == len(pair)
    assert await run_verifiers(pair, QUERY, [attempt()], found) == found


async def test_one_that_hung_is_not_asked_again_in_the_run_and_says_so(gate: Gate) -> None:
    verifier = Blocking(gate)
    asked = await words(verifier, timeout_s=0.02)
    verifier.gate = None
    late = asked[ONE][0].reason
    for name in (TWO, AttemptId("r.1.3")):
        asked = await words(verifier, ONE, name, known=asked)
        (word,) = asked[name]
        assert word.reason == f"{late} on another answer, and is not asked again in this run"
        assert (word.log_odds, word.hung) == (0.0, True)


async def test_the_checks_of_a_verifier_share_a_loop_which_is_not_the_runs() -> None:
    loops = []

    async def look(*_: object) -> None:
        loops.append(asyncio.get_running_loop())

    verifier = CallableVerifier(look, "looks")
    for name in (ONE, TWO):
        await words(verifier, name)
    assert loops[0] is loops[1]
    assert loops[0] is not asyncio.get_running_loop()


async def test_a_loop_ends_with_its_verifier() -> None:
    threads: list[threading.Thread] = []

    async def look(*_: object) -> None:
        threads.append(threading.current_thread())

    verifier = CallableVerifier(look, "looks")
    await words(verifier)
    assert threads[0].is_alive()
    del verifier
    gc.collect()
    await asyncio.to_thread(threads[0].join, 10)
    assert not threads[0].is_alive()


async def test_a_verifier_that_cannot_be_named_weakly_is_heard_all_the_same() -> None:
    class Narrow:
        __slots__ = ()
        name, reliability = "narrow", 1.0

        async def check(self, query_text: str, answer_text: str, answer: str | None) -> bool:
            return True

    assert (await words(Narrow()))[ONE][0].log_odds > 0


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Slippery(float):
    def __lt__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    __le__ = __gt__ = __ge__ = __lt__


async def test_what_has_no_words_or_cannot_be_compared_is_no_word() -> None:
    def raises(*_: object) -> None:
        raise Speechless

    def slips(*_: object) -> float:
        return Slippery(0.5)

    said = await run_verifiers(
        [CallableVerifier(raises, "raises"), CallableVerifier(slips, "slips")], QUERY, [attempt()]
    )
    (words,) = said.values()
    assert [word.log_odds for word in words] == [0.0, 0.0]
    assert "Speechless" in words[0].reason
