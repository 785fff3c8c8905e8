"""What a rule could reach if the cheaper models' answers cost nothing: a bound by giving information away.

Run ``python benchmarks/relaxed.py TABLE… [--seeds 5] [--models NAMES] [--every-budget]`` (needs the extra ``boosted``).
Splits are those of ``curveroute evaluate``; models answer at their largest budget, or every arm answers.

Answers are judged by boosted trees over all that is recorded of them: who agrees with whom, the quality expected of
each arm on this query, how long each answer is, the subject and the question's length. A rule that pays for what it
looks at, and reads it no better than these, reaches no more. Three questions, on the test queries, against the best
single model (q*, c*):

- *everyone*: every answer is bought, and the claim that is likeliest right is given. What voting could add.
- *free*: the answers of the k best of the cheaper models are known without paying; a regression says what
  asking the best model would gain, and it is asked where that is most, as often as the cost allows. k and the
  threshold are those that are best on the *test* queries. Only the best model's calls are paid.
- *paid*: the same, and these k answers are paid on every query.

Prints JSON: means over seeds and the standard deviation; QNC counts the seeds that reached q*.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from bounds import grid_at, together

from curveroute.agent.bench.looked import recorded_of
from curveroute.agent.errors import CurverouteError
from curveroute.agent.evals.baselines.constants import best_single, largest_budget_columns
from curveroute.agent.evals.single import SingleShot
from curveroute.agent.evals.trial import Trial, parts
from curveroute.agent.looking.recorded import Slot
from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Indices
    from curveroute.agent.looking.recorded import Recorded

SHARES = (0.35, 0.5, 1.0)
FOLDS = 5
TREES: dict[str, Any] = {
    "num_leaves": 7,
    "learning_rate": 0.03,
    "n_estimators": 500,
    "min_child_samples": 40,
    "colsample_bytree": 0.3,
    "reg_lambda": 20.0,
    "verbose": -1,
    "n_jobs": 1,
}


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of a split: n queries, J answers, the best single model's first, then the others by falling quality.

    Attributes:
        answers: what was recorded.
        about: (n, E) of the query itself.
    """

    answers: Recorded
    about: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """Every claim that some of the answers make: m rows of features.

    Attributes:
        row: (m,) the query.
        features: (m, F).
        quality: (m,) of the claim.
    """

    row: Indices
    features: Floats
    quality: Floats


def sides_of(grid: Grid, seed: int, *, every_budget: bool) -> tuple[Side, Side]:
    """Both sides of a split, the queries of which every answer was recorded."""
    train, test, _ = parts(Trial(grid, ("constant-arm",)), seed)
    single, best = SingleShot().fit(train), best_single(train)
    columns = single.known_ if every_budget else np.intersect1d(largest_budget_columns(train), single.known_)
    quality = np.nanmean(train.quality, axis=0)
    others = [one for one in columns.tolist() if one != best]
    slots = [Slot(train.arms[one]) for one in (best, *sorted(others, key=lambda one: -quality[one]))]
    subjects = sorted(set(train.tasks))

    def side(part: Grid, expected: Floats, tokens: Floats) -> Side:
        asked = recorded_of(part, slots, expected, tokens, single.expected_cost(part, tokens))
        first = np.flatnonzero(np.diff(asked.query, prepend=-1))
        heard = asked.rows(first[asked.seen.asked[first].all(axis=1)])
        subject = [subjects.index(part.tasks[row]) if part.tasks[row] in subjects else -1 for row in heard.query]
        length = np.log1p(np.nan_to_num(part.input_tokens[heard.query, best]))
        return Side(heard, np.column_stack((subject, length)))

    predictor = single.predictor_
    return side(train, predictor.loo_quality_, predictor.loo_tokens_), side(test, *single.expected(test))


def claims_of(side: Side, places: Sequence[int]) -> Claims:
    """The claims of these answers."""
    seen = side.answers.seen
    claim, quality = seen.claim[:, places], np.nan_to_num(side.answers.quality[:, places])
    prior, length = seen.prior[:, places], seen.length[:, places]
    rows, features, right = [], [], []
    for row, said in enumerate(claim):
        numbers = [one for one in dict.fromkeys(said.tolist()) if one >= 0]
        for number in numbers:
            sides = np.where(said < 0, 0.0, np.where(said == number, 1.0, -1.0))
            counts = [float((sides > 0).sum()), float((sides < 0).sum()), float(len(numbers))]
            features.append(
                np.concatenate((sides, sides * prior[row], sides * length[row], prior[row], counts, side.about[row]))
            )
            right.append(float(quality[row][said == number].max()))
            rows.append(row)
    return Claims(np.array(rows, dtype=np.intp), np.array(features), np.array(right))


def trees(features: Floats, target: Floats) -> Any:  # noqa: ANN401  (lightgbm has no types)
    from lightgbm import LGBMRegressor

    return LGBMRegressor(**TREES).fit(features, target)


