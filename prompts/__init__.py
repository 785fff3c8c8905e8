"""Prompt texts as files, and a strict loader: placeholders and values must match, or it is an error."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_PLACEHOLDER = re.compile(r"\{\{([a-z_]+)\}\}")


def render(name: str, **values: str) -> str:
    """The prompt ``name`` with each ``{{placeholder}}`` replaced.

    Raises:
        KeyError: no prompt of that name, or placeholders and values that do not match. Both are faults of the program.
    """
    text = _read(name)
    wanted = set(_PLACEHOLDER.findall(text))
    if wanted != set(values):
        message = f"prompt {name!r} has the placeholders {sorted(wanted)}, and was given {sorted(values)}"
        raise KeyError(message)
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], text)


@cache
def _read(name: str) -> str:
    file = resources.files("curveroute.prompts") / f"{name}.md"
    if not file.is_file():
        message = f"no prompt named {name!r}"
        raise KeyError(message)
    return file.read_text(encoding="utf-8").strip()
