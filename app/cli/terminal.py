"""What may reach a terminal: it obeys control characters, and neither answers nor recorded questions are ours."""

from __future__ import annotations

import sys

_HARMLESS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}


def harmless(text: str) -> str:
    """``text`` without control characters when standard output is a terminal, else as it is."""
    return text.translate(_HARMLESS) if sys.stdout.isatty() else text


def harmless_complaint(text: str) -> str:
    """The same for standard error: a message may quote what a server said or a file held."""
    return text.translate(_HARMLESS) if sys.stderr is not None and sys.stderr.isatty() else text
