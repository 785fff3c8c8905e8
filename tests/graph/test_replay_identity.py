"""Replay and graph are one: the same arms and samples, the same costs and the same answers, query by query.

A predictor and what it learned of looking are made from a part of a table. Then 300 of the other queries go through the
compiled graph over their recorded answers, and through the replay, which is given the same expectations. One table
answers in free text, whose claims depend on who is asked: both sides compare it through the same embedder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.columns import columns_of, read_columns
from curveroute.agent.bench.grid import grid_of, merged
from curveroute.agent.bench.looked import MOST_SAMPLES, candidates, recorded_of
from curveroute.agent.bench.table import Row
from curveroute.agent.chat.recorded import RecordedChat
from curveroute.agent.embed.cues import cue_vectors
from curveroute.agent.ledger import NullLedger
from curveroute.agent.looking.learn import learn, weights_for
from curveroute.agent.looking.recorded import Slot
from curveroute.agent.looking.replay import Replayer
from curveroute.agent.pool import Pool, PoolSpec, PriceSpec
from curveroute.agent.predictor import Predictor
from curveroute.agent.propose import Outlooker
from curveroute.agent.types import Arm, Attempt, AttemptId, ModelId, Query, Usage, Verdict
from curveroute.agent.verify.fit_jury import Diet
from curveroute.graphs import Context, Parts, build
from curveroute.graphs.nodes import best_attempt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from curveroute.agent.bench.columns import Columns
    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.embed import Vectors
    from curveroute.agent.looking.looking import Looking
    from curveroute.agent.looking.recorded import Recorded

    Place = tuple[str, Arm, int]

RECORDED = Path(__file__).parents[2].parent / "shared" / "data"
TESTED = 300
TRADEOFFS = (0.02, 0.2, 0.5, 0.9)
MILLION = 1e6
DIET = Diet(hidden=8, steps=120)
COMPILED = build().compile()


# Paraphrases are near each other; what is said between the two claims is near one wording of each.
RIGHT = {
    "water takes in the red part of light and scatters blue": 0.0,
    "because longer waves are swallowed by it while shorter ones come back": 0.3,
    "the sea absorbs warm colours so that only cold ones return": 0.5,
}
BETWEEN = {"it gives back whatever blue falls upon its face from outside": 0.9}
WRONG = {
    "like any mirror a calm surface shows what hangs above": 1.4,
    "we see nothing but the sky reflected in those waves": 1.6,
}
ANGLES = RIGHT | BETWEEN | WRONG


class CueEmbedder:
    """Counts and words of a text, as the predictor was fitted on; of prose the direction of its meaning."""

    name = "cues"
    dim = cue_vectors([""]).shape[1]

    async def embed(self, texts: Sequence[str]) -> Vectors:
        return self.vectors(texts)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        found = np.array(cue_vectors(texts), dtype=np.float32)
        for place, angle in enumerate(map(ANGLES.get, texts)):
            if angle is not None:
                found[place] = 0.0
                found[place, :2] = np.cos(angle), np.sin(angle)
        return found


@dataclass(frozen=True)
class Stage:
    """Both sides, ready to run.

    Attributes:
        grid: the queries that are tested.
        spelled: the same, where answers agree by their spelling alone.
        paid: USD that every recorded answer cost, as the table says.
    """

    grid: Grid
    spelled: Grid
    parts: Parts
    looking: Looking
    recorded: Recorded
    paid: dict[Place, float]


@dataclass(frozen=True)
class Outcome:
    """What became of one query: who was asked how often, what it cost, and what was answered."""

    asked: frozenset[tuple[Arm, int]]
    cost_usd: float
    claim: int
    quality: float


def row(query: int, text: str, arm: Arm, sample: int, said: str | None, right: str, **changes: Any) -> Row:
    used = {"input_tokens": 40 + query % 7, "output_tokens": 9 + query % 5} | changes
    price = {"small": (0.1, 0.4), "other": (0.15, 0.6), "big": (1.0, 4.0)}[arm.model]
    return Row(
        query_id=f"q{query}",
        query=text,
        task="toy",
        model=arm.model,
        budget=arm.budget,
        sample=sample,
        quality=float(said == right),
        answer=said,
        reference=right,
        finish_reason="length" if said is None else "stop",
        input_tokens=used["input_tokens"],
        output_tokens=used["output_tokens"],
        cost_usd=(used["input_tokens"] * price[0] + used["output_tokens"] * price[1]) / MILLION,
    )


def toy_rows(queries: int) -> Iterator[Row]:
    """Three models, two budgets, three samples: short answers are cut off, hard questions have one tempting error."""
    random = np.random.default_rng(3)
    skill = {"small": 0.5, "other": 0.55, "big": 0.85}
    for query in range(queries):
        hard = query % 3 == 0
        right, tempting = random.choice(list("ABCDE"), size=2, replace=False).tolist()
        words = " ".join(["tell"] * (12 if hard else 4))
        text = f"Case {query}: {words} which is true?\nA) one\nB) two\nC) three\nD) four\nE) five"
        for model, level in skill.items():
            for budget in (16, 256):
                for sample in range(3):
                    knows = random.random() < level - (0.3 if hard else 0.0)
                    wrong = tempting if random.random() < 0.6 else random.choice(list("ABCDE"))
                    cut = budget == 16 and random.random() < (0.6 if hard else 0.2)
                    said = None if cut else right if knows else str(wrong)
                    tokens = 16 if cut else int(random.integers(3, 16)) + (120 if budget > 16 and hard else 0)
                    yield row(query, text, Arm(ModelId(model), budget), sample, said, right, output_tokens=tokens)


def prose_rows(queries: int) -> Iterator[Row]:
    """Three models and two samples, every answer a sentence; short budgets cut some off."""
    random = np.random.default_rng(5)
    skill = {"small": 0.45, "other": 0.55, "big": 0.8}
    for query in range(queries):
        hard = query % 3 == 0
        text = f"Case {query}: {'tell us in full ' if hard else ''}why does the sea look blue?"
        for model, level in skill.items():
            for budget in (16, 256):
                for sample in range(2):
                    knows = random.random() < level - (0.25 if hard else 0.0)
                    among = list(BETWEEN if random.random() < 0.2 else RIGHT if knows else WRONG)
                    cut = budget == 16 and random.random() < 0.2
                    said = None if cut else f"Answer: {random.choice(among)}."
                    tokens = 16 if cut else int(random.integers(8, 16))
                    one = row(query, text, Arm(ModelId(model), budget), sample, said, "", output_tokens=tokens)
                    yield replace(one, quality=float(knows and not cut))


def pool_of(grid: Grid) -> Pool:
    """The table's models, budgets and prices, as a pool that adds nothing to a prompt."""
    price = {arm.model: np.round(one * MILLION, 6) for arm, one in zip(grid.arms, grid.prices, strict=True)}
    budgets = {arm.budget for arm in grid.arms}
    document = {
        "name": "recorded",
        "system": "Answer.",
        "budgets": [
            {"name": f"b{one}", "style": ""} | ({} if one is None else {"tokens": one})
            for one in sorted(budgets, key=lambda budget: math.inf if budget is None else budget)
        ],
        "models": [
            {
                "id": model,
                "endpoint": "https://models.example/v1",
                "prices": {"input": float(fresh), "output": float(output)},
                "context_window": 1_000_000,
            }
            for model, (fresh, output) in price.items()
        ],
    }
    spec = PoolSpec.model_validate(document)
    return Pool(spec, prices={one.id: one.prices or PriceSpec(input=0, output=0) for one in spec.models})


