"""What bounds looking: how far a perfect verifier would be, and what the recorded signals know.

Run ``python benchmarks/bounds.py TABLE… [--seeds 5] [--models NAMES]``. Splits are those of ``curveroute evaluate``;
models answer at their largest budget; heads, juries and regressions are fitted on training queries. Four questions, on
the test queries, against the best single model (q*, c*):

- *perfect*: cheap models are asked in order, the best single model last, and a verifier that is never wrong stops at
  the first right answer. Which models, and in which order, is chosen on training queries, at up to c*.
- *everything*: the best single model and the cheap ones are all asked, whatever it costs, and a jury fitted on
  training queries gives one answer.
- *two_stage*: the best cheap models are asked, a regression says how likely their answer and the best model's are
  right, and the best model is asked where that gains most above its price, as often as the cost allows. Models and
  threshold are chosen on the *test* queries: what this family of rules could reach at most; others may do better.
- *signals*: log loss of "the best cheap model is right" and "the best model is right", as signals are added one by one.

Prints JSON: means over seeds and the standard deviation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import warnings
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from curveroute.agent.bench.looked import recorded_of
from curveroute.agent.embed import default_embedder
from curveroute.agent.errors import CurverouteError
from curveroute.agent.evals.baselines.constants import best_single, largest_budget_columns
from curveroute.agent.evals.single import SingleShot
from curveroute.agent.evals.subject import embedded, read_subject
from curveroute.agent.evals.trial import Trial, parts
from curveroute.agent.looking.recorded import Slot, follows
from curveroute.agent.settings import load_settings
from curveroute.agent.verify.fit_jury import Diet, fit_jury
from curveroute.agent.verify.jury import given
from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.looking.recorded import Recorded

SHARES = (0.2, 0.35, 0.5, 0.75, 1.0)
MOST_PERFECT = 3  # cheap models before the best one
MOST_STAGED = 3
CHEAP = 6  # models that may be asked before the best one: those of the highest quality that are cheaper
THRESHOLDS = 80
DIRECTIONS = 40
PENALTY = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of a split: K cheap models, cheapest first, and the best single model last.

    Attributes:
        answers: seen, quality, cost and expected cost, (n, K + 1) each.
        extra: (n, E) of each signal that the jury is not shown.
    """

    answers: Recorded
    extra: dict[str, Floats]

    @property
    def right(self) -> NDArray[np.int8]:
        """(n, K + 1) 1 where an answer is right."""
        return np.asarray(np.nan_to_num(self.answers.quality) > 0.5, dtype=np.int8)


@dataclass(frozen=True, slots=True)
class Split:
    """Both sides, and what they are measured by."""

    train: Side
    test: Side
    c_star: float
    q_star: float


def split_of(grid: Grid, seed: int) -> Split:
    train, test, _ = parts(Trial(grid, ("constant-arm",)), seed)
    single = SingleShot().fit(train)
    best = best_single(train)
    cost, quality = np.nanmean(train.cost_usd, axis=0), np.nanmean(train.quality, axis=0)
    cheap = [one for one in largest_budget_columns(train).tolist() if one != best and cost[one] < cost[best]]
    cheap = sorted(sorted(cheap, key=lambda one: -quality[one])[:CHEAP], key=lambda one: float(cost[one]))
    slots = [Slot(train.arms[one]) for one in (*cheap, best)]
    predictor = single.predictor_
    tasks = sorted(set(train.tasks))
    axes = np.linalg.svd(train.x - train.x.mean(axis=0), full_matrices=False)[2][:DIRECTIONS].T

    def side(part: Grid, quality: Floats, tokens: Floats) -> Side:
        asked = recorded_of(part, slots, quality, tokens, single.expected_cost(part, tokens))
        first = np.flatnonzero(np.diff(asked.query, prepend=-1))
        heard = asked.rows(first[asked.seen.asked[first].all(axis=1)])
        rows = heard.query
        extra = {
            "question length": np.log1p(np.nan_to_num(part.input_tokens[rows][:, [best]])),
            "subject": np.array([[float(part.tasks[row] == task) for task in tasks] for row in rows]),
            "text (embedding)": part.x[rows] @ axes,
        }
        return Side(heard, extra)

    learned = side(train, predictor.loo_quality_, predictor.loo_tokens_)
    met = side(test, *single.expected(test))
    best_answers = met.answers.columns([len(slots) - 1])
    return Split(learned, met, float(best_answers.cost_usd.mean()), float(np.nanmean(best_answers.quality)))


