"""``curveroute feedback``: say how good a run's answer was; ``curveroute learn`` learns from it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("run_id", metavar="run", help="a run's id, or the beginning of it")
    parser.add_argument("--score", type=float, required=True, help="from 0 (useless) to 1 (just right)")
    parser.add_argument("--comment", default="", help="in your words")
    parser.add_argument("--source", default="user", help="who says it; of several by one source the last counts")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write it, and say on what."""
    from curveroute.agent.ledger import Ledger
    from curveroute.compose import load_settings
    from curveroute.tracing import ToLangSmith, flush

    with Ledger.open(load_settings().ledger_url) as ledger:
        work = ledger.give_feedback(options.run_id, options.score, options.comment, options.source)
        given = asyncio.run(work)
        arm = next(
            one.attempt.arm for one in ledger.run(given.run_id).attempts if one.attempt.attempt_id == given.attempt_id
        )
    print(f"kept: {given.score:g} by {given.source} for the answer of {arm} in run {given.run_id}")
    asyncio.run(ToLangSmith().heard(given))
    if not flush():
        print("LangSmith has not taken it yet, and is no longer waited for", file=sys.stderr)
    return 0
