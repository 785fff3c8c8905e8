"""LangChain's own unit tests of chat models, over the router.

LangChain itself skips one of them: ``test_serdes``, because the routers behind a chat model hold connections and cannot
be written down (``is_lc_serializable`` is false).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_tests.unit_tests import ChatModelUnitTests

from curveroute import RouterChat
from curveroute.agent.errors import SettingError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class TestStandard(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RouterChat

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"pool": "local"}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        """Without temperature, timeout, retries and key: they are the pool's, and RouterChat refuses them in words."""
        return {"max_tokens": 100, "stop": []}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        """Keys are the pool's; what a chat model reads from the environment is LangChain's own setting."""
        return {"LC_OUTPUT_VERSION": "v1"}, {}, {"output_version": "v1"}

    @property
    def supports_image_inputs(self) -> bool:
        return True


@pytest.mark.parametrize("name", ["temperature", "timeout", "max_retries", "api_key"])
def test_what_the_pool_decides_is_refused_in_words(name: str) -> None:
    with pytest.raises(SettingError, match=f"no setting {name}; it has: pool, tradeoff, .* are the pool's"):
        RouterChat(**{name: 1})
