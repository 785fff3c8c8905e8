"""Embedders by name: shipped ones, or an OpenAI-compatible endpoint described in one line; each with cues or not."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from curveroute.agent.embed.cache import CachedEmbedder
from curveroute.agent.embed.cues import SUFFIX, CuedEmbedder
from curveroute.agent.embed.openai_embed import OpenAIEmbedder
from curveroute.agent.embed.use import USE_EMBEDDER, use_embedder
from curveroute.agent.errors import MissingKey, SettingError
from curveroute.agent.settings import read_secret

if TYPE_CHECKING:
    from curveroute.agent.embed.seam import Embedder

DEFAULT_EMBEDDER = USE_EMBEDDER + SUFFIX
SHIPPED_EMBEDDERS = (DEFAULT_EMBEDDER, USE_EMBEDDER)
_FORM = "openai:MODEL?dim=1536&url=https://…/v1&key_env=NAME"


@cache
def default_embedder() -> CachedEmbedder:
    """The process-wide instance of the default, behind a cache of recent texts."""
    return CachedEmbedder(CuedEmbedder(use_embedder().inner))


def embedder_by_name(name: str) -> Embedder:
    """The embedder of that name, behind a cache.

    Args:
        name: ``use-multilingual-v3``, the same with ``+cues`` (the default), or
            ``openai:MODEL?dim=…&url=…&key_env=…`` (without ``key_env`` for endpoints that need no key).

    Raises:
        SettingError: neither of these.
        MissingKey: the endpoint's key variable is not set.
    """
    if name == DEFAULT_EMBEDDER:
        return default_embedder()
    if name == USE_EMBEDDER:
        return use_embedder()
    if name.endswith(SUFFIX):
        return CuedEmbedder(embedder_by_name(name.removesuffix(SUFFIX)))
    kind, _, rest = name.partition(":")
    model, _, options = rest.partition("?")
    given = {key: values[-1] for key, values in parse_qs(options).items()}
    if kind != "openai" or not model or set(given) - {"dim", "url", "key_env"} or not {"dim", "url"} <= set(given):
        raise SettingError(f"unknown embedder {name!r}; give {DEFAULT_EMBEDDER!r}, {USE_EMBEDDER!r} or {_FORM!r}")
    if not given["dim"].isdigit() or int(given["dim"]) == 0:
        raise SettingError(f"embedder {name!r}: dim is {given['dim']!r}; give the length of the model's vectors")
    variable = given.get("key_env")
    if variable is not None:
        _key(variable, model)
    key = None if variable is None else partial(_key, variable, model)
    return CachedEmbedder(OpenAIEmbedder(model, dim=int(given["dim"]), base_url=given["url"], key=key))


def _key(variable: str, model: str) -> str:
    secret = read_secret(variable)
    if secret is None:
        raise MissingKey(f"embedder {model!r} needs a key: set the environment variable {variable}")
    return secret
