"""Escalation: continue with the arm whose expected gain is worth most above its price, or stop.

The gain is learned where there is a course for the run (``curveroute.agent.looking``): what the answer would come to
after asking an arm and whatever pays after it, less what it is worth now. Where there is none it has a closed form.

The gain of asking arm j, when the best answer so far is right with probability s and verdicts tell right from wrong
with reliability r, is ``r * p_j * (1 - s) + (1 - r) * max(p_j - s, 0)``: a perfect verifier recognises a right answer
where the old one was wrong; a useless one leaves nothing but the better prior. The rule continues while
``(1 - λ) * gain - λ * cost / unit`` is positive for an arm that the cap can hold (optimal stopping, one step ahead; see
Weitzman 1979 and cascade routing, arXiv 2410.10347). With no answer yet (s = 0) that is the single-shot score.

Caps are hard: no step's worst cases together exceed what the cap still holds. What does not fit is passed over for the
best that does. An arm without an estimate (NaN) is never asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from curveroute.agent.beside import joins, shortlist
from curveroute.agent.decide import USD_PER_PRICE, check_tradeoff, unit_usd
from curveroute.agent.errors import CapTooSmall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.types import Status

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]

_UNCOUNTABLE = 1e15  # tokens
PLANNED = "the plan's first arm"
TOO_DEAR = "what would be worth its price does not fit under the cap"
_LEAST_SHARE = 1e-6  # of quality in the score, so that at λ = 1 the cheapest arm is still told from the others
_WHY_NOT = (
    "",
    "asked already",
    "a call of its model failed",
    "left out by the plan",
    "no estimate of it",
    "not on the panel learned for this tradeoff",
    "its worst case does not fit under the cap",
    "nothing is gained by it",
    "dearer than its expected gain",
    "another arm is no dearer and better",
    "worth less than the chosen arm",
)
_REASONS = np.array(_WHY_NOT, dtype=object)
_REASONS_AT_THE_END = np.array((*_WHY_NOT[:-1], "the run had ended"), dtype=object)


@dataclass(frozen=True, slots=True)
class Situation:
    """A run as the rule sees it; arrays are (A,), one entry an arm.

    Attributes:
        quality: believed quality of each arm, in [0, 1].
        cost_usd: expected cost of one call.
        worst_usd: what one call can cost at most.
        open: arms that may be asked: allowed by the plan, not asked yet, and of no model whose call failed.
        best: score of the best verdict so far; ``None`` before the first answer.
        tradeoff: λ.
        reference_cost_usd: the unit of cost.
        left_usd: what the cap still holds; infinite without a cap.
        reliability: how surely verdicts tell right from wrong, in [0, 1].
        gain: learned gain of asking each arm, NaN for one that is not on the panel; None for the closed form.
        weight: what one unit of cost weighs against one of quality where gains are learned.
        latency_s: seconds that each arm is expected to take; None when waiting costs nothing.
        seconds_usd: what a second of waiting is worth, USD.
        asked: arms that were asked already; None before the first call.
        failed: arms of a model whose call failed; None where none did.
    """

    quality: Floats
    cost_usd: Floats
    worst_usd: Floats
    open: Mask
    best: float | None
    tradeoff: float
    reference_cost_usd: float
    left_usd: float
    reliability: float
    gain: Floats | None = None
    weight: float = 0.0
    latency_s: Floats | None = None
    seconds_usd: float = 0.0
    asked: Mask | None = None
    failed: Mask | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next.

    Attributes:
        arms: indices of the arms to ask, in parallel; empty to stop.
        reason: why, in words.
        status: set when it stops.
        committed: no verdict on these arms could change the outcome, so the answer may be shown as it is written.
        net: (A,) expected gain less price, in units of the score.
    """

    arms: tuple[int, ...]
    reason: str
    status: Status | None
    committed: bool
    net: Floats


def choose(net: Floats, price: Floats, *, must: bool, quality: Floats | None = None) -> Indices:
    """The one rule of graph and replay, many runs at a time: ask the arm of highest net gain, or stop.

    Args:
        net: (n, K) expected gain of each arm less its price; NaN for one that cannot be asked.
        price: (n, K) of asking it: equal nets go to the cheaper, then to the better, then to the first.
        must: whether something is asked even if nothing gains, because there is no answer yet.
        quality: (n, K) what is expected of each.

    Returns:
        (n,) the arm, -1 to stop.
    """
    if not net.shape[1]:
        return np.full(len(net), -1)
    able = np.fmax(net, -np.inf)
    arm = able.argmax(axis=1)
    top = able[np.arange(len(net)), arm]
    tied = able == top[:, None]
    if np.count_nonzero(tied) > len(net):  # in most steps no two are equal
        dear = np.where(tied, price, np.inf)
        cheapest = dear == dear.min(axis=1)[:, None]
        arm = np.where(cheapest, 0.0 if quality is None else quality, -np.inf).argmax(axis=1)
    goes = top > -np.inf if must else top > 0.0
    return np.asarray(np.where(goes, arm, -1), dtype=np.intp)


