"""The command line. Each command's options are declared here at no cost; its work is imported when it is called.

Invariant: a failure is one clear line on standard error and a non-zero exit code; ``--debug`` shows the traceback.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

from curveroute.agent.errors import CurverouteError, RunError, SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "ask": "answer a question with the cheapest (model, budget) that is good enough",
    "models": "fetch, start, stop and show the local models",
    "collect": "ask every task of every arm and write the curve table",
    "train": "fit a predictor to a curve table",
    "runs": "list, show and verify the runs in the ledger",
    "pools": "list the shipped pools, or show one",
}
EXIT_OK, EXIT_RUN, EXIT_SETUP, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when it worked, 1 when the run failed, 2 when the configuration is wrong, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = build_parser(words).parse_args(words)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("curveroute: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except CurverouteError as error:
        if options.debug:
            raise
        print(f"curveroute: {error}", file=sys.stderr)
        return EXIT_SETUP if isinstance(error, SetupError) else EXIT_RUN
    except BrokenPipeError:
        return _close_quietly()
    except Exception as error:
        if options.debug:
            raise
        print(f"curveroute: unexpected {type(error).__name__}: {error}; --debug shows where", file=sys.stderr)
        return EXIT_RUN


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser. Only the command named in ``words`` has its options declared, so that help is fast."""
    from curveroute import __version__

    parser = argparse.ArgumentParser(
        prog="curveroute",
        description="Picks the model and the output budget for each query, looks at the answer, revises.",
    )
    parser.add_argument("--version", action="version", version=f"curveroute {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    named = next((word for word in words if not word.startswith("-")), None)
    for name, what in _COMMANDS.items():
        sub = commands.add_parser(name, help=what, description=what)
        sub.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        if name == named:
            importlib.import_module(f"curveroute.cli.{name}").declare(sub)
    return parser


def _close_quietly() -> int:
    """The reader of our output has gone away: nobody is left to tell."""
    sys.stdout = None
    return EXIT_RUN


__all__ = ["RunError", "build_parser", "main"]
