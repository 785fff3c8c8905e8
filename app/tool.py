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
    from collections.abc import Sequence

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
    settings: Sequence[str],
) -> BaseTool:
    """A tool that asks the router.

    Args:
        router: who answers.
        args_schema: arguments of the tool; one of them must be a key that the router reads a query from.
        name: of the tool.
        description: what the agent's model is told of it.
        arg_types: arguments by name, instead of a schema.
        settings: of a run, which may be arguments, too.

    Raises:
        SettingError: arguments without a query among them, or one that would do nothing.
    """
    if args_schema is None and arg_types is not None:
        fields: dict[str, Any] = {field: (kind, ...) for field, kind in arg_types.items()}
        args_schema = create_model("Question", **fields)
    schema = args_schema or Question
    if not set(QUERY_KEYS) & set(schema.model_fields):
        raise SettingError(
            f"the arguments {', '.join(schema.model_fields)} hold no query: name one of them {', '.join(QUERY_KEYS)}"
        )

    query = next(key for key in QUERY_KEYS if key in schema.model_fields)
    if idle := [field for field in schema.model_fields if field != query and field not in settings]:
        raise SettingError(
            f"the tool would do nothing with the argument {', '.join(idle)}: beside {query} it takes settings of a run "
            f"({', '.join(settings)}); what an answer should know belongs into {query}"
        )

    # LangChain hands a plain string over by position, and all else by name.
    async def ask(*said: str, config: RunnableConfig, **given: Any) -> tuple[str, JsonObject]:  # noqa: ANN401
        asked = said[0] if said else given.pop(query)
        route = await router.ainvoke({query: asked}, config, **given)
        return route.answer, route.to_json()

    def ask_now(*said: str, config: RunnableConfig, **given: Any) -> tuple[str, JsonObject]:  # noqa: ANN401
        asked = said[0] if said else given.pop(query)
        route = router.invoke({query: asked}, config, **given)
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
