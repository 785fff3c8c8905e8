"""What the site makes of the code as it is built: the commands' reference, and docstrings without Sphinx's marks."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = "<!-- commands -->"
_ROLE = re.compile(r":(?:class|func|meth|mod):(?=<code>)")
_LITERAL = re.compile(r"<p>::</p>\n?")


def on_page_markdown(markdown: str, **_page: object) -> str:
    """Put the commands where a page asks for them."""
    return markdown.replace(COMMANDS, commands_page()) if COMMANDS in markdown else markdown


def on_page_content(html: str, **_page: object) -> str:
    """Leave out what only Sphinx would read."""
    return _LITERAL.sub("", _ROLE.sub("", html))


def commands_page() -> str:
    """Every command with its arguments and options, as the parsers declare them."""
    return "\n\n".join(_section(parser, depth=2) for parser in commands())


def commands() -> Iterator[argparse.ArgumentParser]:
    """The parser of each command, in the order of the help."""
    from curveroute.cli import build_parser

    for name in _choices(build_parser()):
        yield _choices(build_parser([name]))[name]


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001
    return dict(found[0]) if found else {}


def _section(parser: argparse.ArgumentParser, depth: int) -> str:
    rows = [_row(one) for one in parser._actions if _is_told(one)]  # noqa: SLF001
    table = ["| argument | what it is |", "|---|---|", *rows] if rows else []
    text = "\n".join((f"{'#' * depth} {parser.prog}", "", f"{parser.description or ''}", "", *table))
    return "\n\n".join((text, *(_section(sub, depth + 1) for sub in _choices(parser).values())))


def _is_told(action: argparse.Action) -> bool:
    """Whether an argument is the command's own: help and the traceback are everyone's."""
    return not isinstance(action, argparse._HelpAction | argparse._SubParsersAction) and action.dest != "debug"  # noqa: SLF001


def _row(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else _value(action)
    names = [f"{name} {value}".strip() for name in action.option_strings] or [value]
    return f"| {', '.join(f'`{name}`' for name in names)} | {action.help or ''} |"


def _value(action: argparse.Action) -> str:
    value = str(action.metavar or action.dest)
    if action.choices is not None:
        value = "{" + ",".join(str(choice) for choice in action.choices) + "}"
    elif action.option_strings:
        value = value.upper()
    return {"*": f"[{value} …]", "?": f"[{value}]", "+": f"{value} …"}.get(str(action.nargs), value)
