"""LangChain's own integration tests of chat models, over the router and the real local models.

Answers come from Qwen2.5-Coder-0.5B, the one model of the pool that calls tools and keeps to schemas, at 160 and 320
tokens; SmolLM2-135M answers plain questions beside it. These are skipped by LangChain, each for what the models lack
and not the chat model:

- ``test_image_inputs``: no local model sees images. ``tests/chat/test_tools.py`` hands them to models that do.
- ``test_pdf_inputs``, ``test_audio_inputs``, ``test_image_tool_message``, ``test_pdf_tool_message``,
  ``test_anthropic_inputs``: contents that not every OpenAI-compatible endpoint takes; they are refused in words.
- ``test_stream_time``: it plays recorded HTTP back against the clock; ``benchmarks/chat.py`` measures that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests

from curveroute import RouterChat
from curveroute.agent.ledger import NullLedger
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.language_models import BaseChatModel

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("local-models")]
pytest.importorskip("xllamacpp")

LARGE = "qwen2.5-coder-0.5b"


class TestLocal(ChatModelIntegrationTests):
    lent: Any

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def router(cls) -> Iterator[Router]:
        """One router for all tests, so that the models are loaded once."""
        with Router.from_pool("local", ledger=NullLedger()) as made:
            cls.lent = RouterChat.from_router(made).routers
            yield made

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RouterChat

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"pool": "local", "routers": self.lent}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return LARGE

    @property
    def enable_vcr_tests(self) -> bool:
        return False