def gain_of(situation: Situation) -> Floats:
    """(A,) expected gain of asking each arm, in units of quality, before its price."""
    if situation.gain is not None:
        return situation.gain
    seen = 0.0 if situation.best is None else situation.best
    p, r = situation.quality, situation.reliability
    return np.asarray(r * p * (1.0 - seen) + (1.0 - r) * np.maximum(p - seen, 0.0))


def price_of(situation: Situation) -> Floats:
    """(A,) price of asking each arm in units of the pool's reference cost, its waiting time included."""
    return np.asarray(_paid_usd(situation) / unit_usd("pool", situation.reference_cost_usd))


def net_gain(situation: Situation) -> Floats:
    """Expected gain of asking each arm, less its price: (A,), in units of the score."""
    keep = 1.0 - situation.tradeoff
    if situation.gain is not None:  # learned for this weight of cost; the score is in the units of the tradeoff
        return np.asarray((gain_of(situation) - situation.weight * price_of(situation)) * max(keep, _LEAST_SHARE))
    per_usd = situation.tradeoff / unit_usd("pool", situation.reference_cost_usd)  # rounded as the single shot's score
    return np.asarray(keep * gain_of(situation) - _paid_usd(situation) * per_usd)


def _paid_usd(situation: Situation) -> Floats:
    """(A,) USD of one call, its waiting time included."""
    if situation.latency_s is None or situation.seconds_usd <= 0.0:
        return situation.cost_usd
    return situation.cost_usd + situation.seconds_usd * situation.latency_s


def next_step(situation: Situation, *, first: int | None = None, partners: Sequence[int] = ()) -> Step:
    """Ask the arm of highest net gain, or stop when none is worth its price.

    The first step always asks something if the cap holds anything: no answer is worth nothing.

    Args:
        situation: the run so far.
        first: what the plan wants asked first; ignored when it does not fit.
        partners: arms of other models that may be asked beside the chosen one, in parallel, when waiting is dear.

    Raises:
        CapTooSmall: nothing was answered yet and nothing fits under the cap.
        SettingError: a tradeoff outside [0, 1], or a reference cost that is not positive.
    """
    check_tradeoff(situation.tradeoff)
    net = net_gain(situation)
    known = situation.open & np.isfinite(net)
    fits = known & (situation.worst_usd <= situation.left_usd)
    if situation.best is None:
        return _begin(situation, net, fits, first, partners)
    chosen = _chosen(situation, np.where(fits, net, np.nan), must=False)
    if chosen < 0:
        return _stop(situation, net, known)
    words = f"expected net gain {net[chosen]:+.3f}"
    return Step(_join(situation, chosen, fits, partners), words, None, False, net)


def asked(situation: Situation, partners: Sequence[int] = ()) -> tuple[int, ...]:
    """The arms of the next step alone, with nothing planned; empty to stop."""
    net = net_gain(situation)
    fits = situation.open & np.isfinite(net) & (situation.worst_usd <= situation.left_usd)
    chosen = _chosen(situation, np.where(fits, net, np.nan), must=situation.best is None)
    return () if chosen < 0 else _join(situation, chosen, fits, partners)


def _chosen(situation: Situation, net: Floats, *, must: bool) -> int:
    return int(choose(net[None], situation.cost_usd[None], must=must, quality=situation.quality[None])[0])


def _stop(situation: Situation, net: Floats, known: Mask) -> Step:
    if held_back(situation, net):
        words = f"no answer claims anything, and {TOO_DEAR}" if situation.best == 0.0 else TOO_DEAR
        return Step((), words, "best_so_far", False, net)
    if situation.best == 0.0:
        words = "is expected to gain anything" if _gainless(situation, known) else "is worth its price"
        return Step((), f"no answer claims anything, and no other arm {words}", "best_so_far", False, net)
    if not known.any() and situation.gain is not None:
        return Step((), "everything that pays at this tradeoff was asked", "accepted", False, net)
    if not known.any():
        return Step((), "every arm was tried", "best_so_far", False, net)
    if _gainless(situation, known):
        return Step((), "no other arm is expected to gain anything", "accepted", False, net)
    return Step((), "no other arm's expected gain is worth its price", "accepted", False, net)


def _gainless(situation: Situation, known: Mask) -> bool:
    """Whether price plays no part in stopping: nothing would be asked if it were free."""
    return bool(known.any()) and not bool((gain_of(situation)[known] > 0.0).any())


def held_back(situation: Situation, net: Floats) -> bool:
    """Whether the cap alone keeps an arm from being asked that is worth its price: the search is not over then."""
    return bool((situation.open & (net > 0.0) & (situation.worst_usd > situation.left_usd)).any())


