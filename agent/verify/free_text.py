"""Agreement of free text: long answers that say the same in other words, by their vectors and by what they name.

An embedding hears the subject of a sentence and hardly what is claimed of it, so a high cosine is needed and is not
enough: two texts with other numbers, negations, names or opposite words never agree, nor do two that share a frame and
fill it otherwise, because a paraphrase changes the frame and a rival the filling. Measured with the default embedder
on 25 pairs of paraphrases and 34 pairs of rivals, written by hand, at the threshold 0.85: the cosine alone joins 17
paraphrases and 11 rivals (the highest 0.998: "moved from Lagos to Abuja", "from Abuja to Lagos"), with the rules 15
and none. Of the pairs that the rules were not written on, 5 of 10 and 0 of 12. It errs towards keeping texts apart.

Texts of more than sixty words agree only where they are spelled alike: two essays on one subject are near each other
whatever they say of it.

Pure. The partition does not depend on the order of the answers, and any two members of a group agree.
"""

from __future__ import annotations

import re
from collections import Counter
from difflib import SequenceMatcher
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.verify.linkage import linked
from curveroute.agent.verify.spelling import (
    as_json,
    claims_nothing,
    close,
    is_code,
    is_value,
    numbers_in,
    same,
    spell,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

PARAPHRASE_THRESHOLD = 0.85
LONG_WORDS = 7
MOST_WORDS = 60  # of a text that vectors are asked about: of longer ones they tell the subject
_DIGITS = 5
_FRAME = 0.5
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|neither|nor|without|cannot|hardly)\b|n['’]t\b"
    r"|\b(?:is|are|was|were|do|does|did|has|have|had|wo|ca|could|would|should|must)nt\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![.!?:]\s)(?<!^)(?<![\"“(*])\b[A-Z][\w'’-]+")
_NUMBER_WORDS = {
    "zero": 0.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "six": 6.0, "seven": 7.0, "eight": 8.0,
    "nine": 9.0, "ten": 10.0, "eleven": 11.0, "twelve": 12.0,
}  # fmt: skip
_LIGHT = frozenset({
    "a", "an", "the", "this", "that", "these", "those", "it", "its", "is", "are", "was", "were", "be", "been", "will",
    "would", "has", "have", "had", "and",
})  # fmt: skip
_OPPOSITES = [
    tuple(frozenset(side.split()) for side in pair.split("|"))
    for pair in (
        "increase increases increased increasing rise rises rose rising grow grows grew up higher"
        "|decrease decreases decreased decreasing fall falls fell falling drop drops dropped down lower",
        "more most|less least fewer fewest",
        "before|after",
        "true correct right yes|false incorrect wrong untrue",
        "always|never",
        "all every|some none",
        "above over|below under",
        "left|right",
        "maximum largest longest highest|minimum smallest shortest lowest",
        "first|last",
        "accept accepts accepted|refuse refuses refused reject rejects rejected",
        "start starts started begin begins began|end ends ended stop stops stopped",
        "with|without",
        "hot hotter warm|cold colder cool",
        "fast faster quickly|slow slower slowly",
        "possible|impossible",
        "legal|illegal",
        "safe|unsafe dangerous",
        "win wins won|lose loses lost",
        "buy buys bought|sell sells sold",
        "allow allows allowed|forbid forbids forbidden",
        "good better best|bad worse worst",
        "early earlier|late later",
        "positive|negative",
        "support supports supported|oppose opposes opposed contradict contradicts contradicted",
    )
]


def is_free_text(answer: str) -> bool:
    """Whether an answer is prose whose meaning is compared: 7 to 60 words, no JSON, no code, and no number."""
    spelled = spell(answer)
    prose = LONG_WORDS <= len(spelled.split()) <= MOST_WORDS and not is_code(spelled) and as_json(spelled) is None
    return prose and not claims_nothing(answer)