def taught(train: Grid, slots: list[Slot]) -> Predictor:
    """A predictor, its jury and its courses; small, because only that both sides follow them matters."""
    predictor = Predictor(embedder=CueEmbedder.name).fit(
        train.x, train.quality, train.output_tokens, cost_usd=train.cost_usd, arms=train.arms
    )
    tokens = predictor.loo_tokens_
    cost = train.expected_cost(train.input_tokens, tokens)
    cost = np.where(np.isnan(cost), np.nanmean(train.cost_usd, axis=0), cost)
    recorded = recorded_of(train, slots, predictor.loo_quality_, tokens, cost)
    unit = predictor.reference_cost_usd_
    lesson = learn(recorded, weights_for(recorded, unit)[::4].tolist(), unit, diet=DIET)
    return predictor.with_looking(lesson.looking)


def expected(outlooker: Outlooker, grid: Grid) -> tuple[Any, Any, Any]:
    """(n, A) quality, tokens and USD that the graph's own estimates say."""
    arms, place = outlooker.pool.arms, {arm: at for at, arm in enumerate(grid.arms)}
    found = np.full((3, *grid.quality.shape), np.nan)
    for at, (vector, text) in enumerate(zip(grid.x.astype(np.float32), grid.texts, strict=True)):
        for one in outlooker.estimates(vector, question(text), arms, 0.5):
            found[:, at, place[one.arm]] = one.quality, one.output_tokens, one.cost_usd
    return found[0], found[1], found[2]


def question(text: str) -> Query:
    return Query(({"role": "user", "content": text},))


