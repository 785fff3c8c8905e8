"""``Router``: a query in, a typed route out; a LangChain runnable over the graph.

The graph is the primary thing and the router is its face: every call goes through the same compiled graph, so traces,
callbacks and streams look the same however it is embedded.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from langchain_core.runnables import Runnable, RunnableConfig, ensure_config
from langgraph.errors import GraphBubbleUp

from curveroute.agent.errors import AllArmsFailed, CapTooSmall, LedgerError, QueryError, SettingError
from curveroute.agent.ledger.events import RunEnd
from curveroute.agent.settings import hides_contents
from curveroute.closing import Closing
from curveroute.compose import compose_parts
from curveroute.configurable import OF_THE_CHAT, settings_in, without_chat_settings
from curveroute.graphs.context import Context, Parts
from curveroute.graphs.conversation import conversation_of
from curveroute.graphs.graph import build
from curveroute.graphs.portal import PORTAL
from curveroute.graphs.run_ids import new_run_id, trace_id_of
from curveroute.route import Route
from curveroute.tracing import ToLangSmith

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from langchain_core.tools import BaseTool
    from pydantic import BaseModel

    from curveroute.agent.embed.seam import Embedder
    from curveroute.agent.ledger import FeedbackRecord, LedgerPort
    from curveroute.agent.settings import Settings
    from curveroute.agent.types import RunId
    from curveroute.agent.verify.found import Check, Verifier
    from curveroute.graphs.conversation import Given
    from curveroute.graphs.events import RunEvent

SETTINGS = (
    "tradeoff", "max_cost_usd", "approve_above_usd", "seconds_usd", "max_error", "policy", "plan", "judge", "allow",
    "deny",
)  # fmt: skip
_CONFIGURABLES = frozenset({*SETTINGS, *OF_THE_CHAT})
_LONGEST_REASON = 300


class FeedbackListener(Protocol):
    """Told of all feedback that a router takes, once the ledger has it: where a trace gets its scores from."""

    async def heard(self, given: FeedbackRecord) -> None:
        """Pass it on. It must not raise for what its own receiver does: the feedback is kept all the same."""
        ...


class Router(Closing, Runnable[Any, Route]):
    """Routes queries over one pool. Make one with :meth:`from_pool`; close it, or use it as a context manager.

    Args:
        context: settings of every run, with composed parts.
        pass_over: names in a config's ``configurable`` that are others', and are no mistake.
    """

    def __init__(self, context: Context, *, pass_over: Sequence[str] = ()) -> None:
        self.context = context
        self.pass_over = tuple(pass_over)
        self.graph = build().compile(name="curveroute")
        self.feedback_listeners: list[FeedbackListener] = [ToLangSmith()]

    @classmethod
    def from_pool(  # noqa: PLR0913  (every argument has a default)
        cls,
        pool: str = "local",
        tradeoff: float = 0.5,
        max_cost_usd: float | None = None,
        *,
        approve_above_usd: float | None = None,
        seconds_usd: float = 0.0,
        plan: bool = True,
        judge: bool = True,
        predictor: str | Path | None = None,
        embedder: Embedder | None = None,
        ledger: LedgerPort | None = None,
        settings: Settings | None = None,
        allow: tuple[str, ...] = (),
        deny: tuple[str, ...] = (),
        max_error: float | None = None,
        verifiers: Sequence[str | Verifier | Check] = (),
        pass_over: Sequence[str] = (),
    ) -> Self:
        """A router over the pool of that name, or in the TOML file at that path.

        Args:
            pool: name or path.
            tradeoff: λ, from 0 (quality only) to 1 (cost only), with cost in units of the pool's dearest arm.
            max_cost_usd: hard cap on everything one run spends; none: no cap.
            approve_above_usd: what a run may spend before a person must agree; inside a graph with a checkpointer.
            seconds_usd: what a second of waiting is worth, USD; 0: latency does not count.
            plan: let the pool's planner speak when it pays.
            judge: let the pool's judge speak when it pays.
            predictor: a predictor's folder, instead of the one that the pool names.
            embedder: what the predictor was fitted with, when that is not the default.
            ledger: where runs are written; by default the one of the settings.
            settings: where things are kept; by default read from the environment.
            allow: only these models; empty: all.
            deny: none of these models.
            max_error: accept only answers of a score at which at most this share is wrong, as calibrated.
            verifiers: names (``json-schema:FILE``, ``unit-tests:FILE``), plain functions, or verifiers of your own.
            pass_over: names in a config's ``configurable`` that are others', and are no mistake.

        Raises:
            SetupError: an unknown or malformed pool, a missing key, a value out of range, a damaged predictor.
        """
        context = Context(
            tradeoff=tradeoff,
            max_cost_usd=max_cost_usd,
            approve_above_usd=approve_above_usd,
            plan=plan,
            judge=judge,
            allow=allow,
            deny=deny,
            seconds_usd=seconds_usd,
            max_error=max_error,
        )
        parts = compose_parts(
            pool,
            settings=settings,
            predictor=predictor,
            embedder=embedder,
            ledger=ledger,
            allow=context.allow,
            deny=context.deny,
            verifiers=verifiers,
        )
        return cls(replace(context, parts=parts), pass_over=pass_over)

    def __deepcopy__(self, memo: object) -> Self:
        """A copy of what holds connections and a ledger is the same."""
        return self

    @property
    def parts(self) -> Parts:
        """The composed parts behind this router's seams."""
        return cast("Parts", self.context.parts)

    def invoke(self, input: Given, config: RunnableConfig | None = None, **overrides: Any) -> Route:  # noqa: ANN401
        """Answer one query; see :meth:`ainvoke`."""
        return PORTAL.call(self.ainvoke(input, ensure_config(config), **overrides))

    async def ainvoke(
        self,
        input: Given,
        config: RunnableConfig | None = None,
        **overrides: Any,  # noqa: ANN401
    ) -> Route:
        """Answer one query.

        Args:
            input: a string, messages, or a dict with ``messages`` or ``query``.
            config: LangChain's, handed on to the graph; its ``configurable`` may hold settings of the run.
            overrides: settings of this run, before those of the config: ``tradeoff``, ``max_cost_usd``,
                ``approve_above_usd``, ``seconds_usd``, ``max_error``, ``policy``, ``plan``, ``judge``, ``allow``,
                ``deny``; and ``form``, what the answer must be.

        Raises:
            SettingError: an override out of range or unknown.
            RunError: nothing to answer, no arm fits under the cap, or every arm failed.
        """
        state, context = {"messages": conversation_of(input)}, self._context(config, overrides)
        async with _closed(context):
            output = await self.graph.ainvoke(cast("Any", state), config=_traced(config, context), context=context)
        return _whole(Route.from_output(output))

    def stream(
        self,
        input: Given,
        config: RunnableConfig | None = None,
        **overrides: Any,  # noqa: ANN401
    ) -> Iterator[Route]:
        """Answer one query in pieces; see :meth:`astream`."""
        pieces = self.astream(input, ensure_config(config), **overrides)
        try:
            while (piece := PORTAL.call(_next(pieces))) is not None:
                yield piece
        finally:
            PORTAL.call(pieces.aclose())

    async def astream(
        self,
        input: Given,
        config: RunnableConfig | None = None,
        **overrides: Any,  # noqa: ANN401
    ) -> AsyncGenerator[Route, None]:
        """Answer one query in pieces that add up to what :meth:`ainvoke` returns.

        Only the committed answer's text is in them: live where the run is committed before it is written, else at
        once when it is accepted. The last piece carries the rest of the route.
        """
        told = ""
        async with aclosing(self.events(input, config, **overrides)) as events:
            async for event in events:
                if isinstance(event, Route):
                    yield event.model_copy(update={"answer": ""})
                elif event["type"] == "token":
                    told += event["text"]
                    yield Route(answer=event["text"])
                elif event["type"] == "commit" and event["text"] != told:
                    yield Route(answer=event["text"], restart=bool(told))

    async def events(
        self,
        input: Given,
        config: RunnableConfig | None = None,
        **overrides: Any,  # noqa: ANN401
    ) -> AsyncGenerator[RunEvent | Route, None]:
        """Everything that a run tells, in order, and the route at the end."""
        state, context = {"messages": conversation_of(input)}, self._context(config, overrides)
        output: dict[str, Any] = {}
        stream = self.graph.astream(
            cast("Any", state), config=_traced(config, context), context=context, stream_mode=["custom", "values"]
        )
        # A reader who leaves ends the run.
        async with _closed(context), aclosing(cast("AsyncGenerator[Any, None]", stream)) as chunks:
            async for mode, chunk in chunks:
                if mode == "custom":
                    yield cast("RunEvent", chunk)
                else:
                    output = cast("dict[str, Any]", chunk)
        yield _whole(Route.from_output(output))

    def as_tool(
        self,
        args_schema: type[BaseModel] | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        arg_types: dict[str, type] | None = None,
    ) -> BaseTool:
        """A tool for an agent: it takes ``query`` and gives the answer's text, with the route as the artifact.

        Args:
            args_schema: other arguments: ``query``, ``input``, ``question`` or ``messages``, and settings of a run
                (``tradeoff``, ``max_cost_usd``, …), which the agent's model may then choose.
            name: of the tool; by default ``curveroute``.
            description: what the agent's model is told of it.
            arg_types: arguments by name, instead of a schema.

        Raises:
            SettingError: arguments without a query among them, or one that would do nothing.
        """
        from curveroute.tool import tool_of

        return tool_of(self, args_schema, name, description, arg_types, SETTINGS)

    def feedback(self, run_id: str, score: float, comment: str = "", *, source: str = "user") -> FeedbackRecord:
        """Say how good a run's answer was; see :meth:`afeedback`."""
        return PORTAL.call(self.afeedback(run_id, score, comment, source=source))

    async def afeedback(self, run_id: str, score: float, comment: str = "", *, source: str = "user") -> FeedbackRecord:
        """Say how good a run's answer was: the ledger keeps it, and ``curveroute learn`` learns from it.

        Args:
            run_id: ``route.run_id``, or the beginning of it.
            score: from 0 (useless) to 1 (just right).
            comment: in the user's words.
            source: who says it. Of several by one source the last counts; sources are averaged.

        Raises:
            SettingError: a score outside [0, 1], or a comment or source that is too long.
            LedgerError: no such run, or one without an answer.
        """
        given = await self.parts.ledger.give_feedback(run_id, score, comment, source)
        for listener in self.feedback_listeners:
            await listener.heard(given)
        return given

    async def aclose(self) -> None:
        """As :meth:`close`, for the running event loop."""
        await self.parts.aclose()

    def _context(self, config: RunnableConfig | None, overrides: dict[str, Any]) -> Context:
        given = settings_in(config, _CONFIGURABLES, self.pass_over, "Router")
        given = without_chat_settings(given, overrides, self.context, self.pass_over)
        return context_with(self.context, {**given, **overrides}, run_id=new_run_id(), fresh=True)


