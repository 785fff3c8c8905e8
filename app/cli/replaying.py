"""``curveroute runs replay``: recorded runs decided again, offline, and what would have changed.

No model is asked and nothing is written. What was never recorded is an estimate, and says so.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from typing import TYPE_CHECKING

from curveroute.cli.terminal import harmless

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from curveroute.agent.ledger import Ledger
    from curveroute.agent.rethink import Course, Rethought
    from curveroute.agent.types import JsonObject
    from curveroute.cli.redeciding import Left, Notes

_MOST = 100_000


def declare_replay(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``runs replay``."""
    add = parser.add_argument
    add("--last", type=int, default=20, help="the last so many runs, when none is named (default: 20)")
    add("--tradeoff", type=float, help="decide at this tradeoff (default: each run's own)")
    add("--policy", choices=("learned", "closed-form", "single"), help="decide by this rule (default: each run's own)")
    add("--max-cost-usd", "--max-cost", type=float, help="decide under this cap, in USD (default: each run's own)")
    add("--pool", help="name or file of the pool, instead of the one that each run names")
    add("--max-error", type=float, help="decide with this promise (default: each run's own)")
    add("--predictor", help="folder of a predictor, instead of the one that each run was made with")


def replay(ledger: Ledger, options: argparse.Namespace) -> int:
    """Decide the runs again and report; the ledger is only read."""
    from curveroute.cli.checks import at_least, at_most, open_share, positive_or_none, share
    from curveroute.cli.redeciding import decided_again

    at_least("last", options.last, 1)
    at_most("last", options.last, _MOST)
    positive_or_none("max-cost-usd", options.max_cost_usd)
    if options.tradeoff is not None:
        share("tradeoff", options.tradeoff)
    if options.max_error is not None:
        open_share("max-error", options.max_error)
    names = options.run_ids or [one.run_id for one in ledger.runs(options.last)]
    done, left, notes = asyncio.run(decided_again([ledger.run(name) for name in names], options))
    if options.json:
        print(json.dumps(_account(done, left, notes), ensure_ascii=False))
        return 0
    for one in done:
        _print(one)
    for record, why in left:
        print(f"{record.run_id[:12]}  not decided again: {why}")
    for note, about in notes.items():
        print(f"note: {len(about)} run(s): {note}")
    print(_totals(done, left))
    return 0


def _print(one: Rethought) -> None:
    question = harmless(" ".join(one.record.query_text.split())[:50])
    print(f"{one.record.run_id[:12]}  {'; '.join(one.changes) or 'same'}  ({question})")
    if one.changes:
        print(f"    was  {_course(one.was)}")
        print(f"    now  {_course(one.now)}")


def _course(course: Course) -> str:
    asked = [f"{arm}{' (not recorded)' if arm in course.missing else ''}" for arm in course.asked]
    score = "" if course.score is None else f", P(right) {'about ' * bool(course.missing)}{course.score:.2f}"
    expected = f" + about {course.expected_usd:.2e} USD expected" if course.missing else ""
    return f"{', '.join(asked) or 'asks nobody'}: {course.known_usd:.2e} USD{expected}{score}"


def _totals(done: Sequence[Rethought], left: Left) -> str:
    sums = _sums(done, left)
    lines = [
        f"{sums['decided']} run(s) decided again: {sums['same']} same, {sums['changed']} changed"
        + (f"; {sums['left']} left out" if left else ""),
        f"cost then {sums['was_usd']:.3e} USD; now {sums['now_usd']:.3e} USD: {sums['now_known_usd']:.3e} recorded, "
        f"{sums['now_expected_usd']:.3e} expected of {sums['not_recorded']} call(s) that were never made",
    ]
    otherwise = Counter(one.otherwise for one in done if not one.reproduced)
    lines += [
        f"{count} of them would go otherwise today on their own terms too: {why}" for why, count in otherwise.items()
    ]
    return "\n".join(lines)


def _sums(done: Sequence[Rethought], left: Left) -> dict[str, float]:
    return {
        "decided": len(done),
        "same": sum(not one.changes for one in done),
        "changed": sum(bool(one.changes) for one in done),
        "left": len(left),
        "reproduced": sum(one.reproduced for one in done),
        "was_usd": math.fsum(one.was.known_usd for one in done),
        "now_usd": math.fsum(one.now.cost_usd for one in done),
        "now_known_usd": math.fsum(one.now.known_usd for one in done),
        "now_expected_usd": math.fsum(one.now.expected_usd for one in done),
        "not_recorded": sum(len(one.now.missing) for one in done),
    }


def _account(done: Sequence[Rethought], left: Left, notes: Notes) -> JsonObject:
    return {
        "runs": [
            {
                "run_id": one.record.run_id,
                "changes": list(one.changes),
                "reproduced": one.reproduced,
                "otherwise": one.otherwise,
                "notes": [note for note, about in notes.items() if one.record.run_id in about],
                "was": _course_account(one.was),
                "now": _course_account(one.now),
            }
            for one in done
        ],
        "left_out": [{"run_id": record.run_id, "reason": why} for record, why in left],
        "totals": {**_sums(done, left)},
    }


def _course_account(course: Course) -> JsonObject:
    from curveroute.agent.account import decision_account

    return {
        "asked": [str(arm) for arm in course.asked],
        "not_recorded": [str(arm) for arm in course.missing],
        "answer_attempt_id": None if course.answer is None else course.answer.attempt_id,
        "arm": None if course.answer is None else str(course.answer.arm),
        "known_usd": course.known_usd,
        "expected_usd": course.expected_usd,
        "score": course.score,
        "status": course.status,
        "reason": course.reason,
        "decisions": [decision_account(one, losers=5) for one in course.decisions],
    }
