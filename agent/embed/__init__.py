"""The embedder seam: text in, one vector a text out, by name."""

from curveroute.agent.embed.by_name import DEFAULT_EMBEDDER, SHIPPED_EMBEDDERS, default_embedder, embedder_by_name
from curveroute.agent.embed.cache import CachedEmbedder
from curveroute.agent.embed.cues import CuedEmbedder
from curveroute.agent.embed.seam import Embedder, Vectors
from curveroute.agent.embed.use import USE_EMBEDDER, UseEmbedder, use_embedder

__all__ = [
    "DEFAULT_EMBEDDER",
    "SHIPPED_EMBEDDERS",
    "USE_EMBEDDER",
    "CachedEmbedder",
    "CuedEmbedder",
    "Embedder",
    "UseEmbedder",
    "Vectors",
    "default_embedder",
    "embedder_by_name",
    "use_embedder",
]
