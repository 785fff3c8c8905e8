"""What a model is worth that joined a fitted predictor from few answers, against training again with all its answers.

Run ``python benchmarks/onboarding.py TABLE…``. Every model of a table in turn is the new one: a predictor is fitted on
the others' answers to the training queries, the model joins with its answers to N random ones of these, and the
single-shot rule routes the test queries among all. Compared with: *retrained* (fitted with all the new model's
training answers), *without* it, and *clusters* (UniRouter, arXiv 2502.08773: described by its mean quality and tokens
in k-means clusters of the training queries; the number of clusters is the one that did best on the test queries, which
flatters it). *alone* is onboarding that does not know the others' answers to the N queries.

Brier score: of the new model's arms on the test queries. Area and peak: audc_envelope and peak of METRICS, c* that of
the best single model of the whole pool; constant arms are those that look best in the measured means, of all N answers
for the new model. Prints JSON: means over models and seeds, the standard deviation of the seeds' means, and the
paired difference to *retrained* with its standard error over models. ``--markdown`` prints a table instead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curveroute.agent.bench.grid import merged, split
from curveroute.agent.embed import default_embedder
from curveroute.agent.errors import CurverouteError
from curveroute.agent.evals.baselines.constants import best_single
from curveroute.agent.evals.metrics import audc_envelope, peak
from curveroute.agent.evals.policy import sweep
from curveroute.agent.evals.subject import embedded, read_subject
from curveroute.agent.predictor import Predictor
from curveroute.agent.predictor.onboard import onboard
from curveroute.agent.predictor.regress.clusters import assign
from curveroute.agent.predictor.regress.described import Described
from curveroute.agent.settings import load_settings
from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Indices

ANSWERS = (50, 100, 200, 400)
CLUSTERS = (4, 16, 64)
USD_PER_MILLION = 1e6
Scores = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """Estimates of a pool on the test queries, and the measured means of its arms."""

    quality: Floats
    tokens: Floats
    mean: Floats
    cost_usd: Floats

    def beside(self, other: Expected) -> Expected:
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return Expected(*(np.concatenate(pair, axis=-1) for pair in pairs))


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One split, and what all ways are measured by."""

    train: Grid
    test: Grid
    unit_usd: float
    c_star: float

    def score(self, columns: Indices, expected: Expected, new: Indices) -> Scores:
        """Route among some of the arms."""
        test = self.test.keep(columns)
        cost = test.expected_cost(test.input_tokens, expected.tokens)
        replay = sweep(test, expected.quality, cost, self.unit_usd)
        points = replay.cost_usd.mean(axis=1, dtype=np.float64), replay.quality.mean(axis=1, dtype=np.float64)
        fixed = front(expected.mean, expected.cost_usd)
        everything = [
            np.concatenate((swept, recorded[:, fixed].mean(axis=0)))
            for swept, recorded in zip(points, (test.cost_usd, test.quality), strict=True)
        ]
        found = {"audc_envelope": float(audc_envelope(*everything, self.c_star)), "peak": float(peak(*points)[0])}
        at = np.flatnonzero(np.isin(columns, new))
        if at.size:
            found["brier"] = float(np.square(expected.quality[:, at] - test.quality[:, at]).mean())
        return found


def front(mean: Floats, cost: Floats) -> list[int]:
    """Arms that no cheaper arm equals."""
    kept: list[int] = []
    for arm in np.lexsort((-mean, cost)).tolist():
        if not kept or mean[arm] > mean[kept[-1]]:
            kept.append(arm)
    return kept


def fitted(train: Grid) -> Predictor:
    return Predictor(embedder=default_embedder().name).fit(
        train.x,
        train.quality,
        train.output_tokens,
        cost_usd=train.cost_usd,
        arms=train.arms,
        output_price=train.prices[:, 1] * USD_PER_MILLION,
    )


def expected_of(predictor: Predictor, x: Floats) -> Expected:
    said, known = predictor.predict(x), [predictor.metrics_[str(arm)] for arm in predictor.arms_]
    mean, cost = (np.array([one[name] for one in known], dtype=np.float64) for name in ("quality", "cost_usd"))
    return Expected(said.quality, said.output_tokens, mean, cost)


def described(clusters: Sequence[Described], answers: Grid, test: Grid) -> Iterator[Expected]:
    for one in clusters:
        nearest = assign(test.x.astype(np.float32), one.centres_)
        quality, tokens = (
            one.describe(answers.x, values)[nearest] for values in (answers.quality, answers.output_tokens)
        )
        yield Expected(quality, tokens, answers.quality.mean(axis=0), answers.cost_usd.mean(axis=0))


def joined(predictor: Predictor, answers: Grid, others: Floats | None) -> Predictor:
    return onboard(
        predictor,
        answers.x,
        answers.quality,
        answers.output_tokens,
        cost_usd=answers.cost_usd,
        arms=answers.arms,
        others=others,
    )


