"""Proposing: one estimate for each arm that can read the query, from heads where there are any, else from the file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curveroute.agent.decide import score
from curveroute.agent.errors import PoolError, PredictorError, QueryError
from curveroute.agent.looking.looking import Looking
from curveroute.agent.pool import Pool, PoolSpec
from curveroute.agent.pool.pool import input_tokens_prior
from curveroute.agent.predictor import Predictor
from curveroute.agent.probe import request_bounds
from curveroute.agent.propose import PRIOR_CORRELATION, PRIOR_STD, Outlooker
from curveroute.agent.types import Form, Image, Message, Query, Tool, Toolbox
from curveroute.agent.verify.jury import Jury
from curveroute.agent.verify.scale import Calibrator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import House

    from curveroute.agent.types import Arm

PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
QUERY = Query((Message(role="user", content="What is the capital of Portugal?"),))
roles = st.sampled_from(["system", "user", "assistant"])
messages = st.lists(st.builds(lambda role, content: Message(role=role, content=content), roles, st.text(max_size=300)))


BOX = Toolbox((Tool("add", "Add.", {"type": "object", "properties": {"a": {"type": "integer"}}}),))


def asking(text: str) -> Query:
    return Query((Message(role="user", content=text),))


def fitted(arms: Sequence[Arm], *, dim: int = 8, dearest: float = 1e-3, seed: int = 0) -> Predictor:
    rng = np.random.default_rng(seed)
    shape = (60, len(arms))
    x, quality = rng.normal(size=(60, dim)), np.clip(rng.normal(0.6, 0.25, size=shape), 0, 1)
    cost = np.linspace(dearest / 10, dearest, len(arms)) * np.ones(shape)
    return Predictor(embedder="letters").fit(x, quality, rng.uniform(1, 16, shape), cost_usd=cost, arms=arms)


def outlook(pool: Pool, query: Query = QUERY, tradeoff: float = 0.5, predictor: Predictor | None = None) -> Any:
    vector = None if predictor is None else np.ones(8, dtype=np.float32)
    return Outlooker(pool, predictor).estimates(vector, query, pool.arms, tradeoff)


@PROPERTY
@given(
    conversation=messages,
    window=st.integers(16, 2000),
    limit=st.none() | st.integers(1, 500),
    images=st.integers(0, 2),
    form=st.sampled_from([Form(), Form(toolbox=BOX), Form(schema=BOX.tools[0].parameters), Form(max_tokens=20)]),
)
def test_the_worst_case_of_every_arm_is_the_one_that_will_be_reserved(
    house: type[House], conversation: list[Message], window: int, limit: int | None, images: int, form: Form
) -> None:
    document = house.pool(budgets=(16, 64, None)).spec.model_dump()
    for model in document["models"]:
        model |= {"context_window": window, "max_output_tokens": limit}
    document["models"][0]["prices"]["cached_input"] = 5.0
    spec = PoolSpec.model_validate(document)
    pool = Pool(spec, prices={model.id: model.prices for model in spec.models if model.prices is not None})
    asked = Message(role="user", content="Well?", images=[Image(at=0, url="https://x.example/a.png")] * images)
    query = Query((*conversation, asked), form)
    outlooker = Outlooker(pool, None)
    worst = outlooker.worst_usd(query, outlooker.places(pool.arms))
    for arm, most in zip(pool.arms, worst.tolist(), strict=True):
        reserved = request_bounds(pool, arm, pool.messages(query, arm), query.form).cost_usd
        assert most == pytest.approx(reserved, rel=1e-12)


@PROPERTY
@given(tradeoff=st.floats(0, 1))
def test_candidates_come_in_the_order_of_the_single_shot_score(house: type[House], tradeoff: float) -> None:
    pool = house.pool()
    for predictor in (None, fitted(pool.arms)):
        unit = Outlooker(pool, predictor).reference_cost_usd
        estimates = outlook(pool, tradeoff=tradeoff, predictor=predictor)
        scores = score(
            [one.quality for one in estimates],
            [one.cost_usd for one in estimates],
            tradeoff=tradeoff,
            reference_cost_usd=unit,
        )
        assert scores.tolist() == pytest.approx(sorted(scores.tolist(), reverse=True))
        assert {one.arm for one in estimates} == set(pool.arms)


def test_an_estimates_cost_is_prompt_plus_expected_tokens(house: type[House]) -> None:
    pool = house.pool()
    for one in outlook(pool, predictor=fitted(pool.arms)):
        input_price, output_price, _ = pool.prices(one.arm.model)
        assert one.cost_usd == pytest.approx((one.input_tokens * input_price + one.output_tokens * output_price) * 1e-6)
        assert 0 <= one.quality <= 1
        assert one.quality_std > 0


def paced(house: type[House], **speed: float) -> Pool:
    """The toy pool, where the small model's speed is given and the big one's is not."""
    document = house.pool(budgets=(16, 64, None)).spec.model_dump()
    document["models"][0]["speed"] = speed
    spec = PoolSpec.model_validate(document)
    return Pool(spec, prices={model.id: model.prices for model in spec.models if model.prices is not None})


@PROPERTY
@given(first=st.floats(0, 100), reading=st.floats(0.1, 1e6), writing=st.floats(0.1, 1e6), heads=st.booleans())
def test_an_estimates_latency_is_the_wait_and_then_reading_and_writing(
    house: type[House], first: float, reading: float, writing: float, heads: bool
) -> None:
    pool = paced(house, first_token_s=first, input_tokens_per_s=reading, output_tokens_per_s=writing)
    for one in outlook(pool, predictor=fitted(pool.arms) if heads else None):
        wait, read, write = (first, reading, writing) if one.arm.model == "small" else (0.3, 2000, 60)
        assert one.latency_s == pytest.approx(wait + one.input_tokens / read + one.output_tokens / write)


def test_a_slower_model_and_a_longer_question_take_longer(house: type[House]) -> None:
    slow = {one.arm: one.latency_s for one in outlook(paced(house, output_tokens_per_s=10))}
    usual = {one.arm: one.latency_s for one in outlook(paced(house))}
    longer = {one.arm: one.latency_s for one in outlook(paced(house), asking("word " * 500))}
    assert all(slow[arm] > usual[arm] if arm.model == "small" else slow[arm] == usual[arm] for arm in usual)
    assert all(longer[arm] > usual[arm] for arm in usual)


def test_only_allowed_arms_are_proposed(house: type[House]) -> None:
    pool = house.pool()
    allowed = pool.restricted(allow=("big",))
    estimates = Outlooker(pool, None).estimates(None, QUERY, allowed, 0.5)
    assert {one.arm for one in estimates} == set(allowed)


class TestRoom:
    def test_models_that_cannot_read_the_query_are_left_out(self, house: type[House]) -> None:
        document = house.pool().spec.model_dump()
        document["models"][1]["context_window"] = 50_000
        spec = PoolSpec.model_validate(document)
        pool = Pool(spec, prices={model.id: model.prices for model in spec.models if model.prices is not None})
        assert {one.arm.model for one in outlook(pool, asking("word " * 5000))} == {"big"}

    def test_a_query_too_long_for_all_is_an_error_with_the_remedy(self, house: type[House]) -> None:
        with pytest.raises(QueryError, match=r"about 20\d\d tokens, more than any model of pool 'toy'.*shorten it"):
            outlook(house.pool(window=1000), asking("x" * 8000))

    def test_a_little_room_to_answer_is_kept(self, house: type[House]) -> None:
        pool = house.pool({"solo": (0.5, 0.6, 1.0)}, budgets=(2, 64))
        sent = {one.arm.budget: one.input_tokens for one in outlook(pool)}
        for window, budgets in ((sent[64] + 8, {2, 64}), (sent[64] + 7, {2}), (sent[2] + 2, {2})):
            tight = house.pool({"solo": (0.5, 0.6, 1.0)}, budgets=(2, 64), window=window)
            assert {one.arm.budget for one in outlook(tight)} == budgets


class TestPriors:
    def test_without_a_predictor_the_files_curve_speaks_with_a_wide_doubt(self, house: type[House]) -> None:
        found = {(one.arm.model, one.arm.budget): one for one in outlook(house.pool())}
        assert found["small", 16].quality == 0.3
        assert found["small", 256].quality == 0.5
        assert 0.3 < found["small", 64].quality < 0.5
        assert {one.quality_std for one in found.values()} == {PRIOR_STD}

    def test_the_unit_of_cost_is_the_dearest_arms(self, house: type[House]) -> None:
        pool = house.pool()
        dearest = max(one.cost_usd for one in outlook(pool, asking("x" * 300)))
        assert Outlooker(pool, None).reference_cost_usd == pytest.approx(dearest, rel=0.1)

    def test_free_models_do_not_divide_by_nothing(self, house: type[House]) -> None:
        pool = house.pool({"free": (0.4, 0.6, 0.0)})
        assert Outlooker(pool, None).reference_cost_usd == 1
        assert [one.cost_usd for one in outlook(pool)] == [0, 0, 0]

    def test_a_model_that_nobody_knows_is_an_error(self, house: type[House]) -> None:
        document = house.pool().spec.model_dump()
        document["models"][1]["prior"] = []
        spec = PoolSpec.model_validate(document)
        pool = Pool(spec, prices={model.id: model.prices for model in spec.models if model.prices is not None})
        with pytest.raises(PoolError, match="'big' is known neither to the predictor nor by a `prior` curve"):
            Outlooker(pool, None)
        known = Outlooker(pool, fitted(pool.arms))
        assert known.needs_embedding


class TestHeads:
    def test_heads_speak_for_the_models_they_know_and_priors_for_the_rest(self, house: type[House]) -> None:
        pool = house.pool()
        predictor = fitted(pool.restricted(allow=("small",)))
        by_arm = {one.arm: one for one in outlook(pool, predictor=predictor)}
        said = predictor.predict(np.ones(8, dtype=np.float32))
        for place, arm in enumerate(predictor.arms_):
            assert by_arm[arm].quality == pytest.approx(said.quality[place])
            assert by_arm[arm].output_tokens == pytest.approx(said.output_tokens[place])
            assert by_arm[arm].quality_std == pytest.approx(said.quality_std[place])
        assert by_arm[pool.restricted(allow=("big",))[0]].quality == 0.45

    def test_covariance_is_that_of_the_heads_and_keeps_the_rest_apart(self, house: type[House]) -> None:
        pool = house.pool()
        known = pool.restricted(allow=("small",))
        outlooker = Outlooker(pool, predictor := fitted(known))
        whole = outlooker.covariance(outlooker.places(pool.arms))
        assert whole.shape == (6, 6)
        assert np.allclose(whole[:3, :3], predictor.heads_.covariance)
        together = np.full((3, 3), PRIOR_CORRELATION) + np.eye(3) * (1 - PRIOR_CORRELATION)
        assert np.allclose(whole[3:, 3:], together * PRIOR_STD**2)
        assert not whole[:3, 3:].any()
        reversed_arms = tuple(reversed(pool.arms))
        assert np.allclose(outlooker.covariance(outlooker.places(reversed_arms)), whole[::-1, ::-1])

    def test_the_unit_and_the_reliability_are_the_predictors(self, house: type[House]) -> None:
        pool = house.pool(verifier_reliability=0.25)
        predictor = fitted(pool.arms, dearest=0.07)
        assert Outlooker(pool, predictor).reference_cost_usd == pytest.approx(0.07)
        assert Outlooker(pool, predictor).reliability == 0.25
        measured = Looking(Jury.unfitted(), calibrator=Calibrator({}, reliability=0.6))
        assert Outlooker(pool, predictor.with_looking(measured)).reliability == 0.6

    def test_what_was_learned_of_looking_is_the_predictors(self, house: type[House]) -> None:
        pool = house.pool()
        predictor, looking = fitted(pool.arms), Looking(Jury.unfitted())
        assert Outlooker(pool, predictor.with_looking(looking)).looking is looking
        for nothing in (None, predictor):
            found = Outlooker(pool, nothing).looking
            assert found.courses == ()
            assert found.course(0.5, "any") is None
            assert found.jury.models == ()

    def test_a_predictor_of_other_models_is_refused(self, house: type[House]) -> None:
        strangers = house.pool({"other": (0.5, 0.6, 1.0)})
        with pytest.raises(PredictorError, match="knows other, and pool 'toy' has none of them"):
            Outlooker(house.pool(), fitted(strangers.arms))

    def test_heads_without_an_embedding_are_an_error(self, house: type[House]) -> None:
        pool = house.pool()
        outlooker = Outlooker(pool, fitted(pool.arms))
        assert outlooker.needs_embedding
        with pytest.raises(PredictorError, match="needs the query's embedding"):
            outlooker.estimates(None, QUERY, pool.arms, 0.5)

    def test_estimates_of_one_query_leave_the_next_ones_alone(self, house: type[House]) -> None:
        pool = house.pool()
        outlooker = Outlooker(pool, fitted(pool.arms))
        vectors = np.random.default_rng(3).normal(size=(2, 8)).astype(np.float32)
        once = outlooker.estimates(vectors[0], QUERY, pool.arms, 0.5)
        outlooker.estimates(vectors[1], asking("Another?"), pool.arms, 0.1)
        assert outlooker.estimates(vectors[0], QUERY, pool.arms, 0.5) == once


def test_many_queries_do_not_pile_up(house: type[House]) -> None:
    outlooker = Outlooker(pool := house.pool(), None)
    for number in range(500):
        outlooker.estimates(None, asking(f"{number}?"), pool.arms, 0.5)
    assert len(outlooker._seen) <= 128
    assert math.isfinite(outlooker.worst_usd(QUERY, outlooker.places(pool.arms)).sum())


class TestHeldPrompts:
    """A provider still holds what the model that served the turn before has read, and charges less for it."""

    LONG = "word " * 2000  # about 2,500 tokens

    def pool(self, house: type[House], cache_from: int = 1024) -> Pool:
        document = house.pool(window=100_000).spec.model_dump()
        for model in document["models"]:
            model["prices"]["cached_input"] = model["prices"]["input"] / 10
            model["cache_from"] = cache_from
        spec = PoolSpec.model_validate(document)
        return Pool(spec, prices={model.id: model.prices for model in spec.models if model.prices is not None})

    def turns(self, served: str | None, *more: Message, long: str = LONG) -> Query:
        answer = Message(role="assistant", content="Yes.")
        if served is not None:
            answer["served"] = served
        return Query((Message(role="user", content=long), answer, *more, Message(role="user", content="And now?")))

    def saved(self, pool: Pool, query: Query) -> dict[str, set[float]]:
        """What each model's arms are expected to cost less than without a memory, USD."""
        blind = Query(tuple(Message(role=one["role"], content=one["content"]) for one in query.messages))
        fresh, held = ({one.arm: one.cost_usd for one in outlook(pool, asked)} for asked in (blind, query))
        return {name: {round(fresh[a] - held[a], 12) for a in pool.arms if a.model == name} for name in pool.models}

    def test_what_the_serving_model_has_read_is_priced_at_the_discount(self, house: type[House]) -> None:
        pool = self.pool(house)
        held = input_tokens_prior([Message(role="user", content=self.LONG)])
        saved = self.saved(pool, self.turns("small"))
        assert saved == {"small": {round(held * 0.1 * 0.9e-6, 12)}, "big": {0.0}}

    def test_the_last_turn_counts(self, house: type[House]) -> None:
        more = (Message(role="user", content="Who?"), Message(role="assistant", content="He.", served="big"))
        saved = self.saved(self.pool(house), self.turns("small", *more))
        assert saved["small"] == {0.0}
        assert min(saved["big"]) > 0

    def test_short_prompts_are_not_held(self, house: type[House]) -> None:
        assert self.saved(self.pool(house), self.turns("small", long="Hi?"))["small"] == {0.0}
        assert self.saved(self.pool(house, cache_from=1), self.turns("small", long="Hi?"))["small"] != {0.0}

    def test_without_a_known_model_nothing_is_held(self, house: type[House]) -> None:
        for served in (None, "stranger"):
            assert self.saved(self.pool(house), self.turns(served)) == {"small": {0.0}, "big": {0.0}}

    def test_a_cap_counts_on_no_discount(self, house: type[House]) -> None:
        outlooker = Outlooker(self.pool(house), None)
        places = outlooker.places(outlooker.pool.arms)
        worst = [outlooker.worst_usd(self.turns(served), places).tolist() for served in (None, "small")]
        assert worst[0] == worst[1]
