"""The live check's figures as Markdown, between two marks of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

OPENING, CLOSING = "<!-- live -->", "<!-- /live -->"
METRICS = {
    "gain_at_cost_0.35": "gain at .35 c\\*",
    "gain_at_cost_0.5": "at .5 c\\*",
    "gain_at_cost_1": "at c\\*",
    "audc_envelope": "AUDC-envelope",
    "peak": "peak quality",
}


def write_between_marks(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page.

    Raises:
        TableError: a page without one of each mark, in their order.
    """
    before, opening, rest = page.read_text("utf-8").partition(OPENING)
    _, closing, after = rest.partition(CLOSING)
    if not (opening and closing) or OPENING in after or CLOSING in after:
        raise TableError(
            f"{page.name} needs one line {OPENING} and after it one line {CLOSING}, for the table to go between"
        )
    page.write_text(f"{before}{OPENING}\n\n{text.strip()}\n\n{CLOSING}{after}", "utf-8")


def markdown(result: dict[str, Any]) -> str:
    """What was measured, as two paragraphs and three tables."""
    return "\n\n".join((_introduction(result), _points(result), _curves(result), _differences(result)))


def _introduction(result: dict[str, Any]) -> str:
    timed = "prompts were read without a cache"
    if result.get("paced"):
        timed = "a call takes as long as its tokens do at the pool's measured speeds, as the machine was not idle"
    return (
        f"{result['questions']} held-out questions ({result['written']} written, {result['generated']} generated), "
        f"pool `{result['pool']}` ({', '.join(result['models'])}), one question at a time, {result['cores']} cores. "
        "Every policy got the same answers: an identical call was made once. In brackets: 95 % paired bootstrap over "
        "questions. Latency is that of the calls: side by side their longest, one after the other their sum; "
        f"{timed}. The best single arm of the training table, whatever its budget, is "
        f"{result['best_single']}; its mean cost is c\\*."
    )


def _points(result: dict[str, Any]) -> str:
    head = (
        "policy",
        "",
        "quality",
        "USD a question",
        "calls",
        "latency, s",
        "95th percentile, s",
        "quality − best",
        "cost / best",
    )
    rows = [
        (
            one["policy"],
            one["name"],
            _share(one["quality"]),
            _small(one["cost_usd"]),
            _decimals(one["calls"], 2),
            _decimals(one["latency_s"], 2),
            _decimals(one["latency_p95_s"], 1),
            _signed(one["quality_over_best_single"]),
            _decimals(one["cost_over_best_single"], 2),
        )
        for one in result["policies"]
    ]
    return _table(head, rows)


def _curves(result: dict[str, Any]) -> str:
    head = ("curve, joined by the constant arms", *METRICS.values())
    rows = [(name, *(_metric(metric, told[metric]) for metric in METRICS)) for name, told in result["curves"].items()]
    return _table(head, rows)


def _differences(result: dict[str, Any]) -> str:
    by_pair: dict[tuple[str, str], dict[str, Any]] = {}
    for one in result["differences"]:
        by_pair.setdefault((one["a"], one["b"]), {})[one["metric"]] = one
    rows = [(f"{a} − {b}", *(_signed(told[metric]) for metric in METRICS)) for (a, b), told in by_pair.items()]
    return _table(("difference", *METRICS.values()), rows)


def _metric(name: str, told: dict[str, Any]) -> str:
    return _signed(told) if name.startswith("gain") else _share(told)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def _share(told: dict[str, Any]) -> str:
    return _bracketed(told, lambda value: f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}")


def _signed(told: dict[str, Any]) -> str:
    return _bracketed(told, lambda value: f"{value:+.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:+.3f}")


def _small(told: dict[str, Any]) -> str:
    return _bracketed(told, lambda value: f"{value:.2e}")


def _decimals(told: dict[str, Any], places: int) -> str:
    return _bracketed(told, lambda value: f"{value:.{places}f}")


def _bracketed(told: dict[str, Any], spelled: Callable[[float], str]) -> str:
    if told["value"] is None:
        return "—"
    if told["low"] is None:
        return spelled(told["value"])
    return f"{spelled(told['value'])} [{spelled(told['low'])}, {spelled(told['high'])}]"