def may_agree(one: str, other: str) -> bool:
    """Whether nothing that two texts name sets them apart; symmetric. What is left is for their vectors to say."""
    one, other = sorted((" ".join(one.split()), " ".join(other.split())))
    said, told = _words(one), _words(other)
    if Counter(said) == Counter(told):
        return said == told
    return (
        _numbers_agree(one, other)
        and len(_NEGATION.findall(one)) == len(_NEGATION.findall(other))
        and _names_agree(one, other)
        and not _opposed(set(said), set(told))
        and not _other_filling(said, told)
    )


def groups_of_texts(
    answers: Sequence[str], vectors: Mapping[str, Vectors], threshold: float = PARAPHRASE_THRESHOLD
) -> tuple[int | None, ...]:
    """Which answers make one claim.

    Args:
        answers: as they were extracted, one for each attempt.
        vectors: (dim,) of a free text, by the text; one without a vector joins by its spelling alone.
        threshold: the least cosine at which two free texts agree.

    Returns:
        The number of each answer's group, in the order of first members; ``None`` where nothing is claimed.
    """
    texts = sorted({answer for answer in answers if not claims_nothing(answer)})
    first = linked(texts, near_texts(texts, vectors, threshold))
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(first[answer], len(numbers)) if answer in first else None for answer in answers)


def near_texts(
    texts: Sequence[str], vectors: Mapping[str, Vectors], threshold: float = PARAPHRASE_THRESHOLD
) -> dict[tuple[str, str], float]:
    """How near texts are that agree: 2 where their spellings do, else the cosine of two free texts.

    Args:
        texts: that claim something, all different, in rising order.
        vectors: (dim,) of a free text, by the text.
        threshold: the least cosine at which two free texts agree.
    """
    spelled = {text: spell(text) for text in texts}
    values = {text for text in texts if is_value(spelled[text])}
    free = [text for text in texts if text in vectors and is_free_text(text)]
    near = {
        (one, other): 2.0
        for one, other in combinations(texts, 2)
        if spelled[one] == spelled[other] or (one in values and other in values and same(one, other))
    }
    for one, other in combinations(free, 2):
        if (one, other) not in near:
            cosine = _cosine(vectors[one], vectors[other])
            if cosine >= threshold and may_agree(one, other):
                near[one, other] = cosine
    return near


def _cosine(one: Vectors, other: Vectors) -> float:
    """Of two vectors; an embedder's last bits depend on what else it embeds at the same time, and are left out."""
    length = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return round(float(np.dot(one, other)) / length, _DIGITS) if length > 0.0 else -1.0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _numbers_agree(one: str, other: str) -> bool:
    left, right = _numbers(one), _numbers(other)
    return len(left) == len(right) and all(map(close, left, right))


def _numbers(text: str) -> list[float]:
    return sorted({*numbers_in(text), *(_NUMBER_WORDS[word] for word in _words(text) if word in _NUMBER_WORDS)})


def _names_agree(one: str, other: str) -> bool:
    """Whether one text's names are all among the other one's; the first word of a sentence is no name."""
    left, right = (frozenset(_NAME.findall(text)) for text in (one, other))
    return left <= right or right <= left


def _opposed(said: set[str], told: set[str]) -> bool:
    """Whether one text has a word, and the other its opposite in its place."""
    return any(
        bool(left & said - told and right & told - said) or bool(right & said - told and left & told - said)
        for left, right in _OPPOSITES
        if not ((left & said and right & said) or (left & told and right & told))
    )


def _other_filling(said: Sequence[str], told: Sequence[str]) -> bool:
    """Whether two texts share half of their words in order, and have other words in one place between."""
    steps = SequenceMatcher(None, said, told, autojunk=False).get_opcodes()
    kept = sum(to - start for kind, start, to, _, _ in steps if kind == "equal")
    if kept < _FRAME * max(len(said), len(told)):
        return False
    return any(
        kind == "replace" and not (_LIGHT.issuperset(said[a:b]) and _LIGHT.issuperset(told[c:d]))
        for kind, a, b, c, d in steps
    )
