"""Ask: the answer as it comes and one line of route; or how it came about; or exactly one JSON object."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from conftest import FakeModels, Ran

    Cli = Callable[..., Ran]
    Start = Callable[..., subprocess.Popen[str]]

TRAIN = "How many minutes from 14:10 to 16:45?"
QUALITY_ONLY = ("--tradeoff", "0")
KEYS = {"answer", "model", "budget", "status", "cost_usd", "run_id", "attempts", "candidates", "plan"}
ATTEMPT_KEYS = {
    *("role", "model", "budget", "input_tokens", "output_tokens", "cost_usd", "finish_reason", "latency_s", "verdict")
}
CANDIDATE_KEYS = {"model", "budget", "quality", "quality_std", "output_tokens", "cost_usd"}


def asked_json(cli: Cli, *words: str) -> dict[str, Any]:
    ran = cli("ask", *words, "--json")
    assert (ran.status, ran.err) == (0, "")
    (line,) = ran.out.splitlines()
    route: dict[str, Any] = json.loads(line)
    return route


def test_the_answer_comes_first_and_one_line_of_route_after_it(cli: Cli, pool: str) -> None:
    ran = cli("ask", TRAIN, "--pool", pool, *QUALITY_ONLY)
    answer, route = ran.out.splitlines()
    assert (ran.status, ran.err, answer) == (0, "", "Answer: 155")
    assert route.startswith("— strong@256, ")
    assert "3 calls" in route
    assert "3.24e-04 USD" in route


def test_a_question_can_come_from_standard_input(cli: Cli, pool: str, models: FakeModels) -> None:
    ran = cli("ask", "-", "--pool", pool, "--tradeoff", "1", stdin="Wie spät ist es in Köln?\n".encode())
    assert ran.status == 0
    assert models.asked[0].question.strip() == "Wie spät ist es in Köln?"


def test_json_is_one_object_with_exactly_the_documented_keys(cli: Cli, pool: str) -> None:
    route = asked_json(cli, TRAIN, "--pool", pool, *QUALITY_ONLY)
    assert set(route) == KEYS
    assert [attempt["role"] for attempt in route["attempts"]] == ["planner", "probe", "judge"]
    assert all(set(attempt) == ATTEMPT_KEYS for attempt in route["attempts"])
    assert all(set(candidate) == CANDIDATE_KEYS for candidate in route["candidates"])
    assert set(route["attempts"][1]["verdict"]) == {"score", "reason"}
    assert route["attempts"][0]["verdict"] is None
    assert (route["answer"], route["model"], route["budget"]) == ("Answer: 155", "strong", 256)
    assert route["cost_usd"] == pytest.approx(sum(attempt["cost_usd"] for attempt in route["attempts"]))
    assert len(route["candidates"]) == 4


def test_nobody_is_asked_who_was_switched_off(cli: Cli, pool: str, models: FakeModels) -> None:
    quiet = asked_json(cli, TRAIN, "--pool", pool, *QUALITY_ONLY, "--no-plan", "--no-judge", "--deny", "weak")
    assert {asked.role for asked in models.asked} == {"answer"}
    assert {asked.model for asked in models.asked} == {"strong"}
    assert quiet["plan"]["reason"] == "planning is off"
    only = asked_json(cli, TRAIN, "--pool", pool, "--allow", "weak")
    assert {candidate["model"] for candidate in only["candidates"]} == {"weak"}


def test_a_cap_is_never_exceeded(cli: Cli, pool: str) -> None:
    for cap in (2e-4, 1e-3, 5e-3):
        assert asked_json(cli, TRAIN, "--pool", pool, *QUALITY_ONLY, "--max-cost", str(cap))["cost_usd"] <= cap


def test_explain_tells_the_whole_story_in_80_columns(cli: Cli, pool: str) -> None:
    ran = cli("ask", TRAIN, "--pool", pool, *QUALITY_ONLY, "--explain")
    assert ran.status == 0
    assert ran.out.startswith("Answer: 155\n")
    assert max(map(len, ran.out.splitlines())) <= 80
    for arm in ("weak@16", "weak@256", "strong@16", "strong@256"):
        assert arm in ran.out
    for part in (
        "planner",
        "judge",
        "asked",
        "a number of minutes",
        "worked it out again",
        "no other arm is expected to gain anything",
    ):
        assert part in " ".join(ran.out.split())
    assert "…" not in ran.out


def test_explain_tells_each_thing_once(cli: Cli, pool: str) -> None:
    told = " ".join(
        cli("ask", TRAIN, "--pool", pool, *QUALITY_ONLY, "--explain").out.partition("considered")[2].split()
    )
    for part in (
        "worked it out again",
        "a number of minutes",
        "no other arm is expected to gain anything",
        "USD in 3",
    ):
        assert told.count(part) == 1, part
    assert told.count("probe strong@256") == told.count("planner strong@128") == 1


def test_explain_cuts_no_name_however_long(cli: Cli, tmp_path: Path, pool: str, models: FakeModels) -> None:
    long_name = "provider/some-quite-long-model-name-2026-11-instruct"
    renamed = tmp_path / "renamed.toml"
    renamed.write_text(Path(pool).read_text().replace('"strong"', f'"{long_name}"'))
    models.reply = lambda asked: "[bold]no markup[/] :smile: " + "word " * 9
    ran = cli("ask", TRAIN, "--pool", str(renamed), *QUALITY_ONLY, "--no-plan", "--no-judge", "--explain")
    tried = ran.out.partition("step 1")[2]
    assert f"probe {long_name}@256" in tried
    assert "[bold]no markup[/] :smile:" in tried
    considered = "".join(ran.out.partition("considered")[2].split())
    assert considered.count("-2026-11-instruct@")
    assert "…" not in ran.out.partition("considered")[2]


def test_committed_words_are_shown_while_the_model_still_writes(start: Start, pool: str, models: FakeModels) -> None:
    models.gate.clear()
    models.reply = lambda _: "first second"
    process = start("ask", TRAIN, "--pool", pool, "--tradeoff", "1")
    assert process.stdout is not None
    assert process.stdout.read(5) == "first"
    models.gate.set()
    rest, complaints = process.communicate()
    assert (rest.splitlines()[0], complaints, process.returncode) == (" second", "", 0)


def test_ctrl_c_ends_a_question_at_once(start: Start, pool: str, models: FakeModels, cli: Cli) -> None:
    models.gate.clear()
    process = start("ask", TRAIN, "--pool", pool, "--tradeoff", "1")
    assert process.stdout is not None
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate()
    assert (process.returncode, complaints) == (130, "curveroute: interrupted\n")
    assert "failed" in cli("runs", "list").out, "nobody will resume it"
    assert cli("runs", "verify").status == 0


def test_a_broken_answer_is_no_answer(cli: Cli, pool: str, models: FakeModels) -> None:
    models.reply = lambda _: 401
    for shape in ("--json", "--explain"):
        complaint = cli("ask", TRAIN, "--pool", pool, shape).complaint
        assert "every arm that was tried failed" in complaint
        assert "HTTP 401" in complaint


def test_half_a_character_is_no_fault(cli: Cli, pool: str, models: FakeModels) -> None:
    models.reply = lambda _: "Answer: \ud83d\ude00 \ud83d"
    for shape in ("--json", "--explain"):
        ran = cli("ask", TRAIN, "--pool", pool, "--no-plan", shape)
        assert (ran.status, ran.err) == (0, "")
        assert "Answer: \U0001f600 \ufffd" in ran.out


def test_debug_shows_the_traceback_before_and_after_the_command(cli: Cli, pool: str) -> None:
    from curveroute.agent.errors import CapTooSmall, PoolError

    with pytest.raises(PoolError):
        cli("--debug", "ask", TRAIN, "--pool", "nowhere")
    with pytest.raises(CapTooSmall):
        cli("ask", TRAIN, "--pool", pool, "--max-cost", "1e-9", "--debug")
