"""A ledger can check itself: every cost follows from tokens and prices, every total from the attempts."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from curveroute.agent.ledger.encode import sha256
from curveroute.agent.ledger.events import Totals, attempt_cost
from curveroute.agent.ledger.reading import find_run, snapshot
from curveroute.agent.ledger.records import Disagreement, VerifyReport
from curveroute.agent.ledger.tables import ATTEMPTS, DECISIONS, FEEDBACK, RUNS, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Connection, Row, Select
    from sqlmodel import Session

_USD_SLACK = 1e-12
_RELATIVE_SLACK = 1e-9
_FIGURES = (
    "run_id",
    "attempt_id",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "input_price",
    "output_price",
    "cached_input_price",
    "cost_usd",
)


def read_report(connection: Connection, run_id: str | None) -> VerifyReport:
    """Recompute one run (by id or prefix), or all of them, from the attempts."""
    with snapshot(connection) as session:
        if run_id is not None:
            run_id = find_run(session, run_id).run_id
        sums: dict[str, Totals] = defaultdict(Totals)
        found = list(_check_attempts(session, run_id, sums))
        runs = 0
        for row in _rows(session, _only(select(RUNS), RUNS.c.run_id, run_id)):
            runs += 1
            found += _check_run(row, sums.get(row.run_id, Totals()))
        found += _lost_answers(session, run_id)
        if run_id is None:
            found += _orphans(session)
        return VerifyReport(runs, sum(own.attempts for own in sums.values()), found)


def _only(query: Select[Any], column: Column[str], run_id: str | None) -> Select[Any]:
    return query.order_by(column) if run_id is None else query.where(column == run_id)


def _rows(session: Session, query: Select[Any]) -> Iterator[Row[Any]]:
    return iter(session.connection().execute(query))


def _check_attempts(session: Session, run_id: str | None, sums: dict[str, Totals]) -> Iterator[Disagreement]:
    """Recompute each cost; what the attempts of each run add up to is left in ``sums``."""
    query = _only(select(*(ATTEMPTS.c[name] for name in _FIGURES)), ATTEMPTS.c.run_id, run_id)
    for row in _rows(session, query):
        own = sums[row.run_id]
        sums[row.run_id] = Totals(
            own.cost_usd + row.cost_usd,
            own.input_tokens + row.input_tokens,
            own.output_tokens + row.output_tokens,
            own.attempts + 1,
        )
        prices = (row.input_price, row.output_price, row.cached_input_price)
        cost = attempt_cost(row.input_tokens, row.cached_input_tokens, row.output_tokens, prices)
        if not _same_money(row.cost_usd, cost):
            yield Disagreement(row.run_id, f"attempt {row.attempt_id} cost_usd", row.cost_usd, cost)


def _check_run(row: Row[Any], own: Totals) -> Iterator[Disagreement]:
    running = row.status == "running"
    went_on = row.kind == "collect" and own.attempts > row.attempts  # a collection resumed after an end, not yet ended
    for what in ("cost_usd", "input_tokens", "output_tokens", "attempts"):
        stored, summed = getattr(row, what), getattr(own, what)
        same = _same_money(stored, summed) if what == "cost_usd" else stored == summed
        # A run that was killed never came to store its totals.
        if not same and not (running and stored == 0) and not went_on:
            yield Disagreement(row.run_id, what, stored, summed)
    cap = row.max_cost_usd
    if cap is not None and not running and own.cost_usd > cap and not _same_money(cap, own.cost_usd):
        yield Disagreement(row.run_id, "max_cost_usd", cap, own.cost_usd)
    fingerprint = sha256(row.query_text)
    if row.query_sha256 != fingerprint:
        yield Disagreement(row.run_id, "query_sha256", row.query_sha256, fingerprint)


def _same_money(stored: float, recomputed: float) -> bool:
    return math.isclose(stored, recomputed, rel_tol=_RELATIVE_SLACK, abs_tol=_USD_SLACK)


def _lost_answers(session: Session, run_id: str | None) -> Iterator[Disagreement]:
    """Runs whose answer comes from an attempt that is not theirs."""
    own = (ATTEMPTS.c.attempt_id == RUNS.c.answer_attempt_id) & (ATTEMPTS.c.run_id == RUNS.c.run_id)
    query = (
        select(RUNS.c.run_id, RUNS.c.answer_attempt_id)
        .outerjoin(ATTEMPTS, own)
        .where(RUNS.c.answer_attempt_id.is_not(None), ATTEMPTS.c.attempt_id.is_(None))
    )
    for row in _rows(session, _only(query, RUNS.c.run_id, run_id)):
        yield Disagreement(row.run_id, "answer_attempt_id", row.answer_attempt_id, None)


def _orphans(session: Session) -> Iterator[Disagreement]:
    """Rows whose parent is gone: impossible through this package, possible by hand."""
    for attempt_id, run_id in _without(session, ATTEMPTS.c.attempt_id, ATTEMPTS.c.run_id, RUNS.c.run_id):
        yield Disagreement(run_id, f"run of attempt {attempt_id}", run_id, None)
    for number, run_id in _without(session, DECISIONS.c.id, DECISIONS.c.run_id, RUNS.c.run_id):
        yield Disagreement(run_id, f"run of decision {number}", run_id, None)
    for number, attempt_id in _without(session, VERDICTS.c.id, VERDICTS.c.attempt_id, ATTEMPTS.c.attempt_id):
        yield Disagreement("", f"attempt of verdict {number}", attempt_id, None)
    for number, run_id in _without(session, FEEDBACK.c.id, FEEDBACK.c.run_id, RUNS.c.run_id):
        yield Disagreement(run_id, f"run of feedback {number}", run_id, None)


def _without(
    session: Session, key: Column[Any], link: Column[str], parent: Column[str]
) -> Iterator[tuple[object, str]]:
    query = (
        select(key.label("key"), link.label("link"))
        .outerjoin(parent.table, link == parent)
        .where(parent.is_(None))
        .order_by(key)
    )
    for row in _rows(session, query):
        yield row.key, row.link
