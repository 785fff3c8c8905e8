"""A step of the rule as the decision that a run keeps: who is asked, why every other arm lost, what would change it.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curveroute.agent.escalate import PLANNED, gain_of, price_of, why_not
from curveroute.agent.flips import named_flips, rejections
from curveroute.agent.types import Decision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.elsewhere import Elsewhere
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


def flips_near(arms: Sequence[Arm], elsewhere: Elsewhere, chosen: Step) -> tuple[Flip, ...]:
    """The nearest tradeoffs at which the rule would have chosen otherwise, had it been asked the same here."""
    return () if chosen.reason == PLANNED else named_flips(elsewhere.flips(chosen.arms), arms)
