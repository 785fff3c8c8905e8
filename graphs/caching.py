"""What may be cached: whole answers, by what was asked. The nodes inside are not: each writes to the ledger.

A cached propose would book two questions as one run, and a cached probe would be a call that nobody made.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from curveroute.graphs.conversation import QUERY_KEYS, conversation_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def question_key(state: Mapping[str, Any]) -> str:
    """A cache key of the conversation in a state: ``CachePolicy(key_func=question_key)`` for the node of the router.

    Messages that say the same have the same key, whatever their ids. Settings are no part of it: keep a cache for each
    tradeoff, or key on it yourself.

    Args:
        state: of your graph, with ``messages`` or another key that a query is read from. Without one (LangGraph
            asks for an empty state's key when it draws a graph) the key is that of no conversation.
    """
    given = next((state[key] for key in QUERY_KEYS if state.get(key)), None)
    said = [] if given is None else conversation_of(given)
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
