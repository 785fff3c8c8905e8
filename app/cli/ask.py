"""``curveroute ask``: one question, the committed answer as it comes, and how it came about."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from curveroute.cli.terminal import harmless

if TYPE_CHECKING:
    import argparse

    from curveroute.graphs.events import RunEvent
    from curveroute.route import Route
    from curveroute.router import Router


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("question", help="the question; - reads it from standard input")
    parser.add_argument("--pool", default="local", help="name or file of the pool (default: local)")
    parser.add_argument("--tradeoff", type=float, default=0.5, help="0 = quality only … 1 = cost only (default: 0.5)")
    parser.add_argument("--max-cost", type=float, default=None, help="hard cap on the run's cost, in USD")
    parser.add_argument(
        "--seconds-usd", type=float, default=0.0, help="what a second of waiting is worth, in USD (default: 0)"
    )
    parser.add_argument(
        "--max-error", type=float, default=None, help="accept only answers that are wrong at most so often, in (0, 1)"
    )
    parser.add_argument(
        "--verify", action="append", default=[], metavar="NAME", help="json-schema:FILE, unit-tests:FILE (repeatable)"
    )
    parser.add_argument("--no-plan", action="store_true", help="do not ask the pool's planner")
    parser.add_argument("--no-judge", action="store_true", help="do not ask the pool's judge")
    parser.add_argument("--allow", action="append", default=[], metavar="MODEL", help="only this model (repeatable)")
    parser.add_argument("--deny", action="append", default=[], metavar="MODEL", help="not this model (repeatable)")
    parser.add_argument("--predictor", default=None, help="folder of a predictor, instead of the pool's own")
    parser.add_argument("--embedder", default=None, help="what that predictor was fitted with, if not the default")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--explain", action="store_true", help="show the candidates, the attempts and the verdicts")
    shape.add_argument("--json", action="store_true", help="print exactly one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Answer, and show what was asked for."""
    from curveroute.cli.checks import amount, positive_or_none, share

    share("tradeoff", options.tradeoff)
    positive_or_none("max-cost", options.max_cost)
    amount("seconds-usd", options.seconds_usd)
    route = asyncio.run(_answer(options, _question(options.question)))
    if options.json:
        print(json.dumps(route.to_json(), ensure_ascii=False))
    elif options.explain:
        from curveroute.cli.explain import explain

        explain(route, options.tradeoff)
    else:
        print(_line(route))
    return 0


def _question(given: str) -> str:
    from curveroute.agent.errors import QueryError

    try:
        question = sys.stdin.buffer.read().decode("utf-8-sig") if given == "-" else given
        question.encode()
    except UnicodeError as error:
        raise QueryError("the question is not valid UTF-8; give plain text") from error
    if not question.strip():
        raise QueryError("the question is empty; give some text to answer")
    return question


async def _answer(options: argparse.Namespace, question: str) -> Route:
    from curveroute.agent.embed import embedder_by_name
    from curveroute.cli.bars import fetching
    from curveroute.compose import compose_parts
    from curveroute.graphs.context import Context
    from curveroute.router import Router

    allow, deny = tuple(options.allow), tuple(options.deny)
    with fetching() as on_progress:
        parts = compose_parts(
            options.pool,
            predictor=options.predictor,
            embedder=None if options.embedder is None else embedder_by_name(options.embedder),
            allow=allow,
            deny=deny,
            verifiers=tuple(options.verify),
            on_progress=on_progress,
        )
        context = Context(
            tradeoff=options.tradeoff,
            max_cost_usd=options.max_cost,
            seconds_usd=options.seconds_usd,
            max_error=options.max_error,
            plan=not options.no_plan,
            judge=not options.no_judge,
            allow=allow,
            deny=deny,
            parts=parts,
        )
        async with Router(context) as router:
            return await _follow(router, question, show=not options.json)


async def _follow(router: Router, question: str, *, show: bool) -> Route:
    """Run to the end, printing the committed answer as it comes."""
    from curveroute.route import Route

    route, told = Route(), ""
    try:
        async for event in router.events(question):
            if isinstance(event, Route):
                route = event
            elif show:
                told = _print_answer(event, told)
    finally:
        if told and not route.run_id:
            print(flush=True)  # the error that ends a broken answer gets a line of its own
    return route


def _print_answer(event: RunEvent, told: str) -> str:
    if event["type"] == "token":
        print(harmless(event["text"]), end="", flush=True)
        return told + event["text"]
    if event["type"] == "commit" and event["text"]:
        if told and event["text"] != told:
            print("\n[the connection was lost; the answer is:]")
        print("" if event["text"] == told else harmless(event["text"]), flush=True)
        return ""
    return told


def _line(route: Route) -> str:
    calls = "1 call" if len(route.attempts) == 1 else f"{len(route.attempts)} calls"
    score = next(
        (one.verdict.score for one in reversed(route.attempts) if one.verdict and one.arm == route.arm), float("nan")
    )
    return (
        f"— {route.arm}, {route.status}, P(right) {score:.2f}, {calls}, {route.cost_usd:.2e} USD, "
        f"run {route.run_id[:8]}: {route.reason}"
    )
