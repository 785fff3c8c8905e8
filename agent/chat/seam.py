"""What every model seam promises.

A call carries its budget twice: as an instruction inside ``messages`` and as ``max_tokens``. A reply carries what the
server says it used. A seam never resends a request that may already have been served (and billed) without asking
``may_resend`` first: that is where the run's cap gets its word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from curveroute.agent.types import (
        Arm,
        AttemptId,
        FinishReason,
        JsonObject,
        Message,
        Role,
        Toolbox,
        ToolCall,
        Usage,
    )


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one model.

    Attributes:
        arm: who is asked, at which budget.
        messages: the prompt, the budget's instruction included.
        max_tokens: the server's token limit; never ``None``, so that no call is without a worst case.
        query_text: what the user asked; how a recording finds the answer.
        sample: which of several answers to the same prompt this is; also the seed.
        temperature: sampling temperature; 0 takes the likeliest token.
        schema: a JSON schema that the answer must satisfy.
        schema_shown: the messages say already what the schema wants.
        toolbox: tools that the model may or must call.
        stop: texts at which the answer ends.
        attempt_id: how ledger and traces name it; the same request is the same under any name.
        role: what it is asked for.
    """

    arm: Arm
    messages: tuple[Message, ...]
    max_tokens: int
    query_text: str
    sample: int = 0
    temperature: float = 0.0
    schema: JsonObject | None = None
    toolbox: Toolbox | None = None
    stop: tuple[str, ...] = ()
    schema_shown: bool = False
    attempt_id: AttemptId | None = field(default=None, compare=False)
    role: Role | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        text: the answer as the model wrote it.
        usage: tokens as the server counted them.
        finish_reason: ``length`` when the token limit cut the answer.
        latency_s: seconds from sending to the last token, retries included.
        confidence: geometric mean of the tokens' probabilities, where the server gives them.
        lost_tries: requests that may have been billed although no answer came back.
        tool_calls: what the model wants to have called, as it wrote it.
    """

    text: str
    usage: Usage
    finish_reason: FinishReason
    latency_s: float
    confidence: float | None = None
    lost_tries: int = 0
    tool_calls: tuple[ToolCall, ...] = ()


class Chat(Protocol):
    """Anything that answers calls for the models of a pool."""

    async def complete(
        self, call: Call, *, on_token: Callable[[str], None] | None = None, may_resend: Callable[[], bool] | None = None
    ) -> Reply:
        """Answer one call.

        Args:
            call: the request.
            on_token: receives the answer's text as it comes; without it the reply comes whole.
            may_resend: asked before a request is repeated that may have been billed; without it the answer is no.

        Raises:
            ModelCallError: the call failed for good.
        """

    async def aclose(self) -> None:
        """Let go of connections held for the running event loop."""
