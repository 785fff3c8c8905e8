"""A grid as what looking is learned from: its likeliest slots, and each query's answers to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.claims import claims_of
from curveroute.agent.looking.learn import FEWEST_ROWS, LEAST_SHARE
from curveroute.agent.looking.recorded import Recorded, Slot
from curveroute.agent.verify.chance import agreement_chance
from curveroute.agent.verify.seen import Seen, log_odds, surprise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats

MOST_CANDIDATES = 14
MOST_ROTATIONS = 5
MOST_SAMPLES = 3
_BEHIND = 0.12
_NEAR = 0.06


def candidates(train: Grid) -> list[Slot]:
    """The slots that may be on a panel: near the front of cost and quality, the best of every good model first."""
    asked = np.isfinite(train.quality).sum(axis=0)
    train = train.keep(np.flatnonzero(asked >= min(max(FEWEST_ROWS, LEAST_SHARE * len(train)), asked.max(initial=0))))
    quality, cost = np.nanmean(train.quality, axis=0), np.nanmean(train.cost_usd, axis=0)
    front = np.array([np.nanmax(quality[cost <= one * (1.0 + 1e-9)]) for one in cost])
    behind = front - quality
    order = np.argsort(behind, kind="stable")
    best_of: dict[str, int] = {}
    for place in np.argsort(-quality, kind="stable").tolist():
        best_of.setdefault(train.arms[place].model, place)
    chosen = [place for place in order.tolist() if place in best_of.values() and behind[place] < _BEHIND]
    chosen = chosen[: MOST_CANDIDATES - 4]
    for place in order.tolist():
        if place not in chosen and len(chosen) < MOST_CANDIDATES and behind[place] < _NEAR:
            chosen.append(place)
    chosen.sort(key=lambda place: cost[place])
    slots = [Slot(train.arms[place]) for place in chosen]
    again = min(train.samples.quality.shape[2], MOST_SAMPLES)
    count = np.isfinite(train.samples.quality).sum(axis=2)
    for sample in range(1, again):
        often = (count > sample).mean(axis=0) >= LEAST_SHARE
        slots += [Slot(train.arms[place], sample) for place in chosen[: 4 if sample > 1 else None] if often[place]]
    return slots


def recorded_of(grid: Grid, slots: Sequence[Slot], quality: Floats, tokens: Floats, expected_usd: Floats) -> Recorded:
    """What was recorded of these slots.

    Args:
        grid: n queries.
        slots: K slots of its arms.
        quality: (n, A) expected of each arm on each query, without having seen it.
        tokens: (n, A) output tokens expected, likewise.
        expected_usd: (n, A) USD expected, likewise.
    """
    place = {arm: at for at, arm in enumerate(grid.arms)}
    columns = np.array([place[slot.arm] for slot in slots], dtype=np.intp)
    number = np.array([slot.sample for slot in slots], dtype=np.intp)
    there = ~np.isnan(grid.samples.quality[:, columns])
    count = there.sum(axis=2)
    rotations = min(int(count.max(initial=1)), MOST_ROTATIONS)
    query, turn = np.repeat(np.arange(len(grid)), rotations), np.tile(np.arange(rotations), len(grid))
    count = count[query]
    asked = count > number
    sample = np.where(asked, (turn[:, None] + number) % np.maximum(count, 1), 0)
    at = query[:, None], columns[None, :], sample
    models = tuple(dict.fromkeys(slot.arm.model for slot in slots))
    one = grid.samples
    claims = claims_of(np.where(asked, one.said[at], -1), query, one.words, one.vectors)
    seen = Seen(
        claim=claims.claim,
        asked=asked,
        model=np.broadcast_to(np.array([models.index(slot.arm.model) for slot in slots]), asked.shape),
        prior=log_odds(quality)[query[:, None], columns],
        length=np.where(asked, surprise(np.nan_to_num(one.tokens[at]), tokens[query[:, None], columns]), 0.0),
        cut=np.asarray(one.cut[at] & asked, dtype=np.float32),
        malformed=np.asarray(one.malformed[at] & asked, dtype=np.float32),
        confidence=np.where(asked, one.confidence[at], 0.0).astype(np.float32),
        chance=np.array([agreement_chance(text) for text in grid.texts], dtype=np.float32)[query],
        models=models,
        torn=claims.torn if claims.torn.any() else None,
        near=claims.near,
    )
    return Recorded(
        tuple(slots),
        seen,
        np.where(asked, one.quality[at], np.nan).astype(np.float32),
        np.where(asked, one.cost_usd[at], np.nan),
        expected_usd[query[:, None], columns],
        query,
    )
