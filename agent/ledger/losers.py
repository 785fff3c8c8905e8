"""The losers of a decision as one JSON value: columns instead of rows, so that hundreds of arms a step stay small.

Names and reasons are written once, and rows point at them. The first ledgers wrote one object a loser; both are read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from curveroute.agent.errors import LedgerError
from curveroute.agent.types import Arm, ModelId, Rejection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from curveroute.agent.types import JsonObject, JsonValue

_FIGURES = ("net_gain", "gain", "price", "probability")


def losers_json(rejected: Sequence[Rejection]) -> JsonObject:
    """Columns of equal length, beside the models and reasons that they point at.

    Raises:
        LedgerError: a figure that is not finite.
    """
    models, model = _indexed(str(one.arm.model) for one in rejected)
    reasons, reason = _indexed(one.reason for one in rejected)
    figures: dict[str, list[JsonValue]] = {
        name: [_checked(name, getattr(one, name)) for one in rejected] for name in _FIGURES
    }
    return {
        "models": models,
        "reasons": reasons,
        "model": model,
        "budget": [one.arm.budget for one in rejected],
        "reason": reason,
        **{name: column for name, column in figures.items() if any(value is not None for value in column)},
    }


def read_losers(stored: dict[str, Any] | list[dict[str, Any]]) -> tuple[Rejection, ...]:
    """The way back, from either form."""
    if isinstance(stored, list):
        return tuple(Rejection(Arm(one["model"], one["budget"]), one["reason"], one["net_gain"]) for one in stored)
    models, reasons, rows = stored["models"], stored["reasons"], len(stored["model"])
    figures = (stored.get(name) or [None] * rows for name in _FIGURES)
    return tuple(
        Rejection(Arm(ModelId(models[model]), budget), reasons[reason], *values)
        for model, budget, reason, *values in zip(
            stored["model"], stored["budget"], stored["reason"], *figures, strict=True
        )
    )


def _indexed(words: Iterable[str]) -> tuple[list[JsonValue], list[JsonValue]]:
    """The different words in the order in which they first come, and for each word its place among them."""
    places: dict[str, int] = {}
    indices: list[JsonValue] = [places.setdefault(word, len(places)) for word in words]
    return list(places), indices


def _checked(name: str, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise LedgerError(f"{name} is {value!r}: the ledger holds finite numbers only; mend it before recording")
    return value
