"""Ten thousand runs of the real graph: none overspends its cap, every cent is in the ledger, less cap is less cost.

A world is a pool, a query, settings and a ladder of caps, all from one number. Its models answer by a function of who
is asked what, so that a run under another cap meets the same answers, usages and failures. They use anything up to
their bounds, are cut off, fail with or without a bill, ask to send again, plan, judge, and talk nonsense.

What a lower cap promises. A cap that forbids a step makes the run take another one that fits, and that one may turn out
dearer than the forbidden one would have been: no rule that looks at bounds can know. So the promise is this: a run
under a lower cap costs no more than what the run under the higher cap had to set aside at its dearest moment; and where
every call uses all that was set aside for it, no more than that run cost.
"""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curveroute.agent.chat.seam import Reply
from curveroute.agent.errors import CapTooSmall, ModelCallError
from curveroute.agent.ledger import Ledger, NullLedger
from curveroute.agent.ledger.events import AttemptMade
from curveroute.agent.looking.course import BASE, Course
from curveroute.agent.looking.looking import Looking
from curveroute.agent.looking.recorded import Slot
from curveroute.agent.pool import Pool, PoolSpec
from curveroute.agent.pool.pool import input_tokens_bound
from curveroute.agent.probe import request_bounds
from curveroute.agent.types import Message, Query, Usage
from curveroute.agent.verify.jury import Jury
from curveroute.graphs import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import House

    from curveroute.agent.chat.seam import Call
    from curveroute.agent.ledger import LedgerPort
    from curveroute.agent.ledger.events import Event, RunEnd
    from curveroute.agent.types import Attempt, RunId

