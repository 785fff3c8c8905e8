"""How the training queries lay, and what was learned from feedback, as a part of the predictor's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from curveroute.agent.errors import PredictorError
from curveroute.agent.predictor.lessons import Heard, Lessons
from curveroute.agent.predictor.spread import Spread
from curveroute.agent.types import Arm, ModelId, RunId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curveroute.agent.types import JsonValue

    Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]

_SPREAD = {"centre": np.float32, "directions": np.float32, "spectrum": np.float64}
_HEARD = {"x": np.float32, "scores": np.float64, "residual": np.float64}


def spread_document(spread: Spread | None) -> JsonValue:
    """The numbers."""
    return None if spread is None else {"rows": spread.rows, "penalty": spread.penalty, "rest": spread.rest}


def lessons_document(lessons: Lessons | None) -> JsonValue:
    """Which runs, and which arms served them."""
    if lessons is None:
        return None
    return {
        "belief": lessons.belief,
        "runs": list(lessons.heard.runs),
        "arms": [{"model": arm.model, "budget": arm.budget} for arm in lessons.heard.arms],
        "older": list(lessons.older),
    }


def lessons_tensors(spread: Spread | None, lessons: Lessons | None) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """The arrays of both."""
    found: dict[str, np.ndarray[Any, np.dtype[Any]]] = {}
    if spread is not None:
        found |= {f"spread_{name}": np.ascontiguousarray(getattr(spread, name)) for name in _SPREAD}
    if lessons is not None:
        kept = {"x": lessons.heard.x, "scores": lessons.heard.scores, "residual": lessons.residual}
        found |= {f"lessons_{name}": np.ascontiguousarray(array) for name, array in kept.items()}
    return found


def read_spread(document: JsonValue, tensors: Arrays, dimension: int) -> Spread | None:
    """The spread of a folder; None in those of before it was kept.

    Raises:
        PredictorError: it does not fit, or holds what no spread can.
    """
    if document is None:
        return None
    rows, penalty, rest = (_number(document, name) for name in ("rows", "penalty", "rest"))
    arrays = _arrays("spread", _SPREAD, tensors)
    count = arrays["spectrum"].shape[0]
    fit = arrays["directions"].shape == (count, dimension) and arrays["centre"].shape == (dimension,)
    if not fit or rows < 1.0 or penalty <= 0.0 or rest < 0.0 or (arrays["spectrum"] < 0.0).any():
        raise PredictorError("its spread does not fit its heads")
    return Spread(rows, penalty, arrays["centre"], arrays["directions"], arrays["spectrum"], rest)


def read_lessons(document: JsonValue, tensors: Arrays, dimension: int) -> Lessons | None:
    """What a folder's heads learned from feedback; None where nothing was.

    Raises:
        PredictorError: it does not fit, or holds what no lesson can.
    """
    if document is None:
        return None
    arrays = _arrays("lessons", _HEARD, tensors)
    runs, older = (tuple(RunId(str(run)) for run in _list(document, name)) for name in ("runs", "older"))
    arms = tuple(_arm(one) for one in _list(document, "arms"))
    count = (len(runs),)
    fit = arrays["x"].shape == (*count, dimension) and arrays["scores"].shape == arrays["residual"].shape == count
    belief = _number(document, "belief")
    if not fit or len(arms) != len(runs) or belief <= 0.0 or len(set(runs)) != len(runs):
        raise PredictorError("its lessons do not fit its heads")
    return Lessons(Heard(runs, arms, arrays["x"], arrays["scores"]), arrays["residual"], belief, older)


def _list(document: JsonValue, name: str) -> list[JsonValue]:
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise PredictorError(f"{name} of its lessons is {type(found).__name__}, not list")
    return found


def _arm(one: JsonValue) -> Arm:
    model, budget = (one.get("model"), one.get("budget", 0)) if isinstance(one, dict) else (None, 0)
    if not isinstance(model, str) or not (budget is None or (isinstance(budget, int) and budget > 0)):
        raise PredictorError(f"{one!r} in its lessons is no arm")
    return Arm(ModelId(model), budget)


def _number(document: JsonValue, name: str) -> float:
    value = document.get(name) if isinstance(document, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise PredictorError(f"{name} of what it learned is {value!r}, no number")
    return float(value)


def _arrays(part: str, kinds: Mapping[str, type], tensors: Arrays) -> dict[str, Any]:
    found = {}
    for name, kind in kinds.items():
        array = tensors.get(f"{part}_{name}")
        if array is None or array.dtype != kind or not array.ndim or not np.isfinite(array).all():
            raise PredictorError(f"{part}_{name} is missing or damaged")
        found[name] = array
    return found