def given(claims: Claims, score: Floats, queries: int) -> Floats:
    """(n,) quality of each query's likeliest claim; 0 where nothing was claimed."""
    quality = np.zeros(queries)
    order = np.argsort(score, kind="stable")  # the likeliest is written last
    quality[claims.row[order]] = claims.quality[order]
    return quality


def likeliest(claims: Claims, score: Floats, queries: int) -> Floats:
    """(n, 2) how likely each query's two likeliest claims are."""
    top = np.zeros((queries, 2))
    for row, one in zip(claims.row.tolist(), score.tolist(), strict=True):
        top[row] = sorted((*top[row], one))[:0:-1]
    return top


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What trees make of some answers: (n,) quality of the one given, (n, 2) the likeliest claims' probabilities."""

    quality: Floats
    likeliest: Floats


def judged(train: Side, test: Side, places: Sequence[int]) -> tuple[Judged, Judged]:
    """Training queries by trees of other folds, test queries by trees of all of them."""
    learned, met = claims_of(train, places), claims_of(test, places)
    n = len(train.answers)
    fold = np.random.default_rng(0).permutation(n) % FOLDS
    score = np.zeros(learned.row.size)
    for held in range(FOLDS):
        out = fold[learned.row] == held
        score[out] = trees(learned.features[~out], learned.quality[~out]).predict(learned.features[out])
    ahead = trees(learned.features, learned.quality).predict(met.features)
    return (
        Judged(given(learned, score, n), likeliest(learned, score, n)),
        Judged(given(met, ahead, len(test.answers)), likeliest(met, ahead, len(test.answers))),
    )


def points(train: Side, test: Side, places: Sequence[int]) -> tuple[Floats, Floats, float]:
    """Cost of the best model's calls and quality, (n + 1,) each, and what the others' answers cost, USD."""
    before, after = judged(train, test, places), judged(train, test, (0, *places))
    known = [
        np.hstack((one.likeliest, side.answers.seen.prior, side.answers.seen.length[:, places], side.about))
        for one, side in zip(before, (train, test), strict=True)
    ]
    gain = trees(known[0], after[0].quality - before[0].quality).predict(known[1])
    order = np.argsort(-gain / test.answers.expected_usd[:, 0], kind="stable")
    n = len(order)
    cost = np.append(0.0, np.cumsum(test.answers.cost_usd[order, 0])) / n
    more = np.append(0.0, np.cumsum((after[1].quality - before[1].quality)[order]))
    return cost, (before[1].quality.sum() + more) / n, float(test.answers.cost_usd[:, places].sum(axis=1).mean())


def relaxed(train: Side, test: Side) -> dict[str, Any]:
    """The three questions."""
    answers = test.answers
    q_star, c_star = float(answers.quality[:, 0].mean()), float(answers.cost_usd[:, 0].mean())
    count = len(answers.slots)
    mean = np.nanmean(train.answers.cost_usd, axis=0)
    cheaper = [place for place in range(1, count) if mean[place] < mean[0]]
    everyone = judged(train, test, range(count))[1].quality
    found: dict[str, Any] = {
        "q_star": q_star,
        "everyone": {
            "gain": float(everyone.mean()) - q_star,
            "cost": float(answers.cost_usd.sum(axis=1).mean()) / c_star,
        },
    }
    walks = [points(train, test, cheaper[:size]) for size in range(1, len(cheaper) + 1)]
    for name, paid in (("free", 0.0), ("paid", 1.0)):
        cost = np.concatenate([walk[0] + paid * walk[2] for walk in walks]) / c_star
        quality = np.concatenate([walk[1] for walk in walks])
        reached = cost[quality >= q_star]
        found[name] = {f"{share:g}": _best(quality[cost <= share]) - q_star for share in SHARES}
        found[name]["qnc"] = float(reached.min()) if reached.size else float("nan")
    return found


def _best(quality: Floats) -> float:
    return float(quality.max()) if quality.size else float("nan")


def study(path: Path, models: Sequence[str], seeds: int, *, every_budget: bool) -> dict[str, Any]:
    grid = grid_at(path, models)
    rows = []
    for seed in range(seeds):
        rows.append(relaxed(*sides_of(grid, seed, every_budget=every_budget)))
        print(f"{path.stem}: seed {seed} is done", file=sys.stderr, flush=True)
    return {"table": path.stem, "seeds": seeds, **together(rows)}


def main(words: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("tables", nargs="+", type=table_path)
    made.add_argument("--models", default="", help="only these models a,b,…; or all but -a,-b,…")
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--every-budget", action="store_true", help="every arm answers, not only each model's largest")
    options = made.parse_args(words)
    models = [one for one in options.models.split(",") if one]
    try:
        found = [study(path, models, options.seeds, every_budget=options.every_budget) for path in options.tables]
        print(json.dumps(found, indent=1))
    except CurverouteError as error:
        print(f"relaxed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
