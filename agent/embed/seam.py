"""What every embedder promises: one vector a text, the same for the same text, without blocking the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from curveroute.agent.errors import EmbedError

if TYPE_CHECKING:
    from collections.abc import Sequence

Vectors: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Embedder(Protocol):
    """Anything that turns texts into vectors.

    Attributes:
        name: stored with every predictor fitted on it; another name is another space.
        dim: length of a vector.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def dim(self) -> int: ...  # noqa: D102

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dim), float32, finite.

        Raises:
            EmbedError: the texts could not be embedded.
        """


def encodable(text: str) -> str:
    """``text`` without lone surrogates, which no tokenizer and no request can carry."""
    return text.encode("utf-8", "replace").decode()


def checked(vectors: Vectors, count: int, dim: int, name: str) -> Vectors:
    """``vectors`` as float32 of shape (count, dim).

    Raises:
        EmbedError: another shape, or a value that is not finite.
    """
    try:
        found = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise EmbedError(f"embedder {name!r} gave no array of numbers ({error})") from error
    if found.shape != (count, dim):
        raise EmbedError(f"embedder {name!r} gave shape {found.shape} for {count} texts; expected ({count}, {dim})")
    if not np.isfinite(found).all():
        raise EmbedError(f"embedder {name!r} gave a value that is not finite")
    return found
