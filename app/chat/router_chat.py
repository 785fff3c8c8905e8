"""``RouterChat``: LangChain's chat model, answered by the router.

A façade over the graph: it turns messages and arguments into a run, and the run's route into a message. The graph is
the primary thing; nothing is decided here.
"""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Self, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import Field, model_validator

from curveroute.agent.errors import SettingError
from curveroute.agent.settings import hides_contents
from curveroute.chat.agent_loop import check_answer, check_turn, in_agent
from curveroute.chat.asked import SETTINGS, Asked, asked, configured, tool_dict
from curveroute.chat.asking import endless, events_of, result_of, route_of
from curveroute.chat.counting import CountsTokens
from curveroute.chat.feedback import TakesFeedback
from curveroute.chat.listeners import Listeners
from curveroute.chat.message import PROVIDER
from curveroute.chat.own_names import OwnNames
from curveroute.chat.routers import Routers
from curveroute.chat.scope import SCOPE, Scope
from curveroute.chat.structured import structured
from curveroute.chat.told import Told
from curveroute.closing import Closing
from curveroute.graphs.context import Context
from curveroute.graphs.langsmith_client import make_client
from curveroute.graphs.model_runs import without_contents
from curveroute.graphs.portal import PORTAL
from curveroute.route import Route

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import LangSmithParams, LanguageModelInput
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig
    from langchain_core.tools import BaseTool

    from curveroute.chat.asked import Method
    from curveroute.router import Router

_FORMAT = "ls_structured_output_format"  # what LangChain tells tracers of a schema
_FIELDS = ("pool", *SETTINGS, "max_tokens", "stop", "streaming", "pass_over")


