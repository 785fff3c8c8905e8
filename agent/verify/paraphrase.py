"""Groups of answers by meaning: the texts that spelling cannot compare go through the embedder once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curveroute.agent.errors import EmbedError
from curveroute.agent.verify.free_text import PARAPHRASE_THRESHOLD, groups_of_texts, is_free_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.embed.seam import Embedder

_TWO = 2


async def answer_groups(
    answers: Sequence[str], embedder: Embedder, threshold: float = PARAPHRASE_THRESHOLD
) -> tuple[int | None, ...]:
    """Which answers make one claim, free text by its embedding; nothing is embedded when fewer than two are free text.

    An embedder that fails says nothing: then texts agree by their spelling alone.

    Returns:
        As :func:`groups_of_texts`: one number for each answer, ``None`` where nothing is claimed.
    """
    texts = sorted({answer for answer in answers if is_free_text(answer)})
    if len(texts) < _TWO:
        return groups_of_texts(answers, {}, threshold)
    try:
        found = await embedder.embed(texts)
    except EmbedError:
        return groups_of_texts(answers, {}, threshold)
    return groups_of_texts(answers, dict(zip(texts, found, strict=True)), threshold)