GRAPH = build().compile()
RUNS, CAPS, WORLDS = 10_000, 5, 10  # in all; in a world; in one example
MANY = settings(
    max_examples=RUNS // (CAPS * WORLDS), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NUMBERS = st.integers(0, 2**32 - 1)
KEPT_BACK = 2e-9  # of a cap, by the sharing out of what it holds beyond the worst cases
TEXTS = ("Answer: 4", "Answer: 4", "Answer: 5", "It is 4.", "", "I cannot answer that.", "As an AI language model,")
QUESTIONS = ("What is 2 + 2?", "Ist 2 + 2 größer als 3? Antworte mit ja oder nein. 🙂", "word " * 300)


@dataclass(frozen=True)
class World:
    """One pool, one query, one way of answering, and caps from the highest (none) to the lowest."""

    number: int
    pool: Pool
    query: Query
    settings: dict[str, Any]
    caps: tuple[float | None, ...]
    whole: bool
    """Every request uses the whole of its bounds, or is billed as if it had."""
    looking: Looking | None = None
    """What was learned of looking; None where the closed form decides."""


def world(number: int, *, whole: bool) -> World:
    rng = np.random.default_rng(number)
    pool = random_pool(rng)
    query = Query((Message(role="user", content=QUESTIONS[rng.choice(3, p=(0.6, 0.3, 0.1))]),))
    run_settings = {
        "tradeoff": float(rng.choice([0.0, 0.02, rng.random(), rng.random() ** 3, 1.0])),
        "plan": bool(rng.random() < 0.7),
        "judge": bool(rng.random() < 0.7),
    }
    worst = [request_bounds(pool, arm, pool.messages(query, arm)).cost_usd for arm in pool.arms]
    caps = sorted((random_cap(rng, worst) for _ in range(CAPS - 1)), reverse=True)
    return World(number, pool, query, run_settings, (None, *caps), whole)


def learned_world(number: int, *, whole: bool) -> World:
    """The same where courses decide: what they say of any state is anything."""
    one = world(number, whole=whole)
    rng = np.random.default_rng((number, 1))
    arms = [one.pool.arms[place] for place in rng.permutation(len(one.pool.arms))[:3]]
    slots = tuple(Slot(arm, sample) for arm in arms for sample in range(1 + int(rng.random() < 0.3)))
    shape = 1 << len(slots), BASE + len(slots), len(slots) + 1
    weights = (rng.normal(0.2, 0.6, shape) / np.sqrt(BASE)).astype(np.float32)
    courses = tuple(Course(slots, weight, weights) for weight in (1e-3, 0.1, 1.0))
    settings = one.settings | {"plan": False, "tradeoff": min(one.settings["tradeoff"], 0.9)}
    return replace(one, settings=settings, looking=Looking(Jury.unfitted(), courses))


def random_pool(rng: np.random.Generator) -> Pool:
    """Two to six arms."""
    models, budgets = ((1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1), (5, 1), (6, 1))[rng.integers(10)]
    lengths = [(8, 64, 512), (16, 48, None), (1, 2, 3), (None, 32, 300)][rng.integers(4)][:budgets]
    names = [f"m{number}" for number in range(models)]
    document = {
        "name": "wild",
        "system": "Be right.",
        "planner": rng.choice([None, *names]),
        "judge": rng.choice([None, *names]),
        **{name: rng.random() for name in ("planner_lift", "judge_reliability", "verifier_reliability")},
        "budgets": [{"tokens": tokens, "name": "b", "style": ""} for tokens in lengths],
        "models": [random_model(rng, name) for name in names],
    }
    spec = PoolSpec.model_validate(document)
    return Pool(spec, prices={model.id: model.prices for model in spec.models if model.prices is not None})


def random_model(rng: np.random.Generator, name: str) -> dict[str, Any]:
    def price() -> float:
        return float(rng.choice([0.0, 10 ** rng.uniform(-2, 2), 10 ** rng.uniform(-2, 2), 10 ** rng.uniform(-6, 5)]))

    prices = {"input": price(), "output": price()}
    low, high = sorted(rng.random(2))
    return {
        "id": name,
        "endpoint": "https://models.example/v1",
        "prices": prices | {"cached_input": prices["input"] * rng.random()},
        "context_window": int(rng.choice([600, 2048, 100_000])),
        "max_output_tokens": rng.choice([None, 200, 4000]),
        "prior": [{"budget": 1, "quality": low}, {"quality": high}],
    }


def random_cap(rng: np.random.Generator, worst: list[float]) -> float:
    """Near what some arms can cost at most, to the last bit; or anything; or next to nothing."""
    exact = math.fsum(rng.choice(worst, size=rng.integers(1, len(worst) + 1)))
    loose = exact * 10 ** rng.uniform(-1, 1)
    cap = float(rng.choice([exact, np.nextafter(exact, 0), np.nextafter(exact, 1), loose, loose, loose, 1e-12]))
    return cap if 0 < cap < math.inf else 1e-9


class Models:
    """All models of a world under one cap, and what was set aside for them while they answered.

    Attributes:
        calls: how many were made.
        aside: the most that was spent and set aside at one moment, USD.
        owed: by call, what its requests may be billed for until it settles, USD.
    """

    def __init__(self, world: World, leave: Callable[[Call], bool] | None = None) -> None:
        self._world, self._leave = world, leave
        self._open: dict[int, float] = {}
        self._spent: list[float] = []
        self.owed: dict[int, float] = {}
        self.calls, self.aside = 0, 0.0

    @property
    def billed(self) -> float:
        """What came back, and all that may be billed for what never did."""
        return math.fsum((*self._spent, *self.owed.values()))

    async def complete(self, call: Call, *, on_token: Any = None, may_resend: Any = None) -> Reply:
        self.calls += 1
        number, whole, pool = self.calls, self._world.whole, self._world.pool
        asked = repr((call.arm, call.messages, call.sample, call.schema is None)).encode()
        rng = np.random.default_rng((self._world.number, zlib.crc32(asked)))
        sent = input_tokens_bound(call.messages) + (0 if call.schema is None else len(json.dumps(call.schema)))
        worst = pool.worst_case_usd(call.arm, sent, call.max_tokens)
        self._set_aside(number, worst + self._beside(call))
        self.owed[number] = worst
        wanted, fails = int(rng.choice([0, 0, 0, 0, 1, 3])), rng.random() < 0.2
        billed = 0 if fails and not whole and rng.random() < 0.5 else 1
        said = self._text(call, rng)
        used = [0, 0, 0] if fails else [sent, call.max_tokens, 0] if whole else self._usage(rng, sent, call.max_tokens)
        finish, confidence = rng.choice(["stop", "stop", "length"]), rng.choice([None, 0.0, 0.7, 1.0])
        lost = 0
        while lost < wanted and may_resend():
            lost += 1
            self._set_aside(number, worst * (lost + 1) + self._beside(call))
            self.owed[number] = worst * (lost + 1)
        await self._others()
        if self._leave is not None and self._leave(call):
            await asyncio.Event().wait()
        billed = lost + billed if fails else lost
        self._settle(number, worst * billed + pool.cost_usd(call.arm.model, Usage(*used)))
        if fails:
            raise ModelCallError("broken", lost_tries=billed)
        return Reply(said, Usage(*used), finish, 0.0, confidence, lost)

    async def aclose(self) -> None:
        """Nothing is held."""

    def _set_aside(self, number: int, usd: float) -> None:
        self._open[number] = usd
        self.aside = max(self.aside, math.fsum((*self._spent, *self._open.values())))

    def _settle(self, number: int, usd: float) -> None:
        del self._open[number], self.owed[number]
        self._spent.append(usd)

    async def _others(self) -> None:
        """Let those asked at the same time begin too."""
        for _ in range(3):
            await asyncio.sleep(0)

    def _beside(self, call: Call) -> float:
        """Beside the planner, an answer is kept affordable."""
        if call.schema is None or "order" not in call.schema["properties"]:  # type: ignore[operator]
            return 0.0
        pool, query = self._world.pool, self._world.query
        return min(request_bounds(pool, arm, pool.messages(query, arm)).cost_usd for arm in pool.arms)

    def _text(self, call: Call, rng: np.random.Generator) -> str:
        if call.schema is None or rng.random() < 0.2:
            return str(rng.choice(TEXTS))
        properties: Any = call.schema["properties"]
        if "order" in properties:
            labels = [*properties["order"]["items"]["enum"], "Z"]
            order = rng.choice(labels, size=rng.integers(1, 4)).tolist()
            return json.dumps({"order": order, "probe": bool(rng.random() < 0.5), "criteria": "right"})
        said = {name: str(rng.choice([*asked.get("enum", []), "4", "5"])) for name, asked in properties.items()}
        return json.dumps(said)

    @staticmethod
    def _usage(rng: np.random.Generator, sent: int, most: int) -> list[int]:
        """Anything, and the bounds themselves more often than not."""
        read, wrote = int(rng.choice([sent, sent, rng.integers(0, sent + 1)])), int(rng.integers(0, most + 1))
        return [read, int(rng.choice([0, most, most, wrote])), int(rng.integers(0, read + 1))]


class Sums(NullLedger):
    """A ledger in memory: the attempts of a run, each once, and how it ended."""

    def __init__(self) -> None:
        self.attempts: dict[str, Attempt] = {}
        self.end: RunEnd | None = None

    async def record(self, run_id: RunId, *events: Event) -> None:
        for event in events:
            if isinstance(event, AttemptMade):
                self.attempts.setdefault(event.attempt.attempt_id, event.attempt)

    async def finish_run(self, run_id: RunId, end: RunEnd) -> None:
        self.end = end


async def run(
    house: type[House], one: World, cap: float | None, models: Models, ledger: LedgerPort
) -> dict[str, Any] | None:
    """The output; none when the cap refuses everything."""
    context = house.context(one.pool, models, ledger=ledger, max_cost_usd=cap, **one.settings)
    if one.looking is not None:
        assert context.parts is not None
        context.parts.outlooker.looking = one.looking
    try:
        return await GRAPH.ainvoke({"messages": list(one.query.messages)}, context=context)
    except CapTooSmall:
        assert models.calls == 0, "something was sent before it was refused"
        return None


async def cost_of(
    house: type[House], one: World, cap: float | None, ledger: Ledger | None = None
) -> tuple[float, float]:
    """What a run cost and what it set aside at most, after every check of its sums."""
    models, sums = Models(one), Sums()
    output = await run(house, one, cap, models, ledger or sums)
    if output is None:
        return 0.0, models.aside
    costs = {name: attempt.cost_usd for name, attempt in output["attempts"].items()}
    spent = math.fsum(costs.values())
    assert output["cost_usd"] == spent, "the run's own sum"
    assert cap is None or spent <= cap, "the cap"
    if ledger is None:
        assert {name: attempt.cost_usd for name, attempt in sums.attempts.items()} == costs, "the ledger's attempts"
        assert sums.end is not None
        assert sums.end.totals is not None
        assert (sums.end.totals.cost_usd, sums.end.status) == (spent, output["status"]), "the ledger's sum"
    else:
        record = await asyncio.to_thread(ledger.run, output["run_id"])
        assert {made.attempt.attempt_id: made.attempt.cost_usd for made in record.attempts} == costs
        assert (record.totals.cost_usd, record.status) == (spent, output["status"])
    return spent, models.aside


async def climb_down(house: type[House], one: World, ledger: Ledger | None = None) -> None:
    """The same world under lower and lower caps."""
    before: tuple[float, float] | None = None
    for cap in one.caps:
        cost, aside = await cost_of(house, one, cap, ledger)
        if before is not None:
            most = before[0] if one.whole else before[1]
            assert cost <= most * (1 + KEPT_BACK), f"{cost} under cap {cap}, and {most} under the cap before"
        before = cost, aside


@MANY
@given(number=NUMBERS)
def test_no_run_overspends_every_cent_is_kept_and_a_lower_cap_never_costs_more(house: type[House], number: int) -> None:
    async def all_worlds() -> None:
        for offset in range(WORLDS):
            one = world(number + offset, whole=offset % 2 == 0)
            try:
                await climb_down(house, one)
            except AssertionError as error:
                error.add_note(f"world({one.number}, whole={one.whole})")
                raise

    asyncio.run(all_worlds())


@settings(MANY, max_examples=20)
@given(number=NUMBERS)
def test_where_courses_decide_a_lower_cap_costs_no_more_either(house: type[House], number: int) -> None:
    async def all_worlds() -> None:
        for offset in range(WORLDS):
            await climb_down(house, learned_world(number + offset, whole=offset % 2 == 0))

    asyncio.run(all_worlds())


async def test_courses_do_decide_these_worlds(house: type[House]) -> None:
    decided = []
    for number in range(20):
        one = learned_world(number, whole=False)
        output = await run(house, one, None, Models(one), Sums())
        assert output is not None
        decided += [(decision.policy, len(output["decisions"])) for decision in output["decisions"]]
    assert sum(policy == "learned" for policy, _ in decided) > len(decided) // 2
    assert max(steps for _, steps in decided) > 2, "and not only the first step"


async def test_what_a_call_turns_out_to_cost_no_cap_can_know(house: type[House]) -> None:
    """The promise is of what is set aside, and not of what is paid: here the lower cap's run is the dearer one.

    The dear model may cost a hundred times as much, and used next to nothing; the cheap one used all that it could.
    """
    pool = house.pool({"cheap": (0.2, 0.2, 1.0), "dear": (0.99, 0.99, 100.0)}, budgets=(16,))

    def reply(call: Call) -> Reply:
        used = Usage(0, 1) if call.arm.model == "dear" else Usage(input_tokens_bound(call.messages), call.max_tokens)
        return Reply("Answer: 4", used, "stop", 0.1)

    query = Query((Message(role="user", content="What is 2 + 2? " * 20),))
    worst = {arm.model: request_bounds(pool, arm, pool.messages(query, arm)).cost_usd for arm in pool.arms}
    costs = []
    for cap in (worst["dear"], worst["cheap"]):
        context = house.context(pool, house.chat(reply), tradeoff=0.3, plan=False, max_cost_usd=cap)
        output = await GRAPH.ainvoke({"messages": list(query.messages)}, context=context)
        costs.append(output["cost_usd"])
        assert output["cost_usd"] <= cap
    assert costs[0] < costs[1] <= worst["dear"]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('caps') / 'l.sqlite'}") as opened:
        yield opened


