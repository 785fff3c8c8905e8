"""Fit a jury: random sets of recorded answers, the claim that was right, and gradient descent.

Each epoch draws another set of up to ``MOST`` answers for every query, so that the jury learns to judge any answers
beside each other and not only those of one chain. The loss is the log-likelihood of the right claim; a query whose
answers were partly right counts for each claim as far as it was. Adam (Kingma and Ba 2015) with a cosine schedule and
ridge penalties, more on what sets models apart than on what they share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.verify.jury import Jury, by_model, layer
from curveroute.agent.verify.seen import ANSWER_FEATURES, CLAIM_FEATURES, features_of

if TYPE_CHECKING:
    from curveroute.agent.verify.seen import Features, Indices, Mask, Seen, Singles

MOST = 5
HIDDEN = 32
STEPS = 400, 1200  # fewest and most: one for every four rows in between
BATCH = 512
RATE = 0.01
RIDGE = 3.0
RIDGE_OWN = 3.0
SILENT = 0.5  # what an answer that claims nothing says for "none" where learning begins
_DECAY = (0.9, 0.999)
_TINY = 1e-8


@dataclass(frozen=True, slots=True)
class Diet:
    """How a jury is fitted: hidden units, steps (None: by the number of rows), penalties, and the seed of its draws."""

    hidden: int = HIDDEN
    steps: int | None = None
    ridge: float = RIDGE
    ridge_own: float = RIDGE_OWN
    seed: int = 0


_USUAL = Diet()


def fit_jury(seen: Seen, quality: Singles, follows: Indices, diet: Diet = _USUAL) -> Jury:
    """Fit on recorded answers.

    Args:
        seen: n queries, K answers each; ``asked`` tells which were recorded.
        quality: (n, K) of each answer, in [0, 1].
        follows: (K,) for a repeated sample the column that is asked before it; its own place where there is none.
        diet: sizes and penalties.
    """
    random = np.random.default_rng(diet.seed)
    jury = _begin(seen, diet, random)
    seen = seen.surely(jury.usual)
    state = [np.zeros((2, *array.shape), dtype=np.float32) for array in _arrays(jury)]
    step, n = 0, len(seen)
    steps = diet.steps or min(max(n // 4, STEPS[0]), STEPS[1])
    while step < steps:
        columns, asked = _draw(seen, follows, random)
        order = random.permutation(n)
        for start in range(0, n, BATCH):
            rows = order[start : start + BATCH]
            some, worth = seen.rows(rows).pick(columns[rows], asked[rows]), quality[rows[:, None], columns[rows]]
            slopes = _slopes(jury, some, worth, diet, n)
            step += 1
            rate = RATE * 0.5 * (1.0 + np.cos(np.pi * min(step / steps, 1.0)))
            jury = _moved(jury, slopes, state, step, rate)
            if step >= steps:
                break
    return jury


def _begin(seen: Seen, diet: Diet, random: np.random.Generator) -> Jury:
    rows = len(ANSWER_FEATURES) + len(CLAIM_FEATURES)
    start = Jury.unfitted()
    shared = np.zeros((rows, diet.hidden + 1), dtype=np.float32)
    shared[:, :1] = start.shared
    shared[ANSWER_FEATURES.index("silent"), 0] = SILENT
    shared[:, 1:] = random.normal(size=(rows, diet.hidden)) / np.sqrt(rows)
    own = np.zeros((len(seen.models), len(ANSWER_FEATURES), diet.hidden + 1), dtype=np.float32)
    nothing = np.zeros(diet.hidden, dtype=np.float32)
    return Jury(shared, own, nothing, nothing.copy(), _usual(seen), seen.models)


def _usual(seen: Seen) -> Singles:
    """(M,) mean confidence of each model's answers; of one whose server never told, that of all, 0 if none did."""
    known = seen.asked & np.isfinite(seen.confidence)
    mean = float(seen.confidence[known].mean()) if known.any() else 0.0
    own = [seen.confidence[known & (seen.model == place)] for place in range(len(seen.models))]
    return np.array([one.mean() if one.size else mean for one in own], dtype=np.float32)


