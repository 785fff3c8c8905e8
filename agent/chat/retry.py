"""When a failed request is sent again, and after how long.

Only failures that another try can mend are repeated, a bounded number of times, with full jitter so that many clients
do not come back together; a server's own ``Retry-After`` wins over the schedule.
"""

from __future__ import annotations

import email.utils
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MENDABLE = frozenset({408, 409, 429})
_SERVER_ERRORS = 500


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently.

    Attributes:
        tries: requests at most, the first included.
        base_s: upper end of the first wait; doubled each time.
        longest_s: upper end of any wait of the schedule.
        longest_retry_after_s: a server that asks for more patience than this has failed.
    """

    tries: int = 3
    base_s: float = 0.5
    longest_s: float = 8.0
    longest_retry_after_s: float = 60.0

    def wait_s(self, tried: int, retry_after_s: float | None) -> float | None:
        """Seconds before the next request after ``tried`` failed ones; ``None`` to give up."""
        if tried >= self.tries:
            return None
        if retry_after_s is not None:
            return retry_after_s if retry_after_s <= self.longest_retry_after_s else None
        return random.uniform(0.0, min(self.longest_s, self.base_s * 2 ** (tried - 1)))  # noqa: S311  (jitter)


def is_mendable(status: int) -> bool:
    """Whether another try may succeed after this HTTP status."""
    return status in _MENDABLE or status >= _SERVER_ERRORS


def retry_after_s(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, in either of its forms; ``None`` without a readable one."""
    milliseconds = headers.get("retry-after-ms")
    given = headers.get("retry-after")
    try:
        if milliseconds is not None:
            return max(float(milliseconds) / 1000, 0.0)
        return None if given is None else max(float(given), 0.0)
    except ValueError:
        pass
    try:
        when = email.utils.parsedate_to_datetime(given or "").timestamp()
    except ValueError:
        return None
    return max(when - (time.time() if now is None else now), 0.0)
