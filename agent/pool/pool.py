"""A checked pool: what each arm is, how it is asked, and what a call costs.

Invariant: ``worst_case_usd`` is never below what a call can cost, because a cap is kept by reserving it beforehand.
The bound on input tokens is the number of UTF-8 bytes (no tokenizer makes more tokens than bytes) plus the chat
template's marks.
"""

from __future__ import annotations

import itertools
import json
import math
from functools import cached_property
from typing import TYPE_CHECKING

from curveroute.agent.errors import CapabilityError, PoolError, QueryError
from curveroute.agent.types import Arm, Budget, Capability, Message, ModelId, Query, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from curveroute.agent.pool.spec import BudgetSpec, ModelSpec, PoolSpec, PriceSpec
    from curveroute.agent.types import Form

_CHARS_PER_TOKEN = 4
_TEMPLATE_TOKENS = 64
_TEMPLATE_TOKENS_PER_MESSAGE = 16
_USUAL_TEMPLATE_TOKENS_PER_MESSAGE = 5
_PER_MILLION = 1e-6
_CAPABILITIES: dict[Capability, str] = {
    "tools": "call tools",
    "images": "see images",
    "json": "keep to a JSON schema",
    "logprobs": "tell token probabilities",
}
_FORMED_STYLE = "Use at most {tokens} tokens."
_SCHEMA_FRAME = 128  # characters around a schema that is told in the prompt
_TOOL_FRAME = 96  # characters around one tool's definition
_TOOLBOX_FRAME = 512  # and around all of them


class Pool:
    """Models, budgets, prices and prompt styles of one pool file.

    Args:
        spec: the validated file.
        prices: USD per million tokens of each model, references resolved.
    """

    def __init__(self, spec: PoolSpec, *, prices: Mapping[str, PriceSpec]) -> None:
        self.spec = spec
        self._prices = dict(prices)
        self._models = {ModelId(model.id): model for model in spec.models}
        self._budgets: dict[Budget, BudgetSpec] = {budget.tokens: budget for budget in spec.budgets}

    @property
    def name(self) -> str:
        """The pool's name, as written in its file."""
        return self.spec.name

    @cached_property
    def models(self) -> tuple[ModelId, ...]:
        """Model ids, in the file's order."""
        return tuple(self._models)

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Every (model, budget) pair on offer: models in the file's order, budgets from short to unlimited."""
        ordered = sorted(self._budgets, key=lambda budget: math.inf if budget is None else budget)
        return tuple(
            Arm(name, budget)
            for name, model in self._models.items()
            for budget in ordered
            if model.budgets is None or budget in model.budgets
        )

    def model(self, name: str) -> ModelSpec:
        """The model of that id.

        Raises:
            PoolError: not in this pool.
        """
        try:
            return self._models[ModelId(name)]
        except KeyError:
            raise PoolError(
                f"unknown model {name!r} in pool {self.name!r}; it has: {', '.join(self._models)}"
            ) from None

    def restricted(
        self, allow: Iterable[str] = (), deny: Iterable[str] = (), needs: frozenset[Capability] = frozenset()
    ) -> tuple[Arm, ...]:
        """The arms whose model is allowed (all when ``allow`` is empty), not denied, and able to do what is needed.

        Raises:
            PoolError: an unknown model, or nothing left by the lists.
            CapabilityError: models are left, and none of them can do what is needed.
        """
        allowed, denied = {self.model(name).id for name in allow}, {self.model(name).id for name in deny}
        arms = tuple(arm for arm in self.arms if (not allowed or arm.model in allowed) and arm.model not in denied)
        if not arms:
            raise PoolError(f"no arm of pool {self.name!r} is left by the allow and deny lists; loosen them")
        able = tuple(arm for arm in arms if needs <= self.model(arm.model).capabilities) if needs else arms
        if not able:
            raise CapabilityError(self._unable(needs, tuple(dict.fromkeys(arm.model for arm in arms))))
        return able

    def _unable(self, needs: frozenset[Capability], models: Iterable[ModelId]) -> str:
        wanted = " and ".join(words for need, words in _CAPABILITIES.items() if need in needs)
        have = "; ".join(f"{name}: {', '.join(sorted(self.model(name).capabilities)) or 'none'}" for name in models)
        return (
            f"the query needs a model that can {wanted}, and of pool {self.name!r} none that is allowed can "
            f"({have}); choose another pool, or add the capability to its file if a model has it"
        )

    def prices(self, model: str) -> tuple[float, float, float]:
        """USD per million input, output and cached input tokens."""
        price = self._prices[self.model(model).id]
        return price.input, price.output, price.input if price.cached_input is None else price.cached_input

    def cost_usd(self, model: str, usage: Usage) -> float:
        """What a call with this usage costs."""
        input_price, output_price, cached_price = self.prices(model)
        fresh = max(usage.input_tokens - usage.cached_input_tokens, 0)
        cost = _PER_MILLION * (
            fresh * input_price + usage.cached_input_tokens * cached_price + usage.output_tokens * output_price
        )
        # A sum of two rounded products may be an ulp above the one product that was reserved.
        return min(cost, self._dearest_usd(model, fresh + usage.cached_input_tokens, usage.output_tokens))

    def output_limit(self, arm: Arm, input_tokens: int) -> int:
        """Output tokens that the server is told to stop at: the budget, within the model's window.

        Args:
            arm: the arm to be asked.
            input_tokens: tokens of the prompt, or a bound on them.
        """
        model = self.model(arm.model)
        room = max(model.context_window - input_tokens, 0)
        limits = [room, arm.budget, model.max_output_tokens]
        return min(limit for limit in limits if limit is not None)

    def worst_case_usd(self, arm: Arm, input_bound: int, output_limit: int) -> float:
        """The most that one call of this arm can cost."""
        return self._dearest_usd(arm.model, input_bound, output_limit)

    def _dearest_usd(self, model: str, input_tokens: int, output_tokens: int) -> float:
        input_price, output_price, cached_price = self.prices(model)
        return _PER_MILLION * (input_tokens * max(input_price, cached_price) + output_tokens * output_price)

    def messages(self, query: Query, arm: Arm) -> tuple[Message, ...]:
        """What is sent for this arm: a system message, the conversation, and the budget as an instruction.

        The instruction comes last, so that the arms of one model share the longest possible prompt prefix. Where the
        query settles the form (tools, a schema), the budget's own style would contradict it: only its number goes out.
        """
        conversation = list(query.messages)
        style = self._style(arm.budget, formed=query.form.toolbox is not None or query.form.schema is not None)
        if not any(message["role"] == "system" for message in conversation):
            conversation.insert(0, Message(role="system", content=self.spec.system))
        last = max(index for index, message in enumerate(conversation) if message["role"] == "user")
        asked = conversation[last]["content"].rstrip()
        conversation[last] = {**conversation[last], "content": f"{asked}\n\n{style}" if style else asked}
        return tuple(conversation)

    def _style(self, budget: Budget, *, formed: bool) -> str:
        if budget is None:
            return "" if formed else self._budgets[budget].style
        style = _FORMED_STYLE if formed else self._budgets[budget].style
        return style.replace("{tokens}", str(budget))

    def style_name(self, budget: Budget) -> str:
        """The name of the prompt style of a budget, as recorded in tables."""
        return self._budgets[budget].name

    def prior_quality(self, arm: Arm) -> float | None:
        """Expected quality of an arm from the file's own curve, linear between its points; ``None`` without one."""
        points = sorted(
            (math.inf if point.budget is None else float(point.budget), point.quality)
            for point in self.model(arm.model).prior
        )
        if not points:
            return None
        at = math.inf if arm.budget is None else float(arm.budget)
        if at <= points[0][0]:
            return points[0][1]
        for (left, low), (right, high) in itertools.pairwise(points):
            if at <= right:
                share = 1.0 if math.isinf(right) and math.isinf(at) else 0.0
                share = share if math.isinf(right) else (at - left) / (right - left)
                return low + share * (high - low)
        return points[-1][1]


