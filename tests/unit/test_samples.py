"""A table's single answers as arrays, read as the graph reads them; and the slots that looking is learned from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curveroute.agent.bench.columns import columns_of
from curveroute.agent.bench.grid import Grid, grid_of
from curveroute.agent.bench.looked import MOST_CANDIDATES, MOST_ROTATIONS, MOST_SAMPLES, candidates, recorded_of
from curveroute.agent.bench.samples import Samples
from curveroute.agent.bench.table import Row
from curveroute.agent.looking.recorded import Slot
from curveroute.agent.types import Arm, Attempt, AttemptId, ModelId, Usage
from curveroute.agent.verify.answers import extract_answer, spell
from curveroute.agent.verify.chance import agreement_chance
from curveroute.agent.verify.free_text import groups_of_texts, is_free_text
from curveroute.agent.verify.hearing import hear_answers
from curveroute.agent.verify.jury import Jury
from curveroute.agent.verify.seen import claims_in, log_odds
from curveroute.agent.verify.signals import read_attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNT = "How many metres is it from here to there?"
NAME = "What is the capital of Portugal?"
VERDICT = "Is 8 an even number? Answer yes or no."
PROPERTY = settings(max_examples=30, deadline=None)
SAID = {
    COUNT: (
        "Answer: 1,000",
        "It is 1000.",
        "Answer: 1 km",
        "Answer: 1000 m",
        "Answer: 10",
        "",
        "I cannot say.",
        "many",
    ),
    NAME: (
        "Answer: Lisbon",
        "**Lisbon**",
        "The capital is Lisbon.",
        "Answer: Porto",
        "Answer:",
        "I cannot answer that.",
    ),
    VERDICT: ("Yes, it is.", "Answer: yes", "No.", "Answer: true", "", "maybe"),
}


def row(query: str, model: str, text: str, sample: int = 0, budget: int | None = 64, **changes: Any) -> Row:
    usual = {"quality": 1.0, "tokens": 10, "cost": 1e-5, "finish": "stop", "confidence": None, "response": text}
    given = usual | changes
    return Row(
        query, query, "task", model, budget, sample, given["quality"], extract_answer(text), None, given["finish"], 30,
        given["tokens"], given["cost"], response=given["response"], confidence=given["confidence"],
    )  # fmt: skip


def gridded(rows: Sequence[Row]) -> Grid:
    return grid_of(columns_of(list(rows)))


def codes(query: str, texts: Sequence[str]) -> list[int]:
    """Claims of one query's answers, one model each."""
    grid = gridded([row(query, f"m{n}", text) for n, text in enumerate(texts)])
    return [int(code) for code in grid.samples.answer[0, :, 0]]


def partition(claims: Sequence[int]) -> list[int]:
    """Claims numbered by their first appearance; -1 stays."""
    known: dict[int, int] = {}
    return [known.setdefault(claim, len(known)) if claim >= 0 else -1 for claim in claims]


# --- samples ---------------------------------------------------------------------------------------------------------


@PROPERTY
@given(st.data())
def test_claims_are_those_that_a_run_hears(data: st.DataObject) -> None:
    query = data.draw(st.sampled_from(sorted(SAID)))
    texts = data.draw(st.lists(st.sampled_from(SAID[query]), min_size=1, max_size=5))
    attempts = [
        Attempt(AttemptId(f"r.{n}"), "probe", Arm(ModelId(f"m{n}"), 64), text, extract_answer(text), Usage(30, 10), 0.0,
                "stop", 0.1)
        for n, text in enumerate(texts)
    ]  # fmt: skip
    hearing = hear_answers(query, attempts, {}, Jury.unfitted(), {})
    assert hearing is not None
    grid = gridded([row(query, f"m{n}", text) for n, text in enumerate(texts)])
    assert partition(grid.samples.answer[0, :, 0].tolist()) == hearing.number[0].tolist()
    assert grid.samples.malformed[0, :, 0].tolist() == [one.malformed for one in hearing.read]


def test_forms_and_units_are_one_claim() -> None:
    assert partition(codes(COUNT, ["Answer: 1,000 m", "It is 1000.0 m", "Answer: 1 km", "Answer: 7 m"])) == [0, 0, 0, 1]
    assert partition(codes(NAME, ["Answer: Lisbon", "**Lisbon**", "Answer: lisbon.", "Answer: Porto"])) == [0, 0, 0, 1]


def test_who_says_nothing_claims_nothing() -> None:
    assert codes(NAME, ["", "I cannot answer that.", "Answer:", "Answer: Lisbon"])[:3] == [-1, -1, -1]


