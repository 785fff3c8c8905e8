"""How good a text is as the answer to a task: a quality in [0, 1], the same every time.

Graders look at the extracted answer, as a user would; those that test a format also look at the whole text, because
there the format is the task. Generated tasks are scored by their own family's rule. Consolation scores, which some
families pay for any non-empty text or for being near, count as nothing, unless right parts of an answer are worth
something (``Family.partial``): a verifier that learned from consolation would learn that wrong is fairly right.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from curveroute.agent.bench.tasks import FAMILIES, Task, gym_dataset
from curveroute.agent.errors import TableError
from curveroute.agent.verify.answers import claim_of, extract_answer, marked_answer, query_kind
from curveroute.agent.verify.spelling import as_value, close, normalise, numbers_in, parse_json, same, strip_marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

CONSOLATION = 0.05
_CONTAINS_WORDS = 14
_OPTION_LINE = re.compile(r"(?:^|\s)\(?([A-J])[).:]\s+(.+?)(?=\s+\(?[A-J][).:]\s|\s*$)", re.DOTALL)
_LETTER = re.compile(r"(?:^|[\s(*])([A-J])(?=[).:,*]|$)")


@dataclass(frozen=True, slots=True)
class Graded:
    """The answer that was found in a text and its quality; ``answer`` is ``None`` when nothing was claimed."""

    answer: str | None
    quality: float


def grade(task: Task, text: str) -> Graded:
    """Grade a model's text as the answer to a task.

    Raises:
        TableError: the task names no known grader.
        MissingExtra: a generated task without reasoning-gym installed.
    """
    grader = _GRADERS.get(task.grader)
    if grader is None:
        raise TableError(f"{task.query_id}: no grader {task.grader!r}; use one of {', '.join(_GRADERS)}")
    kind = query_kind(task.query)
    answer, claim = extract_answer(text, kind), claim_of(text, kind)
    if not text.strip():
        return Graded(None, 0.0)
    quality = grader(task, answer or "", text)
    if not math.isfinite(quality) or quality <= CONSOLATION:
        return Graded(claim, 0.0)
    return Graded(claim, min(quality, 1.0))


def _accepted(task: Task) -> tuple[str, ...]:
    return (task.reference, *task.meta.get("accept", ()))


def _exact(task: Task, answer: str, _text: str) -> float:
    return float(any(same(answer, right) for right in _accepted(task)))


def _contains(task: Task, answer: str, text: str) -> float:
    """Right as a whole, or named within a short claim; a text of one short sentence is such a claim."""
    sentence = text.strip()
    claims = (answer,) if "\n" in sentence else (answer, sentence)
    return float(any(_names(task, claim) for claim in claims) or _exact(task, answer, "") == 1.0)


def _names(task: Task, claim: str) -> bool:
    norm = normalise(claim)
    if len(norm.split()) > _CONTAINS_WORDS or re.search(r"\b(?:not|isnt|or)\b", norm):
        return False
    rights = [normalise(right) for right in _accepted(task)]
    return any(re.search(rf"(?<!\w){re.escape(right)}(?!\w)", norm) for right in rights if right)


def _number(task: Task, answer: str, _text: str) -> float:
    """The number that the answer is, or starts with, or the only one in it."""
    rights = [value for right in _accepted(task) if (value := as_value(right)) is not None]
    given = as_value(answer)
    if given is None:
        found = numbers_in(answer)
        leads = re.match(r"\s*[$€£]?\s*-?\d", answer) is not None
        given = found[0] if found and (leads or len(set(found)) == 1) else None
    return float(given is not None and any(close(given, right) for right in rights))


def _choice(task: Task, answer: str, _text: str) -> float:
    """The letter, or the text of one option and of no other."""
    right = task.reference.casefold()
    norm = normalise(answer)
    if re.fullmatch(r"[a-j]", norm):
        return float(norm == right)
    options = {letter.casefold(): normalise(option) for letter, option in _OPTION_LINE.findall(task.query)}
    equal = {letter for letter, option in options.items() if same(option, norm)}
    named = {letter for letter, option in options.items() if re.search(rf"(?<!\w){re.escape(option)}(?!\w)", norm)}
    letters = {letter.casefold() for letter in _LETTER.findall(answer)}
    for chosen in (equal, letters, named):
        if chosen:
            return float(chosen == {right})
    return 0.0


def _candidates(answer: str, text: str) -> tuple[str, ...]:
    """The texts that may be the whole formatted reply: the marked answer, or else the text as it stands."""
    if marked_answer(text) is not None:
        return tuple(dict.fromkeys((answer.strip(), strip_marks(answer))))
    bare = text.strip().removeprefix("```").removesuffix("```").strip()
    return tuple(dict.fromkeys((bare, strip_marks(bare))))


def _exact_case(task: Task, answer: str, text: str) -> float:
    return float(any(given in _accepted(task) for given in _candidates(answer, text)))


def _regex(task: Task, answer: str, text: str) -> float:
    pattern = re.compile(task.meta["pattern"])
    return float(any(pattern.fullmatch(given) for given in _candidates(answer, text)))


def _json(task: Task, answer: str, text: str) -> float:
    right = parse_json(task.reference)
    return float(any(given is not None and _equal(given, right) for given in map(parse_json, (answer, text))))


def _equal(given: object, right: object) -> bool:
    """Equality of JSON values; a boolean is no number, and the case of strings does not matter."""
    if isinstance(given, dict) and isinstance(right, dict):
        return given.keys() == right.keys() and all(_equal(given[key], right[key]) for key in right)
    if isinstance(given, list) and isinstance(right, list):
        return len(given) == len(right) and all(map(_equal, given, right))
    if isinstance(given, str) and isinstance(right, str):
        return given.strip().casefold() == right.strip().casefold()
    if isinstance(given, bool) or isinstance(right, bool):
        return given is right
    return given == right


def _list(task: Task, answer: str, text: str) -> float:
    rights = [_items(right) for right in _accepted(task)]
    return float(any(_items(given) in rights for given in (answer, *_candidates(answer, text))))


def _items(text: str) -> list[str]:
    body = strip_marks(text).strip("[]() ")
    parts = [part for part in (body.split(",") if "," in body else body.splitlines()) if part.strip()]
    return [normalise(re.sub(r"^\s*(?:[-•*]|and\s|\d+[.)]\s)", "", part).strip(" '\"")) for part in parts]


def _gym(task: Task, answer: str, _text: str) -> float:
    """The family's own score of the answer or of a light variant of it, whichever is most."""
    family = FAMILIES[task.meta["family"]]
    dataset = gym_dataset(task.meta["family"], task.meta["seed"])
    entry = dataset[task.meta["index"]]
    best = 0.0
    for variant in _variants(family.kind, answer):
        best = max(best, _score(dataset, variant, entry))
        if best >= 1.0:
            return 1.0
    if family.kind == "number":
        return _number(task, answer, "")
    return best if family.partial else 0.0


def _variants(kind: str, answer: str) -> Iterable[str]:
    """The answer as it stands, without marks, in the spellings that families use, and as a number alone."""
    bare = strip_marks(answer)
    spaced = re.sub(r"\s*(?:\*|×|\bx\b|\\times)\s*", " × ", bare)
    listed = ", ".join(part.strip(" '\"[]") for part in bare.split(","))
    yield from dict.fromkeys(
        (answer, bare, bare.title(), bare.lower(), spaced, listed, bare.rsplit("=", 1)[-1].strip())
    )
    if kind == "number":
        yield normalise(answer)


def _score(dataset: Any, answer: str, entry: Mapping[str, Any]) -> float:  # noqa: ANN401 (reasoning-gym has no types)
    try:
        score = float(dataset.score_answer(answer=answer, entry=entry))
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError):
        return 0.0
    return score if math.isfinite(score) else 0.0


_GRADERS: Mapping[str, Callable[[Task, str, str], float]] = MappingProxyType(
    {
        "exact": _exact,
        "exact_case": _exact_case,
        "contains": _contains,
        "number": _number,
        "choice": _choice,
        "json": _json,
        "list": _list,
        "regex": _regex,
        "gym": _gym,
    }
)
