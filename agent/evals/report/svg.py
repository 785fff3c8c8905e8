"""Charts as text: a frame with two axes, and marks placed in data units. Colours are classes, so that dark mode works.

Everything that comes from data is escaped where it enters the page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_TICKS = 5
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LOG_STEPS = (1, 2, 5)
_FEWEST_TICKS = 3  # on a logarithmic axis
_SCIENTIFIC = 1e-3  # costs below it are written with a power of ten
_LABEL_HEIGHT = 13.0


@dataclass(frozen=True, slots=True)
class Scale:
    """From data to pixels.

    Attributes:
        low: data at ``start``.
        high: data at ``end``.
        start: pixel.
        end: pixel.
        log: logarithmic; data must be positive.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; values outside the range stand at its edge."""
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, self._held(value)))
        return self.start + (self.end - self.start) * ((at - low) / (high - low) if high > low else 0.5)

    def ticks(self) -> list[float]:
        """Round values inside the range."""
        return _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high)

    def _held(self, value: float) -> float:
        return min(max(value, self.low), self.high)


@dataclass(slots=True)
class Chart:
    """One chart in the making.

    Attributes:
        width: of the whole, in pixels of the view box.
        height: likewise.
        x: scale of the horizontal axis.
        y: scale of the vertical axis.
        title: read by screen readers.
        grow: how much larger than its view box it may be shown.
        parts: what was drawn.
    """

    width: float
    height: float
    x: Scale
    y: Scale
    title: str
    grow: float = 1.0
    parts: list[str] = field(default_factory=list)

    def axes(self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]]) -> None:
        """Grid lines with their labels."""
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        for value, label in y_ticks:
            at = self.y(value)
            self.parts.append(f'<path class="grid" d="M{left:.1f} {at:.1f}H{right:.1f}"/>')
            self.text(left - 6, at + 4, label, anchor="end", kind="tick")
        for value, label in x_ticks:
            at = self.x(value)
            self.parts.append(f'<path class="grid" d="M{at:.1f} {bottom:.1f}V{top:.1f}"/>')
            self.text(at, bottom + 16, label, anchor="middle", kind="tick")

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line through points in data units."""
        places = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)
        self.parts.append(f'<path class="line {kind}" d="M{places}"/>')

    def steps(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line that keeps its height until the next point."""
        path = "".join(f"H{self.x(x):.1f}V{self.y(y):.1f}" for x, y in points[1:])
        first = f"M{self.x(points[0][0]):.1f} {self.y(points[0][1]):.1f}"
        self.parts.append(f'<path class="line {kind}" d="{first}{path}H{self.x.end:.1f}"/>')

    def band(self, points: Sequence[tuple[float, float, float]], kind: str) -> None:
        """The area between low and high at each x."""
        there = [f"{self.x(x):.1f} {self.y(high):.1f}" for x, _, high in points]
        back = [f"{self.x(x):.1f} {self.y(low):.1f}" for x, low, _ in reversed(points)]
        self.parts.append(f'<path class="band {kind}" d="M{"L".join(there + back)}Z"/>')

    def dot(self, x: float, y: float, kind: str, radius: float = 3.5) -> None:
        """A point in data units."""
        self.parts.append(f'<circle class="dot {kind}" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius:.1f}"/>')

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> None:
        """Words at a place in pixels."""
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>')

    def end_labels(self, labels: Sequence[tuple[float, str, str]]) -> None:
        """Names at the right end of lines, pushed apart where they would overlap.

        Args:
            labels: quality at the right end, name, class.
        """
        placed = spread([self.y(quality) + 4 for quality, _, _ in labels], self.y.end + 6, self.y.start)
        for at, (quality, name, kind) in zip(placed, labels, strict=True):
            end, level = self.x.end, self.y(quality)
            self.parts.append(f'<path class="leader" d="M{end:.1f} {level:.1f}L{end + 10:.1f} {at - 4:.1f}"/>')
            self.parts.append(f'<path class="line thin {kind}" d="M{end + 11:.1f} {at - 4:.1f}h18"/>')
            self.text(end + 33, at, name, kind=f"name {kind}")

    def render(self) -> str:
        """The chart as an ``svg`` element."""
        label = escape(self.title, quote=True)
        size = f'viewBox="0 0 {self.width:g} {self.height:g}" style="max-width:{self.width * self.grow:g}px"'
        return f'<svg role="img" aria-label="{label}" {size}>{"".join(self.parts)}</svg>'


def spread(wanted: Sequence[float], top: float, bottom: float) -> list[float]:
    """Label positions as near as can be to the wanted ones, a line's height apart, between top and bottom."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed = [0.0] * len(wanted)
    last = top - _LABEL_HEIGHT
    for place in order:
        last = placed[place] = max(wanted[place], last + _LABEL_HEIGHT)
    roof = max(bottom, top + _LABEL_HEIGHT * (len(wanted) - 1))
    for place in reversed(order):
        roof = placed[place] = min(placed[place], roof)
        roof -= _LABEL_HEIGHT
    return placed


def usd(value: float) -> str:
    """A cost for an axis, to six digits: a tick's label is the tick."""
    if value == 0:
        return "0"
    if value >= _SCIENTIFIC:
        return f"{value:g}"
    digits, power = f"{value:.5e}".split("e")
    return f"{float(digits):g}e{int(power)}"


def _linear_ticks(low: float, high: float) -> list[float]:
    if not high > low:
        return [low]
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(one for one in _STEPS if one * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{step * place:.12g}") for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; where those are few, their multiples by 1, 2 and 5; where those are, as if it were linear."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), _LOG_STEPS):
        ticks = [float(f"{step}e{power}") for power in powers for step in steps]
        inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(inside) >= _FEWEST_TICKS:
            return inside
    return _linear_ticks(low, high)
