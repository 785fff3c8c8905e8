"""The tasks that models are measured on: questions written for this project, and generated ones of known families.

A task knows its own grader. Generated tasks come from reasoning-gym at its easiest settings, with prompts short
enough for small models on a CPU; each is named by its family, seed and position, from which it can be made again,
so that neither a table nor a ledger has to hold the generator's data.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from curveroute.agent.errors import MissingExtra, TableError
from curveroute.agent.verify.answers import QueryKind, query_kind
from curveroute.agent.verify.spelling import strip_marks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

GRADERS = ("exact", "exact_case", "contains", "number", "choice", "json", "list", "regex", "gym")
MAX_PROMPT_CHARS = 450
_REQUIRED = ("query_id", "query", "task", "reference", "kind", "grader")
_OPTIONAL = ("accept", "pattern")
_PATIENCE = 40


@dataclass(frozen=True, slots=True)
class Task:
    """One query with what is needed to grade an answer to it.

    ``meta`` is plain JSON: ``accept`` (further right answers) and ``pattern`` for written questions; ``family``,
    ``seed`` and ``index`` for generated ones.
    """

    query_id: str
    query: str
    task: str
    reference: str
    kind: str
    grader: str
    meta: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Family:
    """A reasoning-gym family at its easiest: the form of its answers, its settings, and whether parts score."""

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    partial: bool = False


_SHORT_SUMS = {"max_terms": 3, "max_digits": 2, "operators": ("+", "-", "*"), "allow_negation": False}

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "aiw": Family("number", {"max_entities": 4}),
        "base_conversion": Family("text", {"min_base": 2, "max_base": 10, "min_value": 1, "max_value": 40}),
        "basic_arithmetic": Family("number", _SHORT_SUMS),
        "calendar_arithmetic": Family("text", {"tasks": ["weekday_of_date", "is_leap_year", "weekday_offset"]}),
        "chain_sum": Family("number", {"max_terms": 3, "max_digits": 2}),
        "count_primes": Family("number", {"max_n": 40}),
        "decimal_chain_sum": Family("number", {"max_terms": 2, "max_digits": 2, "max_decimal_places": 1}),
        "family_relationships": Family("text", {"max_family_size": 4}),
        "fraction_simplification": Family("text", {"max_value": 12, "max_factor": 6, "styles": ("plain",)}),
        "gcd": Family("number", {"min_value": 2, "max_value": 60}),
        "gsm_symbolic": Family("number"),
        "lcm": Family("number", {"min_value": 2, "max_value": 15}),
        "leg_counting": Family("number", {"min_animals": 1, "max_animals": 3, "max_instances": 5}),
        "letter_counting": Family("number", {"min_words": 2, "max_words": 5}),
        "needle_haystack": Family("text", {"min_num_statements": 3, "max_num_statements": 8}),
        "number_sequence": Family("number", {"min_value": 0, "max_value": 20, "max_complexity": 1}),
        "prime_factorization": Family("text", {"max_value": 60}),
        "products": Family("number", {"max_digits": 2}),
        "simple_equations": Family("number", {"max_terms": 2, "max_value": 12}),
        "simple_geometry": Family("number", {"max_sides": 4, "min_angle": 70, "max_angle": 115}),
        "spell_backward": Family("text", {"max_word_len": 5}),
        "syllogism": Family("yesno"),
        "time_intervals": Family("text", {"task_types": ["time"]}),
        "word_sequence_reversal": Family("list", {"max_words": 4}),
        "word_sorting": Family("list", {"max_words": 4, "max_word_length": 8}, partial=True),
    }
)


def load_questions() -> list[Task]:
    """The questions that ship with curveroute, checked line by line.

    Raises:
        TableError: a line that is not a question, with its number.
    """
    text = resources.files("curveroute.agent.bench").joinpath("questions.jsonl").read_text("utf-8")
    return parse_questions(text, "questions.jsonl")


def parse_questions(text: str, source: str) -> list[Task]:
    """Tasks from JSON lines; ``source`` is what errors call the text."""
    tasks: list[Task] = []
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        task = _question(line, f"{source}, line {number}")
        for name, value in (("query_id", task.query_id), ("query", task.query)):
            if value in seen:
                raise TableError(f"{source}, line {number}: {name} {value!r} occurs twice; give each question its own")
            seen.add(value)
        tasks.append(task)
    return tasks


def gym_tasks(per_family: int, seed: int, exclude: Collection[str] = ()) -> list[Task]:
    """Generated tasks, the first ``per_family`` different ones of each family, the same for the same seed.

    Args:
        per_family: how many of each family; fewer where a family has no more different queries.
        seed: another seed gives other tasks with other ids, but a small family may repeat itself.
        exclude: query texts that must not occur again, such as those a predictor was trained on.

    Raises:
        MissingExtra: reasoning-gym is not installed.
    """
    tasks: list[Task] = []
    taken = set(exclude)
    for family in FAMILIES:
        fresh = list(_different(family, per_family, seed, taken))
        taken.update(task.query for task in fresh)
        tasks += fresh
    return tasks


def collection_tasks(per_family: int = 20, seed: int = 0) -> list[Task]:
    """Everything a predictor is trained on: the written questions, then the generated tasks."""
    return load_questions() + gym_tasks(per_family, seed)


def holdout_tasks(per_family: int = 20, seed: int = 1, *, trained: tuple[int, int] = (20, 0)) -> list[Task]:
    """Generated tasks of which none has the text of one in ``collection_tasks(*trained)``."""
    return gym_tasks(per_family, seed, exclude={task.query for task in collection_tasks(*trained)})


def gym_dataset(family: str, seed: int) -> Any:  # noqa: ANN401 (reasoning-gym has no types)
    """The reasoning-gym data set behind a family and seed: indexable, and able to score answers.

    Raises:
        MissingExtra: reasoning-gym is not installed.
        TableError: a family that curveroute does not use.
    """
    if family not in FAMILIES:
        raise TableError(f"no task family {family!r}; choose one of {', '.join(FAMILIES)}")
    return _gym_dataset(family, seed)


@functools.lru_cache(maxsize=128)
def _gym_dataset(family: str, seed: int) -> Any:  # noqa: ANN401
    try:
        import reasoning_gym
    except ImportError as error:
        raise MissingExtra("generated tasks (reasoning-gym)", "bench") from error
    # reasoning-gym makes item i from seed + i: neighbouring seeds would share almost all their items.
    spread = int.from_bytes(hashlib.sha256(f"{family}/{seed}".encode()).digest()[:5], "big")
    return reasoning_gym.create_dataset(family, seed=spread, size=2**20, **FAMILIES[family].config)


def _different(family: str, count: int, seed: int, taken: Collection[str]) -> Iterator[Task]:
    dataset = gym_dataset(family, seed)
    texts = set(taken)
    found = 0
    for index in range(count * _PATIENCE):
        if found == count:
            return
        entry = dataset[index]
        query, answer = entry["question"].strip(), str(entry["answer"])
        if query in texts or len(query) > MAX_PROMPT_CHARS or strip_marks(answer) != answer:
            continue
        texts.add(query)
        found += 1
        yield Task(
            query_id=f"gym/{family}/{seed}-{index:04d}",
            query=query,
            task=family,
            reference=answer,
            kind=query_kind(query) if FAMILIES[family].kind == "text" else FAMILIES[family].kind,
            grader="gym",
            meta=MappingProxyType({"family": family, "seed": seed, "index": index}),
        )


def _question(line: str, where: str) -> Task:
    row = _row(line, where)
    if row["kind"] not in get_args(QueryKind):
        raise TableError(f"{where}: kind {row['kind']!r} is none of {', '.join(get_args(QueryKind))}")
    if row["grader"] not in GRADERS:
        raise TableError(f"{where}: grader {row['grader']!r} is none of {', '.join(GRADERS)}")
    if (row["grader"] == "regex") != ("pattern" in row):
        raise TableError(f"{where}: a pattern goes with grader 'regex', and only with it")
    _check_pattern(row.get("pattern", ""), where)
    accept = row.get("accept", [])
    if not isinstance(accept, list) or not all(isinstance(other, str) and other for other in accept):
        raise TableError(f"{where}: accept {accept!r} is not a list of answers")
    meta = {name: tuple(row[name]) if name == "accept" else row[name] for name in _OPTIONAL if name in row}
    return Task(**{name: row[name] for name in _REQUIRED}, meta=MappingProxyType(meta))


def _check_pattern(pattern: object, where: str) -> None:
    try:
        re.compile(str(pattern))
    except re.error as error:
        raise TableError(f"{where}: pattern {pattern!r} is no regular expression ({error})") from error


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise TableError(f"{where}: not JSON ({error}); write one object a line") from error
    if not isinstance(row, dict):
        raise TableError(f"{where}: {row!r} is not an object")
    unknown = sorted(set(row) - {*_REQUIRED, *_OPTIONAL})
    if unknown:
        raise TableError(f"{where}: unknown field {unknown[0]!r}; use {', '.join((*_REQUIRED, *_OPTIONAL))}")
    for name in _REQUIRED:
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise TableError(f"{where}: {name} is {row.get(name)!r}; it must be text")
    return row
