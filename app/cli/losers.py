"""The candidates that were not chosen, as a table: the best of them with their figures, the others by their reason.

Every one of them is named. Names are never cut, on a narrow terminal either.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from curveroute.agent.account import best_losers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from curveroute.agent.types import Arm, Decision, Estimate, Rejection

_FIRST_SHOWN, _LATER_SHOWN = 16, 6
_NAME_WIDTH = 32
_CHOSEN = "asked"
_DITTO = "″"
_NET_GAIN = re.compile(r"net gain ([+-]\d+\.\d+)")


def first_table(candidates: Sequence[Estimate], first: Decision | None) -> Group:
    """Every candidate as it was estimated, the best score first, and what became of it at the first step."""
    lost = {} if first is None else {one.arm: one for one in first.rejected}
    chosen = () if first is None else first.arms
    shown, others = candidates[:_FIRST_SHOWN], candidates[_FIRST_SHOWN:]
    table = _table([str(one.arm) for one in shown], "candidate", ("quality", "tokens", "USD", "net gain"))
    above = ""
    for one in shown:
        loser = lost.get(one.arm)
        why = _CHOSEN if one.arm in chosen else loser.reason if loser else ""
        table.add_row(
            str(one.arm),
            f"{one.quality:.2f} ± {one.quality_std:.2f}",
            f"{one.output_tokens:.0f}",
            f"{one.cost_usd:.1e}",
            _signed(loser.net_gain if loser else _net_of(first, one.arm)),
            Text(_DITTO if why and why == above else why),
        )
        above = why
    unshown = {one.arm for one in others}
    return Group(table, *_by_reason(one for one in lost.values() if one.arm in unshown))


def _net_of(decision: Decision | None, arm: Arm) -> float | None:
    """Net gain of the chosen arm: a decision keeps the losers' figures, and tells the winner's in its reason."""
    if decision is None or decision.arms[:1] != (arm,):
        return None
    told = _NET_GAIN.search(decision.reason)
    return float(told[1]) if told else None


def later_table(decision: Decision) -> Group:
    """Who lost at a later step: the best with what is believed of them by now, the others by their reason."""
    worth = [one for one in best_losers(decision) if one.net_gain is not None and one.probability is not None]
    shown = [one for one in worth if not _is_settled(one)][:_LATER_SHOWN]
    named = {one.arm for one in shown}
    parts: list[Table | Padding] = []
    if shown:
        table = _table([str(one.arm) for one in shown], "lost", ("P(right)", "gain", "price", "net gain"))
        for one, above in zip(shown, [None, *shown], strict=False):
            figures = (_plain(one.probability), _plain(one.gain), _plain(one.price), _signed(one.net_gain))
            ditto = above is not None and above.reason == one.reason
            table.add_row(str(one.arm), *figures, Text(_DITTO if ditto else one.reason))
        parts.append(table)
    return Group(*parts, *_by_reason(one for one in decision.rejected if one.arm not in named))


def _is_settled(one: Rejection) -> bool:
    """Whether it was no longer to be had: its figures say nothing."""
    return one.reason.startswith("tried")


def _table(names: Sequence[str], title: str, figures: Sequence[str]) -> Table:
    longest = max((len(name) for name in names), default=0)
    return Table(
        Column(title, overflow="fold", width=max(min(longest, _NAME_WIDTH), len(title))),
        *(Column(name, justify="right", no_wrap=True) for name in figures),
        Column("because", overflow="fold"),
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )


def _by_reason(lost: Iterable[Rejection]) -> list[Padding]:
    """One paragraph for each reason, with all the arms that lost for it."""
    groups: dict[str, list[Arm]] = defaultdict(list)
    for one in lost:
        groups[one.reason].append(one.arm)
    lines = (f"{len(arms)} {reason}: {_named(arms)}" for reason, arms in groups.items())
    return [Padding(Text(line, overflow="fold"), (0, 0, 0, 2)) for line in lines]


def _named(arms: Iterable[Arm]) -> str:
    """Arms by model: ``small@16 64 256, big@16``."""
    budgets: dict[str, list[str]] = defaultdict(list)
    for arm in arms:
        budgets[arm.model].append("unlimited" if arm.budget is None else str(arm.budget))
    return ", ".join(f"{model}@{' '.join(ours)}" for model, ours in budgets.items())


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"
