"""curveroute: the whole of it, replayed. Probe, judge, stop or ask on, by the same courses that the graph follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from curveroute.agent.bench.looked import candidates, recorded_of
from curveroute.agent.evals.policy import Replay
from curveroute.agent.evals.single import SingleShot
from curveroute.agent.looking.learn import learn, weights_for
from curveroute.agent.looking.looking import aside, sideways
from curveroute.agent.looking.replay import Replayer, mean_by_query
from curveroute.agent.verify.fit_jury import Diet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Floats, Singles
    from curveroute.agent.looking.recorded import Recorded


class Looked:
    """Looking, at every tradeoff that a course was learned for.

    Args:
        seed: of the juries.
        blind: a signal that the jury is not shown: ``length`` (of an answer, beside what was expected) or ``prior``
            (the quality expected of its arm on this query; what is known of the arm in general is told by its model).
    """

    def __init__(self, *, seed: int = 0, blind: Literal["length", "prior"] | None = None) -> None:
        self._seed = seed
        self._blind = blind

    def fit(self, train: Grid) -> Self:
        """Fit the predictor, the juries and the courses."""
        self._single = SingleShot().fit(train)
        predictor = self._single.predictor_
        self._slots = candidates(train.keep(self._single.known_))
        self._train = self._recorded(train, predictor.loo_quality_, predictor.loo_tokens_)
        self._texts = train.texts
        unit = predictor.reference_cost_usd_
        weights = weights_for(self._train, unit)
        self.lesson_ = learn(self._train, weights.tolist(), unit, diet=Diet(seed=self._seed))
        self.tradeoffs_: Floats = weights / (1.0 + weights)
        return self

    def estimates(self, test: Grid) -> Floats:
        """(n, A) quality expected of every arm before anything was asked, NaN for arms without heads."""
        return self._single.estimates(test)

    def replay(self, test: Grid) -> Replay:
        """Route queries it has not seen."""
        quality, tokens = self._single.expected(test)
        replays = self._replays(self._recorded(test, quality, tokens), test.texts)
        return Replay(self.tradeoffs_, *(_aside(values, test.texts) for values in replays))

    def replay_training(self) -> Replay:
        """The walks of the lesson: made without the query that is decided on.

        Queries that lack a recording of some slot were not learned from, and are replayed like new ones.
        """
        replays = self._replays(self._train, self._texts)
        walks = zip(self.lesson_.walks, self.lesson_.rows, strict=True)
        for place, (walk, rows) in enumerate(walks):
            query = self._train.query[rows]
            walked = np.unique(query)
            for target, values in zip(replays, (walk.cost_usd, walk.quality), strict=False):
                with np.errstate(invalid="ignore"):
                    target[place, walked] = mean_by_query(values, query, len(self._texts))[walked]
        return Replay(self.tradeoffs_, *(_aside(values, self._texts) for values in replays))

    def _recorded(self, grid: Grid, quality: Floats, tokens: Floats) -> Recorded:
        recorded = recorded_of(grid, self._slots, quality, tokens, self._single.expected_cost(grid, tokens))
        if self._blind == "length":
            return replace(recorded, seen=replace(recorded.seen, length=np.zeros_like(recorded.seen.length)))
        if self._blind == "prior":
            return replace(recorded, seen=replace(recorded.seen, prior=np.zeros_like(recorded.seen.prior)))
        return recorded

    def _replays(self, recorded: Recorded, texts: Sequence[str]) -> tuple[Singles, Singles, Singles]:
        """(P, n) cost, quality and estimate of every course."""
        looking = self.lesson_.looking
        replayer = Replayer(looking.jury, recorded, looking.unit_usd)
        walks = [replayer.follow(course) for course in looking.courses]
        cost, quality, estimate = (
            mean_by_query([getattr(walk, name) for walk in walks], recorded.query, len(texts))
            for name in ("cost_usd", "quality", "estimate")
        )
        return cost, quality, estimate


def _aside(values: Singles, texts: Sequence[str]) -> Singles:
    """(P, n) of every course and query, as each query follows the course a little aside from the one that is set."""
    asides = np.array([aside(text) for text in texts], dtype=np.intp)
    return np.asarray(np.take_along_axis(values, sideways(len(values), asides), axis=0))
