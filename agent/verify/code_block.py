"""The Python code in an answer: the last block that defines something, or the whole text where it is all code. Pure."""

from __future__ import annotations

import ast
import re

_LONGEST_CODE = 100_000
_BLOCK = re.compile(r"```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_PYTHON = frozenset({"python", "python3", "py", "py3"})
_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)


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


def _defines(body: str) -> bool:
    if len(body) > _LONGEST_CODE:
        return False
    try:
        return any(isinstance(one, _DEFINES) for one in ast.parse(body).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
