"""The routers behind a chat model: one for each pool, made when it is first asked, and shared by all copies."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Self

from curveroute.agent.errors import SettingError
from curveroute.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable


class Routers:
    """Makes and keeps routers.

    Args:
        make: a router for the pool of that name or path.
    """

    def __init__(self, make: Callable[[str], Router] = Router.from_pool) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: dict[str, Router] = {}
        self._lent: dict[str, Router] = {}

    def __deepcopy__(self, memo: object) -> Self:
        """Copies of a chat model share its routers."""
        return self

    def __reduce__(self) -> tuple[type[Routers], tuple[Callable[[str], Router]]]:
        """Another process makes routers of its own.

        Raises:
            SettingError: one was lent, which only this process has.
        """
        if self._lent:
            raise SettingError(
                f"a RouterChat over a Router of yours ({', '.join(self._lent)}) cannot go to another process: make one "
                "there, or send one that is made of a pool's name, RouterChat(pool=…)"
            )
        return type(self), (self._make,)

    def lend(self, router: Router) -> None:
        """Take a router that somebody else closes."""
        self._lent[router.parts.pool.name] = router

    def get(self, pool: str) -> Router:
        """The router of a pool; composing it reads the disk.

        Raises:
            SetupError: a part that cannot be had.
        """
        found = self._found(pool)
        if found is not None:
            return found
        with self._lock:  # a second caller waits for the first's, and opens no second ledger
            if pool not in self._made:
                self._made[pool] = self._make(pool)
            return self._made[pool]

    async def aget(self, pool: str) -> Router:
        """As :meth:`get`, without holding up the event loop."""
        found = self._found(pool)
        return await asyncio.to_thread(self.get, pool) if found is None else found

    async def aclose(self) -> None:
        """Close those that were made here."""
        while self._made:
            _, router = self._made.popitem()
            await router.aclose()

    def _found(self, pool: str) -> Router | None:
        return self._lent.get(pool) or self._made.get(pool)
