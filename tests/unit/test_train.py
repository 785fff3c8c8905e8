"""Train: a curve table becomes a predictor that has learned what is in it, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.bench.columns import columns_of
from curveroute.agent.bench.grid import Grid, grid_of
from curveroute.agent.bench.table import Row, data_hash
from curveroute.agent.bench.train import train
from curveroute.agent.errors import TableError
from curveroute.agent.looking.keep import looking_document, looking_tensors
from curveroute.agent.looking.recorded import Slot
from curveroute.agent.predictor import load_predictor, save_predictor
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.seen import Seen, log_odds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from curveroute.agent.embed import Vectors
    from curveroute.agent.predictor import Predictor

SMALL, LARGE = Arm(ModelId("small"), 16), Arm(ModelId("large"), None)
PRICES = {"small": 1.0, "large": 5.0}
QUERIES = 300


class KindOf:
    """An embedder that sees whether a query is easy, and otherwise noise."""

    name = "kind-of"
    dim = 8

    def __init__(self) -> None:
        self.batches: list[int] = []

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(len(texts))
        noise = [np.random.default_rng(sum(text.encode())).normal(0, 0.3, self.dim) for text in texts]
        vectors = np.array(noise, dtype=np.float32)
        vectors[:, 0] = [1.0 if text.startswith("easy") else -1.0 for text in texts]
        return vectors


def gridded(rows: list[Row]) -> Grid:
    return grid_of(columns_of(rows))


def a_table(queries: int = QUERIES) -> list[Row]:
    """The large model is always right at length, the small one when the query is easy; both say when they know."""
    rows = []
    for number in range(queries):
        easy = number % 2 == 0
        query = f"{'easy' if easy else 'hard'} question {number}"
        for arm, right, tokens in ((SMALL, easy, 4 if easy else 16), (LARGE, True, 60)):
            answer = "right" if right else f"guess {number}"
            cost = (20 + tokens) * PRICES[arm.model] * 1e-6
            row = Row(
                f"q{number}",
                query,
                "kinds",
                arm.model,
                arm.budget,
                0,
                float(right),
                answer,
                "right",
                "stop",
                20,
                tokens,
                cost,
            )
            rows.append(replace(row, response=f"Answer: {answer}"))
    return rows


async def test_an_obvious_signal_is_learned() -> None:
    predictor = await train(columns_of(a_table()), KindOf(), output_prices=PRICES)
    assert predictor.arms_ == (SMALL, LARGE)
    vectors = await KindOf().embed(["easy as never seen", "hard as never seen"])
    easy, hard = predictor.for_arms([SMALL, LARGE]).predict(vectors).quality
    assert easy[0] > 0.8
    assert hard[0] < 0.2
    assert min(easy[1], hard[1]) > 0.9
    tokens = predictor.for_arms([SMALL]).predict(vectors).output_tokens
    assert tokens[0, 0] < 8 < tokens[1, 0]
    assert predictor.metrics_["small@16"]["quality"] == pytest.approx(0.5)
    explained = predictor.metrics_["small@16"]["explained"]
    assert explained is not None
    assert explained > 0.8


async def test_nothing_is_learned_where_there_is_nothing() -> None:
    random = np.random.default_rng(1)
    rows = [replace(row, quality=float(random.integers(0, 2))) for row in a_table()]
    predictor = await train(columns_of(rows), KindOf())
    vectors = await KindOf().embed([f"{kind} query {number}" for number in range(20) for kind in ("easy", "hard")])
    quality = predictor.for_arms([SMALL, LARGE]).predict(vectors).quality
    assert np.abs(quality - 0.5).max() < 0.15


async def test_a_trained_predictor_is_the_same_in_its_folder(tmp_path: Path) -> None:
    rows = a_table()
    predictor = await train(columns_of(rows), KindOf(), output_prices=PRICES)
    stored = load_predictor(save_predictor(predictor, tmp_path / "predictor"))
    assert stored.data_hash_ == data_hash(rows)
    assert stored.embedder == "kind-of"
    assert kept(stored) == kept(predictor)
    vectors = await KindOf().embed(["easy", "hard"])
    for one, other in (
        (stored, predictor),
        (await train(columns_of(rows[::-1]), KindOf(), output_prices=PRICES), predictor),
    ):
        expected = other.for_arms([SMALL, LARGE]).predict(vectors).quality
        assert one.for_arms([SMALL, LARGE]).predict(vectors).quality == pytest.approx(expected, abs=1e-5)


async def test_queries_are_embedded_once_in_batches_and_counted() -> None:
    embedder, told = KindOf(), list[tuple[int, int, str]]()
    await train(columns_of(a_table(150)), embedder, watch=lambda *now: told.append(now))
    assert embedder.batches == [64, 64, 22]
    assert told[:3] == [(done, 150, "queries embedded") for done in (64, 128, 150)]


async def test_all_that_training_does_is_told() -> None:
    told = list[tuple[int, int, str]]()
    await train(columns_of(a_table(60)), KindOf(), watch=lambda *now: told.append(now))
    stages = list(dict.fromkeys(what for _, _, what in told))
    assert stages == ["queries embedded", "heads", "juries", "panels", "courses"]
    for stage in stages:
        counts = [(done, total) for done, total, what in told if what == stage]
        assert counts == sorted(counts)
        assert all(0 <= done <= total for done, total in counts)
        assert len({total for _, total in counts}) == 1


def test_samples_of_an_arm_are_averaged_and_gaps_stay_gaps() -> None:
    rows = a_table(20)
    del rows[1]
    rows.append(replace(rows[0], sample=1, quality=0.0, output_tokens=8, cost_usd=0.0))
    curves = gridded(rows)
    assert curves.arms == (SMALL, LARGE)
    assert (len(curves.query_ids), curves.quality.shape) == (20, (20, 2))
    assert (curves.quality[0, 0], curves.output_tokens[0, 0]) == (0.5, 6.0)
    assert curves.cost_usd[0, 0] == pytest.approx(rows[0].cost_usd / 2)
    assert np.argwhere(np.isnan(curves.quality)).tolist() == [[0, 1]]


async def test_too_few_queries() -> None:
    with pytest.raises(TableError, match="the table has 19 queries; training needs 20 or more"):
        await train(columns_of(a_table(19)), KindOf())
    assert (await train(columns_of(a_table(20)), KindOf())).arms_ == (SMALL, LARGE)


def test_one_id_with_two_texts_is_a_fault_with_its_row() -> None:
    rows = a_table(20)
    rows[5] = replace(rows[5], query="something else")
    with pytest.raises(TableError, match="row 6: query_id 'q2' stands for two different texts"):
        gridded(rows)


async def test_a_model_without_a_price_is_named_before_anything_is_embedded() -> None:
    embedder = KindOf()
    with pytest.raises(TableError, match="answers of 'large', which has no price; known are small"):
        await train(columns_of(a_table(20)), embedder, output_prices={"small": 1.0})
    assert embedder.batches == []


@pytest.mark.parametrize("quality", [0.0, 0.5, 1.0])
async def test_answers_that_are_all_equally_good_teach_what_they_cost_and_no_verdict(quality: float) -> None:
    rows = [replace(row, quality=quality) for row in a_table(20)]
    predictor = await train(columns_of(rows), KindOf(), output_prices=PRICES)
    expected = predictor.predict(await KindOf().embed(["easy as never seen", "hard as never seen"]))
    assert expected.quality == pytest.approx(quality, abs=0.01)
    looking = predictor.looking_
    assert looking is not None
    assert {slot for course in looking.courses for slot in course.slots} == {Slot(SMALL)}, "the cheaper one will do"
    assert all(np.isfinite(course.weights).all() for course in looking.courses)
    assert looking.calibrator.reliability is None, "nobody saw a verdict tell right from wrong"


async def test_looking_is_learned_from_the_single_answers() -> None:
    """The small model says when it does not know: an answer that it shares with the large one is right."""
    predictor = await train(columns_of(a_table()), KindOf(), output_prices=PRICES)
    looking = predictor.looking_
    assert looking is not None
    assert set(looking.jury.models) == {"small", "large"}
    assert looking.unit_usd == predictor.reference_cost_usd_
    arms = {slot.arm for course in looking.courses for slot in course.slots}
    assert arms <= {SMALL, LARGE}
    assert [course.weight for course in looking.courses] == sorted(course.weight for course in looking.courses)
    assert looking.calibrator.reliability is not None
    assert 0.0 <= looking.calibrator.reliability <= 1.0
    few = Seen(
        claim=np.array([[0, 0], [0, 1]]),
        asked=np.ones((2, 2), dtype=bool),
        model=np.array([[0, 1]] * 2),
        prior=log_odds(np.array([[0.5, 0.97]] * 2)),
        **{name: np.zeros((2, 2), dtype=np.float32) for name in ("length", "cut", "malformed", "confidence")},
        chance=np.full(2, 3.0, dtype=np.float32),
        models=(SMALL.model, LARGE.model),
    )
    odds, _ = looking.jury.probabilities(few)
    assert odds[0, 0] > 0.9
    assert odds[1, 1] > 0.9
    assert odds[1, 0] < 0.1


async def test_the_same_table_and_seed_teach_the_same_to_the_bit() -> None:
    columns = columns_of(a_table(60))
    first, second, other = [await train(columns, KindOf(), output_prices=PRICES, seed=seed) for seed in (1, 1, 2)]
    assert kept(first) == kept(second)
    assert kept(other)[1] != kept(first)[1]


async def test_several_samples_teach_what_asking_again_is_worth() -> None:
    rows = [replace(row, sample=sample) for row in a_table(40) for sample in range(2)]
    looking = (await train(columns_of(rows), KindOf(), output_prices=PRICES)).looking_
    assert looking is not None
    assert {slot.sample for course in looking.courses for slot in course.slots} <= {0, 1}


async def test_of_answers_that_say_nothing_nothing_is_believed() -> None:
    rows = [replace(row, answer=None, response="") for row in a_table(20)]
    looking = (await train(columns_of(rows), KindOf())).looking_
    assert looking is not None
    assert all(np.isfinite(course.weights).all() for course in looking.courses)


def kept(predictor: Predictor) -> Any:
    """All that was learned of looking, to the bit."""
    tensors = looking_tensors(predictor.looking_)
    return looking_document(predictor.looking_), {name: tensor.tobytes() for name, tensor in tensors.items()}
