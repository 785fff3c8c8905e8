"""What was shown stands; a run of many steps ends by itself; an unlimited arm gives way to the cap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from langchain_core.runnables import RunnableLambda

from curveroute.agent.errors import AllArmsFailed

if TYPE_CHECKING:
    from conftest import House

THREE = {"small": (0.3, 0.5, 0.1), "middle": (0.4, 0.6, 0.3), "big": (0.45, 0.8, 1.0)}


@pytest.mark.parametrize("face", ["invoke", "batch", "stream", "chain"])
def test_a_run_whose_every_call_fails_ends_with_its_errors_however_it_was_called(house: type[House], face: str) -> None:
    router = house.router(house.pool(THREE), house.chat(lambda call: house.dead()), tradeoff=0.0, plan=False)
    faces = {
        "invoke": lambda: router.invoke(house.query),
        "batch": lambda: router.batch([house.query]),
        "stream": lambda: list(router.stream(house.query)),
        "chain": lambda: (RunnableLambda(str) | router).invoke(house.query),
    }
    with pytest.raises(AllArmsFailed, match="connection refused"):
        faces[face]()


@pytest.mark.parametrize("face", ["invoke", "chain"])
def test_a_run_that_tries_every_arm_stays_within_langchains_recursion_limit(house: type[House], face: str) -> None:
    chat = house.chat(lambda call: f"Answer: {len(chat.calls)}")
    router = house.router(house.pool(THREE), chat, tradeoff=0.0, plan=False, judge=False)
    route = router.invoke(house.query) if face == "invoke" else (RunnableLambda(str) | router).invoke(house.query)
    assert len(route.attempts) >= 7
    assert route.answer


def test_an_answer_that_was_shown_is_never_taken_back_for_its_verdict(house: type[House]) -> None:
    chat = house.chat(lambda call: "I cannot answer that." if len(chat.calls) == 1 else "Answer: Lisbon")
    router = house.router(house.pool(), chat, tradeoff=1.0, plan=False)
    outlooker = router.parts.outlooker
    opposed = np.full_like(outlooker._covariance, -0.1)  # a bad verdict on one arm speaks for all others
    np.fill_diagonal(opposed, np.diagonal(outlooker._covariance))
    outlooker._covariance = opposed
    pieces = list(router.stream(house.query, tradeoff=0.97))
    assert not any(piece.restart for piece in pieces)
    assert "".join(piece.answer for piece in pieces) == "I cannot answer that."
    assert len(chat.calls) == 1


def test_an_unlimited_arm_is_cut_down_to_what_the_cap_holds(house: type[House]) -> None:
    chat = house.chat(lambda call: "Answer: Lisbon")
    pool = house.pool({"big": (0.5, 0.8, 1.0)}, budgets=(None,), window=100_000)
    cap = 0.01
    route = house.router(pool, chat, tradeoff=0.5, plan=False, max_cost_usd=cap).invoke(house.query)
    assert route.answer == "Answer: Lisbon"
    (call,) = chat.calls
    assert 600 <= call.max_tokens < 3_000
    assert 4e-6 * call.max_tokens <= cap
