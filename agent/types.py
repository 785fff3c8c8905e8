"""The words of curveroute: one frozen value per thing, shared by every floor and importing none of them.

Money is USD, lengths are tokens, times are seconds, qualities and scores are in [0, 1]. A budget of ``None`` is
unlimited. Values are immutable; a later fact about one (a verdict on an attempt) makes a new value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NewType, NotRequired, TypeAlias

from typing_extensions import TypeAliasType, TypedDict

ModelId = NewType("ModelId", str)
RunId = NewType("RunId", str)
AttemptId = NewType("AttemptId", str)

Budget: TypeAlias = int | None
JsonValue = TypeAliasType("JsonValue", "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None")
JsonObject: TypeAlias = dict[str, JsonValue]

Role = Literal["probe", "escalation", "planner", "judge"]
FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "error"]
VerdictReason = Literal["ok", "truncated", "malformed", "refused", "disagreement", "wrong", "error"]
Status = Literal["accepted", "best_so_far", "failed"]
CostUnit = Literal["pool", "usd"]
Capability = Literal["tools", "images", "json", "logprobs"]
Shape = Literal["text", "json", "calls"]


class Image(TypedDict):
    """A picture in a user's message: an http(s) or data URL, and the place in the text where it stands."""

    at: int
    url: str
    detail: NotRequired[str]


class ToolCall(TypedDict):
    """A model's wish to call a tool; ``arguments`` is JSON text as the model wrote it, sound or not."""

    call_id: str
    name: str
    arguments: str


class Message(TypedDict):
    """One chat message: images stand in a user's, tool calls in an assistant's, and a tool's names the call it answers.

    ``served`` names the model that wrote an assistant's message, where that is known: it may still hold the prompt.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    images: NotRequired[list[Image]]
    tool_calls: NotRequired[list[ToolCall]]
    tool_call_id: NotRequired[str]
    served: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a model may ask to have called; ``parameters`` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: JsonObject


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one query.

    Attributes:
        choice: ``auto``, ``none``, ``required`` (one at least), or the name of the tool that must be called.
        parallel: whether one answer may hold several calls; none leaves it to the model.
    """

    tools: tuple[Tool, ...]
    choice: str = "auto"
    parallel: bool | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer must be, beyond being right.

    Attributes:
        toolbox: tools that may or must be called instead of answering in words.
        schema: a JSON schema that the answer's text must satisfy.
        stop: texts at which the answer ends.
        max_tokens: output tokens at most, whatever the arm's budget; none: the budget alone counts.
        schema_shown: the messages say already what the schema wants, so that no model is told it again.
    """

    toolbox: Toolbox | None = None
    schema: JsonObject | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    schema_shown: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What the user asks: a list of chat messages; ``text`` is what the router reads of it."""

    messages: tuple[Message, ...]
    form: Form = Form()

    @property
    def text(self) -> str:
        """The user's words, in order: what is embedded and shown to planner and judge."""
        return "\n".join(message["content"] for message in self.messages if message["role"] == "user")

    @property
    def needs(self) -> frozenset[Capability]:
        """What a model must be able to do to read this conversation and to answer in its form."""
        found: set[Capability] = set()
        if self.form.toolbox is not None or any(_of_tools(message) for message in self.messages):
            found.add("tools")
        if any(message.get("images") for message in self.messages):
            found.add("images")
        if self.form.schema is not None:
            found.add("json")
        return frozenset(found)


def _of_tools(message: Message) -> bool:
    return message["role"] == "tool" or bool(message.get("tool_calls"))


@dataclass(frozen=True, slots=True, order=False)
class Arm:
    """A (model, budget) pair: the thing the router chooses."""

    model: ModelId
    budget: Budget

    def __str__(self) -> str:
        return f"{self.model}@{'unlimited' if self.budget is None else self.budget}"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is expected of one arm on one query, before it is asked.

    Attributes:
        latency_s: one call's, waiting included.
        input_bound: input tokens of one request at most; none where an older version made the estimate.
        output_limit: output tokens of one request at most; none likewise.
    """

    arm: Arm
    quality: float
    quality_std: float
    input_tokens: int
    output_tokens: float
    cost_usd: float
    latency_s: float = 0.0
    input_bound: int | None = None
    output_limit: int | None = None


@dataclass(frozen=True, slots=True)
class PredictorOrigin:
    """Where a predictor was read from, and the hash of what it says: predictors of one hash say the same.

    Both are empty where it was handed over by code and never read from a folder.
    """

    folder: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one call used, as the server reported them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifiers say of an attempt: a calibrated probability that it is right, and why."""

    score: float
    reason: VerdictReason
    detail: str = ""
    signals: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """What one verifier of the user's said of one attempt; nothing said is a word of 0 without a reason.

    Attributes:
        verifier: its name, with a number where several have it.
        log_odds: by which it moves the verdict.
        hung: it did not answer in time, here or on an attempt before.
    """

    verifier: str
    log_odds: float
    reason: str
    hung: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One executed call, everything it cost included. A failed call is an attempt too, with ``error`` set.

    ``shape`` says what it answered in; ``fault`` what is wrong with that, where the query asked for a form: JSON that
    does not satisfy its schema, a call of an unknown tool. It is empty for what is sound.
    """

    attempt_id: AttemptId
    role: Role
    arm: Arm
    text: str
    answer: str | None
    usage: Usage
    cost_usd: float
    finish_reason: FinishReason
    latency_s: float
    error: str | None = None
    confidence: float | None = None
    verdict: Verdict | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    shape: Shape = "text"
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The order in which arms are to be tried, and who decided it.

    ``source`` is ``"ranking"`` when the predictor's order stands; ``reason`` then says why the planner was not heard.
    """

    arms: tuple[Arm, ...]
    probe: bool
    criteria: str
    source: Literal["ranking", "planner"]
    reason: str


@dataclass(slots=True, unsafe_hash=True)
class Rejection:
    """Why one candidate was not chosen at one step, with the figures behind it; ``None`` where none was computed.

    Every step makes one for each arm, and a frozen value takes four times as long to make: only type checkers hold
    this one still.

    Attributes:
        net_gain: what the rule compared, in units of the score: the gain less the price, weighed by the tradeoff.
        gain: expected gain in the probability that the best answer is right, before it is weighed.
        price: expected cost of one call in units of the pool's reference cost, before it is weighed.
        probability: believed probability that this arm answers rightly, after all verdicts so far.
    """

    arm: Final[Arm]
    reason: Final[str]
    net_gain: Final[float | None] = None
    gain: Final[float | None] = None
    price: Final[float | None] = None
    probability: Final[float | None] = None


@dataclass(frozen=True, slots=True)
class Flip:
    """A tradeoff beyond which a step would have chosen otherwise: all of these arms, or none to stop, and why."""

    tradeoff: float
    arms: tuple[Arm, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rule chose at one step: arms to try next, or none when it stops, and why each other one lost.

    Attributes:
        rejected: every other candidate, in the order of the candidates.
        flips: the nearest tradeoffs below and above the run's beyond which the choice would be another one: others, or
            the same arm with another one beside it, or without.
        policy: the rule that decided: ``"learned"``, ``"closed-form"`` or ``"plan"``.
    """

    step: int
    arms: tuple[Arm, ...]
    reason: str
    status: Status | None = None
    committed: bool = False
    rejected: tuple[Rejection, ...] = field(default=())
    flips: tuple[Flip, ...] = field(default=())
    policy: str = "closed-form"
