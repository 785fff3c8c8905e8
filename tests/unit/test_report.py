"""The report: one page that needs nothing else, says no more than was shown, and runs nothing that data brings."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from curveroute.agent.evals.policies import NAMED
from curveroute.agent.evals.report import report_page
from curveroute.agent.evals.report.charts import envelope
from curveroute.agent.evals.report.glossary import AT_AUDC, glossary
from curveroute.agent.evals.report.looks import looks
from curveroute.agent.evals.report.svg import Scale, spread, usd
from curveroute.agent.evals.sentences import headlines, sentence, verdicts

EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """The page's tags, which must all be closed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def parsed(*results: Any) -> Page:
    page = Page()
    page.feed(report_page(results))
    page.close()
    assert page.open == []
    return page


def mean(value: float | None, std: float | None = 0.01) -> dict[str, Any]:
    return {"mean": value, "std": None if value is None else std, "reached": 5, "mean_reached": value}


def policy(quality: float, **changes: Any) -> dict[str, Any]:
    never = {"mean": None, "std": None, "reached": 2, "mean_reached": 0.71}
    found = {
        "audc_envelope": mean(quality), "audc": mean(0.2), "qnc": mean(0.3), "qnc_ratio": never, "aiq": mean(0.5),
        "peak": mean(quality), "peak_cost_ratio": mean(0.9),
        "gain_at_cost": {share: mean(0.01) for share in ("0.1", "0.2", "0.35", "0.5", "1.0")},
        "honest_point": {
            name: mean(0.1) for name in ("tradeoff", "quality", "cost_usd", "quality_gain", "cost_ratio")
        } | {"regret": mean(None), "router_arena": mean(0.6)},
        "intervals": {"audc_envelope": [0.6, 0.7]},
        "curve": [[0.0, 1e-3, quality], [0.5, 1e-4, quality / 2], [1.0, 0.0, 0.1]],
        "calibration": {
            "chosen": {"ece": 0.02, "brier": 0.2, "bins": [[0.1, 0.2, 5], [0.9, 0.8, 9]]}, "all_arms": None,
        },
        "tasks": {EVIL: {"queries": 3, "quality": quality, "cost_usd": 1e-4}},
    }  # fmt: skip
    return found | changes


def compared(outcome: str, low: float | None, high: float | None, **changes: Any) -> dict[str, Any]:
    middle = None if low is None or high is None else (low + high) / 2
    wins, losses = 4 * (outcome == "win"), 4 * (outcome == "loss")
    return {
        "a": "curveroute-single", "b": "carrot-knn", "metric": "audc_envelope", "difference": middle, "low": low,
        "high": high, "wins": wins, "losses": losses, "seeds": 5, "test_queries": 99, "outcome": outcome,
    } | changes  # fmt: skip


def result(**changes: Any) -> dict[str, Any]:
    curve = [
        {"budget": budget, "queries": 9, "quality": 0.5, "low": 0.4, "high": 0.6, "cost_usd": 1e-4,
         "output_tokens": 20.0, "compliance": None if budget is None else 0.9}
        for budget in (16, 256, None)
    ]  # fmt: skip
    found = {
        "table": EVIL, "data_sha256": "ab" * 32, "train_table": None, "train_sha256": None, "queries": 1234, "arms": 6,
        "seeds": 5, "resamples": 2000,
        "splits": [{"seed": 0, "train": 7, "test": 3, "best_single": "large@unlimited"}],
        "best_single": {"model": EVIL, "budget": None, "quality": 0.7, "cost_usd": 1e-3},
        "policies": {
            "best-single": policy(0.7, curve=[[None, 1e-3, 0.7]]), "constant-arm": policy(0.7),
            "oracle-curve": policy(0.9), "carrot-knn": policy(0.71), "curveroute-single": policy(0.75),
        },
        "paired": [compared("win", 0.004, 0.02)],
        "tasks": {EVIL: {"queries": 3, "quality": 0.7, "cost_usd": 1e-3}},
        "models": {EVIL: curve, "plain": curve[:1]},
        "prices_usd_per_million": {EVIL: [0.1, 0.4], "plain": [1.0, 2.0]},
        "cost_range_usd": [1e-6, 1e-3],
        "notes": [f"{EVIL} is left out"],
        "made_with": {"command": f"curveroute evaluate {EVIL}", "embedder": "use", "versions": {"curveroute": "1"}},
    }  # fmt: skip
    return found | changes


def test_nothing_that_data_brings_becomes_a_tag() -> None:
    page = parsed(result())
    assert "script" not in page.seen
    assert f"Routers compared on {EVIL}" in page.text
    assert f"{EVIL} is left out" in page.text


def test_of_a_fixed_split_the_page_counts_what_was_tested() -> None:
    assert (
        "3 test queries (fitted on 7 of other), 6 arms, " in parsed(result(train_table="other", train_sha256="0")).text
    )
    assert "1,234 queries, 6 arms, 5 seeds, random splits by query" in parsed(result()).text


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    page = parsed(result())
    assert not {"script", "link", "img", "iframe", "object", "form"} & page.seen
    for name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in {"src", "srcset"}
        assert name != "href" or (value or "").startswith("#")
    assert "url(" not in report_page([result()])
    assert "@import" not in report_page([result()])


