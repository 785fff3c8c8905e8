"""How many tokens a prompt has, for those who trim conversations: about, because any model of the pool may read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages.utils import count_tokens_approximately

from curveroute.agent.pool.pool import input_tokens_prior
from curveroute.agent.types import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage


class CountsTokens(BaseChatModel):
    """The part of a chat model that counts tokens; LangChain's own wants a tokenizer of one model."""

    def get_num_tokens(self, text: str) -> int:
        """About how many tokens a text has."""
        return input_tokens_prior((Message(role="user", content=text),)) - input_tokens_prior(_EMPTY)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """About how many tokens messages have, and the tools that are told with them."""
        return count_tokens_approximately(messages, tools=cast("Any", list(tools)) if tools else None)


_EMPTY = (Message(role="user", content=""),)