def exact(recorded: Recorded, grid: Grid, paid: dict[Place, float]) -> Recorded:
    """The recorded costs as the table has them: the grid keeps them in single precision."""
    cost = [
        [paid.get((grid.query_ids[query], slot.arm, slot.sample), np.nan) for slot in recorded.slots]
        for query in recorded.query.tolist()
    ]
    return replace(recorded, cost_usd=np.array(cost))


def stage_of(columns: Columns, trained: int, *, alone: Arm | None = None) -> Stage:
    """Learn from ``trained`` queries, and set both sides up for ``TESTED`` others that lack no recording.

    Courses ask ``alone`` and nobody else, where it is given, as often as it was sampled.
    """
    spelled = merged(grid_of(columns))
    spelled = spelled.embedded(cue_vectors(spelled.texts))
    grid = heard(spelled)
    order = np.random.default_rng(7).permutation(len(grid))
    again = min(grid.samples.quality.shape[2], MOST_SAMPLES)
    whole = ~np.isnan(grid.samples.quality[:, :, :again]).any(axis=(1, 2))
    train, rest = grid.take(order[:trained]), order[trained:]
    tested = rest[whole[rest]][:TESTED]
    test = grid.take(tested)
    slots = candidates(train) if alone is None else [Slot(alone, sample) for sample in range(again)]
    pool, predictor = pool_of(grid), taught(train, slots)
    outlooker = Outlooker(pool, predictor)
    names = set(test.query_ids)
    rows = [one for one in rows_of(columns) if one["query_id"] in names]
    paid = {(one["query_id"], Arm(one["model"], one["budget"]), one["sample"]): one["cost_usd"] for one in rows}
    looking = outlooker.looking
    parts = Parts(pool, RecordedChat.from_rows(rows), CueEmbedder(), outlooker, NullLedger())
    return Stage(test, spelled.take(tested), parts, looking, recording(outlooker, test, paid), paid)


def recording(outlooker: Outlooker, test: Grid, paid: dict[Place, float]) -> Recorded:
    """What replay follows courses over: one row a query, in which no sample is turned."""
    slots = list(dict.fromkeys(slot for course in outlooker.looking.courses for slot in course.slots))
    recorded = recorded_of(test, slots, *expected(outlooker, test))
    first = np.flatnonzero(np.diff(recorded.query, prepend=-1))
    return exact(recorded.rows(first), test, paid)


def heard(grid: Grid) -> Grid:
    """The same answers, as the graph compares them."""
    texts = grid.samples.free_texts()
    vectors = dict(zip(texts, CueEmbedder().vectors(texts), strict=True))
    return replace(grid, samples=grid.samples.heard(vectors))


def rows_of(columns: Columns) -> Iterator[dict[str, Any]]:
    """The rows as the recorded seam reads them."""
    texts = {name: getattr(columns, name) for name in ("query_id", "query", "model", "answer")}
    for at in range(len(columns)):
        words = {name: _word(one, int(one.codes[at])) for name, one in texts.items()}
        yield words | {
            "budget": None if np.isinf(columns.budget[at]) else int(columns.budget[at]),
            "sample": int(columns.sample[at]),
            "finish_reason": "length" if columns.truncated[at] else "stop",
            "input_tokens": int(columns.input_tokens[at]),
            "output_tokens": int(columns.output_tokens[at]),
            "cost_usd": float(columns.cost_usd[at]),
        }


def _word(words: Any, code: int) -> str | None:
    return words.values[code] if code >= 0 else None


def toy() -> Columns:
    return columns_of(list(toy_rows(700)))


def prose() -> Columns:
    return columns_of(list(prose_rows(700)))


def table(name: str) -> Columns:
    return read_columns(RECORDED / f"{name}.parquet")


TABLES = {"mmlu_pro": 800, "jhu_concise_cot": 370, "gsm8k": 800}


@pytest.fixture(
    params=[
        "toy",
        "toy, one arm again and again",
        "prose",
        *(
            pytest.param(
                name,
                marks=pytest.mark.skipif(
                    not (RECORDED / f"{name}.parquet").is_file(), reason=f"no recorded {name} beside the project"
                ),
            )
            for name in TABLES
        ),
    ]
)
def stage(request: pytest.FixtureRequest) -> Stage:
    name = str(request.param)
    if name in TABLES:
        pytest.importorskip("pyarrow")
        return stage_of(table(name), TABLES[name])
    if name == "prose":
        return stage_of(prose(), 400)
    return stage_of(toy(), 400, alone=None if name == "toy" else Arm(ModelId("other"), 256))


