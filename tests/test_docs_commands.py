"""What pages say of the command line is true: every command and option that they name in their sentences is there.

Blocks of code are parsed by ``test_docs``; this is about `curveroute …` and `--options` between the words.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from curveroute.cli import build_parser

ROOT = Path(__file__).parents[1]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
PROGRAM = "curveroute "
EVERYWHERE = {"--help", "--version", "--debug"}
SCRIPTS = {
    name
    for path in (ROOT / "benchmarks").glob("*.py")
    for name in re.findall(r"\"(--[a-z-]+)\"", path.read_text("utf-8"))
}


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command by its words, the commands of commands included: ``runs``, ``table``, ``table split``."""
    found = {}
    for name in choices(build_parser()):
        parser = choices(build_parser([name]))[name]
        found[name] = parser
        found |= {f"{name} {below}": sub for below, sub in choices(parser).items()}
    return found


def choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    subs = [one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(subs[0]) if subs else {}


def actions(parser: argparse.ArgumentParser) -> set[str]:
    """The words that may stand where a command wants one of a few."""
    return {
        str(word)
        for one in parser._actions
        if not one.option_strings and one.choices is not None
        for word in one.choices
    }


def options(parser: argparse.ArgumentParser) -> set[str]:
    own = {name for one in parser._actions for name in one.option_strings}
    return own.union(*(options(sub) for sub in choices(parser).values()))


COMMANDS = commands()


def untrue(text: str) -> list[str]:
    """The commands and options between the words that are not there."""
    faults = []
    for span in SPAN.findall(FENCE.sub("", text).replace("\n", " ")):
        if span.startswith(PROGRAM):
            faults += [f"{span}: {fault}" for fault in faults_of(span.removeprefix(PROGRAM))]
        elif span.startswith("--"):
            every = SCRIPTS.union(EVERYWHERE, *(options(parser) for parser in COMMANDS.values()))
            faults += [f"no command and no benchmark has {name}" for name in OPTION.findall(span) if name not in every]
    return faults


def faults_of(said: str) -> list[str]:
    name, _, rest = said.partition(" ")
    if name.startswith("--"):
        return [] if name in EVERYWHERE else [f"no option {name}"]
    if name not in COMMANDS:
        return [] if name.isupper() else [f"no command {name}"]
    word = rest.partition(" ")[0]
    parser = COMMANDS.get(f"{name} {word}", COMMANDS[name])
    known = actions(COMMANDS[name])
    faults = [f"no action {one}" for one in re.split(r"[|/]", word) if known and one.islower() and one not in known]
    return faults + [f"no option {one}" for one in OPTION.findall(rest) if one not in options(parser) | EVERYWHERE]


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_in_the_text_are_there(page: str) -> None:
    assert untrue((ROOT / page).read_text("utf-8")) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_told_of(command: str) -> None:
    pages = [(ROOT / page).read_text("utf-8") for page in PAGES]
    assert [page for page in pages if re.search(rf"curveroute {command}\b", page)]


def test_the_page_of_the_command_line_lists_the_commands_as_the_help_does() -> None:
    """The site's build adds their options; who reads the page in a clone finds at least this."""
    (subs,) = (one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction))
    rows = [f"| `curveroute {one.dest}` | {one.help} |" for one in subs._choices_actions]
    assert "\n".join(rows) in (ROOT / "docs" / "commands.md").read_text("utf-8")


def test_what_is_not_there_is_found() -> None:
    right = (
        "`curveroute ask --tradeoff 0.1` `curveroute runs show RUN` `curveroute COMMAND --help` `--explain` `other --x`"
    )
    assert untrue(right) == []
    wrong = [
        "curveroute aks",
        "curveroute runs forget",
        "curveroute ask --trade",
        "curveroute table info --share",
        "--bogus",
    ]
    assert [len(untrue(f"`{span}`")) for span in wrong] == [1] * 5
