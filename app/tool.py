"""The router as a tool of an agent: a question goes in, the answer's text comes back, and the route beside it.

The text is what the agent's model reads; the route is the tool message's artifact, as plain JSON, so that any
checkpointer keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field, create_model

from curveroute.agent.errors import SettingError
from curveroute.agent.types import JsonObject
from curveroute.graphs.conversation import QUERY_KEYS

if TYPE_CHECKING:
    from curveroute.route import Route

NAME = "curveroute"
DESCRIPTION = (
    "Ask a language model one self-contained question and get its answer. The cheapest model and answer length that "
    "are good enough are chosen, and the answer is checked. It knows nothing of this conversation: put everything it "
    "needs into the question."
)


class Question(BaseModel):
    """What the tool takes."""

    query: str = Field(description="The question, with everything that is needed to answer it.")


def tool_of(
    router: Runnable[Any, Route],
    args_schema: type[BaseModel] | None,
    name: str | None,
    description: str | None,
    arg_types: dict[str, type] | None,
) -> BaseTool:
    """A tool that asks the router.

    Args:
        router: who answers.
        args_schema: arguments of the tool; one of them must be a key that the router reads a query from.
        name: of the tool.
        description: what the agent's model is told of it.
        arg_types: arguments by name, instead of a schema.

    Raises:
        SettingError: arguments without a query among them.
    """
    if args_schema is None and arg_types is not None:
        fields: dict[str, Any] = {field: (kind, ...) for field, kind in arg_types.items()}
        args_schema = create_model("Question", **fields)
    schema = args_schema or Question
    if not set(QUERY_KEYS) & set(schema.model_fields):
        raise SettingError(
            f"the arguments {', '.join(schema.model_fields)} hold no query: name one of them {', '.join(QUERY_KEYS)}"
        )

    query = next(field for field in schema.model_fields if field in QUERY_KEYS)

    # LangChain hands a plain string over by position, and all else by name.
    async def ask(*said: str, config: RunnableConfig, **given: Any) -> tuple[str, JsonObject]:  # noqa: ANN401
        route = await router.ainvoke({query: said[0]} if said else given, config)
        return route.answer, route.to_json()

    def ask_now(*said: str, config: RunnableConfig, **given: Any) -> tuple[str, JsonObject]:  # noqa: ANN401
        route = router.invoke({query: said[0]} if said else given, config)
        return route.answer, route.to_json()

    return StructuredTool.from_function(
        func=ask_now,
        coroutine=ask,
        name=name or NAME,
        description=description or DESCRIPTION,
        args_schema=schema,
        infer_schema=False,
        response_format="content_and_artifact",
    )
