"""Backward induction over the states of a panel.

From the state in which every slot was asked back to the one before the first: in each, the quality of stopping and the
worth of going on after each next slot, as they came out on recorded queries, are regressed on what was known then.
Decisions on the queries learned from are made with predictions from other folds, so that no query helps to decide its
own case, and a value is what really followed from them, not the maximum of estimates.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.escalate import choose
from curveroute.agent.looking.course import BASE, EXPECTED, Course, bits, next_of, states_of, summary_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curveroute.agent.decide import Floats, Indices, Singles
    from curveroute.agent.looking.recorded import Recorded

    State = tuple[int, ...]

RIDGE = 10.0
FOLDS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """Ridge regressions on one state's summary, ready for any targets.

    Attributes:
        scaled: (n, F) the summary, standardised; column 0 is the intercept.
        mean: (F,) what was taken off it.
        spread: (F,) what it was divided by; infinite where the summary never varies.
        whole: (F, F) inverse of the penalised Gram matrix of all rows.
        without: (folds, F, F) the same without the rows of each fold.
    """

    scaled: Floats
    mean: Floats
    spread: Floats
    whole: Floats
    without: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Recorded answers to the slots of a panel, and what a jury that had not seen the queries made of them.

    Attributes:
        recorded: n rows, K slots, all of them there, ordered by fold.
        order: (n,) where each row stood when the panel was made.
        bounds: where each fold begins, and the end; the rows of one query are in one fold.
        right: (n,) quality of the answer that would be given, in every state but the empty one.
        regressions: on the summary of every state.
    """

    recorded: Recorded
    order: Indices
    bounds: tuple[int, ...]
    right: Mapping[State, Singles]
    regressions: Mapping[State, Regression]


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """What following a course came to on the queries it was learned from.

    Attributes:
        quality: (n,) of the answer given.
        cost_usd: (n,) USD of everything asked.
        worth: mean quality less price.
    """

    quality: Floats
    cost_usd: Floats
    worth: float


def panel_of(recorded: Recorded, odds: Mapping[State, Singles], right: Mapping[State, Singles], seed: int = 0) -> Panel:
    """A panel with its regressions prepared: they are the same at every tradeoff.

    Args:
        recorded: rows in which every slot was recorded.
        odds: (n, C + 1) the jury's probabilities in every state but the empty one.
        right: (n,) quality of the answer that would be given, likewise.
        seed: of the folds.
    """
    queries, place = np.unique(recorded.query, return_inverse=True)
    fold = (np.random.default_rng(seed).permutation(queries.size) % FOLDS)[place.ravel()]
    order = np.argsort(fold, kind="stable")
    bounds = tuple(np.searchsorted(fold[order], np.arange(FOLDS + 1)).tolist())
    recorded = recorded.rows(order)
    summaries = {
        state: summary_of(odds[state][order] if state else None, recorded.seen.prior)
        for state in states_of(recorded.slots)
    }
    return Panel(
        recorded,
        order,
        bounds,
        {state: one[order] for state, one in right.items()},
        {state: _prepared(one, bounds) for state, one in summaries.items()},
    )


