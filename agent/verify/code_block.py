"""Code in an answer: the Python that tests can run, and the program that an answer claims.

A program is claimed in a fence, whatever fence the model drew, so that nobody takes it for words. Two programs are one
claim when their texts are: Python without its comments and its layout, other languages without blank lines and the
spaces that end lines. Programs that do the same in other words differ: only running tells.

Pure.
"""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache

_LONGEST_CODE = 100_000
_BLOCK = re.compile(
    r"(?<!`)```[ \t]{0,20}([\w+#.-]{0,40})[^\n]{0,200}\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE
)
_FENCED = re.compile(r"\A```([\w+#.-]*)\n(.*?)\n?```\Z", re.DOTALL)
_WORDS = frozenset({"", "text", "txt", "plain", "plaintext", "markdown", "md", "output", "csv", "latex", "tex", "math"})
_STATEMENT = re.compile(r"[;{]\s*$", re.MULTILINE)
_KEYWORD = re.compile(r"=|\b(?:def|class|import)\b")  # what Python needs to define something
_LINE = re.compile(r"^\s*(?!#|//)\S", re.MULTILINE)  # that is no comment
_VALUE = re.compile(r"[\w.,%$€£-]+")
_PYTHON = frozenset({"python", "python3", "py", "py3"})
_PROGRAM = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
_DEFINES = (*_PROGRAM, ast.Assign, ast.AnnAssign)


def python_in(text: str) -> str | None:
    """The Python code in a model's text, or ``None``.

    Of blocks that say they are Python the last one with a definition counts, or the last one; it need not be valid. A
    block without a language, or a text without blocks, must be valid Python that defines something.
    """
    found = _BLOCK.finditer(text[: 2 * _LONGEST_CODE])
    blocks: list[tuple[str, str]] = [(block[1].casefold(), block[2]) for block in found]
    named = [body for language, body in blocks if language in _PYTHON]
    defining = [body for body in named if _defines(body)]
    if named:
        return (defining or named)[-1][:_LONGEST_CODE]
    plain = [body for language, body in blocks if not language] if blocks else [text]
    return next((body for body in reversed(plain) if _defines(body)), None)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that a text claims.

    Attributes:
        claim: in a fence.
        below: what the text says after it.
        around: what it says outside all of its programs.
        calculates: whether it defines and imports nothing: then what it comes to may matter more.
    """

    claim: str
    below: str
    around: str
    calculates: bool


def program_in(text: str) -> Program | None:
    """The program that a text claims; ``None`` where it claims none.

    Of blocks of code the last that defines a Python function or class counts, else the longest. A block without a
    language, or a text without blocks, must be Python that defines or imports something, or have statements' ends.
    """
    body = text[: 2 * _LONGEST_CODE]
    blocks = [(block[1].casefold(), textwrap.dedent(block[2]), block.span()) for block in _BLOCK.finditer(body)]
    if not blocks:
        alone = _defines(textwrap.dedent(body), _PROGRAM)
        return Program(fenced("python", body), "", "", calculates=False) if alone else None
    programs = [block for block in blocks if _is_program(block[0], block[1])]
    if not programs:
        return None
    defining = [block for block in programs if _defines(block[1], _PROGRAM)]
    language, found, (_, end) = defining[-1] if defining else max(programs, key=lambda block: len(block[1]))
    edges = [0, *(edge for _, _, span in programs for edge in span), len(body)]
    around = "\n".join(body[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True))
    claim = fenced(language or ("python" if defining else ""), found)
    return Program(claim, body[end:], around, calculates=not defining)


def fenced(language: str, body: str) -> str:
    """A program as it is claimed."""
    return f"```{language}\n{textwrap.dedent(body).strip()}\n```"


def is_code(answer: str) -> bool:
    """Whether an answer is a program as it is claimed."""
    return answer.startswith("```") and _FENCED.match(answer) is not None


@lru_cache(maxsize=256)  # programs are compared in pairs
def spell_code(answer: str) -> str:
    """One spelling of a program in a fence; idempotent."""
    block = _FENCED.match(answer)
    if block is None:
        return answer
    lines = [line.rstrip() for line in textwrap.dedent(block[2]).splitlines()]
    plain = "\n".join(line for line in lines if line).replace("```", "")
    if block[1].casefold() not in _PYTHON:
        return f"```\n{plain}\n```"
    return f"```python\n{_python_spelled(plain) or plain}\n```"


def _python_spelled(body: str) -> str | None:
    """Python without comments and layout; ``None`` where it is not valid."""
    if len(body) > _LONGEST_CODE:
        return None
    try:
        return ast.unparse(ast.parse(body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_program(language: str, body: str) -> bool:
    """Whether a block is code; one word in a block of any language is a value in a box."""
    if not _LINE.search(body) or _VALUE.fullmatch(body.strip()) or language in {"json", "jsonc"}:
        return False
    if language not in _WORDS:
        return True
    return not language and (_defines(body, _PROGRAM) or len(_STATEMENT.findall(body)) > 1)


def _defines(body: str, kinds: tuple[type[ast.stmt], ...] = _DEFINES) -> bool:
    if len(body) > _LONGEST_CODE or not _KEYWORD.search(body):
        return False
    try:
        return any(isinstance(one, kinds) for one in ast.parse(body).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
