"""What a text finally claims, in a form in which two claims can be compared.

Agreement is only as good as the words it compares: "The answer is **1,000.0**." and "1000" are one claim, and an
empty answer or a refusal is no claim at all. Everything here is pure text in, value out; nothing here knows the
right answer. ``normalise`` is idempotent, ``same`` is symmetric.
"""

from __future__ import annotations

import re
from functools import lru_cache

from curveroute.agent.verify.code_block import Program, is_code, program_in
from curveroute.agent.verify.query_kind import QueryKind, query_kind
from curveroute.agent.verify.refusal import declines
from curveroute.agent.verify.spelling import (
    FENCE,
    JSON_LIMIT,
    NUMBER,
    as_json,
    as_number,
    as_value,
    claims_nothing,
    embedded_json,
    is_value,
    normalise,
    numbers_in,
    same,
    spell,
    strip_marks,
)

__all__ = [
    "QueryKind", "as_value", "claim_of", "claims_nothing", "echoes", "extract_answer", "looks_refused", "marked_answer",
    "names_option", "normalise", "query_kind", "same", "spell", "well_formed",
]  # fmt: skip


_SHORT_WORDS = 12
_PROSE_WORDS = 7
_LONG_WORDS = 40
_CHAT_WORDS = 8
_LIST_WORDS = 4
_LIST_LINES = 12
_BOX_LIMIT = 500

_MOST_MARKS = 50  # of answers that are looked at, from the last one backwards
_ECHO_WORDS = 4
_ECHO_SHARE = 0.7

