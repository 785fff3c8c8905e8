"""What callers hand in (a string, messages of any LangChain form, a dict) as the conversation that the graph reads.

Text stays text; images, tool calls and tool answers come along beside it. What a model thought in between (reasoning
blocks) is left out: it belongs to the model that thought it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from curveroute.agent.errors import QueryError
from curveroute.agent.settings import hides_contents, unless_hidden
from curveroute.agent.types import Image, Message, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.prompt_values import PromptValue

    Given: TypeAlias = str | PromptValue | Sequence[Any] | dict[str, Any]

_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
_NAMED = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}  # a ChatMessage's
_PLAIN = ("user", "assistant", "system")
QUERY_KEYS = ("messages", "query", "input", "question")
_THOUGHTS = frozenset({"reasoning", "thinking", "redacted_thinking", "reasoning_content", "non_standard"})
_CALLS = frozenset({"tool_use", "tool_call", "function_call", "invalid_tool_call"})  # they stand in `tool_calls` too
_HALF = "a message holds half a character (a lone surrogate); give valid Unicode text"
_URL = ("http://", "https://", "data:image/")


def conversation_of(given: Given) -> list[Message]:
    """The conversation, as plain chat messages.

    Args:
        given: a string; a prompt value; one message, or a list of messages, in any form that LangChain reads; or a
            dict with one of ``messages``, ``query``, ``input``, ``question``.

    Raises:
        QueryError: none of these; a message with other content than text and images; a tool's answer to no call.
    """
    if isinstance(given, list) and all(_is_plain(message) for message in given):
        return _with_calls_answered(given)
    if isinstance(given, dict):
        return _conversation_in(given)
    if isinstance(given, str):
        return [_checked("user", given)]
    return _with_calls_answered([_plain(message) for message in _messages_of(given)])


def _conversation_in(given: dict[str, Any]) -> list[Message]:
    key = next((key for key in QUERY_KEYS if key in given), None)
    if key is not None:
        return conversation_of(given[key])
    if "content" in given:
        return conversation_of([given])
    raise QueryError(
        f"a dict needs one of the keys {', '.join(QUERY_KEYS)}; this one has: {', '.join(map(str, given))}"
    )


def _is_plain(message: object) -> bool:
    """Whether a message is already what the graph reads, and nothing more."""
    if type(message) is not dict or message.keys() - Message.__annotations__.keys():
        return False
    role, content = message.get("role"), message.get("content")
    if type(content) is not str or not _is_unicode(content):
        return False
    return role in _PLAIN if len(message) == 2 else role in _ROLES.values() and _is_rich(message)  # noqa: PLR2004


def _is_rich(message: dict[str, Any]) -> bool:
    """Whether what stands beside the text is in the form that the graph reads; LangChain's own forms are not."""
    if "images" in message and not _are_images(message["images"]):
        raise QueryError(
            "the images of a message are not understood; give a list of {'at': place in the text, 'url': …} with "
            "http(s) or data URLs, or content blocks"
        )
    calls = message.get("tool_calls", [])
    return (
        type(calls) is list
        and all(type(call) is dict and call.keys() == ToolCall.__annotations__.keys() for call in calls)
        and all(type(text) is str for call in calls for text in call.values())
        and (message["role"] != "tool" or isinstance(message.get("tool_call_id"), str))
    )


def _are_images(given: object) -> bool:
    return isinstance(given, list) and all(
        type(image) is dict
        and type(image.get("at")) is int
        and isinstance(url := image.get("url"), str)
        and url.startswith(_URL)
        and isinstance(image.get("detail", ""), str)
        for image in given
    )


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
        said = unless_hidden(str(error), f"{type(error).__name__}, and what it says is hidden")
        raise QueryError(f"not a conversation: {said}") from (None if hides_contents() else error)