def test_every_part_is_there() -> None:
    page = parsed(result())
    for words in (
        "What each policy is worth", "Is it a difference?", "Quality against cost", "Where it would have been run",
        "Task by task", "Quality against budget", "Can its estimates be believed?", "For comparison with papers",
        "How this was made", "ab" * 32, "1,234 queries", "ECE 0.020", "0.71 (2/5)", "[0.600, 0.700]", "256: 90%",
    ):  # fmt: skip
        assert words in page.text
    assert "NaN" not in page.text
    assert not re.search(r"\b(nan|inf)\b", report_page([result()]))


def test_it_says_what_joins_the_constant_arms_and_what_a_win_needs() -> None:
    assert "gains include the constant arms, which anyone may use; peak, QNC and the honest point do not" in (
        parsed(result()).text
    )
    assert "without zero on all seeds but at most one, and 30 test queries" in parsed(result()).text
    for sole in ({"seeds": 2}, {"train_table": "other", "train_sha256": "0"}):
        assert "without zero on every seed, and 30 test queries" in parsed(result(**sole)).text


def test_what_is_undefined_is_not_said_to_be_never_reached() -> None:
    undefined = {"mean": None, "std": None, "reached": None, "mean_reached": None}
    never = undefined | {"reached": 0}
    pages = [report_page([result(policies={"one": policy(0.7, qnc_ratio=found)})]) for found in (undefined, never)]
    assert ["<td>never</td>" in page for page in pages] == [False, True]


def test_several_tables_share_a_page() -> None:
    page = parsed(result(), result(table="second"))
    assert ("href", "#table-1") in page.attributes
    assert ("id", "table-1") in page.attributes


def test_one_policy_alone_and_free_arms_are_no_trouble() -> None:
    free = policy(0.7, curve=[[None, 0.0, 0.7], [None, 0.0, 0.6]])
    best = {"model": "only", "budget": None, "quality": 0.7, "cost_usd": 0.0}
    page = parsed(result(policies={"constant-arm": free}, paired=[], best_single=best))
    assert "One policy: nothing to compare." in page.text


def test_light_and_dark_both_have_their_colours() -> None:
    assert "prefers-color-scheme: dark" in report_page([result()])


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (
            compared("win", 0.004, 0.02),
            "curveroute-single beats carrot-knn on AUDC-envelope by 0.012 [0.004, 0.020]; "
            "the interval leaves out zero on 4 of 5 seeds: a win.",
        ),
        (
            compared("loss", -0.02, -0.004, metric="peak"),
            "curveroute-single loses to carrot-knn on peak quality by 0.012 [0.004, 0.020]; "
            "the interval leaves out zero on 4 of 5 seeds: a loss.",
        ),
        (
            compared("none", -0.01, 0.02, wins=1),
            "curveroute-single and carrot-knn on AUDC-envelope: no difference that this data can show "
            "(+0.005 [-0.010, +0.020]; the interval leaves out zero on 1 of 5 seeds).",
        ),
        (
            compared("none", 1.0, 1.0, wins=5, test_queries=1),
            "curveroute-single and carrot-knn on AUDC-envelope: too few test queries for a claim (1; it takes 30).",
        ),
        (
            compared("none", None, None),
            "curveroute-single and carrot-knn cannot be compared on AUDC-envelope: it is undefined on some seed.",
        ),
    ],
)
def test_a_sentence_claims_what_was_shown(one: dict[str, Any], said: str) -> None:
    assert sentence(one) == said


def test_a_verdict_gathers_one_pair() -> None:
    rows = [compared("win", 0.004, 0.02), compared("loss", -0.02, -0.004, metric="peak"), compared("none", None, None)]
    assert verdicts(rows) == [
        "curveroute-single against carrot-knn: wins on AUDC-envelope (+0.012 [+0.004, +0.020]); loses on peak quality "
        "(-0.012 [-0.020, -0.004]); no difference that this data can show on the rest"
    ]
    few = [one | {"outcome": "none", "test_queries": 7} for one in rows]
    assert verdicts(few) == ["curveroute-single against carrot-knn: too few test queries for a claim (7; it takes 30)"]
    assert verdicts(rows[2:]) == ["curveroute-single against carrot-knn: no difference that this data can show"]


def test_a_headline_gathers_one_metric() -> None:
    rows = [compared("win", 0.1, 0.2), compared("loss", -0.2, -0.1, b="oracle"), compared("none", None, None, b="mirt")]
    assert headlines(rows) == [
        "On AUDC-envelope, curveroute-single beats carrot-knn; loses to oracle; "
        "shows no difference that this data can tell from mirt"
    ]


