"""What is opened is closed: by ``close``, by ``aclose``, or at the end of a ``with``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from curveroute.graphs.portal import PORTAL

if TYPE_CHECKING:
    from types import TracebackType


class Closing:
    """The part of a face that closes: everything follows from its ``aclose``."""

    async def aclose(self) -> None:
        """As :meth:`close`, for the running event loop."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what was opened for it: connections, local servers that it started, the ledger."""
        PORTAL.call(self.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
