"""The embedder seam: text in, one vector a text out, by name."""

from curveroute.agent.embed.by_name import embedder_by_name
from curveroute.agent.embed.cache import CachedEmbedder
from curveroute.agent.embed.seam import Embedder, Vectors
from curveroute.agent.embed.use import DEFAULT_EMBEDDER, UseEmbedder, default_embedder

__all__ = [
    "DEFAULT_EMBEDDER",
    "CachedEmbedder",
    "Embedder",
    "UseEmbedder",
    "Vectors",
    "default_embedder",
    "embedder_by_name",
]
