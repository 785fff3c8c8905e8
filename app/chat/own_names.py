"""Names by which LangChain chooses this chat model and sets its fields: in a config, they are no settings of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

from langchain_core.language_models.chat_models import BaseChatModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.runnables import ConfigurableField, Runnable
    from langchain_core.runnables.base import RunnableSerializable
    from langchain_core.runnables.utils import AnyConfigurableField


class OwnNames(BaseChatModel):
    """A chat model that passes over the ids under which it, or another in its place, is chosen and set."""

    pass_over: tuple[str, ...] = ()

    def configurable_fields(self, **kwargs: AnyConfigurableField) -> RunnableSerializable[Any, Any]:
        """As LangChain has it."""
        return BaseChatModel.configurable_fields(self._passing_over(one.id for one in kwargs.values()), **kwargs)

    def configurable_alternatives(
        self,
        which: ConfigurableField,
        *,
        default_key: str = "default",
        prefix_keys: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> RunnableSerializable[Any, Any]:
        """As LangChain has it."""
        others = {name: _passing_over(one, which.id) for name, one in kwargs.items()}
        own = self._passing_over([which.id])
        return BaseChatModel.configurable_alternatives(
            own, which, default_key=default_key, prefix_keys=prefix_keys, **others
        )

    def _passing_over(self, names: Iterable[str]) -> Self:
        return self.model_copy(update={"pass_over": (*self.pass_over, *names)})


def _passing_over(other: Runnable[Any, Any], name: str) -> Runnable[Any, Any]:
    return cast("Any", other)._passing_over([name]) if isinstance(other, OwnNames) else other  # noqa: SLF001
