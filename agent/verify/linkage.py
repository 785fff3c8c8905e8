"""Complete linkage: which items belong together where being near is no equivalence.

A may be near B, and B near C, while A is not near C. Then what belongs together depends on who is there, and whoever
asks twice must ask the same way: runs, replays and juries all group here. Pure.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Item = TypeVar("Item", int, str)


def linked(items: Sequence[Item], near: Mapping[tuple[Item, Item], float]) -> dict[Item, Item]:
    """The first item of each item's group; any two members of a group are near each other.

    The nearest come together first, and of pairs that are equally near the first.

    Args:
        items: all different, in rising order.
        near: how near two items are, the lower one first; pairs that are not there are not near at all.
    """
    pairs = [pair for pair in combinations(items, 2) if pair in near]
    groups = {item: [item] for item in items}
    for one, other in sorted(pairs, key=lambda pair: (-near[pair], pair)):
        members, others = groups[one], groups[other]
        if members is not others and all((min(a, b), max(a, b)) in near for a in members for b in others):
            members += others
            groups.update(dict.fromkeys(others, members))
    return {item: min(group) for item, group in groups.items()}


def is_torn(first: Mapping[Item, Item], near: Mapping[tuple[Item, Item], float]) -> bool:
    """Whether two that are near stand in different groups: with others there, they might stand together."""
    return any(first[one] != first[other] for one, other in near)