def perfect(split: Split) -> dict[str, Any]:
    """Gain and cost of the best chain that knows a right answer when it sees one."""
    count = len(split.train.answers.slots)
    chains = [
        (*order, count - 1) for size in range(1, MOST_PERFECT + 1) for order in permutations(range(count - 1), size)
    ]
    unit = float(np.mean(split.train.answers.cost_usd[:, -1]))
    worth = [_chained(split.train, chain) for chain in chains]
    held = [place for place, (_, cost) in enumerate(worth) if cost <= unit]
    chosen = chains[max(held, key=lambda place: worth[place][0] - 0.1 * worth[place][1] / unit)]
    quality, cost = _chained(split.test, chosen)
    names = [str(split.test.answers.slots[place].arm.model) for place in chosen]
    return {"gain": quality - split.q_star, "cost": cost / split.c_star, "chain": " > ".join(names)}


def _chained(side: Side, chain: Sequence[int]) -> tuple[float, float]:
    quality, cost = side.right, side.answers.cost_usd
    open_ = np.ones(len(quality), dtype=np.bool_)
    paid = np.zeros(len(quality))
    for place in chain:
        paid += np.where(open_, cost[:, place], 0.0)
        open_ &= quality[:, place] == 0
    return float(1.0 - open_.mean()), float(paid.mean())


def everything(split: Split, seed: int) -> dict[str, float]:
    """What a jury over all models' answers adds to the best one's."""
    train, test = split.train.answers, split.test.answers
    jury = fit_jury(train.seen, np.nan_to_num(train.quality), follows(train.slots), Diet(seed=seed))
    odds, number = jury.probabilities(test.seen)
    chosen = test.quality[np.arange(len(test)), given(odds, number, test.seen)]
    spent = float(test.cost_usd.sum(axis=1).mean())
    return {"gain": float(np.nanmean(chosen)) - split.q_star, "cost": spent / split.c_star}


def agreement(side: Side, places: Sequence[int]) -> Floats:
    """(n, F) who agrees with whom, and who says nothing."""
    claim = side.answers.seen.claim[:, list(places)]
    pairs = [(claim[:, a] == claim[:, b]) & (claim[:, a] >= 0) for a, b in combinations(range(len(places)), 2)]
    return np.stack([*pairs, *(claim < 0).T], axis=1).astype(np.float64)


def signals_of(side: Side, places: Sequence[int]) -> dict[str, Floats]:
    """Every signal that is known once these models were asked, in the order in which they are added."""
    seen = side.answers.seen
    return {
        "agreement": agreement(side, places),
        "expected quality": seen.prior.astype(np.float64),
        "answer length": np.hstack([seen.length[:, list(places)]]).astype(np.float64),
        **side.extra,
    }


