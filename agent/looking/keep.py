"""What was learned about looking, as data: a JSON part and tensors, checked when they are read back."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from curveroute.agent.errors import PredictorError
from curveroute.agent.looking.course import BASE, MOST_SLOTS, Course, states_of
from curveroute.agent.looking.looking import Looking
from curveroute.agent.looking.recorded import Slot
from curveroute.agent.types import Arm, ModelId
from curveroute.agent.verify.jury import Jury
from curveroute.agent.verify.scale import Calibrator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from curveroute.agent.types import JsonObject, JsonValue

    Tensors: TypeAlias = Mapping[str, NDArray[np.generic]]

_JURY = "jury."
_COURSES = "courses."
REMEDY = "train the predictor again"


def looking_document(looking: Looking | None) -> JsonObject | None:
    """The JSON part: names, slots and weights of cost; courses of one panel stand together."""
    if looking is None:
        return None
    panels: list[JsonValue] = [
        {
            "slots": [_slot_json(slot) for slot in sheaf.slots],
            "places": list(sheaf.places),
            "weights": [float(weight) for weight in sheaf.weight],
        }
        for sheaf in looking.sheaves
    ]
    return {
        "models": [str(name) for name in looking.jury.models],
        "unit_usd": looking.unit_usd,
        "panels": panels,
        "calibrator": looking.calibrator.to_json(),
    }


def looking_tensors(looking: Looking | None) -> dict[str, NDArray[np.float32]]:
    """The tensors: the jury's, and the values of every panel's courses."""
    if looking is None:
        return {}
    jury = {_JURY + name: tensor for name, tensor in looking.jury.to_tensors().items()}
    courses = {f"{_COURSES}{place}": np.ascontiguousarray(sheaf.weights) for place, sheaf in enumerate(looking.sheaves)}
    return jury | courses


def read_looking(document: JsonValue, tensors: Tensors) -> Looking | None:
    """Back from data.

    Raises:
        PredictorError: a part that is missing, of another shape, or out of range.
    """
    if document is None:
        return None
    if not isinstance(document, dict):
        raise PredictorError(f"its looking part is {type(document).__name__}, not an object: {REMEDY}")
    models, panels = _list(document, "models"), _list(document, "panels")
    jury_tensors = {
        name.removeprefix(_JURY): np.asarray(tensor, dtype=np.float32)
        for name, tensor in tensors.items()
        if name.startswith(_JURY)
    }
    jury = Jury.from_tensors(jury_tensors, [str(name) for name in models])
    found: list[tuple[int, Course]] = []
    for number, panel in enumerate(panels):
        found += _courses(panel, tensors.get(f"{_COURSES}{number}"))
    found.sort(key=lambda one: one[0])
    if [place for place, _ in found] != list(range(len(found))):
        raise PredictorError(f"its courses are not numbered from 0 without gaps: {REMEDY}")
    courses = tuple(course for _, course in found)
    if any(later.weight <= one.weight for one, later in pairwise(courses)):
        raise PredictorError(f"its courses are not in the order of their tradeoffs: {REMEDY}")
    unit = document.get("unit_usd")
    if not isinstance(unit, int | float) or isinstance(unit, bool) or not 0.0 < unit < np.inf:
        raise PredictorError(f"its unit of cost is {unit!r}, not a positive number: {REMEDY}")
    calibrator = document.get("calibrator")
    if not isinstance(calibrator, dict):
        raise PredictorError(f"its calibrator is {type(calibrator).__name__}, not an object: {REMEDY}")
    return Looking(jury, courses, float(unit), Calibrator.from_json(calibrator))


def _courses(panel: JsonValue, values: NDArray[np.generic] | None) -> list[tuple[int, Course]]:
    if not isinstance(panel, dict):
        raise PredictorError(f"a panel is {panel!r}, not an object: {REMEDY}")
    slots = tuple(_slot(entry) for entry in _list(panel, "slots"))
    places, weights = _list(panel, "places"), _list(panel, "weights")
    if (
        not 0 < len(slots) <= MOST_SLOTS
        or len(set(slots)) != len(slots)
        or not states_of(slots)[-1:] == [tuple(range(len(slots)))]
    ):
        raise PredictorError(f"a panel has slots {[str(slot) for slot in slots]}, which cannot all be asked: {REMEDY}")
    shape = (len(places), 1 << len(slots), BASE + len(slots), len(slots) + 1)
    if values is None or values.shape != shape or not np.isfinite(np.asarray(values, dtype=np.float32)).all():
        seen = "missing" if values is None else f"{values.shape}, expected {shape} and finite"
        raise PredictorError(f"the values of a panel's courses are {seen}: {REMEDY}")
    if len(weights) != len(places):
        raise PredictorError(f"a panel has {len(places)} places and {len(weights)} weights: {REMEDY}")
    courses = []
    for at, (place, weight) in enumerate(zip(places, weights, strict=True)):
        if isinstance(place, bool) or not isinstance(place, int):
            raise PredictorError(f"a course has place {place!r}: {REMEDY}")
        if not isinstance(weight, int | float) or not 0.0 < weight < np.inf:
            raise PredictorError(f"a course has weight {weight!r}: {REMEDY}")
        courses.append((place, Course(slots, float(weight), np.asarray(values[at], dtype=np.float32))))
    return courses


def _slot_json(slot: Slot) -> JsonObject:
    return {"model": slot.arm.model, "budget": slot.arm.budget, "sample": slot.sample}


def _slot(entry: JsonValue) -> Slot:
    if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
        raise PredictorError(f"{entry!r} is not a slot: {REMEDY}")
    budget, sample = entry.get("budget"), entry.get("sample")
    whole = isinstance(sample, int) and not isinstance(sample, bool) and sample >= 0
    fits = budget is None or (isinstance(budget, int) and not isinstance(budget, bool) and budget > 0)
    if not whole or not fits:
        raise PredictorError(f"{entry!r} is not a slot: {REMEDY}")
    return Slot(Arm(ModelId(str(entry["model"])), budget), sample)  # type: ignore[arg-type]  # checked above


def _list(document: JsonObject, name: str) -> list[JsonValue]:
    value = document.get(name)
    if not isinstance(value, list):
        raise PredictorError(f"its {name} are {type(value).__name__}, not a list: {REMEDY}")
    return value
