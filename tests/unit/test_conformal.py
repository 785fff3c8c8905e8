"""Promises: kept as often as they say, over many simulated tables; none where there is too little to go by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.errors import PredictorError
from curveroute.agent.verify.conformal import (
    FEWEST_ACCEPTED,
    Promise,
    Stopped,
    binomial_tail,
    clopper_pearson,
    fewest_answers,
    p_value,
    promises_of,
)

EPSILONS = (0.05, 0.1, 0.2, 0.4)


def stopped(random: np.random.Generator, queries: int, *, bend: float = 1.0, partly: bool = False) -> Stopped:
    """Answers whose chance to be right is their score to the power of ``bend``."""
    score = random.beta(2.0, 0.7, queries)
    right = score**bend
    if partly:
        return Stopped(score, 1.0 - np.clip(right + random.uniform(-0.2, 0.2, queries), 0.0, 1.0))
    return Stopped(score, (random.random(queries) > right).astype(float))


def parts(random: np.random.Generator, queries: int, **how: float) -> tuple[Stopped, Stopped, Stopped]:
    whole = stopped(random, queries, **how)  # type: ignore[arg-type]
    first, second, third = np.split(random.permutation(queries), [queries // 4, 3 * queries // 4])
    return whole.queries(first), whole.queries(second), whole.queries(third)


@pytest.mark.parametrize(
    "how", [{}, {"bend": 3.0}, {"bend": 0.3}, {"partly": True}], ids=["honest", "boastful", "modest", "partly right"]
)
def test_a_promise_is_broken_no_more_often_than_delta(how: dict[str, float]) -> None:
    delta, tables = 0.2, 150
    future = stopped(np.random.default_rng(99), 100_000, **how)  # type: ignore[arg-type]
    broken, made = np.zeros((2, len(EPSILONS)))
    for seed in range(tables):
        for place, one in enumerate(promises_of(0.3, parts(np.random.default_rng(seed), 600, **how), EPSILONS, delta)):
            if one.threshold is not None:
                made[place] += 1
                broken[place] += future.accepted(one.threshold).mean() > one.epsilon
    assert (broken <= tables * delta + 3.0 * np.sqrt(tables * delta * (1.0 - delta))).all()
    assert made[-1] > 0.5 * tables


def test_scores_that_say_nothing_promise_nothing_below_the_error_rate() -> None:
    """Where every answer is wrong with the same chance, ε just below it is promised in at most δ of the tables."""
    made = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        three = tuple(Stopped(random.random(n), (random.random(n) < 0.2).astype(float)) for n in (100, 200, 100))
        made += promises_of(0.3, three, (0.195,), 0.1)[0].threshold is not None  # type: ignore[arg-type]
    assert made <= 200 * 0.1 + 3.0 * np.sqrt(200 * 0.09)


def test_an_error_that_falls_with_the_score_s_strictness_only_at_first_is_still_kept() -> None:
    """The surest answers are the worst: a quantile would promise what does not hold; a sequence of tests does not."""
    broken = 0
    for seed in range(150):
        random = np.random.default_rng(seed)
        score = random.random(800)
        wrong = np.where(score > 0.9, 0.5, np.where(score > 0.5, 0.02, 0.6))
        whole = Stopped(score, (random.random(800) < wrong).astype(float))
        three = tuple(whole.queries(one) for one in np.split(np.arange(800), [200, 600]))
        found = promises_of(0.3, three, (0.2,), 0.1)[0].threshold  # type: ignore[arg-type]
        if found is not None:
            above = np.linspace(found, 1.0, 4000)
            true = np.where(above > 0.9, 0.5, np.where(above > 0.5, 0.02, 0.6)).mean()
            broken += true > 0.2
    assert broken <= 150 * 0.1 + 3.0 * np.sqrt(150 * 0.09)


@given(seed=st.integers(0, 10_000), queries=st.integers(0, 10), epsilon=st.floats(0.01, 0.99))
def test_ten_answers_promise_nothing(seed: int, queries: int, epsilon: float) -> None:
    random = np.random.default_rng(seed)
    right = Stopped(random.random(queries), np.zeros(queries))
    promise = promises_of(0.3, (right, right, right), (epsilon,))[0]
    assert promise.threshold is None
    assert promise.measured is None
    assert "answers without an error" in promise.why


@given(seed=st.integers(0, 10_000), queries=st.integers(100, 900), bend=st.floats(0.2, 4.0))
def test_a_larger_error_accepts_no_less(seed: int, queries: int, bend: float) -> None:
    found = promises_of(0.3, parts(np.random.default_rng(seed), queries, bend=bend), (0.4, 0.05, 0.2, 0.1))
    assert [one.epsilon for one in found] == [0.05, 0.1, 0.2, 0.4]
    thresholds = [2.0 if one.threshold is None else one.threshold for one in found]
    assert thresholds == sorted(thresholds, reverse=True)


def test_what_was_measured_was_measured_on_the_third_part_alone() -> None:
    first, second, third = parts(np.random.default_rng(1), 1200)
    promise = promises_of(0.3, (first, second, third), (0.2,))[0]
    assert promise.threshold is not None
    assert promise.measured is not None
    loss = third.loss[third.score >= promise.threshold]
    assert promise.measured.error == loss.mean()
    assert (promise.measured.accepted, promise.measured.queries) == (loss.size, len(third))
    assert promise.measured.low < loss.mean() < promise.measured.high
    assert promise.tested == len(second)


def test_queries_without_an_answer_are_never_accepted() -> None:
    one = Stopped(np.array([0.9, np.nan, 0.1]), np.array([0.0, np.nan, 1.0]))
    assert one.accepted(0.0).tolist() == [0.0, 1.0]


def test_why_nothing_is_promised_names_what_is_missing() -> None:
    bad = Stopped(np.linspace(0.1, 0.9, 400), np.tile([0.0, 1.0], 200))
    assert "were wrong" in promises_of(0.3, (bad, bad, bad), (0.1,))[0].why
    few = bad.queries(np.arange(40))
    assert promises_of(0.3, (few, few, few), (0.01,))[0].why.startswith("it takes 230 answers without an error, and 40")


@given(epsilon=st.floats(0.005, 0.9), delta=st.floats(0.01, 0.5), exact=st.booleans())
def test_the_fewest_answers_without_an_error_are_just_enough(epsilon: float, delta: float, exact: bool) -> None:
    fewest = fewest_answers(epsilon, delta)
    assert p_value(np.zeros(fewest), epsilon, exact=exact) <= delta * (1.0 + 1e-9)
    assert p_value(np.zeros(fewest - 1), epsilon, exact=exact) > delta * (1.0 - 1e-9)


def made_for(found: str) -> int:
    """How large a table a reason asks for."""
    return int(found.partition("a table of about ")[2].partition(" ")[0])


@given(answers=st.integers(1, 200), epsilon=st.floats(0.005, 0.3))
def test_a_table_as_large_as_is_asked_for_is_promised_where_nothing_is_wrong(answers: int, epsilon: float) -> None:
    some = Stopped(np.full(answers, 0.9), np.zeros(answers))
    promise = promises_of(0.3, (some, some, some), (epsilon,))[0]
    if promise.threshold is None:
        each = Stopped(*np.array([[0.9], [0.0]]).repeat(made_for(promise.why) // 3 + 1, axis=1))
        assert promises_of(0.3, (each, each, each), (epsilon,))[0].threshold is not None


@pytest.mark.parametrize("count", [4, 8])
def test_an_error_rate_below_the_one_promised_is_told_how_many_answers_would_do(count: int) -> None:
    """Of a hundred answers four are wrong, or eight are half wrong."""

    def some(times: int) -> Stopped:
        return Stopped(np.full(100 * times, 0.9), np.tile(np.repeat([4.0 / count, 0.0], [count, 100 - count]), times))

    def why(times: int) -> str:
        return promises_of(0.3, (some(times),) * 3, (0.05,))[0].why

    assert "4.0% were wrong, too few to be sure of 0.05: it takes " in why(1)
    needed = made_for(why(1)) // 300
    assert why(needed + 2) == ""
    assert why(needed - 2) != ""


def test_an_error_rate_above_the_one_promised_is_told_no_number() -> None:
    bad = Stopped(np.full(400, 0.9), np.tile([0.0, 1.0], 200))
    assert promises_of(0.3, (bad, bad, bad), (0.1,))[0].why.endswith("50.0% were wrong")


@given(n=st.integers(1, 60), p=st.floats(0.01, 0.99))
def test_the_binomial_tail_is_a_distribution(n: int, p: float) -> None:
    tails = [binomial_tail(k, n, p) for k in range(-1, n + 1)]
    assert (np.diff(tails) > -1e-12).all()
    assert (tails[0], tails[-1]) == (0.0, 1.0)
    assert binomial_tail(0, n, p) == pytest.approx((1.0 - p) ** n)


@given(n=st.integers(1, 80), wrong=st.integers(0, 80))
def test_the_interval_holds_exactly_what_is_not_unlikely(n: int, wrong: int) -> None:
    wrong = min(wrong, n)
    low, high = clopper_pearson(float(wrong), n)
    assert low <= wrong / n <= high
    assert wrong == n or binomial_tail(wrong, n, high) == pytest.approx(0.025, abs=1e-6)
    assert wrong == 0 or 1.0 - binomial_tail(wrong - 1, n, low) == pytest.approx(0.025, abs=1e-6)


@given(seed=st.integers(0, 1000), n=st.integers(FEWEST_ACCEPTED, 200), epsilon=st.floats(0.05, 0.5))
def test_a_bound_for_partly_wrong_answers_is_never_bolder_than_the_exact_one(seed: int, n: int, epsilon: float) -> None:
    loss = (np.random.default_rng(seed).random(n) < 0.1).astype(float)
    assert p_value(loss, epsilon, exact=False) >= p_value(loss, epsilon, exact=True) * (1.0 - 1e-9)


def test_fewer_than_thirty_accepted_pass_no_test() -> None:
    assert p_value(np.zeros(FEWEST_ACCEPTED - 1), 0.9, exact=True) == 1.0


def test_a_promise_is_stored_and_read_back() -> None:
    for promise in promises_of(0.3, parts(np.random.default_rng(3), 800), EPSILONS):
        assert Promise.from_json(promise.to_json()) == promise


@pytest.mark.parametrize(
    ("name", "value"),
    [("threshold", 2), ("threshold", True), ("epsilon", None), ("measured", None), ("measured", []), ("tested", -1),
     ("why", 3), ("tradeoff", float("nan"))],
)  # fmt: skip
def test_a_damaged_promise_is_refused(name: str, value: object) -> None:
    promise = promises_of(0.3, parts(np.random.default_rng(3), 800), (0.4,))[0]
    with pytest.raises(PredictorError, match="calibrate it again"):
        Promise.from_json({**promise.to_json(), name: value})  # type: ignore[dict-item]
