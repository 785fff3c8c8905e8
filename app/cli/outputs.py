"""What a command writes stands where nothing stood: what is there is replaced on ``--overwrite`` alone.

Refused before any work is done, so that nobody waits for a training to hear that its folder is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

_REMEDY = "choose another path, or replace it with --overwrite"


def declare_overwrite(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument("--overwrite", action="store_true", help="replace what is there under that name")


def refuse_taken(out: Path, *, overwrite: bool) -> None:
    """Refuse a table's path where a file is; a pipe, a device and an output of this process take what comes.

    Raises:
        TableError: it is taken.
    """
    from curveroute.agent.bench.destination import is_stream
    from curveroute.agent.errors import TableError

    if not overwrite and out.is_file() and not is_stream(out):
        raise TableError(f"{out} exists already: {_REMEDY}")


def refuse_taken_folder(out: Path, *, overwrite: bool) -> None:
    """Refuse a predictor's folder where a predictor is, and always where something else is.

    Raises:
        PredictorError: it is taken.
    """
    from curveroute.agent.errors import PredictorError
    from curveroute.agent.predictor.store import holds_predictor

    if holds_predictor(out) and not overwrite:
        raise PredictorError(f"{out} holds a predictor already: {_REMEDY}")
