"""What a run is given beside its query: settings that a client may send, and the parts that only code can hand over.

The settings are plain values, so that a server can take them from a request. The parts are composed by the face, and
travel in the context or are bound when the graph is built.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic.json_schema import SkipJsonSchema

from curveroute.agent.errors import SettingError, shown
from curveroute.agent.types import Form, RunId

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.chat.seam import Chat
    from curveroute.agent.embed.seam import Embedder
    from curveroute.agent.ledger import LedgerPort
    from curveroute.agent.pool import Pool
    from curveroute.agent.propose import Outlooker
    from curveroute.agent.verify.found import Verifier

_FREE = Form()


@dataclass(frozen=True)
class Parts:
    """The run-scoped parts, one implementation behind each seam.

    Attributes:
        outlooker: predicts an estimate for every arm of the pool.
        verifiers: the user's own, beside those of the house.
        stop_servers: ends the local model servers that were started for these parts.
    """

    pool: Pool
    chat: Chat
    embedder: Embedder
    outlooker: Outlooker
    ledger: LedgerPort
    stop_servers: Callable[[], None] | None = None
    verifiers: tuple[Verifier, ...] = ()

    async def aclose(self) -> None:
        """Close what the running event loop holds, stop local servers, and close the ledger."""
        await self.chat.aclose()
        if self.stop_servers is not None:
            await asyncio.to_thread(self.stop_servers)
        await asyncio.to_thread(self.ledger.close)


@dataclass(frozen=True)
class Context:
    """One run's settings.

    Attributes:
        tradeoff: λ, from 0 (quality only) to 1 (cost only).
        max_cost_usd: hard cap on everything the run spends; none: no cap.
        approve_above_usd: what the run may spend before a person must agree, USD: a step that may lift it above stops
            at an ``interrupt`` with an ``ApprovalRequest``. Needs a checkpointer. None: nobody is asked.
        seconds_usd: what a second of waiting is worth, USD; 0: latency does not count.
        max_error: accept only answers of a score at which at most this share is wrong, as calibrated; none: no promise.
        policy: ``closed-form`` leaves aside what was learned of looking; none: it is followed where there is any.
        plan: let the pool's planner speak when it pays.
        judge: let the pool's judge speak when it pays.
        allow: only these models; empty: all.
        deny: none of these models.
        form: what the answer must be: tools that may be called, a JSON schema, texts at which it ends.
        parts: composed parts; may be bound at build time instead.
        run_id: names the run in the ledger; by default a new id.
        fresh: the id was made for this call alone, so that nothing was made under it before.
    """

    tradeoff: float = 0.5
    max_cost_usd: float | None = None
    approve_above_usd: float | None = None
    seconds_usd: float = 0.0
    max_error: float | None = None
    policy: str | None = None
    plan: bool = True
    judge: bool = True
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    form: Annotated[Form, SkipJsonSchema()] = _FREE
    parts: Annotated[object, SkipJsonSchema()] = field(default=None, repr=False)
    run_id: Annotated[RunId | None, SkipJsonSchema()] = None
    fresh: Annotated[bool, SkipJsonSchema()] = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if not (_is_number(self.tradeoff) and 0 <= self.tradeoff <= 1):
            raise SettingError(f"tradeoff is {shown(self.tradeoff)}, outside 0 (quality only) to 1 (cost only)")
        if self.max_cost_usd is not None and not (_is_amount(self.max_cost_usd) and self.max_cost_usd > 0):
            raise SettingError(
                f"max_cost_usd is {shown(self.max_cost_usd)}; give a positive number of USD, or none for no cap"
            )
        if self.approve_above_usd is not None and not _is_amount(self.approve_above_usd):
            raise SettingError(
                f"approve_above_usd is {shown(self.approve_above_usd)}; give what a run may spend without approval in "
                "USD, or none to ask nobody"
            )
        if not _is_amount(self.seconds_usd):
            raise SettingError(
                f"seconds_usd is {shown(self.seconds_usd)}; give what a second of waiting is worth in USD, "
                "0 when it does not count"
            )
        if self.max_error is not None and not (_is_number(self.max_error) and 0 < self.max_error < 1):
            raise SettingError(
                f"max_error is {shown(self.max_error)}; give a share between 0 and 1, or none for no promise"
            )
        if self.policy not in (None, "learned", "closed-form"):  # what a client sends may have no hash
            raise SettingError(
                f"policy is {shown(self.policy)}; give learned or closed-form, or none for the pool's own"
            )
        self._check_kinds()
        for name in ("allow", "deny"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))

    def _check_kinds(self) -> None:
        for name in ("plan", "judge"):
            if not isinstance(getattr(self, name), bool):
                raise SettingError(f"{name} is {shown(getattr(self, name))}; give true or false")
        if not isinstance(self.form, Form):
            raise SettingError(f"form is a {type(self.form).__name__}; give a Form of tools, schema and stop texts")


def _is_amount(value: object) -> bool:
    return _is_number(value) and 0 <= value <= sys.float_info.max  # type: ignore[operator]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(setting: str, value: object) -> tuple[str, ...]:
    """Model ids as a tuple; JSON brings a list."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise SettingError(f"{setting} is {shown(value)}; give a list of model ids")
    names = tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise SettingError(f"{setting} is {shown(value)}; give a list of model ids")
    return names