_WORD = re.compile(r"\w+")
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_TOKEN = re.compile(r"<\|\w{2,30}\|>|</?s>|<(?:eos|end_of_turn)>|\[/?INST\]")
_PLACEHOLDER = re.compile(
    r"</?\s*(?:(?:the|your)\s+)?(?:final\s+)?answer(?:\s+here)?\s*>"
    r"|\[\s*(?:(?:the|your|insert)\s+)*(?:final\s+answer|answer\s+here)\s*\](?!\()",
    re.IGNORECASE,
)
_MARKER = re.compile(
    r"(?:final\s+answer|answer|result)\**\s*(?:(?:is|are|would\s+be|=)\s*:?|:)[ \t]*\**[ \t]*|(?<!#)####(?!#)[ \t]*",
    re.IGNORECASE,
)
_BARE_MARKER = re.compile(
    r"[\s*#]*+(?:(?:(?:therefore|thus|hence|so),?\s+)?(?:the\s+)?(?:final\s+)?answer(?:\s+is)?|result|output)?[\s*:#]*+",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\s*\{")
_SENTENCE_END = re.compile(r"(?<!\b[A-Z])(?<!\b[A-Z][a-z])[.!?]\s+(?=[A-Z*])")
_ANSWER_LINE = re.compile(r"^[\s*#>_]*(?:the\s+)?(?:final\s+)?answer[\s*_]*:[\s*_]*", re.IGNORECASE | re.MULTILINE)
_FENCE_LINE = re.compile(r"```(?:[\w+#.-]+[ \t]*(?=\n))?")
_REASON = re.compile(r",?\s+(?:because|since)\s.*$", re.IGNORECASE)
_COPULA = re.compile(r"\s(?:is|are|was|were|equals|gives|would be|will be)(?::\s*|\s+)(?:equal to\s+)?", re.IGNORECASE)
_CHATTER = re.compile(
    r"^(?:i hope|let me know|feel free|if you (?:have|need)|please (?:let|note)|is there anything|do you (?:need|have)"
    r"|hope this|good luck|thank)",
    re.IGNORECASE,
)
_OPENER = re.compile(r"^(?:sure|certainly|of course|okay|ok|here|great|yes[,!] (?:here|i can))\b.*", re.IGNORECASE)
_DERIVES = re.compile(
    r"=|(?:^|[.,;:]\s*)so\b|\b(?:therefore|thus|hence|totals?|step|first|then|finally|let|need to|calculate|find"
    r"|solve)\b",
    re.IGNORECASE,
)
_VERDICT = re.compile(r"^(yes|no|true|false)(?:[.!]?$|(?<=[so]),\s|[.;:!]\s|\s+[-–—]\s)", re.IGNORECASE)
_BOLD = re.compile(r"\*\*|__")
_GREETING = re.compile(
    r"^(?:hello|hi|hey|good (?:morning|evening|day|question)|great question|absolutely|thanks|thank you)"
    r"(?: there| for asking)?[!.,]\s+(?=[A-Z*])",
    re.IGNORECASE,
)
_ITEM = re.compile(r"^\s*(?:[-•*]|\d+[.)])\s+")
_SOLUTIONS = re.compile(
    r"=[^=]{1,20}\b(?:or|and)\s+\w{1,3}\s*=|=\s*(?:±|\\pm\b)"
)  # several, of which the last is not all
_ENDING_TIME = re.compile(r"\b(?:at|by|is)\s+(\d{1,2}:\d{2}(?:\s*[ap]\.?m\.?)?)$", re.IGNORECASE)


def extract_answer(text: str, kind: QueryKind = "text") -> str | None:
    r"""The final answer in a model's text, or ``None`` when it claims nothing.

    Marked answers ("Answer: X", "the answer is X", ``\boxed{X}``, "#### X") win, the last one first; then JSON; then
    what a short text, its first sentence (of a plain statement) or its last line (of a derivation) claims. A program
    is claimed in a fence, and nothing that stands in it is an answer.

    Args:
        text: the model's.
        kind: of the query. Where that is a number, say, the words around a program are what answers it.
    """
    body = _body(text)
    if not body or as_json(body) is not None:
        return body or None
    program = program_in(body)
    if program is None:
        return _in_words(body)
    return (_beside(program) if kind in {"text", "prose"} else _in_words(program.around)) or program.claim


def _body(text: str) -> str:
    """What a model said, without its thoughts, the tokens of its template, and the marks that stand for an answer."""
    return _PLACEHOLDER.sub(" ", _TOKEN.sub("", _THINKING.sub("", text))).strip()


def claim_of(text: str, kind: QueryKind = "text") -> str | None:
    """What a model's text claims: its final answer, or all of it where it is prose; ``None`` when it claims nothing.

    Prose is asked for ("Explain", "Write a letter"), or it comes in reply to a query of no particular form, and states
    nothing short. A line "Answer:" begins it, where there is one.

    Args:
        text: the model's.
        kind: of the query.
    """
    answer = extract_answer(text, kind)
    if kind not in {"text", "prose"} or (answer is not None and (is_code(answer) or as_json(answer) is not None)):
        return answer
    body = _body(text)
    short = answer is not None and not (_trails_off(body, answer) or _is_itemised(body))
    if kind == "text" and answer is not None and (short or marked_answer(body) is not None):
        return answer
    whole = body[max((mark.end() for mark in _ANSWER_LINE.finditer(body)), default=0) :].strip() or body
    announced = all(_OPENER.fullmatch(line) and line.endswith(":") for line in whole.splitlines())
    return whole if len(whole.split()) >= _PROSE_WORDS and not announced else answer


def _trails_off(body: str, answer: str) -> bool:
    """Whether a long text was read as a sentence that is only its last words."""
    wordy = len(body.split()) >= _LONG_WORDS and len(answer.split()) >= _LIST_WORDS
    return wordy and NUMBER.search(answer) is None and strip_marks(body).endswith(answer)


def _is_itemised(body: str) -> bool:
    """Whether a text is a list of more than short items, and derives nothing: no line of it is what it claims."""
    lines = [" ".join(line.split()) for line in body.splitlines() if line.strip()]
    items = sum(_ITEM.match(line) is not None for line in lines)
    begins = bool(lines) and (_ITEM.match(lines[0]) is not None or lines[0].endswith(":"))
    return (
        begins
        and items > 1
        and 2 * items >= len(lines)
        and not any(map(_DERIVES.search, lines))
        and _listed(lines) is None
    )


def _in_words(body: str) -> str | None:
    marked = marked_answer(body)
    if marked is not None:
        return marked
    blocks = [block.strip() for block in FENCE.findall(body) if block.strip()]
    embedded = embedded_json(blocks[-1] if blocks else body)
    return embedded if embedded is not None else _from_lines(body)


def _beside(program: Program) -> str | None:
    """What is claimed below a program in its place: a marked answer, or the value that a mere calculation comes to."""
    marked = marked_answer(program.below)
    if marked is not None or not program.calculates or not program.below.strip():
        return marked
    claim = _from_lines(program.below)
    return claim if claim is not None and is_value(spell(claim)) else None


def marked_answer(text: str) -> str | None:
    """The last answer in a text that is marked as one and not empty."""
    text = _PLACEHOLDER.sub(" ", text)
    marks = [(match.start(), match.end(), _after_marker) for match in _MARKER.finditer(text)]
    marks += [(match.start(), match.end(), _balanced) for match in _BOXED.finditer(text)]
    marks.sort(key=lambda mark: mark[0], reverse=True)
    found = (read(text[end : end + JSON_LIMIT]) for _, end, read in marks[:_MOST_MARKS])
    return next((answer for answer in found if answer and not _BARE_MARKER.fullmatch(answer)), None)


def looks_refused(text: str) -> bool:
    """Whether the text opens with a refusal, an excuse or boilerplate instead of an answer."""
    return marked_answer(text) is None and declines(text)


def echoes(query_text: str, answer: str) -> bool:
    """Whether an answer only says the question again: four words or more that are most of the question's own."""
    asked, said = _words(query_text), _words(answer)
    if len(said) < _ECHO_WORDS or len(said) > len(asked) or len(said) < _ECHO_SHARE * len(asked):
        return False
    return f" {' '.join(said)} " in f" {' '.join(asked)} "


@lru_cache(maxsize=256)  # many answers are held against one question
def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def well_formed(text: str, answer: str | None, kind: QueryKind) -> bool:
    """Whether an answer has the form that its query asks for; says nothing about whether it is right."""
    norm = normalise(answer) if answer is not None else ""
    if answer is None or not norm or (looks_refused(text) and not names_option(answer, kind)):
        return False
    if is_code(answer):
        return kind in {"text", "prose"}
    formed = {
        "choice": names_option(answer, kind),
        "number": bool(numbers_in(norm)) or as_value(norm) is not None or any(map(str.isdigit, norm)),
        "json": as_json(answer) is not None,
        "yesno": re.match(r"(?:yes|no|true|false)\b", norm) is not None,
        "list": "," in norm or len(text.strip().splitlines()) > 1,
    }
    return formed.get(kind, True)


def names_option(answer: str, kind: QueryKind) -> bool:
    """Whether an answer is the letter of an option, whatever the option says ("D. Cannot be determined")."""
    return kind == "choice" and re.fullmatch(r"[a-j]", normalise(answer)) is not None


def _after_marker(rest: str) -> str | None:
    boxed = _BOXED.search(rest.split("\n", 1)[0])
    if boxed:
        return _balanced(rest[boxed.end() :])
    stripped = rest.lstrip()
    if stripped.startswith("```"):
        fence = FENCE.match(stripped)
        return fence[1].strip() if fence else None
    if stripped.startswith(("{", "[")):
        return embedded_json(stripped) or strip_marks(stripped.split("\n", 1)[0])
    first = strip_marks(_first_sentence(" ".join(stripped.split("\n", 1)[0].split())))
    verdict = _VERDICT.match(first)
    return verdict[1] if verdict else first or None


def _balanced(rest: str) -> str | None:
    depth = 1
    for position, character in enumerate(rest[:_BOX_LIMIT]):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            inner = re.sub(r"\\text\s*\{([^}]*)\}", r"\1", rest[:position])
            return strip_marks(inner) or None
    return None


def _first_sentence(line: str) -> str:
    return _REASON.sub("", _SENTENCE_END.split(line, maxsplit=1)[0])


def _from_lines(body: str) -> str | None:
    lines = [" ".join(line.split()) for line in _FENCE_LINE.sub("\n", body).splitlines()]
    lines = [line for line in lines if line and not _BARE_MARKER.fullmatch(line)]
    spoken = [line for line in lines if any(map(str.isalnum, line)) and not _CHATTER.match(line)]
    lines = spoken or lines[-1:]
    if not lines:
        return None
    lines = [_GREETING.sub("", lines[0], count=1), *lines[1:]]
    if all(_OPENER.fullmatch(line) and line.endswith(":") for line in lines):
        return None  # it announces an answer, and none comes
    stated = _listed(lines) or _opening(lines)
    if stated:
        return stated
    claim = _claim(lines[-1])
    if len(claim.split()) <= (_SHORT_WORDS if len(lines) == 1 else _CHAT_WORDS):
        return claim or None
    numbered = [line for line in lines if NUMBER.search(line)]
    if not numbered:
        return None
    claim = _claim(numbered[-1])
    return claim if len(claim.split()) <= _SHORT_WORDS else str(NUMBER.findall(numbered[-1])[-1]).rstrip(".")


def _listed(lines: list[str]) -> str | None:
    """Short lines that are items of one list, joined by commas."""
    headed = len(lines) > 2 and lines[0].endswith(":") and all(map(_ITEM.match, lines[1:]))  # noqa: PLR2004
    items = [strip_marks(_ITEM.sub("", line)) for line in lines[headed:]]
    short = all(len(item.split()) <= _LIST_WORDS and not _DERIVES.search(item) and ":" not in item for item in items)
    several = 1 < len(items) <= _LIST_LINES and len(set(items)) == len(items)
    return ", ".join(items) if several and short and not _VERDICT.match(items[0]) else None


def _opening(lines: list[str]) -> str | None:
    """What the first sentence states, when the text states it and then explains, and derives nothing."""
    verdict = _VERDICT.match(strip_marks(_BOLD.sub("", lines[0])))
    if verdict:
        return verdict[1]
    lines = [line for line in lines if not _OPENER.fullmatch(line)]
    first = _first_sentence(lines[0]) if lines else ""
    alone = not lines or (len(lines) == 1 and len(_SENTENCE_END.split(lines[0])) == 1 and _COPULA.search(first) is None)
    if alone or any(map(_DERIVES.search, lines)):
        return None
    claim = _claim(first)
    return claim if len(claim.split()) <= _CHAT_WORDS else None


def _claim(line: str) -> str:
    """What a line asserts: after its last "=", or the half of "X is Y" that is news."""
    plain = strip_marks(re.sub(r"\*\*|^[-•>]\s+|^#+\s+", "", line))
    if len(plain.split()) > _SHORT_WORDS:
        plain = strip_marks(_SENTENCE_END.split(plain)[-1])
    if _SOLUTIONS.search(plain):
        return plain
    if re.search(r"=\s*[-$\d(.]", plain):
        return strip_marks(plain.rsplit("=", 1)[1])
    ending = _ENDING_TIME.search(plain)
    if ending:
        return ending[1]
    parts = _COPULA.split(f" {plain}", maxsplit=1)
    if len(parts) == 1:
        return _only_number(plain)
    subject, predicate = (strip_marks(part) for part in parts)
    return _news(plain, subject, predicate)


def _news(plain: str, subject: str, predicate: str) -> str:
    """The half of "subject is predicate" that answers; the whole sentence when both halves could."""
    if re.match(r"(?:there|it|this|that|so|therefore|thus|hence)\b", subject, re.IGNORECASE):
        return strip_marks(_first_sentence(predicate))
    described = re.match(r"(?:the|a|an)\s", predicate, re.IGNORECASE) is not None
    defined = re.match(r"the\s|.*['’]s\s", subject, re.IGNORECASE) is not None
    if defined and (not described or len(subject.split()) > len(predicate.split())):
        return strip_marks(_first_sentence(predicate))
    if not defined and described and len(subject.split()) <= len(predicate.split()):
        return subject
    return _only_number(plain)


def _only_number(sentence: str) -> str:
    """The number that a sentence or a label is about, if it is one; else all of it."""
    tail = sentence.rpartition(": ")[2]
    if tail != sentence and as_number(tail.casefold()) is not None:
        return tail
    found = NUMBER.findall(sentence)
    listed = ":" in sentence or "," in re.sub(r"^\w+,", "", sentence)
    measured = as_number(sentence.casefold()) is not None
    if len(found) != 1 or listed or measured or len(sentence.split()) < _LIST_WORDS:
        return sentence
    return str(found[0]).rstrip(".")
