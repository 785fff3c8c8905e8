"""Recorded answers heard as runs hear them: free text by its meaning, through the embedder that runs compare it with.

What is learned of looking is learned from who agrees with whom. So learning groups answers as the graph does, or its
courses would meet other groups than they come from. Each distinct text is embedded once, and kept by its hash.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from curveroute.agent.embed.kept import kept_embeddings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from curveroute.agent.bench.grid import Grid
    from curveroute.agent.decide import Indices
    from curveroute.agent.embed.seam import Embedder


async def heard(
    *grids: Grid,
    embedder: Embedder,
    folder: Path | None,
    watch: Callable[[int, int], None] | None = None,
    arms: Indices | None = None,
) -> tuple[Grid, ...]:
    """The same grids, in which free text agrees by its meaning; nothing is embedded where no two texts meet.

    Args:
        grids: of recorded answers.
        embedder: that runs will compare answers with.
        folder: in which embeddings are kept for the next time; None only costs time.
        watch: told how many distinct texts of how many are embedded.
        arms: columns of the grids whose answers are heard; all when not given. Other arms' agree by their spelling.

    Raises:
        EmbedError: the texts could not be embedded.
    """
    read = [grid.samples if arms is None else grid.samples.arms(arms) for grid in grids]
    texts = sorted({text for samples in read for text in samples.free_texts()})
    if not texts:
        return grids
    vectors = dict(zip(texts, await kept_embeddings(texts, embedder, folder, watch), strict=True))
    return tuple(replace(grid, samples=grid.samples.heard(vectors)) for grid in grids)