@settings(MANY, max_examples=40)
@given(number=NUMBERS, whole=st.booleans())
def test_the_database_holds_the_same_sums(house: type[House], ledger: Ledger, number: int, whole: bool) -> None:
    asyncio.run(climb_down(house, world(number, whole=whole), ledger))


def test_the_database_finds_no_fault_with_itself(ledger: Ledger) -> None:
    assert ledger.verify().disagreements == []


async def leave(house: type[House], one: World, cap: float | None, calls: int) -> None:
    """A reader leaves while a call is open that comes after so many others; planner and judge are calls too."""
    stopped, sums = asyncio.Event(), Sums()

    def hold(call: Call) -> bool:
        if models.calls <= calls:
            return False
        stopped.set()
        return True

    models = Models(one, hold)
    task, waiting = asyncio.create_task(run(house, one, cap, models, sums)), asyncio.create_task(stopped.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    task.cancel()
    await asyncio.wait((task,))
    spent = math.fsum(attempt.cost_usd for attempt in sums.attempts.values())
    assert cap is None or spent <= cap, f"{spent} under cap {cap}"
    if stopped.is_set():
        assert any("cancelled" in str(attempt.error) for attempt in sums.attempts.values())
        assert spent == pytest.approx(models.billed, rel=1e-12), "every request that may be billed is charged"


@settings(MANY, max_examples=200)
@given(number=NUMBERS, calls=st.integers(0, 4))
def test_a_run_that_is_cancelled_is_charged_within_its_cap(house: type[House], number: int, calls: int) -> None:
    """What may be billed by then is charged, and the cap still holds."""
    one = world(number, whole=number % 2 == 0)

    async def every_cap() -> None:
        for cap in one.caps:
            await leave(house, one, cap, calls)

    asyncio.run(every_cap())
