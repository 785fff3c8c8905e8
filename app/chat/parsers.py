"""LangChain's parsers of answers in a schema, which keep to themselves what they could not read where that is hidden.

Their errors quote the answer, and a tracer tells the error of a run. The names are LangChain's, for the same reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import OutputParserException
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from pydantic import ValidationError

from curveroute.agent.settings import hides_contents

if TYPE_CHECKING:
    from langchain_core.outputs import Generation


class _Discreet:
    """What every parser here does."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:  # noqa: ANN401
        """As the parser has it.

        Raises:
            OutputParserException: where contents are hidden, without a word of the answer.
        """
        try:
            return super().parse_result(result, partial=partial)  # type: ignore[misc]
        except (OutputParserException, ValidationError) as error:
            if not hides_contents():
                raise
            kind = type(error).__name__
        message = f"the answer could not be read as it was asked for ({kind}); what was wrong is hidden here"
        raise OutputParserException(message)


class JsonParser(_Discreet, JsonOutputParser):
    """Any JSON."""

    name: str | None = JsonOutputParser.__name__


class ModelParser(_Discreet, PydanticOutputParser[Any]):
    """JSON as a pydantic model."""

    name: str | None = PydanticOutputParser.__name__


class CallParser(_Discreet, JsonOutputKeyToolsParser):
    """The arguments of a call."""

    name: str | None = JsonOutputKeyToolsParser.__name__


class ModelCallParser(_Discreet, PydanticToolsParser):
    """The arguments of a call as a pydantic model."""

    name: str | None = PydanticToolsParser.__name__
