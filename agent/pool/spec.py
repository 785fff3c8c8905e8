"""What a pool file may say. An unknown key is an error, so that a typo is never a silent default."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from curveroute.agent.types import Capability

Tokens = Annotated[int, Field(gt=0, le=10_000_000)]
UsdPerMillion = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
TokensPerSecond = Annotated[float, Field(gt=0, le=10_000_000, allow_inf_nan=False)]
SETTLED = frozenset(
    {"model", "messages", "max_tokens", "max_completion_tokens", "n", "best_of", "stream", "stream_options"}
    | {"response_format", "seed", "temperature", "logprobs", "extra_body"}
    | {"tools", "tool_choice", "parallel_tool_calls", "stop"}
)
"""What curveroute settles in every request itself: a pool that could change it could break a run's cap."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=120)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class PriceSpec(_Strict):
    """USD per million tokens. ``cached_input`` is what a provider charges for a prompt prefix it still holds."""

    input: UsdPerMillion
    output: UsdPerMillion
    cached_input: UsdPerMillion | None = None


class SpeedSpec(_Strict):
    """How fast one call goes; what a pool leaves out is about usual for a hosted model.

    Attributes:
        first_token_s: the wait before anything comes, whatever the prompt's length: network, queue.
        input_tokens_per_s: how fast the prompt is read.
        output_tokens_per_s: how fast the answer is written.
    """

    first_token_s: Seconds = 0.3
    input_tokens_per_s: TokensPerSecond = 2000.0
    output_tokens_per_s: TokensPerSecond = 60.0


class SourceSpec(_Strict):
    """One place that holds a file of weights: a URL, or packages whose data members are joined in order."""

    url: str | None = Field(default=None, pattern=r"^https?://")
    packages: tuple[str, ...] = ()
    version: str | None = None
    member: str = "*.gguf"

    @field_validator("url")
    @classmethod
    def _holds_no_secret(cls, url: str | None) -> str | None:
        _refuse_userinfo(url or "")
        return url

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.url is None) == (not self.packages):
            msg = "a source has either `url` or `packages`"
            raise ValueError(msg)
        if self.packages and not self.version:
            msg = "a source of `packages` names their `version`"
            raise ValueError(msg)
        return self


