"""Who is asked beside an arm, in parallel: one of another model, where waiting is dear.

Those are considered that are worth most, their waiting left out, because that is what is saved. One of them joins if
the waiting that it saves where the arm's answer is wrong (it would be asked next then, and had to be waited for) is
worth more than its price where that is right. Steps, and the tradeoffs at which they flip, go by the same functions.
Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats, Indices, Mask
    from curveroute.agent.escalate import Situation

MOST_PARTNERS = 3


def shortlist(worth: Floats) -> Indices:
    """(n, at most ``MOST_PARTNERS``) places of those worth most; whom the cap does not hold keeps its place.

    Args:
        worth: (n, K) expected gain less price, waiting left out; NaN for one that cannot be asked, and for the chosen
            arm's own model. Where there are few others some of these may be among the places: look whether it is > 0.
    """
    return np.argsort(-np.fmax(worth, -np.inf), axis=1, kind="stable")[:, :MOST_PARTNERS]


def joins(situation: Situation, chosen: Indices | int, partner: Indices) -> Mask:
    """Whether each partner is asked beside the chosen arm, by what its waiting saves and by what the cap still holds.

    Args:
        situation: the run; nobody joins where waiting costs nothing.
        chosen: places that broadcast with ``partner``.
        partner: places; that it can be asked by itself is not looked at here.
    """
    if situation.latency_s is None or situation.seconds_usd <= 0.0:
        return np.zeros(partner.shape, dtype=np.bool_)
    right, worst = situation.quality[chosen], situation.worst_usd
    saved = situation.seconds_usd * np.minimum(situation.latency_s[partner], situation.latency_s[chosen])
    pays = (1.0 - right) * saved > right * situation.cost_usd[partner]
    together = worst[chosen] + worst[partner] <= situation.left_usd
    return np.asarray((partner != chosen) & pays & together)
