"""Tasks: shipped questions that are checked, generated ones that can be made again."""

from __future__ import annotations

import builtins
import json
import sys
from collections import Counter
from typing import Any, get_args

import pytest

from curveroute.agent.bench import tasks
from curveroute.agent.bench.tasks import (
    FAMILIES,
    GRADERS,
    MAX_PROMPT_CHARS,
    collection_tasks,
    gym_dataset,
    gym_tasks,
    holdout_tasks,
    load_questions,
    parse_questions,
)
from curveroute.agent.errors import MissingExtra, TableError
from curveroute.agent.verify.answers import QueryKind

GOOD = {
    "query_id": "q/1",
    "query": "What is 1 + 1?",
    "task": "q",
    "reference": "2",
    "kind": "number",
    "grader": "number",
}


def test_questions_are_many_and_of_four_groups() -> None:
    counts = Counter(question.task for question in load_questions())
    assert sum(counts.values()) >= 200
    assert {"facts", "reasoning", "choice", "format"} <= set(counts)
    assert min(counts.values()) >= 45


def test_ids_and_texts_are_unique_over_everything_collected() -> None:
    everything = collection_tasks(per_family=5, seed=3)
    assert len({task.query_id for task in everything}) == len(everything)
    assert len({task.query for task in everything}) == len(everything)
    assert {task.kind for task in everything} <= set(get_args(QueryKind))
    assert {task.grader for task in everything} <= set(GRADERS)


def test_right_options_are_spread_evenly_over_the_letters() -> None:
    letters = Counter(question.reference for question in load_questions() if question.task == "choice")
    assert set(letters) == set("ABCD")
    assert max(letters.values()) - min(letters.values()) <= 1


def test_the_example_of_the_readme_is_not_trained_on() -> None:
    assert not any("14:10" in task.query or "leaves at" in task.query for task in collection_tasks(20))


def test_generated_tasks_are_the_same_for_the_same_seed() -> None:
    assert gym_tasks(3, seed=5) == gym_tasks(3, seed=5)


def test_asking_for_more_keeps_the_first_ones() -> None:
    few, many = gym_tasks(2, seed=5), gym_tasks(4, seed=5)
    assert {task.query_id for task in few} < {task.query_id for task in many}


def test_every_family_gives_its_share_of_short_prompts() -> None:
    made = gym_tasks(6, seed=1)
    assert Counter(task.task for task in made) == dict.fromkeys(FAMILIES, 6)
    assert max(len(task.query) for task in made) <= MAX_PROMPT_CHARS
    assert len(FAMILIES) >= 14


def test_a_holdout_shares_no_text_and_no_id_with_what_was_collected() -> None:
    trained, held = collection_tasks(10, seed=0), holdout_tasks(10, seed=1, trained=(10, 0))
    assert not {task.query for task in trained} & {task.query for task in held}
    assert not {task.query_id for task in trained} & {task.query_id for task in held}


def test_a_generated_task_can_be_made_again_from_its_meta() -> None:
    for task in gym_tasks(1, seed=9):
        meta = json.loads(json.dumps(dict(task.meta)))
        entry = gym_dataset(meta["family"], meta["seed"])[meta["index"]]
        assert entry["question"].strip() == task.query
        assert str(entry["answer"]) == task.reference


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(TableError, match="no task family 'chess'"):
        gym_dataset("chess", 0)


def test_without_reasoning_gym_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "reasoning_gym":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    tasks._gym_dataset.cache_clear()
    monkeypatch.delitem(sys.modules, "reasoning_gym", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra, match=r"curveroute\[bench\]"):
        gym_tasks(1, seed=0)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"query_id": ""}, "query_id is ''"),
        ({"reference": 2}, "reference is 2"),
        ({"kind": "poem"}, "kind 'poem'"),
        ({"grader": "vibes"}, "grader 'vibes'"),
        ({"grader": "regex"}, "a pattern goes with"),
        ({"pattern": "2"}, "a pattern goes with"),
        ({"grader": "regex", "pattern": "("}, "pattern"),
        ({"accept": "two"}, "accept 'two'"),
        ({"points": 3}, "unknown field 'points'"),
    ],
)
def test_a_faulty_question_is_named_with_its_line(fault: dict[str, object], says: str) -> None:
    text = "\n".join((json.dumps(GOOD), json.dumps({**GOOD, "query_id": "q/2", "query": "What is 2?", **fault})))
    with pytest.raises(TableError, match="line 2") as caught:
        parse_questions(text, "mine.jsonl")
    assert says in str(caught.value)


@pytest.mark.parametrize("line", ["", "{", "[]", "3"])
def test_a_line_that_is_no_object_is_refused(line: str) -> None:
    with pytest.raises(TableError, match="line 2"):
        parse_questions(f"{json.dumps(GOOD)}\n{line}\n", "mine.jsonl")


@pytest.mark.parametrize("other", [{"query_id": "q/2"}, {"query": "What is 2?"}])
def test_a_repeated_question_is_refused(other: dict[str, str]) -> None:
    with pytest.raises(TableError, match="twice"):
        parse_questions(f"{json.dumps(GOOD)}\n{json.dumps(GOOD | other)}", "mine.jsonl")
