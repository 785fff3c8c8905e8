"""What a chat model's reader thought of an answer, by the run that the answer itself names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.messages import BaseMessage

from curveroute.agent.errors import SettingError
from curveroute.graphs.portal import PORTAL

if TYPE_CHECKING:
    from curveroute.agent.ledger import FeedbackRecord
    from curveroute.chat.routers import Routers


class TakesFeedback:
    """The part of a chat model that takes feedback."""

    if TYPE_CHECKING:  # fields of the chat model
        pool: str
        routers: Routers

    def feedback(
        self, answer: BaseMessage | str, score: float, comment: str = "", *, source: str = "user"
    ) -> FeedbackRecord:
        """Say how good an answer was; see :meth:`afeedback`."""
        return PORTAL.call(self.afeedback(answer, score, comment, source=source))

    async def afeedback(
        self, answer: BaseMessage | str, score: float, comment: str = "", *, source: str = "user"
    ) -> FeedbackRecord:
        """Say how good an answer was, as :meth:`curveroute.Router.afeedback` takes it.

        Args:
            answer: the message that the chat model gave, or the ``run_id`` under ``route`` in its metadata.
            score: from 0 (useless) to 1 (just right).
            comment: in the user's words.
            source: who says it.

        Raises:
            SettingError: a message of another model, or a score, comment or source out of range.
            LedgerError: no such run, or one without an answer.
        """
        router = await self.routers.aget(self.pool)
        return await router.afeedback(run_id_of(answer), score, comment, source=source)


def run_id_of(answer: BaseMessage | str) -> str:
    """The run that gave an answer.

    Raises:
        SettingError: the message is not a router's.
    """
    if isinstance(answer, str):
        return answer
    route = answer.response_metadata.get("route") if isinstance(answer, BaseMessage) else None
    if not isinstance(route, dict) or not route.get("run_id"):
        raise SettingError(
            'the message names no run in response_metadata["route"]: give one that RouterChat answered, or a run id'
        )
    return str(route["run_id"])
