"""Evaluate: seeds × policies over one subject, and what it comes to as JSON."""

from __future__ import annotations

import difflib
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curveroute.agent.errors import SettingError
from curveroute.agent.evals.policies import NAMED, POLICIES
from curveroute.agent.evals.summary import summary
from curveroute.agent.evals.trial import Trial, parts, run_trial
from curveroute.agent.evals.workers import run_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from curveroute.agent.evals.outcome import SeedOutcome
    from curveroute.agent.evals.subject import Subject
    from curveroute.agent.evals.trial import Makers
    from curveroute.agent.types import JsonObject


ALL = "all"
_MOST_WORKERS = 3
_SEEDS = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """How a subject is evaluated.

    Attributes:
        policies: names, ``all`` among them for those of a full comparison; None is all of these. With ``all``, those
            that cannot run here are left out with a note.
        seeds: how many, from 0; None is five, or one where the split is fixed: more would only reseed the policies.
        test_fraction: share of the queries to test on.
        workers: processes at once; 1 stays in this one, None is the number of cores, up to three: a worker that
            loads JAX takes 1.1 GB, and the whole is to stay under four.
    """

    policies: tuple[str, ...] | None = None
    seeds: int | None = None
    test_fraction: float = 0.3
    workers: int | None = None


def check(subject: Subject, plan: Plan) -> None:
    """Refuse what cannot be evaluated, before anything is embedded or fitted.

    Raises:
        TableError: nothing to split, no arm on both sides, or hardly anything to train on.
    """
    parts(Trial(subject.grid, (), subject.test, plan.test_fraction), 0)


def evaluate(
    subject: Subject,
    plan: Plan,
    *,
    makers: Makers | None = None,
    made_with: JsonObject | None = None,
    watch: Callable[[int, int, str], None] = lambda *_: None,
) -> JsonObject:
    """Run every policy on every seed.

    Args:
        subject: what is evaluated, embedded.
        plan: seeds, policies, workers.
        makers: other policies than the registered ones, ``constant-arm`` among them.
        made_with: kept with the result, so that it can be made again.
        watch: told how many steps of how many are done, and the latest.

    Raises:
        SettingError: an unknown policy.
        SetupError: a policy that was named refused (an extra is missing), or the table cannot be split or trained on.
        RunError: a seed's process died.
    """
    every, known = (POLICIES, NAMED) if makers is None else (makers, makers)
    wanted = (ALL,) if plan.policies is None else plan.policies
    names = chosen(wanted, tuple(known), tuple(every))
    trial = Trial(subject.grid, names, subject.test, plan.test_fraction, lenient=ALL in wanted)
    seeds = range(plan.seeds or (_SEEDS if subject.test is None else 1))
    outcomes = _outcomes(trial, makers, seeds, plan.workers, watch)
    options: JsonObject = {
        "policies": list(names),
        "test_fraction": None if subject.test is not None else plan.test_fraction,
        "seeds": list(seeds),
    }
    return summary(subject, outcomes, (made_with or {}) | options)


def _outcomes(
    trial: Trial,
    makers: Makers | None,
    seeds: Sequence[int],
    most_workers: int | None,
    watch: Callable[[int, int, str], None],
) -> list[SeedOutcome]:
    steps, total = itertools.count(1), trial.steps * len(seeds)
    workers = min(most_workers or min(os.cpu_count() or 1, _MOST_WORKERS), len(seeds))

    def step(note: str) -> None:
        watch(next(steps), total, note)

    if workers > 1:
        return run_apart(trial, makers, seeds, workers, step)
    return [run_trial(trial, NAMED if makers is None else makers, seed, step) for seed in seeds]


def chosen(wanted: Sequence[str], known: Sequence[str], every: Sequence[str] = tuple(POLICIES)) -> tuple[str, ...]:
    """The wanted policies, each once, in the order they were named; ``all`` stands for every one of a comparison.

    Raises:
        SettingError: one that is not known.
    """
    for name in wanted:
        if name not in known and name != ALL:
            close = difflib.get_close_matches(name, (*known, ALL), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise SettingError(f"unknown policy {name!r}; {hint}")
    return tuple(dict.fromkeys(one for name in wanted for one in (every if name == ALL else (name,))))