def _draw(seen: Seen, follows: Indices, random: np.random.Generator) -> tuple[Indices, Mask]:
    """(n, J) random columns and which of them are asked: one to ``MOST`` answers of each query."""
    n, count = seen.asked.shape
    most = min(MOST, count)
    wanted = random.random((n, count)).argsort(axis=1).argsort(axis=1) < random.integers(1, most + 1, n)[:, None]
    wanted &= seen.asked
    for _ in range(2):  # a repeated sample only after the one before it
        wanted &= wanted[:, follows]
    empty = ~wanted.any(axis=1)
    wanted[empty, seen.asked[empty].argmax(axis=1)] = True
    columns = np.argsort(~wanted, axis=1, kind="stable")[:, :most]
    return columns, np.take_along_axis(wanted, columns, axis=1)


def targets(features: Features, quality: Singles) -> Singles:
    """(n, C + 1) how right each claim is, and "none" as far as no claim is; rows sum to 1."""
    number = features.number
    right = np.zeros(features.present.shape, dtype=np.float32)
    for place in range(number.shape[1]):
        rows = np.flatnonzero(number[:, place] >= 0)
        at = number[rows, place]
        right[rows, at] = np.maximum(right[rows, at], quality[rows, place])
    right[:, -1] = 1.0 - right[:, :-1].max(axis=1, initial=0.0)
    return np.asarray(right / right.sum(axis=1, keepdims=True))


def _slopes(jury: Jury, seen: Seen, quality: Singles, diet: Diet, n: int) -> list[Singles]:
    """Gradients of the mean loss, in the order of ``_arrays``."""
    features, places = features_of(seen), jury.places(seen)
    inner = layer(jury, features, places)
    hidden = np.tanh(inner[..., 1:] + jury.bias)
    score = np.where(features.present, inner[..., 0] + hidden @ jury.out, -np.inf)
    odds = np.exp(score - score.max(axis=1, keepdims=True))
    error = (odds / odds.sum(axis=1, keepdims=True) - targets(features, quality)) / len(seen)
    back = np.empty_like(inner)
    back[..., 0] = error
    back[..., 1:] = error[..., None] * jury.out * (1.0 - np.square(hidden))
    own = np.zeros_like(jury.own)
    said = features.answers.reshape(-1, *features.answers.shape[2:])
    for model, rows in by_model(places):
        flat = said[rows].reshape(-1, said.shape[2])
        own[model] = flat.T @ back[rows // places.shape[1]].reshape(len(flat), -1)
    shared = np.concatenate((own.sum(axis=0), _product(features.claims, back)))
    return [
        shared + diet.ridge / n * jury.shared,
        own + diet.ridge_own / n * jury.own,
        back[..., 1:].sum(axis=(0, 1)),
        error.ravel() @ hidden.reshape(error.size, -1) + diet.ridge / n * jury.out,
    ]


def _product(left: Singles, right: Singles) -> Singles:
    """(G, H) sum over rows and claims of (n, C, G) times (n, C, H)."""
    return np.asarray(left.reshape(-1, left.shape[2]).T @ right.reshape(-1, right.shape[2]))


def _moved(jury: Jury, slopes: list[Singles], state: list[Singles], step: int, rate: float) -> Jury:
    """One step of Adam."""
    first, second = _DECAY
    moved = []
    for array, slope, moments in zip(_arrays(jury), slopes, state, strict=True):
        moments[0] = first * moments[0] + (1.0 - first) * slope
        moments[1] = second * moments[1] + (1.0 - second) * np.square(slope)
        mean, spread = moments[0] / (1.0 - first**step), moments[1] / (1.0 - second**step)
        moved.append(np.asarray(array - rate * mean / (np.sqrt(spread) + _TINY), dtype=np.float32))
    return replace(jury, shared=moved[0], own=moved[1], bias=moved[2], out=moved[3])


def _arrays(jury: Jury) -> tuple[Singles, Singles, Singles, Singles]:
    return jury.shared, jury.own, jury.bias, jury.out
