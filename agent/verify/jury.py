"""The jury: one probability for every claim that answers make, and for "none of them is right".

A conditional logit over the claims of one query (McFadden 1974) whose score is a small network: every answer adds its
features, weighed by shared weights and by its own model's deviation from them, and one hidden layer makes evidence
sub-additive where answers err together. A model that was not there in training is weighed by the shared weights alone;
without any training the shared weights are those of independent witnesses (naive Bayes).

Outvoting is learned, not assumed: a claim of several weak models beats the strongest one's only as far as that was
right on recorded queries. Without any, however many contradict the strongest answer, they make it unsure and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from curveroute.agent.errors import PredictorError
from curveroute.agent.types import ModelId
from curveroute.agent.verify.seen import ANSWER_FEATURES, CLAIM_FEATURES, features_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from curveroute.agent.verify.seen import Features, Indices, Seen, Singles

ROWS = 4096
_TENSORS = ("shared", "own", "bias", "out", "usual")

# Without recorded answers: the prior counts in full, and the rest says what it usually says.
_UNFITTED_ANSWER = {
    "agrees_prior": 1.0, "agrees_cut": -1.5, "agrees_malformed": -2.0, "agrees_again": 0.05,
    "agrees_confidence": 0.0, "differs_prior": 0.0, "silent": 0.0,
}  # fmt: skip
_UNFITTED_CLAIM = {"several_chance": 1.0}
_ABOUT = 0.2  # log-odds of expected quality within which answers are about as strong as the strongest
_BEHIND = 1e-3  # of a score: enough for the strongest answer to be the one that is given


@dataclass(frozen=True, slots=True, eq=False)
class Jury:
    """Weights; H hidden units, M models.

    Attributes:
        shared: (F + G, H + 1) of the features of answers, then of claims; column 0 goes straight to the score.
        own: (M, F, H + 1) what each model's answers weigh beyond that.
        bias: (H,) of the hidden units.
        out: (H,) from the hidden units to the score.
        usual: (M,) what each model's confidence usually is, log-odds: it stands where a server tells none.
        models: (M,) names.
    """

    shared: Singles
    own: Singles
    bias: Singles
    out: Singles
    usual: Singles
    models: tuple[ModelId, ...]

    @classmethod
    def unfitted(cls) -> Self:
        """Reasonable weights for when nothing was recorded."""
        weights = [_UNFITTED_ANSWER.get(name, 0.0) for name in ANSWER_FEATURES]
        weights += [_UNFITTED_CLAIM.get(name, 0.0) for name in CLAIM_FEATURES]
        own = np.zeros((0, len(ANSWER_FEATURES), 1), dtype=np.float32)
        nothing = np.zeros(0, dtype=np.float32)
        return cls(np.array(weights, dtype=np.float32)[:, None], own, nothing, nothing, nothing, ())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Singles], models: Sequence[str]) -> Self:
        """From stored weights, as :meth:`to_tensors` gives them.

        Raises:
            PredictorError: a tensor that is missing, of another shape, or not finite.
        """
        tensors = {"usual": np.zeros(len(models), dtype=np.float32), **tensors}  # predictors of before have none
        hidden = tensors["bias"].size if "bias" in tensors else 0
        rows, answer = len(ANSWER_FEATURES) + len(CLAIM_FEATURES), len(ANSWER_FEATURES)
        shapes = {
            "shared": (rows, hidden + 1),
            "own": (len(models), answer, hidden + 1),
            "bias": (hidden,),
            "out": (hidden,),
            "usual": (len(models),),
        }
        for name, shape in shapes.items():
            found = tensors.get(name)
            if found is None or found.shape != shape or not np.isfinite(found).all():
                seen = "missing" if found is None else f"{found.shape}, expected {shape} and finite"
                raise PredictorError(f"the jury's {name} is {seen}: train the predictor again")
        shared, own, bias, out, usual = (np.asarray(tensors[name], dtype=np.float32) for name in _TENSORS)
        return cls(shared, own, bias, out, usual, tuple(map(ModelId, models)))

    def to_tensors(self) -> dict[str, Singles]:
        """What is stored, by name."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in _TENSORS}

    def probabilities(self, seen: Seen) -> tuple[Singles, Indices]:
        """(n, C + 1) probability of every claim and of "none", and (n, J) the claim that each answer makes (-1: none).

        A claim that nobody makes has probability 0.
        """
        parts = [self._probabilities(seen.rows(np.arange(at, min(at + ROWS, len(seen))))) for at in _starts(len(seen))]
        return np.concatenate([one for one, _ in parts]), np.concatenate([number for _, number in parts])

    def _probabilities(self, seen: Seen) -> tuple[Singles, Indices]:
        features = features_of(seen.surely(self._usual(seen)))
        score = scores(self, features, self.places(seen))
        score = np.where(features.present, score, -np.inf)
        if not self.models:
            score = _strongest_first(score, seen, features.number)
        odds = np.exp(score - score.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True), features.number

    def _usual(self, seen: Seen) -> Singles:
        """(M',) usual confidence of the models of these answers; of one it does not know, that of all."""
        usual = dict(zip(self.models, self.usual.tolist(), strict=True))
        mean = float(self.usual.mean()) if self.usual.size else 0.0
        return np.array([usual.get(name, mean) for name in seen.models], dtype=np.float32)

    def places(self, seen: Seen) -> Indices:
        """(n, J) where each answer's model stands among the jury's; M for a model it does not know."""
        known = {name: place for place, name in enumerate(self.models)}
        return np.array([known.get(name, len(self.models)) for name in seen.models], dtype=np.intp)[seen.model]


