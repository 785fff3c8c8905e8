"""When a failed request is sent again, and after how long.

Only failures that another try can mend are repeated, a bounded number of times, with full jitter so that many clients
do not come back together; a server's own ``Retry-After`` wins over the schedule.
"""

from __future__ import annotations

import email.utils
import math
import random
import time
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MENDABLE = frozenset({408, 409, 429})
_SERVER_ERRORS = 500
# A gateway gave up waiting, or a client's request was cut off: the model behind it may have answered, and billed it.
_AMBIGUOUS = frozenset({408, 502, 504, *range(520, 525)})


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


def is_ambiguous(status: int) -> bool:
    """Whether a request that was refused with this HTTP status may have been served (and billed) all the same."""
    return status in _AMBIGUOUS


def retry_after_s(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, in either of its forms; ``None`` without a readable one."""
    milliseconds, given = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    seconds = _number(milliseconds)
    seconds = _number(given) if seconds is None else seconds / 1000
    if seconds is None:
        when = _moment(given)
        seconds = None if when is None else when - (time.time() if now is None else now)
    return None if seconds is None else max(seconds, 0.0)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _moment(text: str) -> float | None:
    """Seconds since the epoch of an HTTP date, which is in GMT whether or not it says so."""
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
