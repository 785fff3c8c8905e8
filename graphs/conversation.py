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
        given: a string; a prompt value; one message, or a list of messages, in any form that LangChain reads; or a
            dict with one of ``messages``, ``query``, ``input``, ``question``.

    Raises:
        QueryError: none of these, or a message that is not text.
    """
    if isinstance(given, list) and all(_is_plain(message) for message in given):
        return given
    if isinstance(given, dict):
        return _conversation_in(given)
    if isinstance(given, str):
        return [_checked("user", given)]
    return [_plain(message) for message in _messages_of(given)]


def _conversation_in(given: dict[str, Any]) -> list[Message]:
    key = next((key for key in _KEYS if key in given), None)
    if key is not None:
        return conversation_of(given[key])
    if "content" in given:
        return conversation_of([given])
    raise QueryError(f"a dict needs one of the keys {', '.join(_KEYS)}; this one has: {', '.join(map(str, given))}")


def _is_plain(message: object) -> bool:
    """Whether a message is already what the graph reads, and nothing more."""
    if type(message) is not dict or len(message) != len(Message.__annotations__):
        return False
    role, content = message.get("role"), message.get("content")
    return role in _ROLES.values() and type(content) is str and _is_unicode(content)


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _messages_of(given: object) -> list[BaseMessage]:
    from langchain_core.messages import BaseMessage, convert_to_messages

    to_messages = getattr(given, "to_messages", None)
    try:
        if to_messages is not None:
            return list(to_messages())
        return convert_to_messages([given] if isinstance(given, BaseMessage) else cast("Sequence[Any]", given))
    except (ValueError, NotImplementedError, TypeError, KeyError) as error:
        raise QueryError(f"not a conversation: {error}") from error


def _plain(message: BaseMessage) -> Message:
    role = _ROLES.get(message.type)
    if role is None:
        raise QueryError(
            f"a message of type {message.type!r} cannot be routed; give system, user and assistant messages"
        )
    return _checked(role, message.content if isinstance(message.content, str) else _text_of(message.content))


def _checked(role: str, content: str) -> Message:
    if not _is_unicode(content):
        raise QueryError("a message holds half a character (a lone surrogate); give valid Unicode text")
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