def _strongest_first(score: Singles, seen: Seen, number: Indices) -> Singles:
    """Scores of which no claim is ahead of those of the strongest sound answer, and of any about as strong."""
    sound = seen.asked & (number >= 0) & (seen.cut == 0.0) & (seen.malformed == 0.0)
    prior = np.where(sound, seen.prior, -np.inf)
    rows, answers = np.nonzero(sound & (prior >= prior.max(axis=1, initial=-np.inf)[:, None] - _ABOUT))
    strong = np.zeros(score.shape, dtype=np.bool_)
    strong[rows, number[rows, answers]] = True
    most = np.where(strong, score, -np.inf).max(axis=1)[:, None] - _BEHIND
    weaker = ~strong & np.isfinite(most)
    weaker[:, -1] = False
    return np.where(weaker, np.minimum(score, most), score)


def scores(jury: Jury, features: Features, places: Indices) -> Singles:
    """(n, C + 1) score of every claim."""
    inner = layer(jury, features, places)
    return np.asarray(inner[..., 0] + np.tanh(inner[..., 1:] + jury.bias) @ jury.out)


def layer(jury: Jury, features: Features, places: Indices) -> Singles:
    """(n, C + 1, H + 1) weighted sum of all features."""
    answer = len(ANSWER_FEATURES)
    own = np.concatenate((jury.own, np.zeros((1, *jury.own.shape[1:]), dtype=np.float32)))
    inner = features.claims @ jury.shared[answer:]
    said = features.answers.reshape(-1, *features.answers.shape[2:])
    each = np.empty((len(said), *inner.shape[1:]), dtype=np.float32)
    for model, rows in by_model(places):
        each[rows] = said[rows] @ (jury.shared[:answer] + own[model])
    return np.asarray(inner + each.reshape(*places.shape, *inner.shape[1:]).sum(axis=1))


def by_model(places: Indices) -> Iterator[tuple[int, Indices]]:
    """Each model that answered, and where: rows of the (n, J) answers taken one after the other."""
    flat = places.ravel()
    for model in np.unique(flat).tolist():
        yield model, np.flatnonzero(flat == model)


def _starts(count: int) -> range:
    return range(0, max(count, 1), ROWS)


def given(odds: Singles, number: Indices, seen: Seen) -> Indices:
    """(n,) which answer would be given: of those that make the likeliest claim, the one that was expected to be best.

    Where claims are equally likely, the best of all that make one of them is given; where no answer claims anything,
    the best of all. Of equals it is the first.

    Args:
        odds: (n, C + 1) as :meth:`Jury.probabilities` gives them.
        number: (n, J) likewise.
        seen: the answers.
    """
    own = np.take_along_axis(odds, np.maximum(number, 0), axis=1)
    makes = (own == odds[:, :-1].max(axis=1)[:, None]) & (number >= 0) & seen.asked
    among = np.where(makes.any(axis=1)[:, None], makes, seen.asked)
    return np.asarray(np.where(among, seen.prior, -np.inf).argmax(axis=1))
