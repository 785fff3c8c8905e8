"""Help: what the commands are, and the version."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from curveroute.cli import build_parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ran

    Cli = Callable[..., Ran]

COMMANDS = ["ask", "models", "collect", "table", "train", "calibrate", "onboard", "evaluate", "runs", "pools"]


def test_without_arguments_there_is_help(cli: Cli) -> None:
    bare, asked = cli(), cli("--help")
    assert (bare.status, bare.err) == (0, "")
    assert bare == asked
    assert all(command in bare.out for command in COMMANDS)


def test_debug_alone_is_help_too(cli: Cli) -> None:
    assert cli("--debug").out == cli().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_usage(cli: Cli, command: str) -> None:
    ran = cli(command, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith(f"usage: curveroute {command} ")


def test_the_version_is_the_installed_one(cli: Cli) -> None:
    assert cli("--version").out == f"curveroute {version('curveroute')}\n"


def test_options_are_the_same_before_and_after_the_command() -> None:
    for words in (["--debug", "pools"], ["pools", "--debug"]):
        options = build_parser(words).parse_args(words)
        assert (options.command, options.debug) == ("pools", True)
    assert build_parser(["pools"]).parse_args(["pools"]).debug is False