async def walked(stage: Stage, tradeoff: float) -> list[Outcome]:
    """What the graph does with every query."""
    context = Context(tradeoff=tradeoff, plan=False, judge=False, parts=stage.parts)
    found = []
    for place, text in enumerate(stage.grid.texts):
        given = {"messages": [{"role": "user", "content": text}]}
        output = await COMPILED.ainvoke(given, context=context)
        assert {one.policy for one in output["decisions"]} == {"learned"}, stage.grid.query_ids[place]
        slots = dict(zip(output["attempts"], numbered(output["attempts"].values()), strict=True))
        arm, sample = slots[output["answer_attempt_id"]]
        found.append(outcome(stage, place, frozenset(slots.values()), output["cost_usd"], (arm, sample)))
    return found


def numbered(attempts: Any) -> list[tuple[Arm, int]]:
    """Each attempt's arm, and how often that was asked before."""
    arms = [attempt.arm for attempt in attempts]
    return [(arm, arms[:at].count(arm)) for at, arm in enumerate(arms)]


def replayed(stage: Stage, tradeoff: float) -> list[Outcome]:
    """What the replay does with every query, each on the course that it follows at this tradeoff."""
    replayer = Replayer(stage.looking.jury, stage.recorded, stage.looking.unit_usd)
    courses = [stage.looking.course(tradeoff, text) for text in stage.grid.texts]
    followed = {course: replayer.follow(course) for course in set(courses) if course is not None}
    found = []
    for place, course in enumerate(courses):
        assert course is not None
        one, slots = followed[course], [pair(slot) for slot in course.slots]
        asked = frozenset(slot for bit, slot in enumerate(slots) if one.state[place] >> bit & 1)
        found.append(outcome(stage, place, asked, float(one.cost_usd[place]), slots[one.answer[place]]))
        assert found[-1].quality == one.quality[place]
    return found


def pair(slot: Slot) -> tuple[Arm, int]:
    return slot.arm, slot.sample


def outcome(
    stage: Stage, place: int, asked: frozenset[tuple[Arm, int]], cost: float, given: tuple[Arm, int]
) -> Outcome:
    at = place, stage.grid.arms.index(given[0]), given[1]
    return Outcome(asked, cost, int(stage.grid.samples.answer[at]), float(stage.grid.samples.quality[at]))


async def test_the_replay_does_what_the_graph_does(stage: Stage) -> None:
    asked = []
    for tradeoff in TRADEOFFS:
        graph, replay = await walked(stage, tradeoff), replayed(stage, tradeoff)
        assert len(graph) == len(replay) == TESTED
        for name, ran, told in zip(stage.grid.query_ids, graph, replay, strict=True):
            assert ran.asked == told.asked, (tradeoff, name)
            assert ran.cost_usd == pytest.approx(told.cost_usd, rel=1e-12, abs=0.0), (tradeoff, name)
            assert (ran.claim, ran.quality) == (told.claim, told.quality), (tradeoff, name)
        asked += [len(one.asked) for one in graph]
    assert min(asked) == 1
    assert max(asked) > 2, "that both sides agree would say little"


async def test_free_text_that_was_compared_by_its_spelling_would_be_followed_otherwise() -> None:
    """So the two sides agree on prose because both hear what it means, and not because nothing depends on it."""
    stage = stage_of(prose(), 400)
    torn = stage.recorded.seen.torn
    assert torn is not None
    assert torn.mean() > 0.1, "in these, what makes one claim depends on who is asked"
    unheard = replace(stage, recorded=recording(stage.parts.outlooker, stage.spelled, stage.paid))
    graph, replay = await walked(stage, 0.02), replayed(unheard, 0.02)
    assert sum(ran.asked != told.asked for ran, told in zip(graph, replay, strict=True)) > TESTED // 20


def test_equal_verdicts_go_to_who_was_expected_to_be_better_and_of_one_arm_to_its_first_answer() -> None:
    def made(name: str, model: str, score: float, prior: float) -> Attempt:
        verdict = Verdict(score, "ok", signals=(("prior", prior),))
        arm = Arm(ModelId(model), 16)
        return Attempt(AttemptId(name), "probe", arm, name, name, Usage(), 0.0, "stop", 0.1, verdict=verdict)

    weak, strong, again = made("1", "a", 0.7, 0.1), made("2", "b", 0.7, 0.9), made("3", "b", 0.7, 0.9)
    assert best_attempt((weak, strong)) == best_attempt((strong, weak)) == strong
    assert best_attempt((weak, strong, again)) == strong
    assert best_attempt((made("0", "c", 0.8, -1.0), strong)).attempt_id == "0"  # type: ignore[union-attr]
