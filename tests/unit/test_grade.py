"""Grades: right is one, wrong is nothing, and nothing else ever leaves a grader."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from types import MappingProxyType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.bench import grade as grade_module
from curveroute.agent.bench.grade import Graded, grade
from curveroute.agent.bench.tasks import FAMILIES, GRADERS, Task, gym_tasks, load_questions
from curveroute.agent.errors import TableError

QUESTIONS = load_questions()
GENERATED = gym_tasks(3, seed=11)
EVERYTHING = QUESTIONS + GENERATED
WRONG = ("a quite wrong zebra", "I'm sorry, but I can't help with that.", "", " ", "-98765.25", "Answer: E", "…")


def task(grader: str, reference: str, query: str = "?", **meta: object) -> Task:
    return Task("t/1", query, "t", reference, "text", grader, MappingProxyType(meta))


@pytest.mark.parametrize(
    "wrapped", ["{}", "Answer: {}", "**Answer:** {}", "Think: 1 + 1 = 2.\n\nThe final answer is {}"]
)
def test_every_reference_is_worth_one(wrapped: str) -> None:
    failed = [each.query_id for each in EVERYTHING if grade(each, wrapped.format(each.reference)).quality != 1.0]
    assert not failed


def test_every_accepted_alternative_is_worth_one() -> None:
    pairs = [(each, other) for each in QUESTIONS for other in each.meta.get("accept", ())]
    assert pairs
    assert not [(each.query_id, other) for each, other in pairs if grade(each, f"Answer: {other}").quality != 1.0]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_answers_are_worth_nothing(wrong: str) -> None:
    assert not [each.query_id for each in EVERYTHING if grade(each, wrong).quality > 0.0]


def test_the_reference_of_another_question_is_rarely_right() -> None:
    facts = [each for each in QUESTIONS if each.task == "facts"]
    hits = [(a.query_id, b.query_id) for a, b in pairwise(facts)
            if grade(a, b.reference).quality and a.reference != b.reference]  # fmt: skip
    assert not hits


@given(st.sampled_from(EVERYTHING), st.text(max_size=60))
def test_any_text_gets_a_quality_between_zero_and_one(each: Task, text: str) -> None:
    graded = grade(each, text)
    assert math.isfinite(graded.quality)
    assert 0.0 <= graded.quality <= 1.0
    assert grade(each, text) == graded


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, -1.0, 0.01, 0.05])
def test_a_familys_odd_or_consoling_score_is_nothing(score: float, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(score_answer=lambda answer, entry: score)
    monkeypatch.setattr(grade_module, "gym_dataset", lambda family, seed: _Rows(fake))
    each = next(each for each in GENERATED if FAMILIES[each.task].partial)
    assert grade(each, "Answer: nonsense").quality == 0.0


class _Rows(list[dict[str, str]]):
    """A data set of one empty row with a scorer."""

    def __init__(self, scorer: SimpleNamespace) -> None:
        super().__init__([{}] * 1000)
        self.score_answer = scorer.score_answer


def test_a_family_that_fails_on_an_answer_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(answer: str, entry: object) -> float:
        raise ValueError(answer)

    monkeypatch.setattr(grade_module, "gym_dataset", lambda family, seed: _Rows(SimpleNamespace(score_answer=fail)))
    each = next(each for each in GENERATED if FAMILIES[each.task].partial)
    assert grade(each, "Answer: nonsense").quality == 0.0


def test_a_number_that_holds_the_right_digits_is_still_wrong() -> None:
    each = next(each for each in GENERATED if each.task == "gcd")
    assert grade(each, f"Answer: {each.reference}7").quality == 0.0


def test_a_part_of_a_sorted_list_is_worth_a_part() -> None:
    each = next(each for each in GENERATED if each.task == "word_sorting")
    first, *rest = each.reference.split(", ")
    assert 0.0 < grade(each, f"Answer: {', '.join([first, *reversed(rest)])}").quality < 1.0


@pytest.mark.parametrize(
    ("text", "quality"),
    [("B", 1.0), ("(B) fox", 1.0), ("fox", 1.0), ("The answer is a fox.", 1.0), ("The correct option is B.", 1.0),
     ("C", 0.0), ("C) fox", 0.0), ("fox or hen", 0.0), ("A, B", 0.0),
     ("A) hen\nB) fox\nC) red fox cub\nD) ant", 0.0), ("B) fox\nC) red", 0.0), ("E", 0.0), ("a bird", 0.0)],
)  # fmt: skip
def test_a_choice_is_a_letter_or_the_text_of_one_option(text: str, quality: float) -> None:
    each = task("choice", "B", "Which?\nA) hen\nB) fox\nC) red fox cub\nD) ant")
    assert grade(each, text).quality == quality


@pytest.mark.parametrize(
    ("grader", "reference", "text", "quality"),
    [
        ("exact", "16:45", "It ends at 4:45 pm.\nAnswer: 4:45 pm", 1.0),
        ("exact_case", "PLANET", "PLANET", 1.0),
        ("exact_case", "PLANET", "Planet", 0.0),
        ("contains", "Paris", "Paris, France", 1.0),
        ("contains", "Paris", "Paris or London", 0.0),
        ("contains", "Au", "Australia", 0.0),
        ("number", "12", "There are 12 months in 1 year.", 1.0),
        ("number", "12", "12.0", 1.0),
        ("number", "12", "between 11 and 12", 0.0),
        ("number", "6.60", "$6.6", 1.0),
        ("json", '{"a": 1, "b": true}', '```json\n{"b": true, "a": 1.0}\n```', 1.0),
        ("json", '{"a": 1, "b": true}', '{"b": 1, "a": 1}', 0.0),
        ("json", '{"a": null}', '{"a": null}', 1.0),
        ("json", "[1, 2]", "[2, 1]", 0.0),
        ("list", "a, b, c", "A,b , c.", 1.0),
        ("list", "a, b, c", "1. a\n2. b\n3. c", 1.0),
        ("list", "a, b, c", "The letters are: a, b, c.", 1.0),
        ("list", "a, b, c", "a, c, b", 0.0),
    ],
)
def test_each_grader_knows_its_form(grader: str, reference: str, text: str, quality: float) -> None:
    assert grade(task(grader, reference), text).quality == quality


def test_a_pattern_must_hold_for_the_whole_reply() -> None:
    each = task("regex", "wxyz", pattern="[a-z]{4}")
    assert [grade(each, text).quality for text in ("abcd", "Answer: abcd", "abcd efgh", "The word is abcd.")] == [
        1.0,
        1.0,
        0.0,
        0.0,
    ]


def test_an_empty_text_claims_nothing() -> None:
    assert grade(QUESTIONS[0], "  ") == Graded(None, 0.0)


def test_every_grader_of_a_question_exists() -> None:
    assert set(GRADERS) == set(grade_module._GRADERS)
    with pytest.raises(TableError, match="no grader 'vibes'"):
        grade(dataclasses.replace(QUESTIONS[0], grader="vibes"), "x")
