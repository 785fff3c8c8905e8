"""Review: verdicts on all answers in the light of each other, the judge where it may matter, and what is next."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.ledger import NullLedger
from curveroute.agent.plan import ranking_plan
from curveroute.agent.propose import Outlooker
from curveroute.agent.review import Panel, review_run
from curveroute.agent.step import Inquiry
from curveroute.agent.types import Arm, Attempt, AttemptId, Estimate, Message, ModelId, Query, RunId, Usage, Verdict
from curveroute.agent.verify.answers import extract_answer
from curveroute.agent.verify.hearing import hear_answers
from curveroute.agent.verify.jury import Jury
from curveroute.agent.verify.review import review
from curveroute.agent.verify.scale import Calibrator, Line
from curveroute.graphs import Context

if TYPE_CHECKING:
    from conftest import House

    from curveroute.agent.review import Reviewed

TEXT = "What is the capital of Portugal?"
QUERY = Query((Message(role="user", content=TEXT),))


def said(name: str, text: str, **changes: Any) -> Attempt:
    """An attempt named ``number.model@budget`` by that arm."""
    model, _, budget = name.partition(".")[2].partition("@")
    arm = Arm(ModelId(model), int(budget))
    attempt = Attempt(AttemptId(name), "probe", arm, text, extract_answer(text), Usage(30, 10), 1e-5, "stop", 0.1)
    return replace(attempt, **changes)


def verdicts(
    *attempts: Attempt, quality: float = 0.5, judged: Any = None, scale: Calibrator | None = None
) -> list[Verdict]:
    estimates = {attempt.arm: Estimate(attempt.arm, quality, 0.1, 30, 10.0, 1e-5, 0.1) for attempt in attempts}
    heard = judged or {}
    hearing = hear_answers(
        TEXT, attempts, estimates, Jury.unfitted(), {name: word for name, (word, _) in heard.items()}
    )
    said = {name: words for name, (_, words) in heard.items()}
    given = review(TEXT, attempts, hearing, scale or Calibrator.identity(), said)
    return [given[attempt.attempt_id] for attempt in attempts]


class TestVerdicts:
    @pytest.mark.parametrize(
        ("text", "changes", "reason", "detail"),
        [
            ("Answer: Lisbon", {}, "ok", ""),
            ("Lis", {"finish_reason": "length"}, "truncated", "the token limit cut it off"),
            ("", {}, "malformed", "empty, or not in the form that the query asks for"),
            ("I cannot answer that.", {}, "refused", "it declines to answer"),
            ("", {"error": "connection refused", "finish_reason": "error"}, "error", "connection refused"),
        ],
    )
    def test_each_answer_gets_its_reason(self, text: str, changes: Any, reason: str, detail: str) -> None:
        (verdict,) = verdicts(said("1.a@16", text, **changes))
        assert (verdict.reason, verdict.detail) == (reason, detail)
        assert (verdict.score >= 0.5) == (reason == "ok")
        assert verdict.score > 0 if reason == "ok" else verdict.score == 0.0, "it claims nothing"

    def test_agreement_raises_and_disagreement_lowers(self) -> None:
        (alone,) = verdicts(said("1.a@16", "Answer: Lisbon"))
        agreed, _ = verdicts(said("1.a@16", "Answer: Lisbon"), said("2.b@16", "It is Lisbon."))
        opposed, _ = verdicts(said("1.a@16", "Answer: Lisbon"), said("2.b@16", "Answer: Porto"))
        assert opposed.score < alone.score < agreed.score
        assert (agreed.reason, agreed.detail) == ("ok", "1 agrees")
        assert (opposed.reason, opposed.detail) == ("disagreement", "1 differs")

    def test_a_likely_answer_stands_although_another_differs(self) -> None:
        first, _, other = verdicts(
            said("1.a@16", "Answer: Lisbon"), said("2.b@16", "Answer: Lisbon"), said("3.c@16", "Answer: Porto")
        )
        assert (first.reason, first.detail) == ("ok", "1 agrees, 1 differs")
        assert (other.reason, other.detail) == ("disagreement", "2 differ")

    def test_two_that_contradict_each_other_are_not_both_likely(self) -> None:
        first, second = verdicts(said("1.a@16", "Answer: Lisbon"), said("2.b@16", "Answer: Porto"), quality=0.9)
        assert first.score == second.score < 0.5
        assert {first.reason, second.reason} == {"disagreement"}

    def test_failed_calls_are_no_company(self) -> None:
        broken = said("2.b@16", "", error="down")
        assert verdicts(said("1.a@16", "Answer: Lisbon"), broken)[0] == verdicts(said("1.a@16", "Answer: Lisbon"))[0]

    def test_the_same_arm_may_be_heard_twice(self) -> None:
        first, second = verdicts(said("1.a@16", "Answer: Lisbon"), said("2.a@16", "Answer: Lisbon"))
        assert first.detail == second.detail == "1 agrees"
        assert dict(first.signals)["agree_same"] == dict(second.signals)["agree_same"] == 1.0

    def test_counts_are_of_answers_and_tell_models_apart(self) -> None:
        texts = ("Lisbon", "Lisbon", "Lisbon", "Porto", "Porto")
        names = ("1.a@16", "2.a@64", "3.b@16", "4.b@64", "5.c@16")
        first = verdicts(*(said(name, f"Answer: {text}") for name, text in zip(names, texts, strict=True)))[0]
        assert first.detail == "2 agree, 2 differ"
        seen = dict(first.signals)
        assert [seen[f"{word}_{who}"] for word in ("agree", "disagree") for who in ("same", "other")] == [1, 1, 0, 2]

    def test_answers_that_agree_have_one_score(self) -> None:
        first, second, third = verdicts(
            said("1.a@16", "Answer: Lisbon"), said("2.b@16", "It is Lisbon."), said("3.c@16", "Answer: Porto")
        )
        assert first.score == second.score != third.score

    def test_the_scale_moves_what_is_uncertain_and_nothing_else(self) -> None:
        attempts = [said("1.a@16", "Answer: Lisbon"), said("2.b@16", "I cannot answer that.")]
        plain = verdicts(*attempts)
        moved = verdicts(*attempts, scale=Calibrator({}, Line(1.0, -1.0)))
        assert moved[0].score < plain[0].score
        assert moved[1] == plain[1]

    def test_the_judges_word_is_told(self) -> None:
        attempt = said("1.a@16", "Answer: Lisbon")
        (wrong,) = verdicts(attempt, judged={attempt.attempt_id: (-2.0, "judge: wrong: no")})
        assert (wrong.reason, wrong.detail) == ("wrong", "judge: wrong: no")
        assert dict(wrong.signals)["judged"] == -2.0
        (right,) = verdicts(attempt, judged={attempt.attempt_id: (2.0, "judge: right: yes")})
        assert (right.reason, right.detail) == ("ok", "judge: right: yes")


async def run(
    house: type[House], attempts: list[Attempt], chat: Any = None, *, judge: bool = False, criteria: str = ""
) -> Reviewed:
    models = {"a": (0.4, 0.5, 0.1), "b": (0.4, 0.5, 0.2), "c": (0.5, 0.9, 1.0)}
    world = house.pool(models, budgets=(16,), judge="c", judge_reliability=0.8)
    outlooker = Outlooker(world, None)
    candidates = outlooker.estimates(None, QUERY, world.arms, 0.0)
    plan = replace(ranking_plan(candidates, ""), criteria=criteria)
    bench = Panel(world, chat or house.chat(lambda call: "never"), outlooker, NullLedger().made)
    inquiry = Inquiry(RunId("r"), QUERY, candidates, plan, Context(tradeoff=0.0))
    return await review_run(bench, inquiry, attempts, 2, judge=judge)


def judging(house: type[House], verdict: str = "right") -> Any:
    return house.chat(lambda call: json.dumps({"quote": "Lisbon", "reason": "so", "verdict": verdict}))


async def test_a_review_tells_what_is_new_and_what_is_next(house: type[House]) -> None:
    reviewed = await run(house, [said("1.a@16", "Answer: Lisbon")])
    assert [attempt.attempt_id for attempt in reviewed.changed] == ["1.a@16"]
    assert reviewed.changed[0].verdict is not None
    assert reviewed.judged == ()
    assert reviewed.turn.decision.step == 2
    assert [ask.arm.model for ask in reviewed.turn.asks] == ["c"]


async def test_only_changed_verdicts_are_news(house: type[House]) -> None:
    first = (await run(house, [said("1.a@16", "Answer: Lisbon")])).changed[0]
    again = await run(house, [first])
    assert again.changed == ()
    both = await run(house, [first, said("2.b@16", "Answer: Lisbon")])
    assert [attempt.attempt_id for attempt in both.changed] == ["1.a@16", "2.b@16"]


async def test_a_checkpoints_lists_are_no_news(house: type[House]) -> None:
    first = (await run(house, [said("1.a@16", "Answer: Lisbon")])).changed[0]
    assert first.verdict is not None
    listed: Any = [list(pair) for pair in first.verdict.signals]
    assert (await run(house, [replace(first, verdict=replace(first.verdict, signals=listed))])).changed == ()


async def test_planner_judge_and_lost_requests_get_no_verdict(house: type[House]) -> None:
    others = [
        said("1.a@16", "{}", role="planner", attempt_id=AttemptId("r.plan")),
        said("1.a@16", "", error="lost", attempt_id=AttemptId("r.1.1.lost")),
    ]
    reviewed = await run(house, [*others, said("2.b@16", "Answer: Lisbon")])
    assert [attempt.attempt_id for attempt in reviewed.changed] == ["2.b@16"]


async def test_the_best_answer_is_judged_once(house: type[House]) -> None:
    chat = judging(house)
    attempts = [said("1.a@16", "I cannot answer that."), said("2.b@16", "Answer: Lisbon")]
    reviewed = await run(house, attempts, chat, judge=True, criteria="a city")
    assert [call.attempt_id for call in reviewed.judged] == ["2.b@16.judge"]
    assert "a city" in chat.calls[0].messages[-1]["content"]
    verdict = next(one for one in reviewed.changed if one.attempt_id == "2.b@16").verdict
    assert verdict is not None
    assert verdict.detail.endswith("judge: right: so (“Lisbon”)")
    again = await run(house, [*reviewed.changed, *reviewed.judged], chat, judge=True)
    assert "2.b@16.judge" not in [call.attempt_id for call in again.judged]
    kept = {one.attempt_id: one.verdict for one in reviewed.changed} | {
        one.attempt_id: one.verdict for one in again.changed
    }
    assert kept["2.b@16"] is not None
    assert dict(kept["2.b@16"].signals)["judged"] > 0


@pytest.mark.parametrize(
    "attempt",
    [
        said("1.a@16", "", error="down"),
        said("1.a@16", "Lis", finish_reason="length"),
        said("1.a@16", "I cannot answer that."),
        said("1.a@16", ""),
    ],
)
async def test_what_is_no_answer_is_not_judged(house: type[House], attempt: Attempt) -> None:
    reviewed = await run(house, [attempt], judging(house), judge=True)
    assert reviewed.judged == ()


async def test_the_judge_is_left_out_when_it_is_off(house: type[House]) -> None:
    chat = judging(house)
    assert (await run(house, [said("1.a@16", "Answer: Lisbon")], chat)).judged == ()
    assert chat.calls == []
