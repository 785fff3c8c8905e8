"""From outcomes to figures: means with 95 % paired bootstrap intervals over questions, and what beats what.

Every figure of every policy is taken on the same resamples, so differences are paired. Intervals are the basic ones
of ``curveroute.agent.evals.bootstrap``, but for the 95th percentile's, which are quantiles over the resamples: a
basic interval would reach beyond every latency that was seen. The gains at a cost choose their point anew in each
resample.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curveroute.agent.evals.bootstrap import COMPARED, INTERVAL, differences, draw, interval, means, resampled
from curveroute.agent.evals.policy import Replay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from live_policies import Outcome, Policy
    from numpy.typing import NDArray

    from curveroute.agent.decide import Floats

    Weights = NDArray[np.float32]

DIGITS = 6
SLOW = 0.95
SEED = 0
MEANS = ("quality", "cost_usd", "calls", "latency_s")


@dataclass(frozen=True, eq=False)
class Measured:
    """P policies on n questions.

    Attributes:
        family: (P,) and ``name``: which point of which curve each policy is.
        tradeoff: (P,) where a policy has one.
        values: ``quality``, ``cost_usd``, ``calls`` and ``latency_s``, (P, n) each.
    """

    family: tuple[str, ...]
    name: tuple[str, ...]
    tradeoff: tuple[float | None, ...]
    values: Mapping[str, NDArray[np.float32]]

    @property
    def questions(self) -> int:
        return int(self.values["quality"].shape[1])

    def rows(self, family: str) -> list[int]:
        return [row for row, one in enumerate(self.family) if one == family]

    def replay(self, rows: Sequence[int]) -> Replay:
        """These rows as the points of one policy."""
        cost, quality = (self.values[name][list(rows)] for name in ("cost_usd", "quality"))
        return Replay(np.full(len(rows), np.nan), cost, quality)


def measured(policies: Sequence[Policy], answered: Sequence[Sequence[Outcome]]) -> Measured:
    """Outcomes of n questions by P policies as arrays."""
    return Measured(
        tuple(policy.family for policy in policies),
        tuple(policy.name for policy in policies),
        tuple(getattr(policy, "tradeoff", None) for policy in policies),
        {name: np.array([[getattr(one, name) for one in row] for row in answered], np.float32).T for name in MEANS},
    )


def slowest(counts: Weights, values: NDArray[np.float32]) -> Floats:
    """(B, P) 95th percentile of (P, n) values, each as often as it was drawn: the least that covers so many."""
    needed = SLOW * counts.sum(axis=1, keepdims=True)
    found = []
    for row in values:
        order = np.argsort(row, kind="stable")
        covered = counts[:, order].cumsum(axis=1) >= needed - 1e-6
        found.append(row[order][covered.argmax(axis=1)])
    return np.stack(found, axis=1).astype(np.float64)


def figures(table: Measured, best: int, front: Sequence[int]) -> dict[str, Any]:
    """Everything that is reported.

    Args:
        table: what was measured.
        best: row of the best single model, chosen on the training table.
        front: rows of the constant arms that join every curve, chosen there too.
    """
    counts, once = draw(table.questions, SEED), np.ones((1, table.questions), np.float32)
    columns: dict[str, tuple[Floats, Floats]] = {
        name: (means(once, table.values[name])[0], means(counts, table.values[name])) for name in MEANS
    }
    slow = table.values["latency_s"]
    slow_now, slow_drawn = slowest(once, slow)[0], slowest(counts, slow)
    quality, drawn = columns["quality"]
    columns["quality_over_best_single"] = quality - quality[best], drawn - drawn[:, [best]]
    cost, spent = columns["cost_usd"]
    columns["cost_over_best_single"] = _ratio(cost[None], best)[0], _ratio(spent, best)
    rows = [
        {
            "policy": table.family[row],
            "name": table.name[row],
            "tradeoff": table.tradeoff[row],
            **{name: told(float(value[row]), sample[:, row]) for name, (value, sample) in columns.items()},
            "latency_p95_s": _seen(float(slow_now[row]), slow_drawn[:, row]),
        }
        for row in range(len(table.name))
    ]
    return {"policies": rows, **compared(table, best, front, counts)}


def compared(table: Measured, best: int, front: Sequence[int], counts: Weights) -> dict[str, Any]:
    """Each family's curve against the best single model at the same cost or less, and against each other family's.

    A curve is joined by the constant arms, which anyone may always use.
    """
    families = [name for name in dict.fromkeys(table.family) if name != table.family[best]]
    replays = {name: table.replay(table.rows(name)) for name in families}
    constants, single = table.replay(front), table.replay([best])
    samples = resampled(replays, constants, single, counts)
    as_it_was = resampled(replays, constants, single, np.ones((1, table.questions), np.float32))
    now = {name: {metric: float(one[0]) for metric, one in found.items()} for name, found in as_it_was.items()}
    pairs = list(itertools.combinations(reversed(families), 2))
    gains = {name: {metric: told(now[name][metric], samples[name][metric]) for metric in COMPARED} for name in families}
    found = [
        {
            "a": one.a,
            "b": one.b,
            "metric": one.metric,
            "value": rounded(one.difference),
            "low": rounded(one.low),
            "high": rounded(one.high),
        }
        for one in differences(now, samples, pairs)
    ]
    return {"curves": gains, "differences": found}


def _ratio(cost: Floats, best: int) -> Floats:
    """Each policy's mean cost in that of the best single model."""
    return np.asarray(cost / np.where(cost[:, [best]] > 0.0, cost[:, [best]], np.nan))


def told(value: float, samples: Floats) -> dict[str, float | None]:
    """A figure and its interval."""
    low, high = interval(value, samples)
    return {"value": rounded(value), "low": rounded(low), "high": rounded(high)}


def _seen(value: float, samples: Floats) -> dict[str, float | None]:
    low, high = np.quantile(samples, INTERVAL)
    return {"value": rounded(value), "low": rounded(float(low)), "high": rounded(float(high))}


def rounded(value: float) -> float | None:
    """Six significant digits; what is undefined is null, for JSON knows no NaN."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
