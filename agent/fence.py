"""Text from outside, made safe to stand between marks in a prompt: it cannot close them, and keeps both its ends.

A long text is cut in the middle, because what is asked tends to stand at its beginning or its end.
"""

from __future__ import annotations

import re

_CUT = "\n[…]\n"


def fenced(name: str, text: str, longest: int) -> str:
    """``text`` as data between ``<name>`` and ``</name>``.

    Args:
        name: of the marks; nothing that reads like one of them is left in the text.
        text: from a query, an answer or a model.
        longest: characters kept.
    """
    kept = text
    if len(text) > longest:
        half = longest // 2
        kept = f"{text[:half]}{_CUT}{text[-half:]}"
    return re.sub(rf"<(?=\s*/?\s*{re.escape(name)}\b)", "‹", kept, flags=re.IGNORECASE)
