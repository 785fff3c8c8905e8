"""Propose: an estimate for every eligible arm, in the order of the single-shot score.

Where the predictor knows an arm, its heads speak; where it does not, the pool file's own prior curve does, with a wide
standard deviation. Nothing here calls anyone: after the embedding it is arithmetic.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curveroute.agent.decide import USD_PER_PRICE, rank
from curveroute.agent.errors import PoolError, PredictorError, QueryError
from curveroute.agent.listed import Listed
from curveroute.agent.looking.looking import Looking
from curveroute.agent.pool.pool import form_tokens, images_in, input_tokens_bound, input_tokens_prior
from curveroute.agent.types import Arm, Estimate, Form, Usage
from curveroute.agent.verify.jury import Jury

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.embed.seam import Vectors
    from curveroute.agent.pool import Pool
    from curveroute.agent.predictor import CurveHeads, Predictor
    from curveroute.agent.types import Budget, ModelId, Query

Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.intp]
_Key: TypeAlias = tuple[tuple[tuple[str, str], ...], str]

PRIOR_STD = 0.35
PRIOR_CORRELATION = 0.6
_PRIOR_FILL = 0.7
_PRIOR_UNLIMITED_TOKENS = 600.0
_LEAST_ROOM = 8
_USUAL_QUESTION = 100
_QUERIES_KEPT = 128


class Outlooker:
    """Predicts for the arms of one pool.

    Args:
        pool: the arms, their prices and prior curves.
        predictor: fitted heads; ``None`` when the pool has none.

    Raises:
        PoolError: a model that neither the predictor nor a prior curve knows.
    """

    def __init__(self, pool: Pool, predictor: Predictor | None) -> None:
        self.pool = pool
        self.origin = None if predictor is None else predictor.origin_
        learned = None if predictor is None else predictor.looking_
        self.looking = learned or Looking(Jury.unfitted())
        measured = self.looking.calibrator.reliability
        self.reliability = pool.spec.verifier_reliability if measured is None else measured
        self._index = {arm: position for position, arm in enumerate(pool.arms)}
        self._own = {id(arm): position for position, arm in enumerate(pool.arms)}  # the pool keeps them alive
        known = set() if predictor is None else {arm.model for arm in predictor.arms_}
        self._learned = [arm for arm in pool.arms if arm.model in known]
        if predictor is not None and not self._learned:
            raise PredictorError(
                f"the predictor knows {', '.join(sorted(known))}, and pool {pool.name!r} has none of them; "
                "train one for this pool, or choose the pool it was made for"
            )
        self._view: CurveHeads | None = predictor.for_arms(self._learned) if predictor and self._learned else None
        self.needs_embedding = self._view is not None
        self._base = _prior_arrays(pool, known)
        self._positions = self.places(self._learned)
        self._tariff, self._pace = _tariff(pool), _pace(pool)
        self._seen: dict[_Key, _Prompts] = {}
        self._lists: dict[int, Listed] = {}
        self._covariance = _prior_covariance(pool)
        if self._view is not None:
            self._covariance[np.ix_(self._positions, self._positions)] = self._view.covariance
        self.reference_cost_usd = (
            predictor.reference_cost_usd_ if self._view and predictor else _prior_reference(pool, self._base[1])
        )

    def places(self, arms: Sequence[Arm]) -> Places:
        """(n,) where these arms stand among the pool's."""
        try:  # an arm of the pool itself is found by what it is, sooner
            return np.fromiter(map(self._own.__getitem__, map(id, arms)), dtype=np.intp, count=len(arms))
        except KeyError:
            return np.array([self._index[arm] for arm in arms], dtype=np.intp)

    @cached_property
    def slots(self) -> Places:
        """(S, K) where the arms of every panel's slots stand among the pool's; -1 where there is none."""
        stack = self.looking.stack
        return np.array([*(self._index.get(arm, -1) for arm in stack.arms), -1], dtype=np.intp)[stack.arm]

    def listed(self, candidates: Sequence[Estimate]) -> Listed:
        """A run's candidates as arrays; kept for a while, because every step of the run asks."""
        every = tuple(candidates)
        kept = self._lists.get(id(every[0])) if every else None
        if kept is not None and kept.candidates == every:
            return kept
        quality, cost, latency = (
            np.array([getattr(one, name) for one in every], dtype=np.float64)
            for name in ("quality", "cost_usd", "latency_s")
        )
        return self._keep(Listed(every, self._index, self.places([one.arm for one in every]), quality, cost, latency))

    def _keep(self, listed: Listed) -> Listed:
        """Kept by the first estimate's own id, which stays its own for as long as the estimate is kept here."""
        if len(self._lists) >= _QUERIES_KEPT:
            self._lists.clear()
        if listed.candidates:
            self._lists[id(listed.candidates[0])] = listed
        return listed

    def covariance(self, places: Places, others: Places | None = None) -> Floats:
        """(n, n) covariance of the qualities of the arms at these places, from the residuals of training.

        With ``others``, (n, m) of each with those at other places.
        """
        return self._covariance.take(places if others is None else others, axis=1).take(places, axis=0)

    def worst_usd(self, query: Query, places: Places) -> Floats:
        """(n,) the most that one request of each arm can cost: ``request_bounds`` of all of them at once."""
        return np.asarray(self._prompts(query).worst_usd[places])

    def estimates(
        self, vector: Vectors | None, query: Query, arms: Sequence[Arm], tradeoff: float
    ) -> tuple[Estimate, ...]:
        """One estimate for each eligible arm, best single-shot score first.

        Args:
            vector: (D,) embedding of the query; needed when ``needs_embedding``.
            query: what is asked; its length decides which models can read it.
            arms: allowed arms of the pool.
            tradeoff: λ.

        Raises:
            QueryError: no model's context window holds the query.
            PredictorError: no arm that can read the query has a finite estimate.
        """
        quality, tokens, std = self._expected(vector)
        if query.form.max_tokens is not None:
            tokens = np.minimum(tokens, query.form.max_tokens)
        prompts, at = self._prompts(query), self.places(arms)
        if not prompts.can_read[at].any():
            raise QueryError(
                f"the query has about {input_tokens_prior(query.messages)} tokens, more than any model of pool "
                f"{self.pool.name!r} can read; shorten it or choose a pool with a longer context window"
            )
        cost = prompts.input_usd + tokens * self._tariff.output * USD_PER_PRICE
        ranked = at[
            rank(
                quality[at],
                cost[at],
                tradeoff=tradeoff,
                reference_cost_usd=self.reference_cost_usd,
                eligible=prompts.can_read[at] & np.isfinite(std[at]),
            )
        ]
        if not ranked.size:
            raise PredictorError(
                f"the predictor has no finite estimate of any arm of pool {self.pool.name!r} for this query; check the "
                "embedder, or train the predictor again"
            )
        latency = prompts.reading_s + tokens * self._pace.output
        columns = (quality, std, prompts.tokens, tokens, cost, latency, prompts.bound, prompts.limit)
        figures = zip(*(column[ranked].tolist() for column in columns), strict=True)
        every = tuple(
            Estimate(self.pool.arms[place], *row) for place, row in zip(ranked.tolist(), figures, strict=True)
        )
        self._keep(Listed(every, self._index, ranked, quality[ranked], cost[ranked], latency[ranked]))
        return every

    def _expected(self, vector: Vectors | None) -> tuple[Floats, Floats, Floats]:
        """Quality, output tokens and standard deviation of every arm of the pool, (A,) each."""
        if self._view is None:
            return self._base
        if vector is None:
            raise PredictorError("this predictor needs the query's embedding")
        predicted = self._view.predict(vector)
        if len(self._learned) == len(self.pool.arms):
            return predicted.quality, predicted.output_tokens, predicted.quality_std
        quality, tokens, std = (array.copy() for array in self._base)
        quality[self._positions] = predicted.quality
        tokens[self._positions] = predicted.output_tokens
        std[self._positions] = predicted.quality_std
        return quality, tokens, std

    def _prompts(self, query: Query) -> _Prompts:
        """What the query's prompts cost; kept for a while, because every step of a run asks."""
        key = _key(query)
        found = self._seen.get(key)
        if found is None:
            found = _prompts(self.pool, self._tariff, self._pace, query)
            if len(self._seen) >= _QUERIES_KEPT:
                self._seen.clear()
            self._seen[key] = found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Tariff:
    """What each arm of a pool charges (USD per million tokens), holds and counts (tokens), (A,) each."""

    input: Floats
    dearest_input: Floats
    output: Floats
    window: Floats
    most_output: Floats
    least_room: Floats
    cached: Floats
    cache_from: Floats
    image: Floats


