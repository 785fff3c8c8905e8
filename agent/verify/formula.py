r"""Formulas as answers give them: signs, brackets and operators are what they say, and spaces are not.

``-x`` is not ``x``, ``2(x + 1)`` is not ``2x + 1``, and ``2**3`` is not 23; but ``\frac{\pi}{2}`` is ``π/2``, and
``3x+y`` is ``3x + y``. What holds a word of a language is no formula. Nothing is computed. Pure, idempotent.
"""

from __future__ import annotations

import re

_LONGEST = 80
_FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp|sqrt"
_CONSTANTS = "alpha|beta|gamma|delta|theta|lambda|sigma|omega|infty|infinity|phi|psi|rho|tau|pi"
_SIGNS = "dfrac|tfrac|frac|times|cdots|cdot|left|right|leq|geq|neq|lim|max|min|pm"
FUNCTION = re.compile(rf"(?:{_FUNCTIONS})")
CONSTANT = re.compile(rf"(?:{_CONSTANTS})")
_NAME = re.compile(rf"(?:{_FUNCTIONS}|{_CONSTANTS}|{_SIGNS})")
_LETTERS = re.compile(r"[^\W\d_]+")
_ALLOWED = re.compile(r"[\w\s+\-*/^=<>≤≥≠±×÷·√∞!|&¬~→∧∨.(){}\[\]\\$%°'′:]+")
_OPERATOR = re.compile(
    r"[+*/^=<>≤≥≠±×÷·√∞π|&¬→∧∨\\]|\w\s*\(|^!\s*\w|\w\s*-|^-\s*(?:[(\d]|[^\W\d_a-j])|^-[a-j](?![^\W\d_])"
    rf"|^-\s*{FUNCTION.pattern}|(?:^|[^a-z]){FUNCTION.pattern}\s+\w"
)
_SPELLINGS = {
    "\\left": "", "\\right": "", "\\times": "*", "\\cdot": "*", "×": "*", "·": "*", "√": "sqrt", "π": "pi",
    "∞": "infty", "≤": "leq", "≥": "geq", "≠": "neq", "±": "pm", "infinity": "infty",
}  # fmt: skip
_FRACTION = re.compile(r"[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_BRACED = re.compile(r"\{(\w|pi)\}")
_ARGUMENT = re.compile(rf"(?P<name>{FUNCTION.pattern})[({{](\w+)[)}}]")
_LONE = re.compile(r"(?<!\w)\((\d+|[a-z]|pi)\)(?!\w)")
_INTERVAL = re.compile(r"([\[(])\s*([^,\[\]()]+?)\s*,\s*([^,\[\]()]+?)\s*([\])])")


def as_formula(text: str) -> str | None:
    """The spelling of a text that is one formula or half-open interval; ``None`` where it is none.

    Args:
        text: casefolded.
    """
    if len(text) > _LONGEST:
        return None
    plain = text.strip().rstrip(".;!?, ")
    interval = _INTERVAL.fullmatch(plain)
    if interval is not None:
        opens, low, high, closes = interval.groups()
        return f"{opens}{low}, {high}{closes}" if (opens == "[") != (closes == "]") else None
    if _ALLOWED.fullmatch(plain) is None or _OPERATOR.search(plain) is None:
        return None
    if not all(_is_symbol(run) for run in _LETTERS.findall(plain)):
        return None
    return _spelled(plain) or None


def _is_symbol(run: str) -> bool:
    """Whether letters in a row are variables and names of functions: at most two letters beside the names."""
    return len(_NAME.sub("", run)) <= 2  # noqa: PLR2004


def _spelled(text: str) -> str:
    for written, spelling in _SPELLINGS.items():
        text = text.replace(written, spelling)
    text = re.sub(r"[\s\\$_]", "", text)
    text = _FRACTION.sub(r"(\1)/(\2)", text)
    text = _ARGUMENT.sub(lambda found: f"{found['name']}{found[2]}", _BRACED.sub(r"\1", text))
    text = _LONE.sub(r"\1", text)
    while len(text) > 2 and text[0] == "(" and _closes(text) == len(text) - 1:  # noqa: PLR2004
        text = text[1:-1]
    return text


def _closes(text: str) -> int:
    """Where the bracket at the start closes; -1 where it does not."""
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return place
    return -1
