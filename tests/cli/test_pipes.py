"""Pipes and terminals: what goes where, who is gone, and what a terminal may be told."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from conftest import FakeModels, Ran

    Cli = Callable[..., Ran]
    Start = Callable[..., subprocess.Popen[str]]


@pytest.mark.parametrize("words", ["pools", "--help", "runs list", "pools local"])
def test_a_reader_that_left_hears_no_complaint(start: Start, words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*words.split(), stdout=writing)
    os.close(writing)
    _, complaints = process.communicate()
    assert complaints == ""
    assert process.returncode == 1 or words == "--help"  # argparse keeps quiet about it by itself


def test_a_reader_that_leaves_in_mid_answer_ends_the_run(start: Start, pool: str, models: FakeModels) -> None:
    reading, writing = os.pipe()
    models.gate.clear()
    process = start("ask", "x", "--pool", pool, "--tradeoff", "1", stdout=writing)
    os.close(writing)
    assert os.read(reading, 1)
    os.close(reading)
    models.gate.set()
    _, complaints = process.communicate()
    assert (process.returncode, complaints) == (1, "")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_gets_the_answer_and_none_of_its_control_characters(
    start: Start, pool: str, models: FakeModels
) -> None:
    models.reply = lambda _: "red \x1b[31malert\x07 and\x9b2J more"
    ours, theirs = os.openpty()
    process = start("ask", "x", "--pool", pool, "--tradeoff", "1", stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    seen = read_all(ours)
    assert process.wait() == 0
    assert "red \ufffd[31malert\ufffd and\ufffd2J more" in seen
    assert "weak@16" in seen


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("words", [("ask", "x", "--pool", "a\x1b[31mb.toml"), ("\x1b[31mb",)])
def test_a_terminal_gets_no_control_characters_in_a_complaint(start: Start, words: tuple[str, ...]) -> None:
    ours, theirs = os.openpty()
    process = start(*words, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    seen = read_all(ours)
    assert process.wait() == 2
    assert "[31mb" in seen
    assert "\x1b" not in seen


def test_an_encoding_that_lacks_a_character_gets_a_question_mark(
    start: Start, pool: str, models: FakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    models.reply = lambda _: "naïve"
    out, complaints = start("ask", "x", "--pool", pool, "--tradeoff", "1").communicate()
    assert out.startswith("na?ve\n? weak@16")
    assert complaints == ""


def read_all(descriptor: int) -> str:
    pieces = []
    try:
        while piece := os.read(descriptor, 4096):
            pieces.append(piece)
    except OSError:  # the terminal's last writer is gone
        pass
    os.close(descriptor)
    return b"".join(pieces).decode()