def _plain(message: BaseMessage) -> Message:
    role = _ROLES.get(message.type) or _NAMED.get(getattr(message, "role", ""))
    if role is None:
        raise QueryError(
            f"a message of type {message.type!r} cannot be routed; give system, user, assistant and tool messages"
        )
    if isinstance(message.content, str):
        plain = _checked(role, message.content)
    else:
        text, images = _read(message.content, role)
        plain = _checked(role, text)
        if images:
            plain["images"] = images
    if role == "tool":
        plain["tool_call_id"] = str(getattr(message, "tool_call_id", ""))
    if role == "assistant":
        _add_answer(plain, message)
    return plain


def _add_answer(plain: Message, message: BaseMessage) -> None:
    """What an assistant's message says beside its text: its calls, and the model that curveroute had it from."""
    calls = [*getattr(message, "tool_calls", ()), *getattr(message, "invalid_tool_calls", ())]
    if calls:
        plain["tool_calls"] = [_call(call) for call in calls]
    served = message.response_metadata.get("route") or {}
    if isinstance(served, dict) and isinstance(served.get("model"), str):
        plain["served"] = served["model"]


def _call(call: dict[str, Any]) -> ToolCall:
    given = call.get("args")
    try:
        arguments = given if isinstance(given, str) else json.dumps(given or {}, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        raise QueryError(
            f"the arguments of the call {call.get('name')!r} are no JSON; give texts, numbers, lists and dicts"
        ) from None
    return ToolCall(call_id=str(call.get("id") or ""), name=str(call.get("name") or ""), arguments=arguments)


def _checked(role: str, content: str) -> Message:
    if not _is_unicode(content):
        raise QueryError(_HALF)
    return cast("Message", {"role": role, "content": content})


def _texts_beside(message: Message) -> Iterator[str]:
    """The text of a message that stands beside its content; arguments are a model's own, and are mended when sent."""
    for image in message.get("images", ()):
        yield from (image["url"], image.get("detail", ""))
    for call in message.get("tool_calls", ()):
        yield from (call["call_id"], call["name"])
    yield message.get("tool_call_id", "")


def _read(blocks: Sequence[str | dict[str, Any]], role: str) -> tuple[str, list[Image]]:
    """The text of content blocks, and the images among them with their places in it."""
    text, images = "", []
    for block in blocks:
        kind = "text" if isinstance(block, str) else block.get("type")
        if isinstance(block, str):
            text += block
        elif kind == "text":
            text += str(block.get("text", ""))
        elif kind in {"image", "image_url"} and role == "user":
            images.append(_image(block, len(text)))
        elif kind not in _THOUGHTS and not (kind in _CALLS and role == "assistant"):
            where = f"a {role} message" if kind in {"image", "image_url"} else "a message"
            raise QueryError(f"{where} holds {kind!r} content; only text, and images of the user's, can be routed")
    return text, images


def _image(block: dict[str, Any], at: int) -> Image:
    """One image block, in OpenAI's, LangChain's or Anthropic's form."""
    detail = None
    if block["type"] == "image_url":
        given = block.get("image_url")
        url = given.get("url") if isinstance(given, dict) else given
        detail = given.get("detail") if isinstance(given, dict) else None
    else:
        inner = block.get("source")
        source = inner if isinstance(inner, dict) else block
        data = source.get("base64") or source.get("data")
        kind = source.get("mime_type") or source.get("media_type")
        url = f"data:{kind};base64,{data}" if data and kind else source.get("url")
    if not isinstance(url, str) or not url.startswith(_URL):
        raise QueryError("an image has no http(s) URL and no data of a kind image/…; give one of them")
    image = Image(at=at, url=url)
    if isinstance(detail, str):
        image["detail"] = detail
    return image


def _with_calls_answered(messages: list[Message]) -> list[Message]:
    """The messages, when every tool's answer follows the call that it answers, and all of them can be sent."""
    called: set[str] = set()
    for message in messages:
        if len(message) > 2 and not all(map(_is_unicode, _texts_beside(message))):  # noqa: PLR2004
            raise QueryError(_HALF)
        called |= {call["call_id"] for call in message.get("tool_calls", ())}
        if message["role"] == "tool" and (name := message.get("tool_call_id", "")) not in called:
            raise QueryError(
                f"a tool message answers the call {name!r}, which no assistant message before it makes; keep the "
                "assistant's message with its tool_calls in the conversation"
            )
    return messages