def why_not(situation: Situation, step: Step) -> list[str]:
    """Why each arm was not chosen: one short reason an arm, empty for those that were.

    A run may end although an arm is worth its price: its answer was shown already, or there were steps enough.
    """
    beaten, worth_less = len(_WHY_NOT) - 2, len(_WHY_NOT) - 1
    lost_for = np.full(step.net.size, worth_less)
    closed, nobody = ~situation.open, np.False_
    conditions = (
        closed & (nobody if situation.asked is None else situation.asked),
        closed & (nobody if situation.failed is None else situation.failed),
        closed,
        ~np.isfinite(situation.quality + _paid_usd(situation)),
        ~np.isfinite(gain := gain_of(situation)),
        situation.worst_usd > situation.left_usd,
        gain <= 0.0,
        step.net <= 0.0,
    )
    for place in range(len(conditions), 0, -1):  # the first that holds is written last
        lost_for[conditions[place - 1]] = place
    lost_for[list(step.arms)] = 0
    if situation.tradeoff > 0.0:  # where cost weighs nothing, no arm loses to one for being no dearer
        rest = np.flatnonzero(lost_for == worth_less)
        lost_for[rest[_beaten(situation, rest)]] = beaten
    reasons = _REASONS if step.arms else _REASONS_AT_THE_END
    return cast("list[str]", reasons[lost_for].tolist())


def affordable_tokens(left_usd: float, *, input_usd: float, output_price: float) -> int | None:
    """Output tokens that a cap still holds: what an unlimited arm is cut down to.

    Args:
        left_usd: what the cap still holds; infinite without a cap.
        input_usd: what the prompt costs at most.
        output_price: USD per million output tokens.

    Returns:
        The most tokens whose price fits, 0 when none does; ``None`` when any number that can be counted fits.
    """
    room, price = left_usd - input_usd, output_price * USD_PER_PRICE
    if not room >= 0.0:
        return 0
    if room >= price * _UNCOUNTABLE:
        return None
    tokens = math.floor(room / price)
    return tokens if input_usd + tokens * price <= left_usd else max(tokens - 1, 0)


def _begin(situation: Situation, net: Floats, fits: Mask, first: int | None, partners: Sequence[int]) -> Step:
    if not fits.any():
        raise CapTooSmall(_too_small(situation))
    chosen = _chosen(situation, np.where(fits, net, np.nan), must=True)
    words = f"highest net gain {net[chosen]:+.3f}"
    if first is not None and fits[first]:
        chosen, words = first, PLANNED
    together = _join(situation, chosen, fits, partners)
    committed = len(together) == 1 and _nothing_after(situation, chosen, fits)
    return Step(together, words, None, committed, net)


def partners_of(situation: Situation, models: Indices, *, first: int | None = None) -> tuple[int, ...]:
    """Who may be asked beside the arm that a step of this run asks; nobody where waiting costs nothing.

    Args:
        situation: the run so far.
        models: (A,) the model of each arm, as a number.
        first: what the plan wants asked first.
    """
    able = situation.open & (situation.worst_usd <= situation.left_usd)
    if situation.seconds_usd <= 0.0 or not able.any():
        return ()
    net = np.where(able, net_gain(situation), np.nan)
    planned = first is not None and able[first] and situation.best is None
    lead = first if planned else _chosen(situation, net, must=True)
    if lead is None or lead < 0:
        return ()
    others = situation.open & (models != models[lead])
    worth = np.where(others, net_gain(replace(situation, seconds_usd=0.0)), np.nan)  # its waiting is what is saved
    return tuple(index for index in shortlist(worth[None])[0].tolist() if able[index] and worth[index] > 0.0)


def _join(situation: Situation, chosen: int, fits: Mask, partners: Sequence[int]) -> tuple[int, ...]:
    """The chosen arm, and the first partner that the cap holds beside it and that pays."""
    if not partners:
        return (chosen,)
    places = np.array(partners, dtype=np.intp)
    able = fits[places] & joins(situation, chosen, places)
    return (chosen, int(places[able.argmax()])) if able.any() else (chosen,)


def _nothing_after(situation: Situation, chosen: int, fits: Mask) -> bool:
    """Whether even a wrong answer from ``chosen`` would be the end: no other arm fits and is worth its price then.

    The call may cost far less than its worst case, so what fits now may still fit after it.
    """
    if situation.gain is not None:  # learned values after a wrong answer are not known yet: any other slot may pay
        others = fits.copy()
    else:
        others = fits & ((1.0 - situation.tradeoff) * situation.quality > situation.tradeoff * price_of(situation))
    others[chosen] = False
    return not bool(others.any())


def _beaten(situation: Situation, arms: Indices) -> Mask:
    """(n,) whether another arm, open and within the cap, beats each of these in quality at no higher cost."""
    rivals = situation.open & (situation.worst_usd <= situation.left_usd)
    order = situation.cost_usd.argsort()
    best = np.fmax.accumulate(np.where(rivals, situation.quality, -np.inf)[order])
    no_dearer = situation.cost_usd[order].searchsorted(situation.cost_usd[arms], side="right")
    return np.asarray(best[no_dearer - 1] > situation.quality[arms])


def _too_small(situation: Situation) -> str:
    if not situation.open.any():
        return "no arm is open: widen the plan or the allow list"
    cheapest = float(np.nanmin(situation.worst_usd[situation.open]))
    return (
        f"the cap leaves {situation.left_usd:.3g} USD, and the cheapest arm may cost {cheapest:.3g} USD; "
        "raise the cap or shorten the query"
    )
