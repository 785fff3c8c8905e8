"""How long looking takes: one step of the rule at 187 arms, and a replay of 7,000 queries over a whole sweep.

Run ``python benchmarks/looking.py``. Everything is synthetic, and as large as it gets: courses of the widest panels, a
jury of the usual size. A step is what the graph does between an answer and the next ask. It is told in two parts: the
*rule* (what the course says, beliefs, the choice, why each other arm lost, at which tradeoffs it would flip), and the
*hearing* of the answers so far. Prints JSON; times of a step are medians in milliseconds, and ratios to the product of
two matrices of 187 x 187 in the same run.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from curveroute.agent.looking.course import BASE, MOST_SLOTS, Course
from curveroute.agent.looking.looking import Looking
from curveroute.agent.looking.recorded import Recorded, Slot
from curveroute.agent.looking.replay import Replayer
from curveroute.agent.plan import ranking_plan
from curveroute.agent.pool import Pool, PoolSpec, PriceSpec
from curveroute.agent.predictor import Predictor
from curveroute.agent.propose import Outlooker
from curveroute.agent.step import Inquiry, next_turn
from curveroute.agent.types import Arm, Attempt, AttemptId, ModelId, Query, RunId, Usage
from curveroute.agent.verify.fit_jury import HIDDEN
from curveroute.agent.verify.hearing import hear_answers
from curveroute.agent.verify.jury import Jury
from curveroute.agent.verify.review import review
from curveroute.agent.verify.seen import ANSWER_FEATURES, CLAIM_FEATURES, Seen
from curveroute.graphs import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from curveroute.agent.step import Turn
    from curveroute.agent.types import Estimate
    from curveroute.agent.verify.hearing import Hearing

MODELS, BUDGETS = 17, (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
ARMS = MODELS * len(BUDGETS)
DIMENSIONS, FITTED = 8, 240
PANELS, COURSES = 8, 140
SLOTS = 14
QUERIES = 7000
MOST_HEARD = 4
REPEATS = 400
TRADEOFF = 0.3
TEXT = "A shop sells 14 boxes of 33 pens. How many pens does it sell?"


def median_ms(action: Callable[[], object], repeats: int = REPEATS) -> float:
    for _ in range(5):
        action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def make_pool() -> Pool:
    document = {
        "name": "bench",
        "system": "You are a careful assistant. Answer correctly and briefly.",
        "budgets": [{"tokens": one, "name": f"b{one}", "style": f"Use at most {one} tokens."} for one in BUDGETS],
        "models": [
            {
                "id": f"model-{number}",
                "endpoint": "https://models.example/v1",
                "prices": {"input": 0.02 * (number + 1), "output": 0.1 * (number + 1)},
                "context_window": 8192,
            }
            for number in range(MODELS)
        ],
    }
    spec = PoolSpec.model_validate(document)
    return Pool(spec, prices={one.id: one.prices or PriceSpec(input=0, output=0) for one in spec.models})


def make_jury(random: np.random.Generator, models: Sequence[ModelId]) -> Jury:
    start, answer, claim = Jury.unfitted(), len(ANSWER_FEATURES), len(CLAIM_FEATURES)
    shared = random.normal(scale=0.1, size=(answer + claim, HIDDEN + 1)).astype(np.float32)
    shared[:, :1] += start.shared
    own = random.normal(scale=0.05, size=(len(models), answer, HIDDEN + 1)).astype(np.float32)
    bias, out = random.normal(scale=0.1, size=(2, HIDDEN)).astype(np.float32)
    return Jury(shared, own, bias, out, np.zeros(len(models), dtype=np.float32), tuple(models))


def make_courses(random: np.random.Generator, panels: Sequence[tuple[Slot, ...]]) -> tuple[Course, ...]:
    """Values near what is believed of an answer, and a little above it for every slot, so that some ask and some stop.

    A summary has the probability of the likeliest claim in its second place.
    """
    courses = []
    for place, weight in enumerate(np.geomspace(0.01, 100.0, COURSES).tolist()):
        slots = panels[place * len(panels) // COURSES]
        weights = random.normal(scale=0.01, size=(1 << len(slots), BASE + len(slots), len(slots) + 1))
        weights[:, 1] += 0.8
        weights[:, 0, 1:] += 0.05
        courses.append(Course(slots, weight, weights.astype(np.float32)))
    return tuple(courses)


def make_outlooker(random: np.random.Generator, pool: Pool) -> Outlooker:
    """Every panel begins with the same slots, so that what is heard is on all of them, and flips have most to do."""
    x = random.normal(size=(FITTED, DIMENSIONS))
    quality = np.clip(np.linspace(0.3, 0.9, ARMS) + random.normal(scale=0.2, size=(FITTED, ARMS)), 0.0, 1.0)
    tokens = np.array([0.6 * (arm.budget or 0) for arm in pool.arms]) * random.uniform(0.8, 1.2, (FITTED, ARMS))
    prices = np.array([pool.prices(arm.model)[1] for arm in pool.arms])
    cost = tokens * prices * 1e-6
    predictor = Predictor(embedder="bench").fit(x, quality, tokens, cost_usd=cost, arms=pool.arms)
    first = [Slot(arm) for arm in pool.arms[: 11 * MOST_HEARD : 11]]
    panels = [
        (*first, *(Slot(pool.arms[11 * (MOST_HEARD + panel) + more]) for more in range(MOST_SLOTS - MOST_HEARD)))
        for panel in range(PANELS)
    ]
    looking = Looking(
        make_jury(random, pool.models), make_courses(random, panels), unit_usd=predictor.reference_cost_usd_
    )
    return Outlooker(pool, predictor.with_looking(looking))


def make_attempts(outlooker: Outlooker, candidates: Sequence[Estimate], heard: int) -> tuple[Attempt, ...]:
    """Answers of the first arms that every panel holds, two claims among them, with their verdicts."""
    arms = [slot.arm for slot in outlooker.looking.courses[0].slots[:heard]]
    attempts = tuple(
        Attempt(
            attempt_id=AttemptId(f"bench.{number}.1"),
            role="escalation" if number > 1 else "probe",
            arm=arm,
            text=f"There are {462 - number % 2} pens.\nAnswer: {462 - number % 2}",
            answer=str(462 - number % 2),
            usage=Usage(60, 16),
            cost_usd=1e-6,
            finish_reason="stop",
            latency_s=0.2,
        )
        for number, arm in enumerate(arms, start=1)
    )
    hearing = hear_answers(TEXT, attempts, {one.arm: one for one in candidates}, outlooker.looking.jury, {})
    verdicts = review(TEXT, attempts, hearing, outlooker.looking.calibrator, {})
    return tuple(replace(attempt, verdict=verdicts[attempt.attempt_id]) for attempt in attempts)


def steps(random: np.random.Generator) -> dict[str, Any]:
    """Times of a step after 0 to ``MOST_HEARD`` answers, by the learned values and in closed form."""
    pool = make_pool()
    outlooker = make_outlooker(random, pool)
    query = Query(({"role": "user", "content": TEXT},))
    vector = random.normal(size=DIMENSIONS).astype(np.float32)
    candidates = outlooker.estimates(vector, query, pool.arms, TRADEOFF)
    estimates = {one.arm: one for one in candidates}
    plan = ranking_plan(candidates, "planning is off")
    square = random.normal(size=(ARMS, ARMS))
    reference = median_ms(lambda: square @ square)
    result: dict[str, Any] = {"arms": ARMS, "courses": COURSES, "matrix_product_ms": round(reference, 4)}
    worst = 0.0
    for policy in ("learned", "closed-form"):
        inquiry = Inquiry(RunId("bench"), query, candidates, plan, Context(tradeoff=TRADEOFF, policy=policy))
        rows = []
        for heard in range(MOST_HEARD + 1):
            attempts = make_attempts(outlooker, candidates, heard)

            def listen(attempts: tuple[Attempt, ...] = attempts) -> Hearing | None:
                return hear_answers(TEXT, attempts, estimates, outlooker.looking.jury, {})

            hearing = listen()

            def decide(
                attempts: tuple[Attempt, ...] = attempts, hearing: Hearing | None = hearing, now: Inquiry = inquiry
            ) -> Turn:
                if not attempts:  # the first step of a run reads its candidates for the first time
                    now = replace(now, candidates=(*candidates,))
                return next_turn(outlooker, now, attempts, len(attempts) + 1, hearing=hearing)

            assert decide().decision.policy == policy
            rule, hear = median_ms(decide), median_ms(listen) if attempts else 0.0
            worst = max(worst, rule)
            rows.append(
                {
                    "heard": heard,
                    "rule_ms": round(rule, 4),
                    "rule_ratio": round(rule / reference, 2),
                    "hearing_ms": round(hear, 4),
                }
            )
        result[policy] = rows
    return result | {"worst_rule_ms": round(worst, 4), "demanded_rule_ms": 0.3}


def make_recorded(random: np.random.Generator, slots: Sequence[Slot], models: Sequence[ModelId]) -> Recorded:
    shape = (QUERIES, len(slots))
    prior = random.normal(size=shape).astype(np.float32)
    claim = random.integers(-1, 3, size=shape)
    seen = Seen(
        claim=claim,
        asked=np.ones(shape, dtype=np.bool_),
        model=np.broadcast_to(np.array([list(models).index(slot.arm.model) for slot in slots]), shape),
        prior=prior,
        length=random.normal(size=shape).astype(np.float32),
        cut=np.asarray(claim < 0, dtype=np.float32),
        malformed=np.zeros(shape, dtype=np.float32),
        confidence=np.zeros(shape, dtype=np.float32),
        chance=np.full(QUERIES, 3.0, dtype=np.float32),
        models=tuple(models),
    )
    cost = random.uniform(0.1, 1.0, size=shape)
    return Recorded(tuple(slots), seen, np.asarray(claim == 0, dtype=np.float32), cost, cost, np.arange(QUERIES))


def replay(random: np.random.Generator) -> dict[str, Any]:
    """Seconds for every query on every course: each panel's answers are heard in each of its states."""
    models = [ModelId(f"model-{number}") for number in range(SLOTS)]
    slots = [Slot(Arm(model, 256)) for model in models]
    panels = [tuple(slots[place] for place in sorted(random.permutation(SLOTS)[:MOST_SLOTS])) for _ in range(PANELS)]
    looking = Looking(make_jury(random, models), make_courses(random, panels))
    recorded = make_recorded(random, slots, models)
    start = time.perf_counter()
    replayer = Replayer(looking.jury, recorded, looking.unit_usd)
    cost = [float(replayer.follow(course).cost_usd.mean()) for course in looking.courses]
    seconds = time.perf_counter() - start
    assert cost[0] > cost[-1]
    return {
        "queries": QUERIES,
        "courses": COURSES,
        "panels": PANELS,
        "slots": MOST_SLOTS,
        "seconds": round(seconds, 2),
        "demanded_seconds": 60,
    }


def measure() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {"step": steps(random), "replay": replay(random)}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
