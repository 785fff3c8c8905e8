"""A new model joins a fitted predictor from a few hundred answers, and nothing that was there changes.

The new arms' heads are put together from the old ones. Recorded tables show that models differ in few ways: what the
old heads span is nearly all that can be learned of a query, so a new head is a mix of old ones (``newcomer``), linear
in the embedding like any other. Nothing else of the old training is needed but each arm's mean quality, and every
entry of the old arms stays as it is, bit for bit.

UniRouter (arXiv 2502.08773) joins models without retraining too, by their mean error in clusters of queries.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.errors import PredictorError
from curveroute.agent.predictor.appended import appended_covariance
from curveroute.agent.predictor.newcomer import Veterans, quality_of, tokens_of
from curveroute.agent.predictor.rising import rise
from curveroute.agent.predictor.squash import squash
from curveroute.agent.predictor.training import checked, most_tokens_of
from curveroute.agent.types import PredictorOrigin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from curveroute.agent.decide import Floats, Indices, Singles
    from curveroute.agent.predictor.heads import CurveHeads
    from curveroute.agent.predictor.model import Predictor
    from curveroute.agent.predictor.newcomer import Learned, Rows
    from curveroute.agent.predictor.training import Training
    from curveroute.agent.types import Arm

FEWEST_QUERIES = 20


def onboard(
    predictor: Predictor,
    x: ArrayLike,
    quality: ArrayLike,
    output_tokens: ArrayLike,
    *,
    cost_usd: ArrayLike,
    arms: Sequence[Arm],
    others: ArrayLike | None = None,
) -> Predictor:
    """A predictor that knows one more model.

    Args:
        predictor: fitted or loaded; it is left as it is.
        x: (N, D) embeddings of queries, of the predictor's embedder, drawn like those it was fitted on.
        quality: (N, B) of the new model's answers in [0, 1]. Queries with a gap (NaN) are left out.
        output_tokens: (N, B).
        cost_usd: (N, B) USD of the whole call.
        arms: the B arms of the new model.
        others: (N, A) quality of the predictor's own arms on the same queries, NaN where not known. With it, the luck
            that the others had on these queries is taken out of the new model's, and errors are known to go together.

    Returns:
        A new predictor with the B arms after those it had. In ``metrics_`` of the new arms, ``quality`` is the mean
        to be expected over queries like those of the fit, ``measured`` that of the N answers, and ``believed`` how
        much is kept of what seemed to set the arm apart from its like, in [0, 1].

    Raises:
        PredictorError: a model that it knows, arrays that do not fit or hold values out of range, another embedder's
            dimensions, or fewer than twenty queries that all the arms answered.
    """
    heads, new = predictor.heads_, tuple(arms)
    check_new(predictor, new)
    _check_embeddings(x, heads)
    table, rows = _whole(*checked(x, quality, output_tokens, cost_usd, new))
    known = _others(others, (np.shape(x)[0], len(heads.arms)))[rows]
    old = Veterans(heads, _mean_qualities(predictor))
    learned = quality_of(old, table, new, known, predictor.shrinkage_.rho)
    most = most_tokens_of(table, new)
    predictions = rise(heads.rising, squash(learned.left_out))
    error = table.quality - predictions
    joined = _Joined(new, learned.rows, tokens_of(old, table, new, most), most)
    covariance = appended_covariance(heads, error, known - heads.predict(table.x).quality)
    metrics = {str(arm): _metrics(table, error, learned, at) for at, arm in enumerate(new)}
    return _with(predictor, _appended(heads, joined, covariance), metrics)


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """What is appended."""

    arms: tuple[Arm, ...]
    quality: Rows
    tokens: Rows
    most_tokens: Floats


def check_new(predictor: Predictor, new: Sequence[Arm]) -> None:
    """Refuse arms that cannot be added, before anything is spent on them.

    Raises:
        PredictorError: none, arms of several models, or of a model that the predictor knows.
    """
    models = sorted({str(arm.model) for arm in new})
    if len(models) != 1:
        named = ", ".join(models) or "none"
        raise PredictorError(f"the arms are of {len(models)} models ({named}): onboard one at a time")
    if any(arm.model == models[0] for arm in predictor.arms_):
        raise PredictorError(
            f"the predictor already knows model {models[0]!r}: to replace what it knows, train again on a table that "
            "holds the model's new answers"
        )


def _check_embeddings(x: ArrayLike, heads: CurveHeads) -> None:
    if np.ndim(x) != 2 or np.shape(x)[1] != heads.dimension:  # noqa: PLR2004
        raise PredictorError(
            f"embeddings of shape {np.shape(x)} do not fit a predictor of {heads.dimension} dimensions: "
            "embed with the embedder it was trained with"
        )


def _whole(table: Training, arms: tuple[Arm, ...]) -> tuple[Training, Indices]:
    """The queries that all arms answered, and which of the rows given those are."""
    whole = ~np.isnan(table.quality).any(axis=1)
    if np.count_nonzero(whole) < FEWEST_QUERIES:
        raise PredictorError(
            f"model {str(arms[0].model)!r} has {np.count_nonzero(whole)} queries that all its {len(arms)} arms "
            f"answered, and needs {FEWEST_QUERIES}: collect more"
        )
    values = (one[whole] for one in (table.x, table.quality, table.tokens, table.cost_usd))
    rows = np.flatnonzero(table.asked)[whole]
    return replace(table, asked=np.ones(rows.size, dtype=np.bool_), **dict(zip(_FIELDS, values, strict=True))), rows


_FIELDS = ("x", "quality", "tokens", "cost_usd")


def _others(others: ArrayLike | None, shape: tuple[int, int]) -> Floats:
    if others is None:
        return np.full(shape, np.nan)
    known: Floats = np.asarray(others, dtype=np.float64)
    seen = known[~np.isnan(known)]
    if known.shape != shape or not (np.isfinite(seen).all() and (seen >= 0.0).all() and (seen <= 1.0).all()):
        raise PredictorError(
            f"the other arms' quality has shape {known.shape} and {seen.size} values: "
            f"give {shape[0]} rows of {shape[1]} values in [0, 1], NaN where not known"
        )
    return known


def _mean_qualities(predictor: Predictor) -> Floats:
    """(A,) of the old arms on the queries they were fitted on."""
    means = [predictor.metrics_.get(str(arm), {}).get("quality") for arm in predictor.arms_]
    unknown = [str(arm) for arm, mean in zip(predictor.arms_, means, strict=True) if mean is None]
    if unknown:
        raise PredictorError(f"the predictor's metrics lack the mean quality of {unknown[0]}: train it again")
    return np.array(means, dtype=np.float64)


def _appended(heads: CurveHeads, new: _Joined, covariance: Floats) -> CurveHeads:
    """The old rows, then the new ones, in both halves."""
    old = len(heads.arms)

    def halves(array: Singles, quality: Floats, tokens: Floats) -> Singles:
        parts = (array[:old], quality.astype(np.float32), array[old:], tokens.astype(np.float32))
        return np.ascontiguousarray(np.concatenate(parts))

    return replace(
        heads,
        arms=(*heads.arms, *new.arms),
        weights=halves(heads.weights, new.quality.weights, new.tokens.weights),
        bias=halves(heads.bias, new.quality.bias, new.tokens.bias),
        covariance=covariance,
        most_tokens=np.concatenate((heads.most_tokens, new.most_tokens)),
    )


def _metrics(table: Training, error: Floats, learned: Learned, at: int) -> dict[str, float | None]:
    variance, missed = float(table.quality[:, at].var()), float(np.square(error[:, at]).mean())
    return {
        "queries": float(error.shape[0]),
        "quality": float(np.clip(learned.level[at], 0.0, 1.0)),
        "measured": float(table.quality[:, at].mean()),
        "output_tokens": float(table.tokens[:, at].mean()),
        "cost_usd": float(table.cost_usd[:, at].mean()),
        "loo_mse": missed,
        "explained": 1.0 - missed / variance if variance > 0.0 else None,
        "believed": float(learned.believed[at]),
    }


def _with(predictor: Predictor, heads: CurveHeads, metrics: dict[str, dict[str, float | None]]) -> Predictor:
    carrying = copy(predictor)
    carrying.heads_ = heads
    carrying.metrics_ = {**predictor.metrics_, **metrics}
    carrying.origin_ = PredictorOrigin()
    if predictor.lessons_ is not None:  # the old heads hold them for good; they say nothing of how the new one was made
        carrying.lessons_ = predictor.lessons_.folded()
    if predictor.looking_ is not None:  # its courses never lead to the new model: the closed form asks it too
        carrying.looking_ = replace(predictor.looking_, courses=())
    for name in ("loo_quality_", "loo_tokens_"):  # of the training queries, which the new model never saw
        carrying.__dict__.pop(name, None)
    return carrying
