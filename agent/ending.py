"""Endings: what ends a run beside the rule, and when an answer that the rule accepts is no more than the best so far.

The rule sees one step. It does not see that an answer was shown already, that there were steps enough, that a cap kept
a whole course from being begun, or that a promise does not cover the answer. A cap that kept something from being asked
that is worth its price is always told. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from curveroute.agent.escalate import TOO_DEAR, Step, held_back, net_gain, price_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.advice import Advice
    from curveroute.agent.escalate import Situation
    from curveroute.agent.types import Attempt


def early_end(
    situation: Situation, answers: Sequence[Attempt], *, committed: bool, most_steps: int | None
) -> Step | None:
    """An end that is not the rule's, or None: a shown answer, enough steps, or only failed calls and nobody else.

    Args:
        situation: the run as the rule sees it.
        answers: every try to answer so far, with its verdict; at least one.
        committed: the answer was shown as it was written, so it stands, whatever its verdict.
        most_steps: how many steps were enough, where they were taken.
    """
    if committed and situation.best is not None:
        return _shown(situation, sound=any(one.verdict is not None and one.verdict.reason == "ok" for one in answers))
    if most_steps is not None:
        return Step((), f"{most_steps} steps are enough", "best_so_far", False, net_gain(situation))
    if situation.best is not None or (situation.open & (situation.worst_usd <= situation.left_usd)).any():
        return None
    reason = "every call failed, and the cap holds no other arm" if situation.open.any() else "every arm was tried"
    return Step((), reason, "best_so_far", False, net_gain(situation))


def _shown(situation: Situation, *, sound: bool) -> Step:
    """The end of a run whose answer was shown and stands; ``sound`` where it is an answer at all."""
    net = net_gain(situation)
    if held_back(situation, net):
        words = f"{'it stands as it was shown' if sound else 'it is no answer'}, and {TOO_DEAR}"
        return Step((), words, "best_so_far", False, net)
    if sound:
        return Step((), "no verdict could have changed the choice", "accepted", False, net)
    return Step((), "it is no answer, and no other arm pays", "best_so_far", False, net)


def off_course(step: Step, situation: Situation, begun: Advice | None) -> Step:
    """The step, where the cap held no slot of the course and following it is worth more than the answer in hand.

    The closed form decided then, and knows nothing of what the course would have come to.

    Args:
        step: what the rule does.
        situation: the run as the rule saw it.
        begun: what the course says before anything is asked; None where the run has no course.
    """
    if begun is None or step.status != "accepted" or situation.best is None:
        return step
    worth = begun.gain - begun.weight * price_of(situation) - situation.best
    if not ((worth > 0.0) & (situation.worst_usd > situation.left_usd)).any():
        return step
    words = "what was learned to pay at this tradeoff does not fit under the cap"
    return replace(step, status="best_so_far", reason=words)


def as_promised(step: Step, situation: Situation, threshold: float | None, *, measured: bool) -> Step:
    """The step, where an answer below the score of the promise that was asked for is not accepted but only the best.

    The run does not go on for it: the promise was measured on answers at which the learned rule stopped by itself, with
    no word of judge or verifiers.

    Args:
        step: what the rule does.
        situation: the run as the rule saw it.
        threshold: of the promise; None where none was asked for.
        measured: whether the promise was measured for such runs as this.
    """
    if threshold is None or step.status != "accepted" or situation.best is None:
        return step
    words = ""
    if not measured:
        words = "the promise was not measured for such a run"
    elif situation.best < threshold:
        words = f"its score {situation.best:.3f} is below the {threshold:.3f} of the promise"
    return replace(step, status="best_so_far", reason=f"{step.reason}; {words}") if words else step