def test_agreement_is_a_matter_of_one_query_alone() -> None:
    texts = ["Answer: 1000 m", "Answer: 1 km"]
    other = f"{COUNT} Tell me."
    rows = [row(query, f"m{n}", text) for query in (COUNT, other) for n, text in enumerate(texts)]
    rows.append(row("How many kilometres?", "m0", "Answer: 1 km"))
    answer = gridded(rows).samples.answer[:, :, 0]
    assert answer[0, 0] == answer[0, 1]
    assert answer[1, 0] == answer[1, 1]
    assert answer[2, 1] == -1, "nobody was asked"


def test_a_table_without_responses_is_read_by_its_answers() -> None:
    rows = [row(NAME, f"m{n}", text, response=None) for n, text in enumerate(("Answer: Lisbon", "It is Lisbon.", ""))]
    samples = gridded(rows).samples
    assert partition(samples.answer[0, :, 0].tolist()) == [0, 0, -1]
    assert samples.malformed[0, :, 0].tolist() == [False, False, True]


def test_what_is_known_of_each_sample_is_kept_in_its_place() -> None:
    rows = [
        row(NAME, "a", "Answer: Lisbon", 3, tokens=7, cost=0.5, confidence=0.9),
        row(NAME, "a", "Lis", 1, quality=0.0, tokens=16, finish="length"),
        row(NAME, "b", "Answer: Porto", 0, quality=0.25),
    ]
    samples = gridded(rows).samples
    assert samples.quality.shape == (1, 2, 2)
    np.testing.assert_array_equal(samples.quality[0], [[0.0, 1.0], [0.25, np.nan]])
    np.testing.assert_array_equal(samples.tokens[0], [[16, 7], [10, np.nan]])
    np.testing.assert_array_equal(samples.cost_usd[0], np.array([[1e-5, 0.5], [1e-5, np.nan]], dtype=np.float32))
    assert samples.cut[0].tolist() == [[True, False], [False, False]]
    np.testing.assert_allclose(samples.confidence[0], [[np.nan, np.log(9)], [np.nan, np.nan]], rtol=1e-5)
    assert samples.answer[0, 1, 1] == -1


@PROPERTY
@given(st.permutations(range(8)))
def test_the_order_of_the_rows_does_not_matter_to_samples(order: list[int]) -> None:
    rows = [row(query, "a", f"Answer: {n}", n, tokens=n + 5) for query in (NAME, COUNT) for n in range(4)]
    samples, again = (gridded(one).samples for one in (rows, [rows[place] for place in order]))
    first = [NAME, COUNT].index(rows[order[0]].query)
    np.testing.assert_array_equal(again.tokens, samples.tokens[[first, 1 - first]])


def test_rows_and_arms_are_those_of_every_array() -> None:
    samples = gridded([row(query, model, "Answer: x") for query in (NAME, COUNT) for model in "abc"]).samples
    part = samples.rows(np.array([1])).arms(np.array([2, 0]))
    for name in ("quality", "cost_usd", "answer", "tokens", "cut", "malformed", "confidence"):
        np.testing.assert_array_equal(getattr(part, name), getattr(samples, name)[1:, [2, 0]])
    plain = Samples.plain(samples.quality, samples.cost_usd, samples.answer)
    assert not plain.cut.any()
    assert not plain.malformed.any()


# --- slots -----------------------------------------------------------------------------------------------------------


def pool(models: dict[str, tuple[float, float]], queries: int = 20, samples: int = 1, budgets: Any = (64,)) -> Grid:
    """Models by their share of right answers and what an answer costs."""
    return gridded(
        row(f"{NAME} {number}", model, "Answer: x", sample, budget, quality=float(number < share * queries), cost=cost)
        for number in range(queries)
        for model, (share, cost) in models.items()
        for budget in budgets
        for sample in range(samples)
    )


def test_candidates_are_near_the_front_and_the_cheapest_comes_first() -> None:
    found = candidates(pool({"dear": (0.9, 1.0), "cheap": (0.6, 0.01), "poor": (0.3, 0.5), "near": (0.85, 1.0)}))
    assert [slot.arm.model for slot in found][:1] == ["cheap"]
    assert {slot.arm.model for slot in found} == {"cheap", "dear", "near"}
    assert all(slot.sample == 0 for slot in found)


