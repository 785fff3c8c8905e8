"""Whatever comes back (prose, boilerplate, contradictions, nothing), a run ends with the best so far and says why."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.errors import AllArmsFailed, PredictorError
from curveroute.agent.ledger import Ledger
from curveroute.agent.predictor import Predictor
from curveroute.agent.step import is_answer
from curveroute.agent.verify.found import CallableVerifier
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.agent.pool import Pool
    from curveroute.route import Route

SHORT = (16,)
LISBON = "Answer: Lisbon"
THREE = {"a": (0.5, 0.5, 0.1), "b": (0.6, 0.6, 0.1), "c": (0.6, 0.6, 0.1)}
NO_ANSWERS = {
    "nothing": "",
    "blank": " \n\t",
    "a refusal": "I cannot answer that.",
    "an excuse": "As an AI language model, I do not have opinions.",
    "a marker alone": "Answer:",
    "an opening alone": "Sure! Here is the answer:",
}


def scores(route: Route) -> list[float]:
    """The verdicts on the answers, in the order in which they came."""
    return [one.verdict.score for one in route.attempts if is_answer(one) and one.verdict]


def ended(route: Route) -> Route:
    """Every run ends with a status, a reason, and the answer that its verdicts hold for the best."""
    assert route.status in {"accepted", "best_so_far"}
    assert route.reason
    best = max((one for one in route.attempts if is_answer(one) and not one.error and one.verdict), key=_score)
    assert _score(best) == max(_score(one) for one in route.attempts if one.arm == route.arm and is_answer(one))
    assert route.cost_usd == pytest.approx(sum(one.cost_usd for one in route.attempts))
    return route


def _score(attempt: Any) -> float:
    return -1.0 if attempt.verdict is None else float(attempt.verdict.score)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened


class TestAgreementForTheWrongReason:
    """Two models that say the same nothing have not agreed on an answer."""

    @pytest.mark.parametrize("tradeoff", [0.0, 0.5])
    @pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS)
    def test_it_convinces_nobody(self, house: type[House], said: str, tradeoff: float) -> None:
        router = house.router(house.pool(budgets=SHORT), house.chat(lambda call: said), tradeoff=tradeoff)
        route = ended(router.invoke(house.query))
        assert route.status == "best_so_far", "no answer is no reason to be content"
        for attempt in route.attempts:
            assert attempt.verdict is not None
            assert attempt.verdict.reason in {"malformed", "refused"}
            assert dict(attempt.verdict.signals)["agree_other"] == 0
            assert "agrees" not in attempt.verdict.detail

    @pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS)
    def test_one_answer_outweighs_any_number_of_them(self, house: type[House], said: str) -> None:
        pool = house.pool({"a": (0.8, 0.8, 0.1), "b": (0.8, 0.8, 0.1), "c": (0.5, 0.5, 0.1)}, budgets=SHORT)
        chat = house.chat(lambda call: LISBON if call.arm.model == "c" else said)
        route = ended(house.router(pool, chat, tradeoff=0.0).invoke(house.query))
        assert (route.answer, route.model) == (LISBON, "c")


class TestTheJudge:
    @staticmethod
    def run(house: type[House], word: Callable[[Call], Any], answer: Callable[[Call], str], **settings: Any) -> Route:
        pool = house.pool({"a": (0.5, 0.5, 0.1), "b": (0.5, 0.5, 0.11)}, SHORT, judge="b", judge_reliability=0.9)
        chat = house.chat(lambda call: answer(call) if call.schema is None else word(call))
        return ended(house.router(pool, chat, tradeoff=0.02, plan=False, **settings).invoke(house.query))

    @pytest.mark.parametrize("said", ["I think it is right.", "", "{", "[]", "null", '"right"', "9" * 5000])
    def test_prose_changes_nothing_but_the_bill(self, house: type[House], said: str) -> None:
        def answer(call: Call) -> str:
            return f"Answer: {call.arm.model}"

        heard, silent = (self.run(house, lambda call: said, answer, judge=judge) for judge in (True, False))
        assert (heard.answer, heard.status, heard.reason) == (silent.answer, silent.status, silent.reason)
        assert scores(heard) == scores(silent)
        judged = [one for one in heard.attempts if one.role == "judge"]
        assert judged
        assert heard.cost_usd == pytest.approx(silent.cost_usd + sum(one.cost_usd for one in judged))

    @pytest.mark.parametrize("same", [True, False], ids=["of answers that agree", "of answers that differ"])
    @pytest.mark.parametrize("word", ["right", "wrong"])
    def test_contradictory_verdicts_leave_the_best_of_them(self, house: type[House], word: str, same: bool) -> None:
        """A judge finds both of two different answers right, or both of two equal ones wrong."""

        def judge(call: Call) -> str:
            properties: Any = (call.schema or {})["properties"]
            return json.dumps(
                {name: word if word in asked.get("enum", ()) else "x" for name, asked in properties.items()}
            )

        route = self.run(house, judge, lambda call: LISBON if same else f"Answer: {call.arm.model}")
        assert route.answer.startswith("Answer: ")
        assert max(scores(route)) <= 1.0
        judged = [one.attempt_id for one in route.attempts if one.role == "judge"]
        assert len(set(judged)) == len(judged)


class TestAPoolOfOneArm:
    @staticmethod
    def run(house: type[House], said: Any, tradeoff: float) -> Route:
        pool = house.pool({"solo": (0.5, 0.5, 1.0)}, budgets=SHORT)
        return ended(house.router(pool, house.chat(lambda call: said), tradeoff=tradeoff).invoke(house.query))

    @pytest.mark.parametrize("tradeoff", [0.0, 0.5, 1.0])
    def test_its_answer_is_the_answer(self, house: type[House], tradeoff: float) -> None:
        route = self.run(house, LISBON, tradeoff)
        assert (route.answer, route.status, len(route.attempts)) == (LISBON, "accepted", 1)

    @pytest.mark.parametrize("tradeoff", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("said", [*NO_ANSWERS.values(), "cut"], ids=[*NO_ANSWERS, "half an answer"])
    def test_what_is_no_answer_is_the_best_so_far_and_not_accepted(
        self, house: type[House], said: str, tradeoff: float
    ) -> None:
        route = self.run(house, house.cut() if said == "cut" else said, tradeoff)
        assert (route.status, len(route.attempts)) == ("best_so_far", 1)
        assert route.answer == ("Let me think" if said == "cut" else said)

    def test_its_failure_is_told(self, house: type[House]) -> None:
        with pytest.raises(AllArmsFailed, match="solo@16: connection refused"):
            self.run(house, house.dead(), 0.5)


class TestFailure:
    @pytest.mark.parametrize("tradeoff", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("lost", [0, 1])
    def test_when_all_fail_the_ledger_says_so_and_the_cap_holds(
        self, house: type[House], ledger: Ledger, tradeoff: float, lost: int
    ) -> None:
        chat, cap = house.chat(lambda call: house.dead(lost_tries=lost)), 1e-3
        router = house.router(house.pool(), chat, tradeoff=tradeoff, max_cost_usd=cap, ledger=ledger)
        with pytest.raises(AllArmsFailed, match="connection refused"):
            router.invoke(house.query)
        (record,) = ledger.runs()
        assert (record.status, record.answer) == ("failed", None)
        assert record.reason
        assert record.totals.attempts == len(chat.calls)
        assert record.totals.cost_usd <= cap
        assert (record.totals.cost_usd > 0) == (lost > 0)
        assert ledger.verify().ok

    @pytest.mark.parametrize("answered", [1, 2, 3])
    def test_an_endpoint_that_dies_in_the_middle_leaves_the_best_so_far(
        self, house: type[House], ledger: Ledger, answered: int
    ) -> None:
        def reply(call: Call) -> Any:
            return f"Answer: {call.arm}" if len(chat.calls) <= answered else house.dead("connection reset")

        chat = house.chat(reply)
        router = house.router(house.pool(), chat, tradeoff=0.0, plan=False, ledger=ledger, max_cost_usd=0.01)
        route = ended(router.invoke(house.query))
        assert route.answer == f"Answer: {route.arm}"
        assert route.status == "best_so_far"
        failed = [one for one in route.attempts if one.error]
        assert failed
        assert {one.error for one in failed} == {"connection reset"}
        assert {one.verdict.reason for one in failed if one.verdict} == {"error"}
        assert ledger.run(route.run_id).status == "best_so_far"
        assert ledger.verify().ok


class TestAPredictorThatDoesNotKnow:
    """Heads that say NaN: an arm without an estimate is never asked, and none at all is an error before any call."""

    @staticmethod
    def router(house: type[House], pool: Pool, chat: Any, field: str, poisoned: list[int], ledger: Ledger) -> Router:
        rng = np.random.default_rng(0)
        shape = (60, len(pool.arms))
        x, quality, tokens = rng.normal(size=(60, 8)), rng.uniform(0.4, 0.8, shape), rng.uniform(1, 16, shape)
        cost = np.linspace(1e-5, 1e-4, len(pool.arms)) * np.ones(shape)
        predictor = Predictor(embedder="letters").fit(x, quality, tokens, cost_usd=cost, arms=pool.arms)
        router = house.router(pool, chat, predictor=predictor, tradeoff=0.0, plan=False, ledger=ledger)
        heads: Any = router.parts.outlooker._view

        class Poisoned:
            covariance = heads.covariance

            def predict(self, vector: Any) -> Any:
                said = heads.predict(vector)
                values = np.array(getattr(said, field))
                values[poisoned] = np.nan
                return dataclasses.replace(said, **{field: values})

        router.parts.outlooker._view = Poisoned()  # type: ignore[assignment]
        return router

    @pytest.mark.parametrize("field", ["quality", "quality_std", "output_tokens"])
    def test_an_arm_without_an_estimate_is_never_asked(self, house: type[House], ledger: Ledger, field: str) -> None:
        pool, chat = house.pool(budgets=SHORT), house.chat(lambda call: LISBON)
        route = ended(self.router(house, pool, chat, field, [1], ledger).invoke(house.query))
        assert [call.arm for call in chat.calls] == [pool.arms[0]]
        assert [one.arm for one in route.candidates] == [pool.arms[0]]
        assert route.answer == LISBON
        assert ledger.verify().ok

    @pytest.mark.parametrize("field", ["quality", "quality_std", "output_tokens"])
    def test_no_estimate_at_all_is_an_error_that_says_so(self, house: type[House], ledger: Ledger, field: str) -> None:
        pool, chat = house.pool(budgets=SHORT), house.chat(lambda call: LISBON)
        with pytest.raises(PredictorError, match="no finite estimate of any arm"):
            self.router(house, pool, chat, field, [0, 1], ledger).invoke(house.query)
        assert chat.calls == []
        assert ledger.verify().ok


class TestPrograms:
    """Two programs that differ have not agreed, and the one that passes its tests is given."""

    GOOD, BAD = (f"```python\ndef add(a, b):\n    return a {sign} b\n```" for sign in "+-")
    QUERY = "Write a Python function add(a, b) that adds two numbers."

    @classmethod
    def run(cls, house: type[House], answer: Callable[[Call], str], query: str = QUERY, *checks: Any) -> Route:
        context = house.context(house.pool(THREE, SHORT), house.chat(answer), tradeoff=0.0)
        verifiers = tuple(CallableVerifier(check, "tests") for check in checks)
        parts = dataclasses.replace(context.parts, verifiers=verifiers)
        return ended(Router(dataclasses.replace(context, parts=parts)).invoke(query))

    def test_different_ones_do_not_agree(self, house: type[House]) -> None:
        route = self.run(house, lambda call: self.GOOD if call.arm.model == "a" else self.BAD)
        said = {one.arm.model: dict(one.verdict.signals) for one in route.attempts if one.verdict}
        assert said["a"]["agree_other"] == 0
        assert said["a"]["disagree_other"] == 2

    @pytest.mark.parametrize("good", [{"a"}, {"b"}, {"c"}, {"a", "b"}])
    def test_the_one_that_passes_is_given(self, house: type[House], good: set[str]) -> None:
        def passes(query_text: str, answer_text: str, answer: str | None) -> bool:
            return answer_text == self.GOOD

        route = self.run(house, lambda call: self.GOOD if call.arm.model in good else self.BAD, self.QUERY, passes)
        assert route.answer == self.GOOD

    @pytest.mark.parametrize("good", ["a", "b", "c"])
    def test_so_it_is_when_both_claim_the_same(self, house: type[House], good: str) -> None:
        def passes(query_text: str, answer_text: str, answer: str | None) -> bool:
            return answer_text.startswith("By")

        def answer(call: Call) -> str:
            return f"By design.\n{LISBON}" if call.arm.model == good else LISBON

        assert self.run(house, answer, house.query, passes).model == good