class WeightsSpec(_Strict):
    """Weights of a local model: one file, trusted by its hash alone."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    bytes: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str
    sources: tuple[SourceSpec, ...] = Field(min_length=1)


class CurvePoint(_Strict):
    """Expected quality at one budget, for arms that no predictor knows; without ``budget``: unlimited."""

    budget: Tokens | None = None
    quality: Share


class ModelSpec(_Strict):
    """One LLM on offer.

    Attributes:
        id: the name used everywhere in curveroute.
        served_as: the name the endpoint knows it by, when that differs.
        endpoint: ``"local"`` for a server that curveroute starts itself, else the base URL of an OpenAI-compatible one.
        key_env: name of the environment variable that holds the key; none for endpoints that need no key.
        prices: USD per million tokens; or ``price_ref``, ``"provider/model"`` in the genai-prices data.
        context_window: input and output tokens together.
        max_output_tokens: what the server allows at most; an unlimited budget means this.
        budgets: the pool's budgets that this model is offered at, when not all.
        concurrency: calls in flight at most.
        limit_field: the request's name for the token limit; newer endpoints say ``max_completion_tokens``.
        speed: how long a call is expected to take.
        prior: expected quality by budget, for when no predictor knows this model.
        extra_body: further fields of every request to this model, as its endpoint wants them; none of ``SETTLED``.
        tool_calling: ``"native"`` hands tools to the endpoint; ``"schema"`` describes them in the prompt and holds the
            answer to a JSON schema of calls, for small models that do not keep to their template. They are told an
            answer's schema in the prompt, too.
        image_tokens: what one image is billed as at most; a cap holds as far as this does.
        cache_from: prompts of fewer tokens than this are never held in the provider's cache.
    """

    id: Name
    served_as: str | None = None
    endpoint: str = Field(pattern=r"^(local|https?://\S+)$")
    key_env: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]*$")
    prices: PriceSpec | None = None
    price_ref: str | None = Field(default=None, pattern=r"^[^/\s]+/\S+$")
    context_window: Tokens
    max_output_tokens: Tokens | None = None
    capabilities: frozenset[Capability] = frozenset()
    budgets: tuple[Tokens, ...] | None = None
    concurrency: int = Field(default=8, ge=1, le=1024)
    timeout_s: float = Field(default=120.0, gt=0, le=3600)
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    speed: SpeedSpec = SpeedSpec()
    prior: tuple[CurvePoint, ...] = ()
    weights: WeightsSpec | None = None
    extra_body: dict[str, JsonValue] = Field(default_factory=dict)
    tool_calling: Literal["native", "schema"] = "native"
    image_tokens: Tokens = 4000
    cache_from: Tokens = 1024

    @field_validator("endpoint")
    @classmethod
    def _reachable(cls, endpoint: str) -> str:
        _refuse_userinfo(endpoint)
        try:
            host, _ = urlsplit(endpoint).hostname, urlsplit(endpoint).port
        except ValueError as error:
            msg = f"{endpoint!r} is not a URL ({error})"
            raise ValueError(msg) from error
        if endpoint != "local" and not host:
            msg = f"{endpoint!r} names no host"
            raise ValueError(msg)
        return endpoint

    @field_validator("extra_body")
    @classmethod
    def _leaves_what_is_settled(cls, extra_body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        refused = sorted(SETTLED & extra_body.keys())
        if refused:
            msg = f"{', '.join(refused)}: curveroute settles this for each request itself; remove it from `extra_body`"
            raise ValueError(msg)
        return extra_body

    @field_validator("prior")
    @classmethod
    def _distinct_points(cls, prior: tuple[CurvePoint, ...]) -> tuple[CurvePoint, ...]:
        _refuse_repeats("budget", [_label(point.budget) for point in prior])
        return prior

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.prices is None) == (self.price_ref is None):
            msg = "a model has either `prices` or `price_ref`"
            raise ValueError(msg)
        if (self.endpoint == "local") != (self.weights is not None):
            msg = 'a model with endpoint = "local" has `weights`, and no other has'
            raise ValueError(msg)
        return self


class BudgetSpec(_Strict):
    """One output budget and the prompt style that asks for it. Without ``tokens``: unlimited.

    ``{tokens}`` in the style is replaced by the number. The style goes out as an instruction, the number also as the
    server's token limit.
    """

    tokens: Tokens | None = None
    name: str
    style: str

    @model_validator(mode="after")
    def _number_known(self) -> Self:
        if self.tokens is None and "{tokens}" in self.style:
            msg = "the style of an unlimited budget has no {tokens} to name"
            raise ValueError(msg)
        return self


class PoolSpec(_Strict):
    """A whole pool file.

    Attributes:
        predictor: name of the shipped predictor, or the path of a folder; none: every model's ``prior`` is used.
        planner: model that plans; none: the ranking is the plan.
        judge: model that judges answers; none: verdicts rest on deterministic checks and agreement.
        planner_lift: share of the ranking's doubt that the planner has been worth.
        judge_reliability: how far a judge's word moves a verdict, 0 (not at all) to 1.
        verifier_reliability: how surely verdicts tell right from wrong, 0 (not at all) to 1 (always), where no
            predictor has measured it.
    """

    name: Name
    description: str = ""
    extends: str | None = None
    system: str = Field(min_length=1)
    predictor: str | None = None
    planner: str | None = None
    judge: str | None = None
    planner_lift: Share = 0.0
    judge_reliability: Share = 0.2
    verifier_reliability: Share = 0.5
    budgets: tuple[BudgetSpec, ...] = Field(min_length=1)
    models: tuple[ModelSpec, ...] = Field(min_length=1)

    @field_validator("models")
    @classmethod
    def _distinct_models(cls, models: tuple[ModelSpec, ...]) -> tuple[ModelSpec, ...]:
        _refuse_repeats("model id", [model.id for model in models])
        return models

    @field_validator("budgets")
    @classmethod
    def _distinct_budgets(cls, budgets: tuple[BudgetSpec, ...]) -> tuple[BudgetSpec, ...]:
        _refuse_repeats("budget", [_label(budget.tokens) for budget in budgets])
        return budgets

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        known = {model.id for model in self.models}
        role: Literal["planner", "judge"]
        for role in ("planner", "judge"):
            name = getattr(self, role)
            if name is not None and name not in known:
                msg = f"{role} = {name!r} is not a model of this pool ({', '.join(sorted(known))})"
                raise ValueError(msg)
        tokens = {budget.tokens for budget in self.budgets}
        for model in self.models:
            missing = [str(budget) for budget in model.budgets or () if budget not in tokens]
            if missing:
                msg = f"model {model.id!r} names budgets that the pool does not have: {', '.join(missing)}"
                raise ValueError(msg)
        return self


def _label(tokens: int | None) -> str:
    return "unlimited" if tokens is None else str(tokens)


def _refuse_userinfo(url: str) -> None:
    """Addresses are printed and logged, so none may hold a password."""
    if "@" in re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]:
        msg = "the address holds a user name or password; remove what is before the '@', keys belong in `key_env`"
        raise ValueError(msg)


def _refuse_repeats(what: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        msg = f"repeated {what}: {', '.join(repeated)}"
        raise ValueError(msg)
