"""What an encoder of meaning does not say: how long a query is, how many numbers and options it has, what it asks for.

A handful of plain counts and words beside the vector of another embedder. They help to expect how long an answer will
be and whether a sum is in it; each is scaled by a constant so that all together weigh about a quarter of the vector.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.embed.seam import Embedder, Vectors

SUFFIX = "+cues"
_LONGEST_TEXT = 20_000
_FLAG = 0.15  # weight of a word that is there
_COUNT = 0.1  # weight of the logarithm of a count
_SHARE = 0.5  # weight of a share of the characters

_OPTION = re.compile(r"(?m)^\s*\(?[A-P][).:]\s")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_COUNTED = ("\n", "?", ",", ".", "$", "\\", "%", "(", '"', "```")
_SHARED = tuple(map(re.compile, (r"[0-9]", r"[A-Z]", r"[-+*/=^<>|~]", r"[^\x00-\x7f]")))
_WORDS = (
    "which of", "calculate", "compute", "what is", "how many", "how much", "why", "who", "when", "where", "true",
    "false", "not ", "except", "most", "probability", "suppose", "assume", "if ", "find", "solve", "prove", "explain",
    "describe", "summar", "translate", "write", "list", "sort", "json", "code", "python", "function", "theorem", "law",
    "court", "patient", "company", "price", "rate", "percent", "ratio", "energy", "passage", "argument", "moral",
    "twice", "half", "each", "total", "left", "more than", "less than", "hour", "year", "next", "pattern", "letter",
    "word", "sentence",
)  # fmt: skip

CUES = 4 + len(_COUNTED) + len(_SHARED) + len(_WORDS)


def cues_of(text: str) -> list[float]:
    """The cues of one query: ``CUES`` numbers, all 0 for an empty text."""
    read = text[:_LONGEST_TEXT]
    lower, length, numbers = read.lower(), max(len(read), 1), _NUMBER.findall(read)
    counts = (len(read), len(read.split()), len(_OPTION.findall(read)), len(numbers), *map(read.count, _COUNTED))
    shares = (len(kind.findall(read)) / length for kind in _SHARED)
    return [
        *(_COUNT * float(np.log1p(count)) for count in counts),
        *(_SHARE * float(np.sqrt(share)) for share in shares),
        *(_FLAG * (word in lower) for word in _WORDS),
    ]


def cue_vectors(texts: Sequence[str]) -> Vectors:
    """(n, CUES) cues of each text."""
    return np.array([cues_of(text) for text in texts], dtype=np.float32).reshape(len(texts), CUES)


class CuedEmbedder:
    """Another embedder's vectors with the cues beside them.

    Args:
        inner: the embedder of meaning.
    """

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """The inner embedder's name, marked."""
        return self.inner.name + SUFFIX

    @property
    def dim(self) -> int:
        """The inner embedder's dimension and the cues."""
        return self.inner.dim + CUES

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dim); see :class:`curveroute.agent.embed.seam.Embedder`."""
        return np.hstack((await self.inner.embed(texts), cue_vectors(texts)))