def ways(field: Field, new: Indices, whole: Scores, seed: int) -> Iterator[tuple[str, int, Scores]]:
    """Every way to know one model: its name, the number of answers, what it came to."""
    train, test = field.train, field.test
    old = np.setdiff1d(np.arange(len(train.arms)), new)
    both, count = np.concatenate((old, new)), len(train)
    predictor = fitted(train.keep(old))
    before = expected_of(predictor, test.x)
    clusters = [Described(counts=(one,), seed=seed).fit(train.x, train.quality[:, old]) for one in CLUSTERS]
    yield "retrained", count, whole
    yield "without", 0, field.score(old, before, new)
    drawn = np.random.default_rng((seed, int(new[0]))).permutation(count)
    for number in ANSWERS:
        rows = drawn[: min(number, count)]
        answers, others = train.keep(new).take(rows), train.quality[np.ix_(rows, old)]
        for name, known in (("onboarded", others), ("alone", None)):
            yield name, rows.size, field.score(both, expected_of(joined(predictor, answers, known), test.x), new)
        tried = [field.score(both, before.beside(one), new) for one in described(clusters, answers, test)]
        yield "clusters", rows.size, min(tried, key=lambda one: one["brier"])


def measured(grid: Grid, seeds: int) -> list[dict[str, Any]]:
    """One record for each model, seed and way."""
    records: list[dict[str, Any]] = []
    for seed in range(seeds):
        train, test = split(grid, seed, 0.3)
        train = merged(train)
        everything = fitted(train)
        unit, c_star = everything.reference_cost_usd_, float(test.cost_usd[:, best_single(train)].mean())
        field, full = Field(train, test, unit, c_star), expected_of(everything, test.x)
        for model in dict.fromkeys(arm.model for arm in grid.arms):
            new = np.flatnonzero([arm.model == model for arm in grid.arms])
            whole = field.score(np.arange(len(grid.arms)), full, new)
            for way, number, scores in ways(field, new, whole, seed):
                records.append({"seed": seed, "model": str(model), "way": way, "answers": number, **scores})
    return records


def summed(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over models and seeds, and paired differences to training again."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["way"], 0 if record["way"] == "retrained" else record["answers"]].append(record)
    whole = {(one["seed"], one["model"]): one for one in records if one["way"] == "retrained"}
    return [
        {"way": way, "answers": group[0]["answers"], **_figures(group, whole)} for (way, _), group in groups.items()
    ]


def _figures(group: list[dict[str, Any]], whole: dict[tuple[int, str], dict[str, Any]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name in ("brier", "audc_envelope", "peak"):
        if name not in group[0]:
            continue
        by_seed, behind = defaultdict(list), defaultdict(list)
        for one in group:
            by_seed[one["seed"]].append(one[name])
            behind[one["model"]].append(one[name] - whole[one["seed"], one["model"]][name])
        means, apart = [np.mean(some) for some in by_seed.values()], [np.mean(some) for some in behind.values()]
        figures[name] = {
            "mean": float(np.mean(means)),
            "seeds_std": float(np.std(means)),
            "to_retrained": float(np.mean(apart)),
            "models_se": float(np.std(apart) / np.sqrt(max(len(apart) - 1, 1))),
        }
    return figures


def markdown(tables: dict[str, Any]) -> str:
    lines = []
    for name, result in tables.items():
        lines += [f"**{name}**: {result['models']} models, {result['seeds']} seeds", ""]
        lines += ["| way | answers | Brier | area under the envelope | peak |", "|---|--:|--:|--:|--:|"]
        for row in result["ways"]:
            cells = [
                f"{row[key]['mean']:.4f} ({row[key]['to_retrained']:+.4f} ± {row[key]['models_se']:.4f})"
                if key in row
                else "-"
                for key in ("brier", "audc_envelope", "peak")
            ]
            lines.append(f"| {row['way']} | {row['answers']} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def result_of(path: Path, seeds: int) -> dict[str, Any]:
    """All figures of one table."""
    folder = load_settings().cache_dir / "embeddings"
    subject = asyncio.run(embedded(read_subject(path), default_embedder(), folder))
    grid = subject.grid.take(np.flatnonzero(np.isfinite(subject.grid.quality).all(axis=1)))
    records = measured(grid, seeds)
    return {
        "data_hash": subject.sha256,
        "queries": len(grid),
        "models": len({arm.model for arm in grid.arms}),
        "arms": len(grid.arms),
        "seeds": seeds,
        "embedder": default_embedder().name,
        "ways": summed(records),
        "records": records,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=table_path, help="curve tables, or shipped ones by name: local")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--markdown", action="store_true", help="a table to read instead of JSON")
    parser.add_argument("--json", type=Path, help="write the JSON there as well")
    options = parser.parse_args()
    tables = {path.stem: result_of(path, options.seeds) for path in options.tables}
    if options.json is not None:
        options.json.write_text(json.dumps(tables, indent=1) + "\n")
    print(markdown(tables) if options.markdown else json.dumps(tables, indent=1))


if __name__ == "__main__":
    try:
        main()
    except (CurverouteError, OSError) as error:
        sys.exit(str(error))