def context_with(context: Context, overrides: dict[str, Any], **own: Any) -> Context:  # noqa: ANN401
    """The context with some settings replaced, and what is no setting (``own``) with them.

    Raises:
        SettingError: an unknown setting, or a value out of range.
    """
    unknown = sorted(set(overrides) - {*SETTINGS, "form"})
    if unknown:
        known = ", ".join(sorted([*SETTINGS, "form"]))
        raise SettingError(f"unknown setting(s) {', '.join(unknown)}; a run can override: {known}")
    return replace(context, **overrides, **own) if overrides or own else context


def _traced(config: RunnableConfig | None, context: Context) -> RunnableConfig:
    """The config with a name for the run in traces that tells the ledger's, unless the caller gave one."""
    given: RunnableConfig = config or {}
    trace_id = trace_id_of(context.run_id or "")
    return given if given.get("run_id") or trace_id is None else {**given, "run_id": trace_id}


@asynccontextmanager
async def _closed(context: Context) -> AsyncIterator[None]:
    """Close a run that an error or a cancel ends: nobody will resume it."""
    try:
        yield
    except (CapTooSmall, QueryError, GraphBubbleUp):  # closed by the graph, never begun, or waiting for a person
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")[:_LONGEST_REASON]
        ledger = cast("Parts", context.parts).ledger
        with suppress(LedgerError):
            await asyncio.shield(ledger.finish_run(cast("RunId", context.run_id), RunEnd("failed", reason)))
        raise


def _whole(route: Route) -> Route:
    if route.status == "failed":
        errors = "; ".join(f"{attempt.arm}: {attempt.error}" for attempt in route.attempts if attempt.error)
        if hides_contents():  # a tracer tells this error, and an endpoint may have repeated what it was asked
            errors = f"what they said is hidden here; curveroute runs show {route.run_id} tells it"
        raise AllArmsFailed(f"every arm that was tried failed (run {route.run_id}): {errors}")
    return route


async def _next(pieces: AsyncGenerator[Route, None]) -> Route | None:
    return await anext(pieces, None)
