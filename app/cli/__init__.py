"""The command line. Each command's options are declared here at no cost; its work is imported when it is called.

Invariant: a failure is one clear line on standard error and a non-zero exit code; ``--debug`` shows the traceback.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from curveroute.agent.errors import CurverouteError, SetupError
from curveroute.cli.terminal import harmless_complaint

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "ask": "answer a question with the cheapest (model, budget) that is good enough",
    "models": "fetch, start, stop and show the local models",
    "collect": "ask every task of every arm and write the curve table",
    "table": "show, check and convert curve tables",
    "train": "fit a predictor to a curve table",
    "calibrate": "turn a predictor's scores into probabilities, and say what can be promised",
    "onboard": "add a model to a fitted predictor from few answers",
    "evaluate": "compare routers on recorded answers",
    "feedback": "say how good a run's answer was",
    "learn": "let a predictor learn from feedback, where that makes it better",
    "runs": "list, show, verify and re-decide the runs in the ledger",
    "pools": "list the shipped pools, or show one",
}
_LISTS = {"--models", "--tasks"}
EXIT_OK, EXIT_RUN, EXIT_SETUP, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when it worked, 1 when the run failed (or nobody reads its output), 2 when the configuration is wrong, 130
        after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _write_what_can_be_written()
    try:
        try:
            return _run(words)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        return _close_quietly()
    except KeyboardInterrupt as stop:
        return _fail(f"interrupted{f': {stop}' if str(stop) else ''}", EXIT_INTERRUPTED)


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser. Only the command named in ``words`` has its options declared, so that help is fast."""
    from curveroute import __version__

    parser = _Parser(
        prog="curveroute",
        description="Picks the model and the output budget for each query, looks at the answer, revises.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"curveroute {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="command")
    named = next((word for word in words if not word.startswith("-")), None)
    for name, what in _COMMANDS.items():
        sub = commands.add_parser(name, help=what, description=what, allow_abbrev=False)
        sub.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        if name == named:
            importlib.import_module(f"curveroute.cli.{name}").declare(sub)
    if named is not None and named not in _COMMANDS:
        parser.error(_unknown(named))
    return parser


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong and where the usage is."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse what a command does not know in that command's name; argparse would in the program's."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        complaint = harmless_complaint(f"{self.prog}: {message}; `{self.prog} --help` shows the usage")
        self.exit(EXIT_SETUP, f"{complaint}\n")


def _run(words: list[str]) -> int:
    parser = build_parser(words)
    options = parser.parse_args(_joined(words))
    if options.command is None:
        parser.print_help()
        return EXIT_OK
    try:
        return int(options.run(options))
    except CurverouteError as error:
        if options.debug:
            raise
        return _fail(str(error), EXIT_SETUP if isinstance(error, SetupError) else EXIT_RUN)
    except BrokenPipeError:
        raise
    except Exception as error:
        if options.debug:
            raise
        return _fail(f"unexpected {type(error).__name__}: {error}; --debug shows where", EXIT_RUN)


def _joined(words: Sequence[str]) -> list[str]:
    """A list of names may begin with ``-``, which leaves a name out: it is a value, not an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _LISTS and word.startswith("-") and not word.startswith("--"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _unknown(command: str) -> str:
    import difflib

    close = difflib.get_close_matches(command, _COMMANDS, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    return f"unknown command {command!r}{hint}; commands: {', '.join(_COMMANDS)}"


def _fail(message: str, status: int) -> int:
    """Say it in one line, whatever the message is made of."""
    print(harmless_complaint(f"curveroute: {'; '.join(message.split(chr(10)))}"), file=sys.stderr)
    return status


def _write_what_can_be_written() -> None:
    """A character that the terminal's encoding lacks becomes a question mark, not an error."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def _close_quietly() -> int:
    """The reader of our output has gone away: nobody is left to tell, and what is still buffered goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_RUN


__all__ = ["build_parser", "main"]
