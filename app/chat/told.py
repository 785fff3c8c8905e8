"""What a stream tells of its answer: the committed one alone, and never half of one with another after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from curveroute.agent.errors import StreamBroken
from curveroute.chat.message import last_chunk
from curveroute.route import Route

if TYPE_CHECKING:
    from curveroute.graphs.events import RunEvent


class Told:
    """What a stream has told of the answer, and what is to be told next."""

    def __init__(self) -> None:
        self.text = ""
        self.rest = ""

    def chunk_of(self, event: RunEvent | Route) -> ChatGenerationChunk | None:
        """The chunk that an event makes; none for what is not the answer.

        Raises:
            StreamBroken: the answer, a part of which was told, will be another.
        """
        if isinstance(event, Route):
            return ChatGenerationChunk(message=last_chunk(event, self.rest))
        if event["type"] == "token":
            self.text += event["text"]
            return ChatGenerationChunk(message=AIMessageChunk(content=event["text"]))
        if event["type"] == "escalate" and self.text:  # before anyone else is asked, and paid
            raise _broken(self.text)
        if event["type"] == "commit":
            if not event["text"].startswith(self.text):
                raise _broken(self.text)
            self.rest = event["text"][len(self.text) :]
        return None


def _broken(text: str) -> StreamBroken:
    return StreamBroken(
        f"the answer broke off after {len(text)} characters that were shown already, and no other can take its place; "
        "ask again, or use invoke, which falls back to another model"
    )
