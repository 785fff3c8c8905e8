"""A step of the rule as the decision that a run keeps: who is asked, why every other arm lost, what would change it.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.advice import choices
from curveroute.agent.escalate import PLANNED, gain_of, price_of, why_not
from curveroute.agent.flips import crossings, flips_from, named_flips, rejections
from curveroute.agent.types import Decision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.advice import Advice
    from curveroute.agent.escalate import Situation, Step
    from curveroute.agent.types import Arm, Flip


def decided(step: int, arms: Sequence[Arm], situation: Situation, chosen: Step, flips: tuple[Flip, ...]) -> Decision:
    """The decision that a step comes to.

    Args:
        step: its number in the run, from 1.
        arms: (A,) the candidates.
        situation: the run as the rule saw it.
        chosen: what the rule does.
        flips: where the choice would be another one.
    """
    learned = situation.gain is not None
    return Decision(
        step=step,
        arms=tuple(arms[index] for index in chosen.arms),
        reason=chosen.reason,
        status=chosen.status,
        committed=chosen.committed,
        rejected=rejections(
            arms,
            why_not(situation, chosen),
            net_gain=chosen.net,
            gain=gain_of(situation),
            price=price_of(situation),
            probability=situation.quality,
        ),
        flips=flips,
        policy="plan" if chosen.reason == PLANNED else "learned" if learned else "closed-form",
    )


def flips_near(arms: Sequence[Arm], situation: Situation, chosen: Step, advice: Advice | None) -> tuple[Flip, ...]:
    """The nearest tradeoffs at which the rule would have chosen otherwise, had it been asked the same here."""
    if chosen.reason == PLANNED:
        return ()
    may = situation.open & (situation.worst_usd <= situation.left_usd)
    own = chosen.arms[0] if chosen.arms else None
    if advice is None:
        gain = np.where(may, gain_of(situation), np.nan)
        found = crossings(gain, price_of(situation), situation.tradeoff, own, may_stop=situation.best is not None)
        pairs = [(at, () if arm is None else (arm,)) for at, arm in filter(None, found)]
        return named_flips(pairs, arms)
    chosen_here = -1 if own is None else own
    chosen_there = choices(advice, price_of(situation), may, unsaid=chosen_here)
    other = np.flatnonzero(chosen_there != chosen_here)
    grid = advice.survey.stack.tradeoffs[other]
    side = int(grid.searchsorted(situation.tradeoff))
    near = slice(max(side - 1, 0), side + 2)
    others = flips_from(
        [() if arm < 0 else (arm,) for arm in chosen_there[other[near]].tolist()],
        situation.tradeoff,
        grid[near].tolist(),
        own=() if own is None else (own,),
    )
    return named_flips(others, arms)
