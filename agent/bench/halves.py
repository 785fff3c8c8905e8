"""A curve table in two, by queries: what is learned from one part says something of the other only then.

Queries of one text, but for its spaces and case, are on one side, with all their rows. Which side that is depends on
the seed and on the order in which the table first names its queries, not on the file's format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.grid import groups_of
from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from curveroute.agent.bench.columns import Columns

_FEWEST = 2


def halves(columns: Columns, share: float, seed: int = 0) -> tuple[Columns, Columns]:
    """The rows of a random share of the queries, and those of the others, both in their order.

    Args:
        columns: a table.
        share: of the different queries, in (0, 1), that make the first part; each part has one at least.
        seed: of the draw.

    Raises:
        TableError: the table has a single query.
    """
    used, first = np.unique(columns.query.codes, return_index=True)
    used = used[np.argsort(first)]
    group = np.zeros(len(columns.query.values) + 1, dtype=np.intp)
    group[used] = groups_of([columns.query.values[code] for code in used.tolist()])
    groups = int(group.max()) + 1
    if groups < _FEWEST:
        raise TableError("the table has 1 different query: two parts need two or more; collect others")
    drawn = np.zeros(groups, dtype=np.bool_)
    drawn[np.random.default_rng(seed).permutation(groups)[: min(max(round(groups * share), 1), groups - 1)]] = True
    of_first = drawn[group[columns.query.codes]]
    return columns.at(of_first), columns.at(~of_first)
