"""What can be seen of answers beside each other, as arrays: who claims what, and how each claim came about.

A *claim* is what answers that agree have in common; answers that say nothing make none. One row is one run (or one
recorded query), one column one answer. Every claim of a row, and "none of them is right", gets a vector of features
from every answer that was asked; ``curveroute.agent.verify.jury`` weighs them. Pure arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curveroute.agent.verify.linkage import linked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curveroute.agent.types import ModelId

Indices: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]
Singles: TypeAlias = NDArray[np.float32]

EDGE = 0.02
LONGEST = 2.0

ANSWER_FEATURES = (
    "agrees", "agrees_prior", "agrees_length", "agrees_cut", "agrees_malformed", "agrees_confidence", "agrees_again",
    "differs", "differs_prior", "differs_length", "differs_cut", "differs_malformed", "differs_confidence",
    "silent",
)  # fmt: skip
"""Of one answer and one claim, in order. ``silent`` is an answer that claims nothing, and speaks for "none" alone."""

CLAIM_FEATURES = (
    "none", "one_model", "two_models", "more_models", "models", "models_chance", "several_chance", "others",
    "best_prior", "strongest", "none_asked", "none_claims", "none_chance",
)  # fmt: skip
"""Of one claim beside all others, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """n rows of up to J answers.

    Attributes:
        claim: (n, J) number of the claim, equal where two answers of a row agree; -1 where none is made.
        asked: (n, J) whether the answer is there at all.
        model: (n, J) who answered, as a place in ``models``.
        prior: (n, J) log-odds of the arm's expected quality on this query.
        length: (n, J) logarithm of output tokens over those expected.
        cut: (n, J) 1 where the token limit cut the answer.
        malformed: (n, J) 1 where it has not the form that the query asks for.
        confidence: (n, J) log-odds of the tokens' mean probability; NaN where it is not known.
        chance: (n,) how rarely two wrong answers to such a query agree: minus the logarithm of the probability.
        models: names.
        torn: (n,) where agreeing is no equivalence: ``claim`` then tells texts apart, and which of them make one claim
            depends on which are asked; None where it is everywhere.
        near: how near two such texts are, by their numbers in ``claim``, the lower one first.
    """

    claim: Indices
    asked: Mask
    model: Indices
    prior: Singles
    length: Singles
    cut: Singles
    malformed: Singles
    confidence: Singles
    chance: Singles
    models: tuple[ModelId, ...]
    torn: Mask | None = None
    near: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.claim)

    def rows(self, rows: Indices | Mask) -> Seen:
        """Some of the rows."""
        torn = None if self.torn is None else self.torn[rows]
        return self._with({name: getattr(self, name)[rows] for name in (*_BY_ANSWER, "chance")} | {"torn": torn})

    def columns(self, columns: Indices) -> Seen:
        """Some of the answers of every row, in the order given."""
        return self._with({name: getattr(self, name)[:, columns] for name in _BY_ANSWER})

    def pick(self, columns: Indices, asked: Mask) -> Seen:
        """Other answers in each row: (n, K) places among the J, of which ``asked`` (n, K) are there."""
        taken = {name: np.take_along_axis(getattr(self, name), columns, axis=1) for name in _BY_ANSWER}
        return self._with({**taken, "asked": taken["asked"] & asked})

    def surely(self, usual: Singles) -> Seen:
        """The same, where an answer of unknown confidence is as sure as its model is: ``usual`` is (M,)."""
        unknown = np.isnan(self.confidence)
        if not unknown.any():
            return self
        return replace(self, confidence=np.where(unknown, usual[self.model], self.confidence))

    def _with(self, arrays: dict[str, Any]) -> Seen:
        return replace(self, **arrays)