def test_candidates_are_not_very_many() -> None:
    found = candidates(pool({f"m{n}": (0.8, 0.01) for n in range(20)}, budgets=(16, 64)))
    assert 0 < len(found) <= MOST_CANDIDATES
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("samples", [1, 2, 3, 5])
def test_repeated_samples_are_slots_of_their_own(samples: int) -> None:
    found = candidates(pool({f"m{n}": (0.8, 0.01 * (n + 1)) for n in range(6)}, samples=samples))
    per_arm = {slot.arm: sorted(one.sample for one in found if one.arm == slot.arm) for slot in found}
    assert max(map(len, per_arm.values())) == min(samples, MOST_SAMPLES)
    assert all(numbers == list(range(len(numbers))) for numbers in per_arm.values())


# --- what was recorded of them ---------------------------------------------------------------------------------------

A, B = Arm(ModelId("a"), 64), Arm(ModelId("b"), 64)
SLOTS = (Slot(A), Slot(A, 1), Slot(B))


def recorded(rows: Sequence[Row], slots: Sequence[Slot] = SLOTS) -> Any:
    grid = gridded(rows)
    shape = grid.quality.shape
    return recorded_of(grid, slots, np.full(shape, 0.7), np.full(shape, 10.0), np.full(shape, 0.02))


def test_rotations_put_every_sample_in_every_slot() -> None:
    rows = [row(NAME, "a", f"Answer: {n}", n, tokens=10 + n, cost=1.0 + n) for n in range(3)]
    rows += [row(NAME, "b", "Answer: 0", quality=0.5, cost=9.0)]
    one = recorded(rows)
    assert len(one) == 3
    assert one.query.tolist() == [0, 0, 0]
    assert one.cost_usd[:, :2].tolist() == [[1.0, 2.0], [2.0, 3.0], [3.0, 1.0]]
    assert one.quality[:, 2].tolist() == [0.5, 0.5, 0.5]
    assert [partition(claims) for claims in one.seen.claim.tolist()] == [[0, 1, 0], [0, 1, 2], [0, 1, 1]]
    assert one.seen.model.tolist() == [[0, 0, 1]] * 3
    assert one.seen.models == ("a", "b")


def test_no_answer_stands_in_two_slots_of_one_row() -> None:
    rows = [row(NAME, "a", f"Answer: {n}", n, cost=1.0 + n) for n in range(7)]
    slots = (Slot(A), Slot(A, 1), Slot(A, 2))
    one = recorded(rows, slots)
    assert len(one) == MOST_ROTATIONS
    assert all(len(set(costs)) == 3 for costs in one.cost_usd.tolist())


def test_what_is_missing_is_not_there() -> None:
    other = f"{NAME} Tell me."
    rows = [row(NAME, "a", "Answer: x", 0), row(NAME, "a", "Answer: x", 1), row(other, "b", "Answer: y")]
    one = recorded(rows)
    first, second = (one.rows(one.query == number) for number in (0, 1))
    assert first.seen.asked.tolist() == [[True, True, False]] * 2
    assert second.seen.asked.tolist() == [[False, False, True]] * 2
    for part in (first, second):
        gone = ~part.seen.asked
        assert np.isnan(part.quality[gone]).all()
        assert np.isnan(part.cost_usd[gone]).all()
        assert (part.seen.claim[gone] == -1).all()
        for name in ("length", "cut", "malformed", "confidence"):
            assert (getattr(part.seen, name)[gone] == 0.0).all()
        assert np.isfinite(part.quality[~gone]).all()


def test_what_was_expected_and_seen_is_each_slots() -> None:
    rows = [
        row(NAME, "a", "Lis", 0, tokens=200, finish="length"),
        row(NAME, "a", "Answer: Lisbon", 1, confidence=0.9),
        row(NAME, "b", "", 0),
    ]
    seen = recorded(rows).rows(np.array([0])).seen
    np.testing.assert_allclose(seen.prior, np.full((1, 3), log_odds(np.array(0.7))))
    assert seen.length[0].tolist() == [2.0, 0.0, 0.0]
    assert seen.cut[0].tolist() == [1.0, 0.0, 0.0]
    assert seen.malformed[0].tolist() == [0.0, 0.0, 1.0]
    assert seen.confidence[0].tolist() == pytest.approx([np.nan, np.log(9), np.nan], nan_ok=True)
    assert seen.chance.tolist() == pytest.approx([agreement_chance(NAME)])
    assert recorded(rows).expected_usd.tolist() == [[0.02] * 3] * 2


# --- free text -------------------------------------------------------------------------------------------------------

WHY = "Why is the sea blue on a clear day, as everyone sees it?"
ABSORBS = "Water absorbs red light and scatters what is blue"
TAKES = "Red light is taken up by water, the blue is scattered"
MIRRORS = "The surface of the sea mirrors the sky that is blue"
ANGLES = {ABSORBS: 0.0, TAKES: 0.45, MIRRORS: 0.9}  # each is near the next one, and the ends are not near