def _tariff(pool: Pool) -> _Tariff:
    rows = []
    for arm in pool.arms:
        model, (fresh, output, cached) = pool.model(arm.model), pool.prices(arm.model)
        limits = [limit for limit in (arm.budget, model.max_output_tokens) if limit is not None]
        least_room = min(_LEAST_ROOM, arm.budget or _LEAST_ROOM)
        longest = min(limits, default=np.inf)
        held = (cached, model.cache_from, model.image_tokens)
        rows.append((fresh, max(fresh, cached), output, model.context_window, longest, least_room, *held))
    return _Tariff(*np.array(rows, dtype=np.float64).T)


@dataclass(frozen=True, slots=True, eq=False)
class _Pace:
    """How long each arm of a pool takes, in seconds: until it begins, and a token read and written, (A,) each."""

    first: Floats
    input: Floats
    output: Floats


def _pace(pool: Pool) -> _Pace:
    speeds = [pool.model(arm.model).speed for arm in pool.arms]
    rows = [(speed.first_token_s, 1 / speed.input_tokens_per_s, 1 / speed.output_tokens_per_s) for speed in speeds]
    return _Pace(*np.array(rows, dtype=np.float64).T)


@dataclass(frozen=True, slots=True, eq=False)
class _Prompts:
    """One query's prompts, (A,) each: about how long, price, seconds to the first token, worst case, is there room.

    Attributes:
        bound: input tokens at most.
        limit: output tokens at most.
    """

    tokens: Places
    input_usd: Floats
    reading_s: Floats
    bound: Places
    limit: Places
    worst_usd: Floats
    can_read: NDArray[np.bool_]