_BY_ANSWER = ("claim", "asked", "model", "prior", "length", "cut", "malformed", "confidence")


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What a jury weighs: C claims of each row and, last, "none".

    Attributes:
        answers: (n, J, C + 1, F) of each answer and claim.
        claims: (n, C + 1, G) of each claim.
        present: (n, C + 1) whether anyone makes the claim; "none" is always there.
        number: (n, J) which of the C claims each answer makes, -1 for none.
    """

    answers: Singles
    claims: Singles
    present: Mask
    number: Indices


def log_odds(probability: NDArray[np.floating]) -> Singles:
    """Log-odds, kept away from certainty."""
    inside = np.clip(probability, EDGE, 1.0 - EDGE)
    return np.asarray(np.log(inside / (1.0 - inside)), dtype=np.float32)


def surprise(output_tokens: NDArray[np.floating], expected: NDArray[np.floating]) -> Singles:
    """How much longer an answer is than expected: the logarithm of the ratio, within e^±2."""
    ratio = np.log((np.maximum(output_tokens, 0.0) + 2.0) / (np.maximum(expected, 0.0) + 2.0))
    return np.asarray(np.clip(ratio, -LONGEST, LONGEST), dtype=np.float32)


def numbered(claim: Indices, asked: Mask) -> Indices:
    """(n, J) claims of each row numbered by their first appearance, -1 for none."""
    n, answers = claim.shape
    number = np.full((n, answers), -1, dtype=np.intp)
    count = np.zeros(n, dtype=np.intp)
    speaks = asked & (claim >= 0)
    for place in range(answers):
        fresh = speaks[:, place].copy()
        for before in range(place):
            same = fresh & speaks[:, before] & (claim[:, before] == claim[:, place])
            number[same, place] = number[same, before]
            fresh &= ~same
        number[fresh, place] = count[fresh]
        count[fresh] += 1
    return number


def claims_in(seen: Seen) -> Indices:
    """(n, J) the claim that each answer makes, numbered by first appearance in its row, -1 for none."""
    number = numbered(seen.claim, seen.asked)
    for row in [] if seen.torn is None else np.flatnonzero(seen.torn).tolist():
        there = np.where(seen.asked[row], seen.claim[row], -1)
        first = linked(sorted(set(there.tolist()) - {-1}), seen.near)
        order: dict[int, int] = {}
        number[row] = [order.setdefault(first[one], len(order)) if one >= 0 else -1 for one in there.tolist()]
    return number


def features_of(seen: Seen) -> Features:
    """The features of every claim; see ``ANSWER_FEATURES`` and ``CLAIM_FEATURES``.

    Several answers of one model share its voice: each counts for the inverse of their number, and only what they say
    again adds a little. So two answers of one model weigh less than those of two.
    """
    number = claims_in(seen)
    n, answers = number.shape
    claims = max(answers, 1)
    speaks = number >= 0
    one_model = seen.model[:, :, None] == seen.model[:, None, :]
    voices = (one_model & speaks[:, None, :]).sum(axis=2).astype(np.float32)
    share = np.where(speaks, 1.0 / np.maximum(voices, 1.0), 0.0).astype(np.float32)
    agrees = np.zeros((n, answers, claims + 1), dtype=np.float32)
    agrees[:, :, :claims] = number[:, :, None] == np.arange(claims)
    agrees *= share[:, :, None]
    differs = share[:, :, None] - agrees
    traits = (seen.prior, seen.length, seen.cut, seen.malformed, seen.confidence)
    silent = np.zeros_like(agrees)
    silent[:, :, claims] = (seen.asked & ~speaks) / np.maximum((one_model & seen.asked[:, None, :]).sum(axis=2), 1)
    again = np.log(np.maximum(voices, 1.0))
    parts = [agrees, *(agrees * trait[:, :, None] for trait in (*traits, again))]
    parts += [differs, *(differs * trait[:, :, None] for trait in traits), silent]
    present = np.zeros((n, claims + 1), dtype=np.bool_)
    present[:, :claims] = agrees[:, :, :claims].any(axis=1)
    present[:, claims] = True
    return Features(np.stack(parts, axis=3), _of_claims(seen, agrees, differs, present), present, number)


def _of_claims(seen: Seen, agrees: Singles, differs: Singles, present: Mask) -> Singles:
    n, _, count = agrees.shape
    models = agrees.sum(axis=1)
    none = np.zeros((n, count), dtype=np.float32)
    none[:, -1] = 1.0
    chance = seen.chance[:, None]
    prior = np.where(agrees > 0.0, seen.prior[:, :, None], np.float32(-5.0)).max(axis=1, initial=-5.0)
    best = prior[:, :-1].max(axis=1, initial=-5.0)[:, None]
    claims = [
        none,
        (models > 0.99) & (models < 1.99),  # noqa: PLR2004
        (models > 1.99) & (models < 2.99),  # noqa: PLR2004
        models > 2.99,  # noqa: PLR2004
        models,
        models * chance / 3.0,
        np.maximum(models - 1.0, 0.0) * chance / 3.0,
        differs.sum(axis=1),
        np.where(none > 0.0, 0.0, prior) / 2.0,
        (prior >= best) & (none == 0.0) & (prior > -5.0),  # noqa: PLR2004
        none * seen.asked.sum(axis=1)[:, None],
        none * (present.sum(axis=1) - 1)[:, None],
        none * chance / 3.0,
    ]
    return np.stack([np.asarray(one, dtype=np.float32) for one in claims], axis=2)