def pointing(texts: Sequence[str]) -> Any:
    """A vector in the plane for each text of these: the cosine of two is that of the angle between them."""
    known = {spell(text): angle for text, angle in ANGLES.items()}
    return {text: np.array([np.cos(known[text]), np.sin(known[text])], dtype=np.float32) for text in texts}


def prose(texts: Sequence[str], query: str = WHY) -> list[Row]:
    return [row(query, f"m{place}", f"Answer: {text}") for place, text in enumerate(texts)]


def test_free_text_is_one_claim_as_soon_as_it_is_heard() -> None:
    samples = gridded(prose([ABSORBS, TAKES, ABSORBS])).samples
    assert partition(samples.answer[0, :, 0].tolist()) == [0, 1, 0]
    assert samples.free_texts() == sorted({spell(ABSORBS), spell(TAKES)})
    heard = samples.heard(pointing(samples.free_texts()))
    assert partition(heard.answer[0, :, 0].tolist()) == [0, 0, 0]
    assert heard.rows(np.array([0])).arms(np.array([1])).vectors.keys() == heard.vectors.keys()
    assert samples.heard({}) is samples


def test_only_texts_that_meet_another_one_are_embedded() -> None:
    rows = [*prose([ABSORBS, ABSORBS]), *prose([TAKES, "blue"], f"{WHY} Tell me."), *prose(["1", "2"], "What?")]
    assert gridded(rows).samples.free_texts() == []


def test_an_answer_that_only_says_its_query_again_claims_nothing_and_of_another_query_it_does() -> None:
    again, other = f"Answer: {WHY}", "Why is the sky blue?"
    assert codes(WHY, [again, f"Answer: {ABSORBS}"])[0] == -1
    assert min(codes(other, [again, f"Answer: {ABSORBS}"])) >= 0
    samples = gridded([row(query, "m", again) for query in (other, WHY)]).samples
    assert (samples.answer[:, 0, 0] >= 0).tolist() == [True, False]


@PROPERTY
@given(
    texts=st.lists(
        st.sampled_from([ABSORBS, TAKES, MIRRORS, "12", "12 km", "12 m", "yes", ""]), min_size=2, max_size=6
    ),
    data=st.data(),
)
def test_whichever_answers_are_asked_they_make_the_claims_that_a_run_hears(texts: list[str], data: Any) -> None:
    """Agreeing is no equivalence: "12" agrees with 12 km and with 12 m, and two texts with one between them."""
    grid = gridded(prose(texts))
    grid = replace(grid, samples=grid.samples.heard(pointing(grid.samples.free_texts())))
    slots = [Slot(arm) for arm in grid.arms]
    shape = grid.quality.shape
    seen = recorded_of(grid, slots, np.full(shape, 0.7), np.full(shape, 10.0), np.full(shape, 0.02)).seen
    asked = data.draw(st.lists(st.sampled_from(range(len(texts))), min_size=1, unique=True))
    attempts = [
        Attempt(AttemptId(f"r.{place}"), "probe", slots[place].arm, f"Answer: {texts[place]}",
                extract_answer(f"Answer: {texts[place]}"), Usage(30, 10), 0.0, "stop", 0.1)
        for place in asked
    ]  # fmt: skip
    read = [read_attempt(attempt, WHY).answer for attempt in attempts]
    groups = groups_of_texts(read, pointing([text for text in read if is_free_text(text)]))
    hearing = hear_answers(WHY, attempts, {}, Jury.unfitted(), {}, groups)
    assert hearing is not None
    assert claims_in(seen.columns(np.array(asked)))[0].tolist() == hearing.number[0].tolist()
    picked = seen.pick(np.array([asked]), np.ones((1, len(asked)), dtype=np.bool_))
    assert claims_in(picked)[0].tolist() == hearing.number[0].tolist()


def test_texts_whose_claims_depend_on_who_is_asked_are_told_apart_until_then() -> None:
    grid = gridded(prose([ABSORBS, TAKES, MIRRORS]))
    grid = replace(grid, samples=grid.samples.heard(pointing(grid.samples.free_texts())))
    shape = grid.quality.shape
    one = recorded_of(grid, [Slot(arm) for arm in grid.arms], np.full(shape, 0.7), np.ones(shape), np.ones(shape))
    assert one.seen.torn is not None
    assert one.seen.torn.tolist() == [True]
    assert len(set(one.seen.claim[0].tolist())) == 3
    everyone, ends = claims_in(one.seen)[0], claims_in(one.seen.columns(np.array([0, 2])))[0]
    assert len(set(everyone.tolist())) == 2
    assert ends.tolist() == [0, 1]