def induce(panel: Panel, weight: float, unit_usd: float) -> tuple[Course, Walk]:
    """The course of a panel at one tradeoff.

    Args:
        panel: what was recorded.
        weight: of one unit of cost against one of quality, λ / (1 − λ).
        unit_usd: the unit of cost.
    """
    slots, n, count = panel.recorded.slots, len(panel.recorded), len(panel.recorded.slots)
    price = weight * panel.recorded.expected_usd / unit_usd
    paid = weight * panel.recorded.cost_usd / unit_usd
    weights = np.zeros((1 << count, BASE + count, count + 1), dtype=np.float32)
    after: dict[State, tuple[Floats, Floats, Floats]] = {}  # worth, quality, cost from a state on
    for state in reversed(states_of(slots)):
        following = next_of(state, slots)
        targets = np.full((n, count + 1), np.nan)
        if state:
            targets[:, 0] = panel.right[state]
        for slot in following:
            targets[:, slot + 1] = after[_with(state, slot)][0]
        found = np.flatnonzero(~np.isnan(targets[0])) if n else np.zeros(0, dtype=np.intp)
        expected = EXPECTED if state else BASE + found - 1
        fitted, left_out = _regressed(panel.regressions[state], panel.bounds, targets[:, found], expected)
        weights[bits(state)][:, found] = fitted
        values = np.full((n, count + 1), np.nan)
        values[:, found] = left_out
        net = values[:, 1:] - price
        action = choose(net - values[:, :1] if state else net, price, must=not state)
        after[state] = _followed(panel, state, action, after, paid)
    worth, quality, cost = after[()]
    return Course(slots, weight, weights), Walk(quality, cost, float(worth.mean()))


def _with(state: State, slot: int) -> State:
    return tuple(sorted((*state, slot)))


def _prepared(summary: Floats, bounds: tuple[int, ...]) -> Regression:
    mean, spread = summary.mean(axis=0), summary.std(axis=0)
    spread[spread < 1e-9] = np.inf  # noqa: PLR2004  (what never varies explains nothing)
    mean[0], spread[0] = 0.0, 1.0
    scaled = (summary - mean) / spread
    penalty = np.full(scaled.shape[1], RIDGE)
    penalty[0] = 1e-9
    grams = np.stack([part.T @ part for part in _parts(scaled, bounds)])
    whole = grams.sum(axis=0) + np.diag(penalty)
    return Regression(scaled, mean, spread, np.linalg.inv(whole), np.linalg.inv(whole - grams))


def _regressed(
    one: Regression, bounds: tuple[int, ...], targets: Floats, expected: int | Indices
) -> tuple[Floats, Floats]:
    """(F, T) ridge weights for the summary as it is, and (n, T) predictions of each fold from the others.

    What is regressed is what the targets have beyond ``expected``, columns of the summary that already are estimates of
    them: so few rows fall back on those estimates, and not on the mean.
    """
    columns = np.broadcast_to(expected, targets.shape[1:])
    already = one.scaled[:, columns] * np.where(np.isfinite(one.spread), one.spread, 0.0)[columns] + one.mean[columns]
    targets = targets - already
    moments = np.stack([x.T @ y for x, y in zip(_parts(one.scaled, bounds), _parts(targets, bounds), strict=True)])
    total = moments.sum(axis=0)
    others = one.without @ (total - moments)
    left_out = np.concatenate([x @ weights for x, weights in zip(_parts(one.scaled, bounds), others, strict=True)])
    left_out += already
    weights = (one.whole @ total) / one.spread[:, None]
    weights[0] -= one.mean[1:] @ weights[1:]
    weights[columns, np.arange(columns.size)] += 1.0
    return weights, left_out


def _parts(values: Floats, bounds: tuple[int, ...]) -> list[Floats]:
    return [values[start:stop] for start, stop in pairwise(bounds)]


def _followed(
    panel: Panel, state: State, action: Indices, after: Mapping[State, tuple[Floats, Floats, Floats]], paid: Floats
) -> tuple[Floats, Floats, Floats]:
    """Worth, quality and cost from a state on, when each row does what was chosen for it."""
    n = len(action)
    worth, quality, cost = np.zeros(n), np.zeros(n), np.zeros(n)
    stops = action < 0
    if state:
        worth[stops] = quality[stops] = panel.right[state][stops]
    for slot in np.unique(action[~stops]).tolist():
        rows = action == slot
        then = after[_with(state, slot)]
        worth[rows] = then[0][rows] - paid[rows, slot]
        quality[rows] = then[1][rows]
        cost[rows] = then[2][rows] + panel.recorded.cost_usd[rows, slot]
    return worth, quality, cost