class RouterChat(TakesFeedback, Closing, CountsTokens, OwnNames):
    """A chat model whose every answer is routed: stands wherever LangChain takes a chat model.

    Its settings can be given here, to ``bind``, with a call, or in the ``configurable`` of a config; the later one
    wins. Close it, or use it as a context manager.

    Attributes:
        pool: name or path of the pool.
        tradeoff: λ, from 0 (quality only) to 1 (cost only).
        max_cost_usd: hard cap on everything one answer spends; none: no cap.
        seconds_usd: what a second of waiting is worth, USD.
        max_error: accept only answers of a score at which at most this share is wrong, as calibrated.
        policy: ``closed-form`` leaves aside what was learned of looking.
        plan: let the pool's planner speak when it pays.
        judge: let the pool's judge speak when it pays.
        allow: only these models; empty: all.
        deny: none of these models.
        max_tokens: output tokens of an answer at most; arms of longer budgets are not asked.
        stop: texts at which an answer ends.
        streaming: let ``invoke`` stream, too, for callbacks that take tokens.
        pass_over: names in a config's ``configurable`` that are others', and are no mistake.
    """

    pool: str = "local"
    tradeoff: float = 0.5
    max_cost_usd: float | None = None
    seconds_usd: float = 0.0
    max_error: float | None = None
    policy: str | None = None
    plan: bool = True
    judge: bool = True
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    max_tokens: int | None = None
    stop: list[str] | str | None = None
    streaming: bool = False
    pass_over: tuple[str, ...] = ()
    routers: Routers = Field(default_factory=Routers, exclude=True, repr=False)

    @classmethod
    def from_router(cls, router: Router, **settings: Any) -> Self:  # noqa: ANN401
        """A chat model over a router of yours, with its settings where none are given; closing it leaves the router.

        Args:
            router: its parts are used: pool, predictor, embedder, ledger, verifiers.
            settings: fields of the chat model, other than ``pool``.

        Raises:
            SettingError: an unknown setting, or a value out of range.
        """
        routers = Routers()
        routers.lend(router)
        context = {name: getattr(router.context, name) for name in SETTINGS}
        return cls(**{**context, **settings, "pool": router.parts.pool.name, "routers": routers})

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:  # noqa: ANN401
        """Refuse what would be a setting that silently does nothing."""
        unknown = sorted(set(given) - set(cls.model_fields)) if isinstance(given, dict) else []
        if unknown:
            raise SettingError(
                f"RouterChat has no setting {', '.join(unknown)}; it has: {', '.join(_FIELDS)} "
                "(models, keys and budgets are the pool's)"
            )
        return given

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        Context(**{name: getattr(self, name) for name in SETTINGS})
        make_client()  # its first call is traced before a router is made for it
        return self

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("pool", *SETTINGS, "max_tokens")}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:  # noqa: ANN401
        params = super()._get_ls_params(stop=None if hides_contents() else stop, **kwargs)
        params["ls_provider"] = PROVIDER
        params.setdefault("ls_model_name", str(kwargs.get("pool", self.pool)))
        return params

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        kwargs.pop(SCOPE, None)
        params = super()._get_invocation_params(stop=stop, **kwargs)
        return without_contents(params) if hides_contents() else params

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:  # noqa: ANN401
        scope: Scope | None = kwargs.pop(SCOPE, None)
        ends = stop if scope is None else scope.stop
        return f"{super()._get_llm_string(stop=ends, **kwargs)} {ends}"

    # How it is called: what a config says comes first, because LangChain drops it before an answer is made.

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> AIMessage:
        """Answer; see the class for what a call and its config may say.

        Raises:
            SettingError: an argument or configurable that is unknown or out of range.
            RunError: nothing to answer, no model that can, no arm under the cap, or every arm failed.
            SchemaUnmet: in an agent of ``create_agent``: no model's answer is what its response format asks for.
        """
        given, looped = self._with_config(config, kwargs), in_agent(config)
        if looped:
            check_turn(input, given)
        with Scope(config, self.callbacks, stop, kwargs.get(SCOPE)) as scope:
            message = super().invoke(input, scope.config, stop=scope.told_stop, **given, **{SCOPE: scope})
        if looped:
            check_answer(message, given)
        return message

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> AIMessage:
        """As :meth:`invoke`."""
        given, looped = self._with_config(config, kwargs), in_agent(config)
        if looped:
            check_turn(input, given)
        async with Scope(config, self.callbacks, stop, kwargs.get(SCOPE)) as scope:
            message = await super().ainvoke(input, scope.config, stop=scope.told_stop, **given, **{SCOPE: scope})
        if looped:
            check_answer(message, given)
        return message

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Iterator[AIMessageChunk]:
        """Answer in pieces: only of the committed answer, live where the run is committed before it is written."""
        given = self._with_config(config, kwargs)
        with Scope(config, self.callbacks, stop) as scope:
            yield from super().stream(input, scope.config, stop=scope.told_stop, **given, **{SCOPE: scope})

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> AsyncIterator[AIMessageChunk]:
        """As :meth:`stream`."""
        given = self._with_config(config, kwargs)
        async with Scope(config, self.callbacks, stop) as scope:
            stream = super().astream(input, scope.config, stop=scope.told_stop, **given, **{SCOPE: scope})
            async with aclosing(cast("AsyncGenerator[AIMessageChunk, None]", stream)) as chunks:
                async for chunk in chunks:
                    yield chunk

    def stream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """As LangChain has it; for ``version="v3"`` the config is read here, for the others by :meth:`stream`."""
        given = self._with_config(config, kwargs) if kwargs.get("version") == "v3" else kwargs
        return super().stream_events(input, config, **given)

    def astream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """As :meth:`stream_events`."""
        given = self._with_config(config, kwargs) if kwargs.get("version") == "v3" else kwargs
        return super().astream_events(input, config, **given)

    def _with_config(self, config: RunnableConfig | None, given: dict[str, Any]) -> dict[str, Any]:
        found = configured(config, self.pass_over)
        for nearer, farther in (("model", "allow"), ("allow", "model")):  # both say who may be asked
            if given.get(nearer):
                found.pop(farther, None)
        dropped = {SCOPE, _FORMAT} if hides_contents() else {SCOPE}
        return {name: value for name, value in {**found, **given}.items() if name not in dropped}

    # How an answer is made.

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> ChatResult:
        scope: Scope | None = kwargs.pop(SCOPE, None)
        listeners = Listeners.of(run_manager) if scope is None else scope.listeners
        call = self._asked(kwargs, stop if scope is None else scope.stop)
        router = self.routers.get(call.pool)
        if not listeners.anyone:
            return result_of(PORTAL.call(route_of(router, messages, call, listeners)))
        for event in PORTAL.each(events_of(router, messages, call, listeners)):
            if isinstance(event, Route):
                return result_of(event)
            listeners.tell(event)
        raise endless()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> ChatResult:
        scope: Scope | None = kwargs.pop(SCOPE, None)
        listeners = Listeners.of(run_manager) if scope is None else scope.listeners
        call = self._asked(kwargs, stop if scope is None else scope.stop)
        router = await self.routers.aget(call.pool)
        if not listeners.anyone:
            return result_of(await route_of(router, messages, call, listeners))
        async with aclosing(events_of(router, messages, call, listeners)) as events:
            async for event in events:
                if isinstance(event, Route):
                    return result_of(event)
                await listeners.atell(event)
        raise endless()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Iterator[ChatGenerationChunk]:
        scope: Scope | None = kwargs.pop(SCOPE, None)
        listeners = Listeners.of(run_manager) if scope is None else scope.listeners
        call, told = self._asked(kwargs, stop if scope is None else scope.stop), Told()
        events = PORTAL.each(events_of(self.routers.get(call.pool), messages, call, listeners))
        with closing(events) if scope is None else scope.until_end(events):
            for event in events:
                if not isinstance(event, Route):
                    listeners.tell(event)
                if (chunk := told.chunk_of(event)) is not None:
                    yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> AsyncIterator[ChatGenerationChunk]:
        scope: Scope | None = kwargs.pop(SCOPE, None)
        listeners = Listeners.of(run_manager) if scope is None else scope.listeners
        call, told = self._asked(kwargs, stop if scope is None else scope.stop), Told()
        router = await self.routers.aget(call.pool)
        events = events_of(router, messages, call, listeners)
        async with aclosing(events) if scope is None else scope.until_end(events):
            async for event in events:
                if not isinstance(event, Route):
                    await listeners.atell(event)
                if (chunk := told.chunk_of(event)) is not None:
                    yield chunk

    def _asked(self, given: dict[str, Any], stop: Sequence[str] | None) -> Asked:
        fields = {name: getattr(self, name) for name in (*SETTINGS, "max_tokens", "stop")}
        return asked(self.pool, fields, given, stop)

    # What it can be made into.

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The chat model with tools that it may call; models that cannot are never asked.

        Args:
            tools: functions, LangChain tools, pydantic models, TypedDicts, or OpenAI's dicts.
            tool_choice: ``auto``, ``any`` (or ``required``, ``True``), ``none``, or the name of the tool to call.
            parallel_tool_calls: whether one answer may call several; none leaves it to the model.
            strict: close the tools' schemas, so that nothing but their parameters fits.
            kwargs: further arguments of every call.
        """
        bound: dict[str, Any] = {"tools": [tool_dict(tool, strict=strict) for tool in tools]}
        if tool_choice is not None:
            bound["tool_choice"] = tool_choice
        if parallel_tool_calls is not None:
            bound["parallel_tool_calls"] = parallel_tool_calls
        self._asked({**bound, **kwargs}, None)  # what cannot be called is told here, and not at the first question
        return self.bind(**bound, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Runnable[LanguageModelInput, Any]:
        """A runnable that answers in a schema, and is asked only of models that can keep to one.

        Args:
            schema: a pydantic model, a TypedDict, or a JSON schema.
            method: ``json_schema`` holds the answer to the schema, ``function_calling`` the call of a tool,
                ``json_mode`` asks for any JSON and reads it.
            include_raw: give ``raw``, ``parsed`` and ``parsing_error`` instead of what was parsed.
            strict: close the schema, so that nothing but its properties fits.
            kwargs: further arguments of every call.

        Raises:
            SettingError: an unknown method.
            SchemaUnmet: when called: no model's answer satisfied the schema.
        """
        return structured(self, schema, method=method, include_raw=include_raw, strict=strict, given=kwargs)

    async def aclose(self) -> None:
        """As :meth:`close`, for the running event loop."""
        await self.routers.aclose()
