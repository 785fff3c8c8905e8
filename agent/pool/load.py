"""Read a pool: by the name of a shipped one, or by the path of a TOML file. Errors name file, key and remedy."""

from __future__ import annotations

import difflib
import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from curveroute.agent.errors import PoolError
from curveroute.agent.pool.pool import Pool
from curveroute.agent.pool.spec import PoolSpec, PriceSpec

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from curveroute.agent.types import JsonObject, JsonValue

_MAX_DEPTH = 4


def list_pools() -> tuple[str, ...]:
    """Names of the shipped pools."""
    folder = resources.files("curveroute.pools")
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_pool(name_or_path: str) -> Pool:
    """The pool of that name, or in the TOML file at that path.

    Raises:
        PoolError: no such pool, or a fault in the file; the message names file, key, value and remedy.
    """
    source = _find(name_or_path)
    raw = _with_parents(source, depth=0)
    try:
        spec = PoolSpec.model_validate(raw)
    except ValidationError as error:
        raise PoolError(_explain(source.name, raw, error)) from error
    return Pool(spec, prices={model.id: _prices(source.name, model.price_ref, model.prices) for model in spec.models})


def _find(name_or_path: str) -> Traversable:
    if name_or_path.endswith(".toml") or "/" in name_or_path or "\\" in name_or_path:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise PoolError(
                f"pool file {name_or_path!r} does not exist; give the path of a TOML file or one of: "
                f"{', '.join(list_pools())}"
            )
        return path
    if name_or_path not in list_pools():
        close = difflib.get_close_matches(name_or_path, list_pools(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise PoolError(f"unknown pool {name_or_path!r}; shipped pools: {', '.join(list_pools())}.{hint}")
    return resources.files("curveroute.pools") / f"{name_or_path}.toml"


def _with_parents(source: Traversable, *, depth: int) -> JsonObject:
    raw = _parse(source)
    parent_name = raw.get("extends")
    if parent_name is None:
        return raw
    if not isinstance(parent_name, str):
        raise PoolError(f"{source.name}: `extends` must be the name or path of a pool, not {parent_name!r}")
    if depth >= _MAX_DEPTH:
        raise PoolError(f"{source.name}: `extends` goes deeper than {_MAX_DEPTH} files; is there a circle?")
    parent = _with_parents(_relative(source, parent_name), depth=depth + 1)
    models = [*_list(parent, "models"), *_list(raw, "models")]
    return {**parent, **raw, "models": models}


def _relative(source: Traversable, parent_name: str) -> Traversable:
    if parent_name.endswith(".toml") and isinstance(source, Path):
        return _find(str(source.parent / parent_name))
    return _find(parent_name)


def _parse(source: Traversable) -> JsonObject:
    try:
        return cast("JsonObject", tomllib.loads(source.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise PoolError(f"{source.name}: cannot be read as text: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise PoolError(f"{source.name}: not valid TOML: {error}; correct the line it names") from error


def _list(raw: JsonObject, key: str) -> list[JsonValue]:
    value = raw.get(key, [])
    return value if isinstance(value, list) else [value]


def _explain(file: str, raw: JsonObject, error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        where = _key(raw, fault["loc"])
        given = "" if fault["type"] in {"missing", "value_error"} else f" (got {str(fault['input'])[:80]!r})"
        message = fault["msg"].removeprefix("Value error, ")
        remedy = "; remove it or correct its name" if fault["type"] == "extra_forbidden" else ""
        lines.append(f"{file}: {where}: {message}{given}{remedy}")
    return "\n".join(lines)


def _key(raw: JsonObject, location: tuple[int | str, ...]) -> str:
    """A readable path such as ``models[1] (qwen).prices.input``."""
    text = ""
    value: JsonValue = raw
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{step}"
        value = _step(value, step)
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            text += f" ({value['id']})"
    return text or "the file"


def _step(value: JsonValue, step: int | str) -> JsonValue:
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    if isinstance(value, dict) and isinstance(step, str):
        return value.get(step)
    return None


def _prices(file: str, reference: str | None, given: PriceSpec | None) -> PriceSpec:
    if given is not None:
        return given
    from genai_prices import Usage, calc_price

    provider, _, model = (reference or "").partition("/")
    million = 1_000_000
    try:
        both = calc_price(Usage(input_tokens=million, output_tokens=million), model_ref=model, provider_id=provider)
        cached = calc_price(
            Usage(input_tokens=million, cache_read_tokens=million), model_ref=model, provider_id=provider
        )
    except LookupError as error:
        raise PoolError(
            f"{file}: price_ref {reference!r} is not in the price data ({error}); "
            "give `prices = {input = …, output = …}` instead"
        ) from error
    return PriceSpec(
        input=float(both.input_price), output=float(both.output_price), cached_input=float(cached.input_price)
    )
