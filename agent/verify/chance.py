"""How much an agreement surprises: two wrong answers to a yes-or-no question agree, two wrong numbers hardly ever."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from curveroute.agent.verify.answers import query_kind

if TYPE_CHECKING:
    from curveroute.agent.verify.answers import QueryKind

_CHANCES: dict[QueryKind, float] = {"yesno": 0.2, "number": 3.0, "json": 3.0, "list": 3.0, "text": 3.0, "prose": 3.0}
_OPTION = re.compile(r"(?:^|\s)\(?([A-Z])[).:]\s")
_FEWEST, _MOST = 3, 20


@lru_cache(maxsize=4096)
def agreement_chance(query_text: str) -> float:
    """Minus the logarithm of the chance that two wrong answers to a query are the same one.

    Of a choice it is that of its wrong options, as if they were equally tempting; of other forms a round number, which
    the jury weighs as recorded answers tell it to.
    """
    kind = query_kind(query_text)
    if kind != "choice":
        return _CHANCES[kind]
    options = min(max(len(set(_OPTION.findall(query_text))), _FEWEST), _MOST)
    return math.log(options - 1.0)