def _prompts(pool: Pool, tariff: _Tariff, pace: _Pace, query: Query) -> _Prompts:
    lengths: dict[Budget, tuple[int, int]] = {}
    for arm in pool.arms:
        if arm.budget not in lengths:  # prompts differ by budget alone
            messages = pool.messages(query, arm)
            lengths[arm.budget] = input_tokens_prior(messages), input_tokens_bound(messages)
    prior, bound = np.array([lengths[arm.budget] for arm in pool.arms], dtype=np.intp).T
    images = (images_in(query.messages) * tariff.image).astype(np.intp)
    formed = form_tokens(query.form)
    prior, bound = prior + images + formed[0], bound + images + formed[1]
    room = tariff.window - prior
    longest = np.inf if query.form.max_tokens is None else query.form.max_tokens
    limit = np.maximum(np.minimum(np.minimum(room, tariff.most_output), longest), 1.0)
    worst = USD_PER_PRICE * (bound * tariff.dearest_input + limit * tariff.output)
    reading = pace.first + prior * pace.input
    held = _held(pool, tariff, query, prior)
    price = USD_PER_PRICE * ((prior - held) * tariff.input + held * tariff.cached)
    return _Prompts(prior, price, reading, bound, limit.astype(np.intp), worst, room >= tariff.least_room)


def _held(pool: Pool, tariff: _Tariff, query: Query, prior: Places) -> Floats:
    """(A,) tokens of the prompt that each arm's provider is expected to hold still, from the turn before.

    The model that served the turn before read the conversation up to then. Another model's answer, or an instruction
    for another budget, comes after that.
    """
    turns = [place for place, message in enumerate(query.messages) if message.get("served")]
    if not turns:
        return np.zeros(prior.shape)
    last = turns[-1]
    model, before = query.messages[last].get("served"), query.messages[:last]
    held = input_tokens_prior(before)
    own = np.array([arm.model == model for arm in pool.arms])
    cached = np.minimum(held + images_in(before) * tariff.image, prior)
    return np.asarray(np.where(own & (cached >= tariff.cache_from), cached, 0.0))


def _key(query: Query) -> _Key:
    """What tells a query's prompts from another's."""
    texts = tuple((message["role"], message["content"]) for message in query.messages)
    plain = query.form == Form() and all(len(message) == 2 for message in query.messages)  # noqa: PLR2004
    if plain:
        return texts, ""
    rest = repr((query.messages, query.form)).encode("utf-8", "surrogatepass")
    return texts, hashlib.sha256(rest).hexdigest()


def _prior_covariance(pool: Pool) -> Floats:
    """(A, A) of the prior curves' errors: the budgets of one model err together, other models on their own."""
    same = np.array([[one.model == other.model for other in pool.arms] for one in pool.arms])
    shared = np.where(same, PRIOR_CORRELATION, 0.0)
    np.fill_diagonal(shared, 1.0)
    return np.asarray(PRIOR_STD**2 * shared)


def _prior_arrays(pool: Pool, learned: set[ModelId]) -> tuple[Floats, Floats, Floats]:
    """Prior quality, output tokens and standard deviation of every arm, (A,) each."""
    quality = np.zeros(len(pool.arms))
    for position, arm in enumerate(pool.arms):
        prior = pool.prior_quality(arm)
        if prior is None and arm.model not in learned:
            raise PoolError(
                f"pool {pool.name!r}: model {arm.model!r} is known neither to the predictor nor by a `prior` curve; "
                "give it a prior in the pool file, or collect and train"
            )
        quality[position] = prior or 0.0
    tokens = np.array(
        [_PRIOR_UNLIMITED_TOKENS if arm.budget is None else _PRIOR_FILL * arm.budget for arm in pool.arms]
    )
    return quality, tokens, np.full(len(pool.arms), PRIOR_STD)


def _prior_reference(pool: Pool, tokens: Floats) -> float:
    """The dearest arm's cost for a question of 100 tokens: the unit of cost of a pool without a predictor."""
    costs = [
        pool.cost_usd(arm.model, Usage(_USUAL_QUESTION, 0)) + float(count) * pool.prices(arm.model)[1] * USD_PER_PRICE
        for arm, count in zip(pool.arms, tokens, strict=True)
    ]
    dearest = max(costs)
    return dearest if dearest > 0 else 1.0
