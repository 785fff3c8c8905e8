"""Answers in a schema: what is asked of the chat model, what reads its answer, and the error when none would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from langchain_core.runnables import RunnableGenerator, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from curveroute.agent.errors import SettingError, shown
from curveroute.chat.asked import Method
from curveroute.chat.parsers import CallParser, JsonParser, ModelCallParser, ModelParser
from curveroute.chat.unmet import unmet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.language_models import LanguageModelInput
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

    Schema = dict[str, Any] | type


def structured(
    chat: BaseChatModel,
    schema: Schema,
    *,
    method: Method,
    include_raw: bool,
    strict: bool | None,
    given: dict[str, Any],
) -> Runnable[LanguageModelInput, Any]:
    """See :meth:`curveroute.RouterChat.with_structured_output`."""
    if method not in get_args(Method):
        raise SettingError(f"method is {method!r}; give one of {', '.join(get_args(Method))}")
    schema = _titled(schema)
    told = {"ls_structured_output_format": {"kwargs": {"method": method, "strict": strict}, "schema": schema}}
    try:
        form = _asked(schema, method, strict=strict)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingError(
            f"{shown(schema)} is no schema: give a pydantic model, a TypedDict or a JSON schema ({_line(error)})"
        ) from error
    asked = chat.bind(**form, **told, **given)
    read = RunnableGenerator(_sound, _asound) | _parser(schema, method)
    if not include_raw:
        return asked | read
    parsed = RunnablePassthrough.assign(
        parsed=RunnableLambda(_raw) | read, parsing_error=RunnableLambda(_nothing)
    ).with_fallbacks([RunnablePassthrough.assign(parsed=RunnableLambda(_nothing))], exception_key="parsing_error")
    return RunnableMap(raw=asked) | parsed


def _titled(schema: Schema) -> Schema:
    """A JSON schema with a name, which LangChain wants of every one."""
    plain = isinstance(schema, dict) and ("type" in schema or "properties" in schema or "anyOf" in schema)
    return {"title": "answer", **schema} if plain and isinstance(schema, dict) else schema


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _asked(schema: Schema, method: Method, *, strict: bool | None) -> dict[str, Any]:
    if method == "function_calling":
        tool = convert_to_openai_tool(schema, strict=strict)
        return {"tools": [tool], "tool_choice": tool["function"]["name"], "parallel_tool_calls": False}
    if method == "json_mode":
        return {"response_format": {"type": "json_object"}}
    read = convert_to_json_schema(schema, strict=strict)
    named = {"name": read.get("title", "answer"), "schema": read}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _parser(schema: Schema, method: Method) -> Runnable[Any, Any]:
    model: Any = schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None
    if method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        if model is not None:
            return ModelCallParser(tools=[model], first_tool_only=True)
        return CallParser(key_name=name, first_tool_only=True)
    return JsonParser() if model is None else ModelParser(pydantic_object=model)


def _sound(messages: Iterator[AIMessage]) -> Iterator[AIMessage]:
    for message in messages:
        yield _checked(message)


async def _asound(messages: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
    async for message in messages:
        yield _checked(message)


def _checked(message: AIMessage) -> AIMessage:
    """The message, when the run found nothing at fault with its form."""
    route = message.response_metadata.get("route") or {}
    if route.get("fault"):
        raise unmet(route)
    return message


def _raw(answered: dict[str, Any]) -> Any:  # noqa: ANN401
    return answered["raw"]


def _nothing(_: object) -> None:
    return None
