"""Prices of recorded models, for sources that hold token counts and no costs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, TypeAlias

from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Prices: TypeAlias = "Mapping[str, tuple[float, float]]"
"""USD per million input and output tokens of each model."""
PER_MILLION = 1e-6
_SHAPE = '{"MODEL": {"input": USD, "output": USD}} for a million tokens'


def read_prices(path: Path) -> dict[str, tuple[float, float]]:
    """Prices from a JSON file, ``{"MODEL": {"input": USD, "output": USD}}`` for a million tokens.

    Raises:
        TableError: unreadable, or of another shape.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TableError(f"cannot read prices from {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path.name} is not readable as JSON: {error}; write {_SHAPE}") from error
    if not isinstance(document, dict):
        raise TableError(f"{path.name} is not a JSON object; write {_SHAPE}")
    return {model: _pair(path.name, model, price) for model, price in document.items()}


def _pair(source: str, model: str, price: object) -> tuple[float, float]:
    pair = [price.get(kind) for kind in ("input", "output")] if isinstance(price, dict) else []
    usable = [
        float(usd)
        for usd in pair
        if isinstance(usd, int | float) and not isinstance(usd, bool) and math.isfinite(usd) and usd >= 0
    ]
    if len(usable) != len(("input", "output")):
        raise TableError(f"{source}: {price!r} is no price of {model!r}; write {_SHAPE}, finite and not negative")
    return usable[0], usable[1]


def require_prices(models: Iterable[str], prices: Prices) -> None:
    """Refuse models that have no price.

    Raises:
        TableError: there is one; the message names the remedy.
    """
    unpriced = [model for model in models if model not in prices]
    if not unpriced:
        return
    named = ", ".join(unpriced[:5]) + (f" and {len(unpriced) - 5} more" if len(unpriced) > 5 else "")  # noqa: PLR2004
    raise TableError(
        f"no price for {named}; give --pool POOL or --prices FILE with {_SHAPE}, or leave them out with --models"
    )
