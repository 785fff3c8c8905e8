"""The verifier unit-tests: code of a model in a process of its own, with little to hold on to."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from curveroute.agent.errors import SettingError
from curveroute.agent.types import Arm, Attempt, AttemptId, Message, ModelId, Query, Usage
from curveroute.agent.verify.checks import run_verifiers
from curveroute.agent.verify.code_block import python_in
from curveroute.agent.verify.found import Finding
from curveroute.agent.verify.unit_tests import PASSED, UnitTestsVerifier, unit_tests

TESTS = "assert double(2) == 4\ndef test_zero():\n    import solution\n    assert solution.double(0) == 0"

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups and limits are POSIX")


def code(body: str) -> str:
    return f"Here it is:\n```python\n{body}\n```\nIt doubles."


async def check(body: str, tests: str = TESTS, **limits: float) -> Finding:
    return await UnitTestsVerifier(tests, **limits).check("q", code(body), None)  # type: ignore[arg-type]


async def test_code_that_passes_is_probably_right() -> None:
    assert await check("def double(x):\n    print('noise' * 10_000)\n    return 2 * x") == Finding(
        PASSED, "all tests pass"
    )


@pytest.mark.parametrize(
    ("body", "reason", "evidence"),
    [
        ("def double(x):\n    return x + 2", "a test fails", "AssertionError"),
        ("def triple(x):\n    return 3 * x", "a test fails", "NameError"),
        ("def double(x:\n    return", "the code fails before any test", "SyntaxError"),
        ("def double(x):\n    return 2 * x\ninput()", "the code fails before any test", "EOFError"),
        ("import sys\ndef double(x):\n    return 2\nsys.exit(0)", "the code fails before any test", "SystemExit"),
        ("import os\ndef double(x):\n    os._exit(0)", "the code ended before the tests did", ""),
        ("def double(x):\n    return bytearray(1 << 40)", "a test fails", "MemoryError"),
    ],
)
async def test_code_that_fails_is_all_but_certainly_wrong(body: str, reason: str, evidence: str) -> None:
    found = await check(body)
    assert found.probability == 0.0
    assert reason in found.reason
    assert evidence in found.evidence


async def test_a_unittest_case_counts() -> None:
    tests = "import unittest\nclass Case(unittest.TestCase):\n    def test_it(self): self.assertEqual(double(1), 2)"
    assert (await check("def double(x):\n    return 2 * x", tests)).probability == PASSED
    found = await check("def double(x):\n    return 5", tests)
    assert (found.probability, "5 != 2" in found.evidence) == (0.0, True)


async def test_a_report_that_the_code_made_up_counts_nothing() -> None:
    found = await check('import os\nos.write(3, b\'{"ok": true, "nonce": ""}\')\nos._exit(0)')
    assert found.probability == 0.0


async def test_endless_code_runs_out_of_processor_time() -> None:
    found = await check("def double(x):\n    while True:\n        pass", cpu_s=1, wall_s=60)
    assert (found.probability, "processor time" in found.reason) == (0.0, True)


class Watched:
    """A pipe that the code opens and never closes: it ends when every process that holds it has ended."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "held"
        self.opened, self._loop = asyncio.Event(), asyncio.get_running_loop()
        os.mkfifo(self.path)
        self._reading = asyncio.create_task(asyncio.to_thread(self._read))

    def _read(self) -> None:
        with self.path.open() as pipe:
            pipe.readline()
            self._loop.call_soon_threadsafe(self.opened.set)
            pipe.read()

    async def ended(self) -> None:
        await asyncio.wait_for(self._reading, 20)

    def code(self) -> str:
        return (
            f"import os, signal\npipe = open({str(self.path)!r}, 'w')\nos.fork()\n"
            "print('here', file=pipe, flush=True)\nwhile True:\n    signal.pause()"
        )


async def test_code_that_waits_says_nothing_and_is_ended_with_its_children(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    found = await check(watched.code(), wall_s=0.5)
    assert found.probability is None
    assert "not done within 0.5 s" in found.reason
    if not watched.opened.is_set():  # the machine was too busy for the code even to start
        watched.path.write_text("\n")
    await watched.ended()


async def test_cancelling_ends_the_processes(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    attempt = Attempt(
        AttemptId("r.1.1"), "probe", Arm(ModelId("m"), 16), code(watched.code()), None, Usage(), 0.0, "stop", 0.1
    )
    query = Query((Message(role="user", content="q"),))
    verifier = UnitTestsVerifier(TESTS, wall_s=60)
    task = asyncio.create_task(run_verifiers([verifier], query, [attempt], timeout_s=60))
    await watched.opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await watched.ended()


async def test_the_code_sees_no_secret_and_an_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "secret")
    tests = "assert 'A_KEY' not in env and files == [] and not any('PYTHON' in name for name in env)"
    assert (await check("import os\nenv = dict(os.environ)\nfiles = os.listdir()", tests)).probability == PASSED


async def test_an_answer_without_code_is_none_that_tests_can_judge() -> None:
    assert (await UnitTestsVerifier(TESTS).check("q", "It cannot be done.", None)).probability is None


@pytest.mark.parametrize(("tests", "problem"), [("", "no tests"), ("assert (", "no Python"), ("\0", "no Python")])
def test_tests_that_are_none_are_an_error_before_anything_is_spent(tests: str, problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        UnitTestsVerifier(tests)


def test_tests_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tests.py"
    file.write_text(TESTS)
    assert unit_tests(str(file)).tests == TESTS
    file.write_bytes(b"\xff\xfe")
    for argument, problem in (("", "needs tests"), ("nowhere.py", "cannot read"), (str(file), "UTF-8")):
        with pytest.raises(SettingError, match=problem):
            unit_tests(argument)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```python\ndef f(): pass\n```\nUse it:\n```python\nf()\n```", "def f(): pass\n"),
        ("```py\nf(\n```", "f(\n"),
        ("```\ndef f(): pass\n```", "def f(): pass\n"),
        ("```\nplain words\n```", None),
        ("```js\nlet x = 1\n```", None),
        ("def f():\n    return 1", "def f():\n    return 1"),
        ("```python\ndef f(): pass", "def f(): pass"),
        ("Paris", None),
        ("", None),
        ("(" * 5000, None),
    ],
)
def test_the_code_is_the_last_block_that_defines_something(text: str, found: str | None) -> None:
    assert python_in(text) == found
