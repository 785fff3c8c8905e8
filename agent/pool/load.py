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

    from curveroute.agent.pool.spec import ModelSpec
    from curveroute.agent.types import JsonObject, JsonValue

_MAX_DEPTH = 4
_REMEDIES = {
    "extra_forbidden": "; remove it or correct its name",
    "missing": "; add it",
    "key_env": "; name the environment variable that holds the key, never the key itself",
    "tuple_type": "; make it a list (a list of tables is written with double brackets)",
}


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
    return Pool(spec, prices={model.id: _prices(source.name, model) for model in spec.models})


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
        raise PoolError(
            f"{source.name}: `extends` goes deeper than {_MAX_DEPTH} files; break the chain (is it a circle?)"
        )
    try:
        found = _relative(source, parent_name)
    except PoolError as error:
        raise PoolError(f"{source.name}: extends: {error}") from error
    parent = _with_parents(found, depth=depth + 1)
    models = [*_list(parent, "models"), *_list(raw, "models")]
    return {**parent, **raw, "models": models}


def _relative(source: Traversable, parent_name: str) -> Traversable:
    if parent_name.endswith(".toml") and isinstance(source, Path):
        return _find(str(source.parent / parent_name))
    return _find(parent_name)


def _parse(source: Traversable) -> JsonObject:
    try:
        return cast("JsonObject", tomllib.loads(source.read_text(encoding="utf-8-sig")))
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
        kind, key = fault["type"], fault["loc"][-1] if fault["loc"] else ""
        if kind == "too_short" and fault["input"]:
            continue  # a list whose faulty items were told already
        remedy = _REMEDIES.get(str(key), _REMEDIES.get(kind, ""))
        message = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{file}: {_key(raw, fault['loc'])}{message}{_shown(kind, key, fault['input'])}{remedy}")
    return "\n".join(lines)


def _shown(kind: str, key: int | str, given: object) -> str:
    """The faulty value, where it says more than the message; never what may be a key put in its variable's place."""
    may_hold_key = key == "key_env" or (key in {"endpoint", "url"} and "@" in str(given))
    if kind in {"missing", "value_error"} or may_hold_key or isinstance(given, dict | list):
        return ""
    return f" (got {str(given)[:80]!r})"


def _key(raw: JsonObject, location: tuple[int | str, ...]) -> str:
    """A readable path such as ``models[1] (qwen).prices.input: ``, empty for the file as a whole."""
    text = ""
    value: JsonValue = raw
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{step}"
        value = _step(value, step)
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            text += f" ({value['id']})"
    return f"{text}: " if text else ""


def _step(value: JsonValue, step: int | str) -> JsonValue:
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    if isinstance(value, dict) and isinstance(step, str):
        return value.get(step)
    return None


def _prices(file: str, spec: ModelSpec) -> PriceSpec:
    if spec.prices is not None:
        return spec.prices
    from genai_prices import Usage, calc_price

    provider, _, model = (spec.price_ref or "").partition("/")
    million = 1_000_000
    try:
        both = calc_price(Usage(input_tokens=million, output_tokens=million), model_ref=model, provider_id=provider)
        cached = calc_price(
            Usage(input_tokens=million, cache_read_tokens=million), model_ref=model, provider_id=provider
        )
    except LookupError as error:
        raise PoolError(
            f"{file}: {spec.id}.price_ref: {spec.price_ref!r} is not in the price data ({error}); "
            "give `prices = {input = …, output = …}` instead"
        ) from error
    return PriceSpec(
        input=float(both.input_price), output=float(both.output_price), cached_input=float(cached.input_price)
    )