def test_where_nothing_can_be_claimed_one_headline_says_why() -> None:
    few, one = compared("none", 1.0, 1.0, test_queries=7), compared("none", 0.004, 0.02, seeds=1)
    for row, said in (
        (few, "Too few test queries for a claim (7; it takes 30)"),
        (one, "One split makes no claim: give --seeds 3 or more; the differences are below, each with its interval"),
        (one | {"test_queries": 7}, "Too few test queries for a claim (7; it takes 30)"),
    ):
        assert headlines([row, row | {"b": "mirt"}, row | {"metric": "peak"}]) == [said]
    assert len(headlines([one, compared("win", 0.1, 0.2, metric="peak")])) == 2
    assert "<li>One split makes no claim" in report_page([result(paired=[one], seeds=1)])
    assert "A win needs" not in report_page([result(paired=[one], seeds=1)])


def test_one_split_shows_its_differences_and_claims_nothing() -> None:
    rows = [compared("none", 0.004, 0.02, seeds=1), compared("none", None, None, seeds=1, metric="peak")]
    assert sentence(rows[0]) == (
        "curveroute-single and carrot-knn on AUDC-envelope: +0.012 [+0.004, +0.020]; "
        "one split makes no claim: give --seeds 3 or more."
    )
    assert verdicts(rows) == [
        "curveroute-single against carrot-knn: AUDC-envelope (+0.012 [+0.004, +0.020])",
        "one split makes no claim: give --seeds 3 or more",
    ]
    assert verdicts(rows[1:])[0] == "curveroute-single against carrot-knn: undefined"


def test_a_fixed_split_claims_for_itself() -> None:
    row = compared("win", 0.004, 0.02, seeds=1, wins=1, fixed=True)
    assert sentence(row).endswith("leaves out zero on 1 of 1 seed: a win on this split.")
    assert headlines([row]) == ["On AUDC-envelope on this split, curveroute-single beats carrot-knn"]
    assert verdicts([row]) == [
        "curveroute-single against carrot-knn on this split: wins on AUDC-envelope (+0.012 [+0.004, +0.020])"
    ]


def test_the_glossary_explains_every_word_and_policy() -> None:
    page = parsed(result(), result())
    for word in ("arm", "tradeoff", "q*", "c*", "QNC", "ECE", "Brier", "AIQ", "APGR", "CPT", "RouterArena score"):
        assert word in page.words
    assert [value for name, value in page.attributes if (name, value) == ("id", AT_AUDC)] == [AT_AUDC]
    assert page.attributes.count(("href", f"#{AT_AUDC}")) == 2
    shown = glossary(NAMED)
    assert all(f"<dt>{name}</dt>" in shown for name in NAMED)
    assert "<dt>mirt</dt>" not in glossary(["carrot-knn", EVIL])
    assert EVIL not in glossary([EVIL])


def test_tasks_are_at_honest_points_and_say_so() -> None:
    assert "Task by task, each policy at its honest point" in parsed(result()).text
    assert "so it may be below the best single model on a task" in parsed(result()).text


def test_an_envelope_keeps_what_is_worth_its_cost() -> None:
    assert envelope([(3.0, 0.5), (1.0, 0.4), (2.0, 0.3), (1.0, 0.2)]) == [(1.0, 0.4), (3.0, 0.5)]


def test_labels_never_overlap() -> None:
    placed = sorted(spread([50.0, 51.0, 52.0, 90.0, 91.0], 10, 95))
    assert all(later - earlier >= 13 - 1e-9 for earlier, later in itertools.pairwise(placed))
    assert placed[-1] <= 95


def test_looks_tell_policies_apart() -> None:
    names = ["best-single", "oracle-curve", *(f"learned-{place}" for place in range(9)), "curveroute-single"]
    found = looks(names)
    learned = [found[name] for name in names if name.startswith("learned")]
    assert len(set(learned)) == len(learned)
    assert found["curveroute-single"] == "ours"


def test_ticks_are_round_and_inside() -> None:
    assert Scale(0.0, 1.0, 0, 100).ticks() == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert Scale(2e-6, 3e-3, 0, 100, log=True).ticks() == pytest.approx([1e-5, 1e-4, 1e-3])
    assert Scale(2e-6, 3e-5, 0, 100, log=True).ticks() == [2e-6, 5e-6, 1e-5, 2e-5]
    assert Scale(2.0, 3.0, 0, 100, log=True).ticks() == [2.0, 2.2, 2.4, 2.6, 2.8, 3.0]
    assert Scale(0.5, 0.5, 0, 100).ticks() == [0.5]
    assert [usd(value) for value in (0, 2e-5, 0.01)] == ["0", "2e-5", "0.01"]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("end", [1e-9, 1.25e-4, 1e-3, 3.7e-3, 0.04, 2.0, 77.0])
def test_a_label_is_its_tick(end: float, *, log: bool) -> None:
    ticks = Scale(end / 10 if log else 0.0, end, 0, 100, log=log).ticks()
    assert [float(usd(tick)) for tick in ticks] == ticks
    assert len(ticks) >= 3


def test_the_labels_of_a_linear_axis_tell_its_ticks_apart() -> None:
    shown = [usd(tick) for tick in Scale(0.0, 1.2e-4, 0, 100).ticks()]
    assert shown == ["0", "2.5e-5", "5e-5", "7.5e-5", "1e-4"]
