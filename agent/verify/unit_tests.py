"""The verifier ``unit-tests``: runs tests of the user's against the Python code in an answer.

**This is not a sandbox.** A model wrote the code, and it runs as you: it can read your files and use your network. What
is done keeps accidents small: a process of its own without a shell, an empty folder as home, none of your environment
(so none of your keys), limits on processor time, memory and file size where the system has them, and the end of the
whole process group when it is done, takes too long, or the run is cancelled. Where the models or the queries are not
yours, put all of it in a container or a virtual machine.

A failing test is all but certainly wrong; passing tests are good evidence, as far as the tests go.
"""

from __future__ import annotations

import ast
import asyncio
import json
import math
import os
import secrets
import signal
import sys
from contextlib import suppress
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from curveroute.agent.errors import SettingError
from curveroute.agent.verify.code_block import python_in
from curveroute.agent.verify.found import Finding

if TYPE_CHECKING:
    from asyncio.subprocess import Process

NAME = "unit-tests"
PASSED = 0.9
_FAILED = 0.0
_PIPE_S = 1.0
_LONGEST_REPORT = 4096
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_OUT_OF_TIME = getattr(signal, "SIGXCPU", None)


class UnitTestsVerifier:
    """Runs tests against the code in an answer; a test is an assertion, a ``test…`` function or a ``unittest`` case.

    Args:
        tests: Python source; every name of the answer's code is known in it, and ``import solution`` works as well.
        cpu_s: processor time that code and tests may use, rounded up to whole seconds.
        wall_s: time in all; longer, because a busy machine says nothing about the code. Code that waits says nothing.
        memory_mb: address space that they may use.
        reliability: in (0, 1].

    Raises:
        SettingError: the tests are no Python, or empty.
    """

    name = NAME

    def __init__(
        self, tests: str, *, cpu_s: float = 3.0, wall_s: float = 9.0, memory_mb: int = 1024, reliability: float = 1.0
    ) -> None:
        if not tests.strip():
            raise SettingError(f"verifier {NAME!r} was given no tests; give Python source with assertions")
        try:
            ast.parse(tests)
        except (SyntaxError, ValueError) as error:
            raise SettingError(f"verifier {NAME!r}: the tests are no Python: {error}") from error
        self.tests = tests
        self.cpu_s = cpu_s
        self.wall_s = wall_s
        self.memory_mb = memory_mb
        self.reliability = reliability

    async def check(self, query_text: str, answer_text: str, answer: str | None) -> Finding:  # noqa: ARG002
        """What the tests say of the code in the answer; nothing when there is none."""
        code = python_in(answer_text)
        if code is None:
            return Finding(None, "there is no Python code in the answer")
        nonce = secrets.token_hex(16)
        task: dict[str, str | int] = {"nonce": nonce, "code": code, "tests": self.tests}
        task |= {"cpu_s": math.ceil(self.cpu_s), "memory_bytes": self.memory_mb << 20}
        with TemporaryDirectory(prefix="curveroute-", ignore_cleanup_errors=True) as folder:
            process = await _start(folder)
            try:
                report = await asyncio.wait_for(_report(process, task), self.wall_s)
            except TimeoutError:
                return Finding(None, f"the tests were not done within {self.wall_s:g} s")
            finally:
                await _end(process)
        return _finding(report, nonce, process.returncode, self.cpu_s)


def unit_tests(argument: str) -> UnitTestsVerifier:
    """The verifier from the path of a file with tests.

    Raises:
        SettingError: no such file, or no Python in it.
    """
    if not argument.strip():
        raise SettingError(f"verifier {NAME!r} needs tests: give {NAME}:FILE.py")
    try:
        return UnitTestsVerifier(Path(argument).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"verifier {NAME!r}: cannot read {argument!r} ({error.strerror}); give a file") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"verifier {NAME!r}: {argument!r} is no text in UTF-8; give Python source") from error


async def _start(folder: str) -> Process:
    """The runner in a process group of its own, with nothing of our environment."""
    program = (resources.files("curveroute.agent.verify") / "run_tests.py").read_text(encoding="utf-8")
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-B", "-X", "utf8", "-c", program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=folder,
        env={"HOME": folder, "TMPDIR": folder, "PATH": os.defpath, "LANG": "C.UTF-8"},
        start_new_session=True,
    )


async def _report(process: Process, task: dict[str, str | int]) -> bytes:
    """Hand the task over and read the one line that comes back; empty when the process ends without it."""
    if process.stdin is None or process.stdout is None:  # pragma: no cover - both are pipes
        return b""
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(json.dumps(task).encode())
        await process.stdin.drain()
        process.stdin.close()
    report = await process.stdout.read(_LONGEST_REPORT)
    if not report:
        await process.wait()
    return report


async def _end(process: Process) -> None:
    """End it and all that it started, and let go of its pipes."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, _KILL)
        else:
            process.kill()
    with suppress(TimeoutError):  # a process that left the group may hold the pipe for ever
        await asyncio.wait_for(process.communicate(), _PIPE_S)


def _finding(report: bytes, nonce: str, status: int | None, cpu_s: float) -> Finding:
    try:
        said = json.loads(report)
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.get("nonce") != nonce:
        if _OUT_OF_TIME is not None and status == -_OUT_OF_TIME:
            return Finding(_FAILED, f"the code used more than {cpu_s:g} s of processor time")
        return Finding(_FAILED, f"the code ended before the tests did (exit status {status})")
    if said.get("ok"):
        return Finding(PASSED, "all tests pass")
    reason = "a test fails" if said.get("stage") == "tests" else "the code fails before any test"
    return Finding(_FAILED, reason, str(said.get("error", "")))
