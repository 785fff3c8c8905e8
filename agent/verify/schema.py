"""The verifier ``json-schema``: JSON that does not fit is all but certainly wrong; that it fits says little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curveroute.agent.errors import MissingExtra, SettingError
from curveroute.agent.verify.found import Finding
from curveroute.agent.verify.spelling import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curveroute.agent.types import JsonValue

NAME = "json-schema"
FITS = 0.55  # a form can be kept around any content
_MISFIT = 0.0


class JsonSchemaVerifier:
    """Checks the JSON in an answer against a schema.

    Args:
        schema: a JSON schema; nothing that it refers to is fetched.
        reliability: in (0, 1].

    Raises:
        MissingExtra: without jsonschema-rs.
        SettingError: it is no valid schema.
    """

    name = NAME

    def __init__(self, schema: Mapping[str, JsonValue], *, reliability: float = 1.0) -> None:
        try:
            import jsonschema_rs
        except ImportError as error:
            raise MissingExtra(f"the verifier {NAME!r}", "schema") from error
        self.schema = schema
        self.reliability = reliability
        try:
            self._validator = jsonschema_rs.validator_for(dict(schema), retriever=_refuse)
        except (ValueError, TypeError) as error:
            raise SettingError(f"verifier {NAME!r}: this is no valid JSON schema: {_line(error)}") from error

    def check(self, query_text: str, answer_text: str, answer: str | None) -> Finding:  # noqa: ARG002
        """Whether the JSON that the answer gives (alone, in a fence, or inside prose) fits."""
        found, value = _json_in(answer or "", answer_text)
        if not found:
            return Finding(_MISFIT, "there is no JSON in the answer")
        error = next(iter(self._validator.iter_errors(value)), None)
        if error is None:
            return Finding(FITS, "the JSON fits the schema")
        place = "/".join(map(str, error.instance_path))
        return Finding(
            _MISFIT, "the JSON does not fit the schema", f"{f'at {place}: ' if place else ''}{error.message}"
        )


def json_schema(argument: str) -> JsonSchemaVerifier:
    """The verifier from a schema as text, or from the path of a file with one.

    Raises:
        MissingExtra: without jsonschema-rs.
        SettingError: no schema, no such file, or no JSON object in it.
    """
    if not argument.strip():
        raise SettingError(f"verifier {NAME!r} needs a schema: give {NAME}:FILE or {NAME}:{{…}}")
    try:
        inline = argument.lstrip().startswith("{")
        schema: JsonValue = json.loads(argument if inline else Path(argument).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"verifier {NAME!r}: cannot read {argument!r} ({error.strerror}); give a file") from error
    except (ValueError, RecursionError) as error:
        raise SettingError(f"verifier {NAME!r}: {argument[:80]!r} holds no JSON ({_line(error)})") from error
    if not isinstance(schema, dict):
        raise SettingError(f"verifier {NAME!r}: {argument[:80]!r} holds no JSON object, and a schema is one")
    return JsonSchemaVerifier(schema)


def _json_in(*texts: str) -> tuple[bool, object]:
    """The first object or array in the texts, else the first text that is JSON of another kind."""
    for text in texts:
        if (value := parse_json(text)) is not None:
            return True, value
    for text in texts:
        try:
            return True, json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            continue
    return False, None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _refuse(uri: str) -> Any:  # noqa: ANN401 - the library's own type
    message = f"{uri} is not in the schema, and nothing is fetched"
    raise ValueError(message)


def _line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
