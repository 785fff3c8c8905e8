"""Deciding recorded runs again on their own terms, but for those that are given in their place.

A run's own terms are its tradeoff, caps, rule, promise and predictor. Whatever of them cannot be had any more is told.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from curveroute.agent.embed.seam import Embedder
    from curveroute.agent.ledger import RunRecord, RunSettings
    from curveroute.agent.propose import Outlooker
    from curveroute.agent.rethink import Rethought, Terms
    from curveroute.agent.types import RunId

    Left: TypeAlias = list[tuple[RunRecord, str]]
    Notes: TypeAlias = dict[str, list[RunId]]


@dataclass(frozen=True, slots=True)
class Decider:
    """What decides runs of one pool again, and what is to be told of it."""

    outlooker: Outlooker
    embedder: Embedder
    note: str


async def decided_again(
    records: Sequence[RunRecord], options: argparse.Namespace
) -> tuple[list[Rethought], Left, Notes]:
    """Each run on the new terms, those that cannot be decided again with the reason, and notes with who they are about.

    Raises:
        SetupError: what was given in the options cannot be had.
    """
    from curveroute.agent.otherwise import untold_bounds
    from curveroute.agent.rethink import check_policy, rethink, why_not_rethought

    deciders: dict[tuple[str, RunSettings | None], Decider | str] = {}
    done: list[Rethought] = []
    left: Left = []
    notes: Notes = defaultdict(list)
    for record in records:
        key = options.pool or record.pool, _predicted_by(record)
        if key not in deciders:
            deciders[key] = _decider(*key, options)
        found = deciders[key]
        if isinstance(found, str):
            left.append((record, found))
            continue
        if why := why_not_rethought(record, found.outlooker.pool) or _cannot_follow(record, found.outlooker, options):
            left.append((record, why))
            continue
        check_policy(options.policy, found.outlooker)
        terms, note = _terms(record, found.outlooker, options)
        done.append(await rethink(record, found.outlooker, terms, found.embedder))
        for one in filter(None, (found.note, note, untold_bounds(record, terms.max_cost_usd))):
            notes[one].append(record.run_id)
    return done, left, notes


def _predicted_by(record: RunRecord) -> RunSettings | None:
    """What a run keeps of its predictor, and nothing else: runs that share it are decided by one."""
    from curveroute.agent.ledger import RunSettings

    return None if record.settings is None else RunSettings(predictor=record.settings.predictor)


def _decider(pool_name: str, settings: RunSettings | None, options: argparse.Namespace) -> Decider | str:
    """What decides and what verifies for a pool, without a model; or why it cannot be had."""
    from curveroute.agent.errors import PredictorError, SetupError
    from curveroute.agent.pool import load_pool
    from curveroute.agent.propose import Outlooker
    from curveroute.cli.own_predictor import own_predictor
    from curveroute.compose import embedder_for

    try:
        pool = load_pool(pool_name)
        found = own_predictor(settings, pool, options.predictor)
        return Decider(Outlooker(pool, found.predictor), embedder_for(found.predictor), found.note)
    except PredictorError as error:
        if options.predictor:
            raise
        return f"{error}; or name another predictor with --predictor"
    except SetupError as error:
        if options.pool or options.predictor:
            raise
        return f"{error}; or name its file with --pool"


def _cannot_follow(record: RunRecord, outlooker: Outlooker, options: argparse.Namespace) -> str:
    """Why the run's own rule cannot be followed, where no other was asked for; empty when it can."""
    from curveroute.agent.errors import SettingError
    from curveroute.agent.rethink import check_policy, own_terms

    if options.policy is not None:
        return ""
    try:
        check_policy(own_terms(record).policy, outlooker)
    except SettingError as error:
        return str(error)
    return ""


def _terms(record: RunRecord, outlooker: Outlooker, options: argparse.Namespace) -> tuple[Terms, str]:
    """The run's own terms with those that were given in their place, and what is to be told of them.

    Raises:
        SettingError: a promise was asked for that this predictor does not make at the run's tradeoff.
    """
    from curveroute.agent.rethink import own_terms
    from curveroute.agent.step import check_knobs

    names = ("tradeoff", "max_cost_usd", "max_error", "policy")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    terms = replace(own_terms(record), **given)
    if options.max_error is not None:
        check_knobs(outlooker, terms)
    elif terms.max_error and outlooker.looking.calibrator.promise(terms.max_error, terms.tradeoff) is None:
        told = f"no promise of {terms.max_error:g} is known at tradeoff {terms.tradeoff:g}: decided without it"
        return replace(terms, max_error=None), told
    return terms, ""
