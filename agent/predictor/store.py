"""A predictor as a folder of data: ``predictor.json`` and ``weights.safetensors``. Never pickle.

What is loaded is what was saved, bit for bit, or an error: both files carry a hash, and every value is checked against
the shapes it must have. Saving writes a new folder next to the old one and swaps them, so that a reader finds either
the old predictor or the new one, and a failure leaves the old one in place.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from curveroute.agent.errors import PredictorError
from curveroute.agent.looking.keep import looking_document, looking_tensors, read_looking
from curveroute.agent.predictor.heads import CurveHeads
from curveroute.agent.predictor.keep_lessons import (
    lessons_document,
    lessons_tensors,
    read_lessons,
    read_spread,
    spread_document,
)
from curveroute.agent.predictor.model import Predictor
from curveroute.agent.predictor.shrink import Shrinkage
from curveroute.agent.settings import installed_version
from curveroute.agent.types import Arm, ModelId, PredictorOrigin

if TYPE_CHECKING:
    from curveroute.agent.decide import Floats
    from curveroute.agent.types import JsonObject, JsonValue

FORMAT = 3
JSON_NAME = "predictor.json"
WEIGHTS_NAME = "weights.safetensors"
REMEDY = "train it again, or restore the folder from a copy"

T = TypeVar("T")


def save_predictor(predictor: Predictor, folder: str | Path) -> Path:
    """Write a fitted predictor to ``folder``, replacing a predictor that is there.

    Returns:
        The folder.

    Raises:
        PredictorError: the folder is there and is not a predictor's, or cannot be written.
    """
    target = Path(folder)
    holds_predictor(target)
    arrays = looking_tensors(predictor.looking_) | lessons_tensors(predictor.spread_, predictor.lessons_)
    weights = save_tensors(_tensors(predictor.heads_) | arrays)
    document = _document(predictor, weights)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            _write(fresh / WEIGHTS_NAME, weights)
            _write(fresh / JSON_NAME, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")
            fresh.chmod(0o755)
            _swap(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise PredictorError(f"the predictor cannot be written to {target} ({error}): choose another folder") from error
    return target


def load_predictor(folder: str | Path) -> Predictor:
    """Read a predictor from its folder.

    Raises:
        PredictorError: a file is missing, damaged, of an unknown format, or does not fit the other.
    """
    source = Path(folder)
    document = _read_document(source)
    tensors = _read_tensors(source, _text(source, document, "weights_sha256"))
    arms = _arms(source, _entry(source, document, "arms", list))
    predictor = Predictor(embedder=_text(source, document, "embedder"))
    predictor.heads_ = _heads(source, arms, tensors, _number(source, document, "reference_cost_usd"))
    if predictor.heads_.dimension != _entry(source, document, "dimension", int):
        _refuse(source, f"its weights have {predictor.heads_.dimension} dimensions, not those of {JSON_NAME}")
    choice = _entry(source, document, "shrinkage", dict)
    predictor.shrinkage_ = _shrinkage(source, choice)
    predictor.metrics_ = _entry(source, document, "metrics", dict)
    predictor.data_hash_ = _text(source, document, "data_hash")
    predictor.origin_ = PredictorOrigin(str(source.resolve()), _text(source, document, "sha256"))
    try:
        predictor.looking_ = read_looking(document.get("looking"), tensors)
        predictor.spread_ = read_spread(document.get("spread"), tensors, predictor.heads_.dimension)
        predictor.lessons_ = read_lessons(document.get("lessons"), tensors, predictor.heads_.dimension)
    except PredictorError as error:
        raise PredictorError(f"the predictor in {source} is damaged: {error}") from error
    return predictor


def holds_predictor(folder: str | Path) -> bool:
    """Whether a predictor is there; where nothing is, or an empty folder, one may be written.

    Raises:
        PredictorError: something else is there, which is not ours to replace.
    """
    target = Path(folder)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    if not (target / JSON_NAME).is_file():
        raise PredictorError(f"{target} exists and holds no predictor: choose another folder, or empty it yourself")
    return True


def _tensors(heads: CurveHeads) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    return {
        "weights": np.ascontiguousarray(heads.weights),
        "bias": np.ascontiguousarray(heads.bias),
        "covariance": np.ascontiguousarray(heads.covariance),
        "most_tokens": np.ascontiguousarray(heads.most_tokens),
        "rising": np.ascontiguousarray(heads.rising),
    }


def _document(predictor: Predictor, weights: bytes) -> JsonObject:
    choice = predictor.shrinkage_
    document: JsonObject = {
        "format": FORMAT,
        "versions": {"curveroute": installed_version(), "numpy": np.__version__},
        "embedder": predictor.embedder,
        "dimension": predictor.heads_.dimension,
        "arms": [{"model": arm.model, "budget": arm.budget} for arm in predictor.arms_],
        "cost_unit": "pool",
        "reference_cost_usd": predictor.reference_cost_usd_,
        "shrinkage": {
            "settings": [[None if alpha == np.inf else alpha, rho] for alpha, rho in choice.settings],
            "common_alpha": None if choice.common_alpha == np.inf else choice.common_alpha,
            "share": choice.share,
            "gain": choice.gain,
            "gain_se": choice.gain_se,
        },
        "metrics": {name: dict(values) for name, values in predictor.metrics_.items()},
        "looking": looking_document(predictor.looking_),
        "spread": spread_document(predictor.spread_),
        "lessons": lessons_document(predictor.lessons_),
        "data_hash": predictor.data_hash_,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    return {**document, "sha256": _digest(document)}


def _digest(document: JsonObject) -> str:
    """Hash of what the document says, whatever its spacing and order."""
    words = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _swap(fresh: Path, target: Path) -> None:
    """Put ``fresh`` in the place of ``target``; a folder that is there steps aside first and comes back on failure."""
    if not target.exists():
        fresh.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)) / "old"
    target.rename(aside)
    try:
        fresh.rename(target)
    except OSError:
        aside.rename(target)
        raise
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)


def _refuse(source: Path, what: str) -> NoReturn:
    raise PredictorError(f"the predictor in {source} is damaged: {what}; {REMEDY}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PredictorError(
            f"{path} cannot be read ({error.strerror}): give the folder of a trained predictor, or {REMEDY}"
        ) from error


def _read_document(source: Path) -> JsonObject:
    raw = _read(source / JSON_NAME)
    try:
        document = json.loads(raw, parse_constant=lambda word: _refuse(source, f"{JSON_NAME} holds {word}"))
    except (ValueError, RecursionError) as error:
        _refuse(source, f"{JSON_NAME} is not JSON ({error})")
    if not isinstance(document, dict):
        _refuse(source, f"{JSON_NAME} is not an object")
    if document.get("format") != FORMAT:
        raise PredictorError(
            f"the predictor in {source} has format {document.get('format')!r} and this version reads {FORMAT}: "
            "install the version of curveroute that wrote it, or train it again"
        )
    if document.get("sha256") != _digest(document):
        _refuse(source, f"{JSON_NAME} does not match its own hash")
    return document


def _read_tensors(source: Path, digest: str) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    raw = _read(source / WEIGHTS_NAME)
    if hashlib.sha256(raw).hexdigest() != digest:
        _refuse(source, f"{WEIGHTS_NAME} does not match the hash in {JSON_NAME}")
    try:
        return dict(load_tensors(raw))
    except (SafetensorError, ValueError, KeyError) as error:
        _refuse(source, f"{WEIGHTS_NAME} is not in safetensors format ({error})")


def _entry(source: Path, document: JsonObject, name: str, kind: type[T]) -> T:
    value = document.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        _refuse(source, f"{name} in {JSON_NAME} is {type(value).__name__}, not {kind.__name__}")
    return value


def _text(source: Path, document: JsonObject, name: str) -> str:
    return _entry(source, document, name, str)


def _number(source: Path, document: JsonObject, name: str) -> float:
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        _refuse(source, f"{name} in {JSON_NAME} is {value!r}, not a number")
    return float(value)


def _arms(source: Path, entries: list[JsonValue]) -> tuple[Arm, ...]:
    arms = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("model"), str) or "budget" not in entry:
            _refuse(source, f"{entry!r} is not an arm")
        budget = entry["budget"]
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
            _refuse(source, f"{budget!r} is not a budget")
        arms.append(Arm(ModelId(str(entry["model"])), budget))
    if not arms or len(set(arms)) != len(arms):
        _refuse(source, "its arms are missing or repeated")
    return tuple(arms)


def _heads(
    source: Path, arms: tuple[Arm, ...], tensors: dict[str, np.ndarray[Any, np.dtype[Any]]], reference: float
) -> CurveHeads:
    count = len(arms)
    width = tensors["weights"].shape[-1] if "weights" in tensors and tensors["weights"].ndim else 0
    expected = {
        "weights": ((2 * count, width), np.float32),
        "bias": ((2 * count,), np.float32),
        "covariance": ((count, count), np.float64),
        "most_tokens": ((count,), np.float64),
        "rising": (
            (2, tensors["rising"].shape[-1] if "rising" in tensors and tensors["rising"].ndim else 0),
            np.float64,
        ),
    }
    for name, (shape, kind) in expected.items():
        found = tensors.get(name)
        if found is None or found.shape != shape or found.dtype != kind:
            seen = "missing" if found is None else f"{found.dtype} {found.shape}"
            _refuse(source, f"{name} is {seen}, not {np.dtype(kind)} {shape}")
        if not np.isfinite(found).all():
            _refuse(source, f"{name} holds NaN or infinity")
    if reference <= 0.0 or (np.diagonal(tensors["covariance"]) < 0.0).any() or (tensors["most_tokens"] < 0.0).any():
        _refuse(source, "its reference cost, variances or token ceilings are not positive")
    _check_rising(source, tensors["rising"])
    return CurveHeads(arms, **{name: tensors[name] for name in expected}, reference_cost_usd=reference)


def _check_rising(source: Path, knots: Floats) -> None:
    inside = (knots >= 0.0).all() and (knots <= 1.0).all()
    if knots.shape[1] < 2 or not inside or (np.diff(knots[0]) <= 0.0).any() or (np.diff(knots[1]) < 0.0).any():  # noqa: PLR2004
        _refuse(source, "its calibration does not rise from 0 to 1")


def _shrinkage(source: Path, choice: JsonObject) -> Shrinkage:
    settings = tuple(_setting(source, one) for one in _entry(source, choice, "settings", list))
    if not settings:
        _refuse(source, "its shrinkage has no settings")
    common = _penalty(source, choice.get("common_alpha"))
    share, gain, error = (_number(source, choice, name) for name in ("share", "gain", "gain_se"))
    return Shrinkage(settings, common, share, gain, error)


def _setting(source: Path, pair: JsonValue) -> tuple[float, float]:
    if not isinstance(pair, list) or len(pair) != 2 or isinstance(pair[1], bool):  # noqa: PLR2004
        _refuse(source, f"{pair!r} is not a penalty and a share")
    return _penalty(source, pair[0]), _number(source, {"share": pair[1]}, "share")


def _penalty(source: Path, value: JsonValue) -> float:
    return np.inf if value is None else _number(source, {"penalty": value}, "penalty")
