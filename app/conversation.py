"""What callers hand in (a string, messages of any LangChain form, a dict) as the conversation that the graph reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

from curveroute.agent.errors import QueryError
from curveroute.agent.types import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.prompt_values import PromptValue

    Given: TypeAlias = str | PromptValue | Sequence[Any] | dict[str, Any]

_ROLES = {"human": "user", "ai": "assistant", "system": "system"}
_KEYS = ("messages", "query", "input", "question")


def conversation_of(given: Given) -> list[Message]:
    """The conversation, as plain chat messages.

    Args:
        given: a string; a prompt value; a list of messages in any form that LangChain reads; or a dict with one of
            ``messages``, ``query``, ``input``, ``question``.

    Raises:
        QueryError: none of these, or a message that is not text.
    """
    if isinstance(given, dict):
        key = next((key for key in _KEYS if key in given), None)
        if key is None:
            raise QueryError(
                f"a dict needs one of the keys {', '.join(_KEYS)}; this one has: {', '.join(map(str, given))}"
            )
        return conversation_of(given[key])
    if isinstance(given, str):
        return [Message(role="user", content=given)]
    from langchain_core.messages import convert_to_messages

    to_messages = getattr(given, "to_messages", None)
    try:
        messages = to_messages() if to_messages else convert_to_messages(cast("Sequence[Any]", given))
    except (ValueError, NotImplementedError, TypeError) as error:
        raise QueryError(f"not a conversation: {error}") from error
    return [_plain(message) for message in messages]


def _plain(message: BaseMessage) -> Message:
    role = _ROLES.get(message.type)
    if role is None:
        raise QueryError(
            f"a message of type {message.type!r} cannot be routed; give system, user and assistant messages"
        )
    content = message.content if isinstance(message.content, str) else _text_of(message.content)
    return cast("Message", {"role": role, "content": content})


def _text_of(blocks: Sequence[str | dict[str, Any]]) -> str:
    texts = []
    for block in blocks:
        if isinstance(block, str):
            texts.append(block)
        elif block.get("type") == "text":
            texts.append(str(block.get("text", "")))
        else:
            raise QueryError(f"a message holds {block.get('type')!r} content; only text can be routed so far")
    return "".join(texts)
