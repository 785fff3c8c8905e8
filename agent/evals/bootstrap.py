"""Paired bootstrap over queries: every policy meets the same resamples, and so do c* and q*.

A resample is a row of counts, how often each query was drawn; the points of all resamples are then one product of
matrices.

Intervals are basic (pivotal): the resamples' quantiles mirrored at the measured value. An envelope is a maximum over
noisy points, so the more points a policy has, the higher its resamples come out; the percentile interval would take
that for a win, on every table of noise alone. A win is claimed only where the interval leaves out zero on all seeds but
at most one (on all, of two seeds or of a fixed split), never of one random split, whose luck its resamples share, and
never of fewer than 30 test queries: resamples of a handful know nothing of the queries that were not drawn into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.evals.metrics import ROUND_OFF, audc_envelope, gain_at_cost, peak

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from curveroute.agent.decide import Floats
    from curveroute.agent.evals.policy import Replay

RESAMPLES = 2000
INTERVAL = (0.025, 0.975)
GAINS = (0.35, 0.5, 1.0)
COMPARED = ("audc_envelope", *(f"gain_at_cost_{share:g}" for share in GAINS), "peak")
FEWEST_QUERIES = 30  # to test on, for any claim
SPARE = 3  # of so many seeds, one may show nothing
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Difference:
    """Policy ``a`` minus policy ``b`` on one seed, with its 95 % interval; NaN where a metric is undefined."""

    a: str
    b: str
    metric: str
    difference: float
    low: float
    high: float


def draw(queries: int, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float32]:
    """(B, n) how often each query is drawn in each resample; every row sums to n."""
    drawn = np.random.default_rng(seed).integers(queries, size=(resamples, queries))
    drawn += np.arange(resamples)[:, None] * queries
    counts = np.bincount(drawn.ravel(), minlength=resamples * queries)
    return np.asarray(counts.reshape(resamples, queries), dtype=np.float32)


def means(counts: NDArray[np.float32], values: NDArray[np.float32]) -> Floats:
    """(B, P) weighted means of (P, n) values; NaN values are not there.

    Sums are kept in double precision: a point that *is* the best single model must cost c*, not a rounding more.
    """
    there = np.isfinite(values)
    whole = bool(there.all())
    filled = values.astype(np.float64) if whole else np.where(there, values, 0.0).astype(np.float64)
    held = there.astype(np.float64)
    blocks = []
    for start in range(0, len(counts), _BLOCK):
        block = counts[start : start + _BLOCK].astype(np.float64)
        weight = block.sum(axis=1, keepdims=True) if whole else block @ held.T
        blocks.append(block @ filled.T / np.where(weight > 0.0, weight, np.nan))
    return np.concatenate(blocks)


def resampled(
    replays: Mapping[str, Replay], constants: Replay, best: Replay, counts: NDArray[np.float32]
) -> dict[str, dict[str, Floats]]:
    """Every compared metric of every policy on every resample.

    Args:
        replays: P points over n queries, by policy.
        constants: the constant arms that join every policy's points.
        best: the best single model: one point, which gives c* and q*.
        counts: (B, n).

    Returns:
        policy → metric → (B,).
    """
    c_star, q_star = (means(counts, values)[:, 0] for values in (best.cost_usd, best.quality))
    fixed = means(counts, constants.cost_usd), means(counts, constants.quality)
    return {
        name: _metrics(means(counts, replay.cost_usd), means(counts, replay.quality), fixed, c_star, q_star)
        for name, replay in replays.items()
    }


def _metrics(
    cost: Floats, quality: Floats, constants: tuple[Floats, Floats], c_star: Floats, q_star: Floats
) -> dict[str, Floats]:
    costs = np.concatenate((cost, constants[0]), axis=-1)
    worth = np.concatenate((quality, constants[1]), axis=-1)
    gains = {f"gain_at_cost_{share:g}": gain_at_cost(costs, worth, share, c_star, q_star) for share in GAINS}
    return {"audc_envelope": audc_envelope(costs, worth, c_star), **gains, "peak": peak(cost, quality)[0]}


def differences(
    measured: Mapping[str, Mapping[str, float]],
    samples: Mapping[str, Mapping[str, Floats]],
    pairs: Sequence[tuple[str, str]],
) -> list[Difference]:
    """Policy ``a`` minus ``b`` on every compared metric, with its interval.

    Args:
        measured: policy → metric → value on the test queries themselves.
        samples: policy → metric → (B,), as :func:`resampled` gives them.
        pairs: names of ``a`` and ``b``.
    """
    found = []
    for a, b in pairs:
        for metric in COMPARED:
            gap = measured[a][metric] - measured[b][metric]
            found.append(Difference(a, b, metric, gap, *interval(gap, samples[a][metric] - samples[b][metric])))
    return found


def interval(value: float, samples: Floats) -> tuple[float, float]:
    """The basic 95 % interval of a measured value, over the resamples in which it exists; NaN when in none."""
    there = samples[np.isfinite(samples)]
    if not there.size or not np.isfinite(value):
        return np.nan, np.nan
    low, high = np.quantile(there, INTERVAL)
    return float(2.0 * value - high), float(2.0 * value - low)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One difference over all seeds.

    Attributes:
        difference: mean over seeds; NaN where a seed has none.
        low: mean of the seeds' lower bounds.
        high: mean of the seeds' upper bounds.
        wins: seeds whose interval lies above zero.
        losses: seeds whose interval lies below zero.
        seeds: how many there were.
        test_queries: of the seed that has fewest.
        fixed: whether all seeds share one split, so that none of them can be spared.
    """

    a: str
    b: str
    metric: str
    difference: float
    low: float
    high: float
    wins: int
    losses: int
    seeds: int
    test_queries: int = FEWEST_QUERIES
    fixed: bool = False

    @property
    def outcome(self) -> str:
        """``win``, ``loss`` or ``none``.

        A win needs 30 test queries, two random splits or a fixed one, and an interval strictly above zero on all seeds
        but at most one, with none below; on all, of two seeds or of a fixed split.
        """
        if self.test_queries < FEWEST_QUERIES or (self.seeds == 1 and not self.fixed):
            return "none"
        needed = self.seeds - 1 if self.seeds >= SPARE and not self.fixed else self.seeds
        if self.wins >= needed and not self.losses:
            return "win"
        return "loss" if self.losses >= needed and not self.wins else "none"


def over_seeds(found: Sequence[Difference], *, test_queries: int = FEWEST_QUERIES, fixed: bool = False) -> Comparison:
    """The seeds' differences of one pair in one metric as one comparison.

    Args:
        found: one a seed.
        test_queries: how many the seed with the fewest was tested on.
        fixed: whether the seeds share one split.
    """
    table = np.array([[one.difference, one.low, one.high] for one in found])
    difference, low, high = (float(value) for value in table.mean(axis=0))
    wins, losses = int((table[:, 1] > ROUND_OFF).sum()), int((table[:, 2] < -ROUND_OFF).sum())
    pair = found[0].a, found[0].b, found[0].metric
    return Comparison(*pair, difference, low, high, wins, losses, len(found), test_queries, fixed)