def input_tokens_prior(messages: Sequence[Message]) -> int:
    """About how many tokens a prompt has: ASCII characters / 4, one for each other character, the template's marks.

    Images are not counted; what they are billed as depends on the model (:func:`images_in`).
    """
    texts = list(_texts(messages))
    characters = sum(map(len, texts))
    # Whether a text is ASCII is known without reading it, and a prompt is measured once for every budget.
    ascii_only = sum(len(text) if text.isascii() else len(text.encode("ascii", "ignore")) for text in texts)
    return (
        math.ceil(ascii_only / _CHARS_PER_TOKEN)
        + (characters - ascii_only)
        + _USUAL_TEMPLATE_TOKENS_PER_MESSAGE * len(messages)
    )


def input_tokens_bound(messages: Sequence[Message]) -> int:
    """A number of tokens that the prompt cannot exceed, whatever the tokenizer; images are not counted."""
    size = sum(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in _texts(messages))
    return size + _TEMPLATE_TOKENS + _TEMPLATE_TOKENS_PER_MESSAGE * (len(messages) + sum(map(_calls_in, messages)))


def images_in(messages: Sequence[Message]) -> int:
    """How many images a prompt holds."""
    return sum(len(message["images"]) for message in messages if "images" in message)


def form_tokens(form: Form) -> tuple[int, int]:
    """What tools and schema add to a prompt: about how many tokens, and at most how many.

    Both may go out twice, in the prompt and as a schema that the answer must satisfy; what the prompt shows
    already goes out once.
    """
    if form.schema is not None and form.schema_shown and form.toolbox is None:
        size = len(json.dumps(form.schema))
        return size // _CHARS_PER_TOKEN, size
    size = 0 if form.schema is None else len(json.dumps(form.schema)) + _SCHEMA_FRAME
    if form.toolbox is None:
        return size // _CHARS_PER_TOKEN, 2 * size
    tools = sum(
        len(json.dumps(tool.parameters)) + len(tool.name.encode()) + len(tool.description.encode()) + _TOOL_FRAME
        for tool in form.toolbox.tools
    )
    return (size + tools + _TOOLBOX_FRAME) // _CHARS_PER_TOKEN, 2 * (size + tools + _TOOLBOX_FRAME)


def check_query(query: Query) -> None:
    """Refuse a query that asks nothing.

    Raises:
        QueryError: no user message with text or an image in it.
    """
    if not query.text.strip() and not images_in(query.messages):
        raise QueryError("the query is empty; give at least one user message with text in it")


def _texts(messages: Sequence[Message]) -> Iterator[str]:
    """All that a prompt says: the messages' texts, and the calls that assistants made."""
    for message in messages:
        yield message["content"]
        for call in message.get("tool_calls", ()):
            yield call["name"]
            yield call["arguments"]


def _calls_in(message: Message) -> int:
    return len(message.get("tool_calls", ()))