def likelihood(train: Floats, right: NDArray[np.int8], test: Floats) -> Floats:
    """(n,) probability of being right, by penalised logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    if right.min() == right.max():
        return np.full(len(test), float(right.mean()))
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=PENALTY, max_iter=500).fit(scaler.transform(train), right)
    return np.asarray(model.predict_proba(scaler.transform(test))[:, 1])


def log_loss(right: NDArray[np.int8], probability: Floats) -> float:
    inside = np.clip(probability, 1e-6, 1.0 - 1e-6)
    return float(-np.where(right > 0, np.log(inside), np.log1p(-inside)).mean())


def signals(split: Split) -> dict[str, dict[str, float]]:
    """Log loss on test queries, as signals are added, once all cheap models were asked."""
    count = len(split.train.answers.slots) - 1
    good = int(np.argmax(split.train.right[:, :count].mean(axis=0)))
    found: dict[str, dict[str, float]] = {}
    for name, place in (("best cheap model right", good), ("best model right", count)):
        train, test = signals_of(split.train, range(count)), signals_of(split.test, range(count))
        shown: list[str] = []
        target, losses = split.train.right[:, place], {}
        rate = np.full(len(split.test.right), target.mean())
        losses["nothing"] = log_loss(split.test.right[:, place], rate)
        for signal in train:
            shown.append(signal)
            sides = [np.hstack([one[name] for name in shown]) for one in (train, test)]
            losses[f"+ {signal}"] = log_loss(split.test.right[:, place], likelihood(sides[0], target, sides[1]))
        found[name] = losses
    return found


def two_stage(split: Split) -> dict[str, float]:
    """Best gain within each share of c*, over cheap models and thresholds that are chosen on the test queries."""
    count = len(split.train.answers.slots) - 1
    points = [
        point
        for size in range(1, min(MOST_STAGED, count) + 1)
        for places in combinations(range(count), size)
        for point in _staged(split, list(places))
    ]
    cost, quality = np.array(points).T
    within = {share: quality[cost <= share * split.c_star] for share in SHARES}
    return {
        f"{share:g}": float(one.max()) - split.q_star if one.size else float("nan") for share, one in within.items()
    }


def _staged(split: Split, places: list[int]) -> list[tuple[float, float]]:
    last = len(split.train.answers.slots) - 1
    known = ("agreement", "expected quality", "answer length")
    sides = [signals_of(side, places) for side in (split.train, split.test)]
    train, test = (np.hstack([one[name] for name in known]) for one in sides)
    right = np.stack([likelihood(train, split.train.right[:, place], test) for place in (*places, last)], axis=1)
    answers = split.test.answers
    given_: Indices = np.array(places)[right[:, :-1].argmax(axis=1)]
    quality = answers.quality[np.arange(len(answers)), given_]
    gain = (right[:, -1] - right[:, :-1].max(axis=1)) / answers.expected_usd[:, -1]
    spent = answers.cost_usd[:, places].sum(axis=1)
    points = []
    for threshold in np.quantile(gain, np.linspace(0.0, 1.0, THRESHOLDS)):
        asks = gain >= threshold
        paid = spent + np.where(asks, answers.cost_usd[:, -1], 0.0)
        points.append((float(paid.mean()), float(np.where(asks, answers.quality[:, -1], quality).mean())))
    return points


def grid_at(path: Path, models: Sequence[str]) -> Grid:
    """A table, embedded as ``curveroute evaluate`` embeds it."""
    folder = load_settings().cache_dir / "embeddings"
    return asyncio.run(embedded(read_subject(path, models), default_embedder(), folder)).grid


def study(path: Path, models: Sequence[str], seeds: int) -> dict[str, Any]:
    grid = grid_at(path, models)
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        split = split_of(grid, seed)
        rows.append(
            {
                "q_star": split.q_star,
                "perfect": perfect(split),
                "everything": everything(split, seed),
                "two_stage": two_stage(split),
                "signals": signals(split),
            }
        )
        print(f"{path.stem}: seed {seed} is done", file=sys.stderr, flush=True)
    return {"table": path.stem, "seeds": seeds, **together(rows)}


def together(rows: Sequence[Any]) -> Any:  # noqa: ANN401  (as deep as what it is given)
    """Mean, spread and count of every number, over the rows that have it; words as they were most often."""
    if isinstance(rows[0], dict):
        return {name: together([row[name] for row in rows]) for name in rows[0]}
    if isinstance(rows[0], str):
        return max(set(rows), key=rows.count)
    there = [one for one in rows if np.isfinite(one)]
    if not there:
        return {"mean": None, "sd": None, "count": 0}
    return {"mean": round(float(np.mean(there)), 4), "sd": round(float(np.std(there)), 4), "count": len(there)}


def main(words: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("tables", nargs="+", type=table_path)
    made.add_argument("--models", default="", help="only these models a,b,…; or all but -a,-b,…")
    made.add_argument("--seeds", type=int, default=5)
    options = made.parse_args(words)
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
    models = [one for one in options.models.split(",") if one]
    try:
        print(json.dumps([study(path, models, options.seeds) for path in options.tables], indent=1))
    except CurverouteError as error:
        print(f"bounds: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
