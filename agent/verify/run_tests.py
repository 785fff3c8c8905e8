"""The other end of ``unit_tests``: reads code and tests from standard input, runs both, reports in one line of JSON.

It runs alone, in a process of its own, as ``python -I -c``, and imports nothing of curveroute. Whatever the code prints
goes nowhere; leaving early is a failure, because only a report with the right nonce counts.
"""

from __future__ import annotations

import json
import os
import sys
import unittest
from types import ModuleType

_MEGABYTE = 1 << 20
_LONGEST_ERROR = 300


def limit(cpu_s: int, memory_bytes: int) -> None:
    """Limits on this process and its children, where the system has them."""
    try:
        import resource
    except ImportError:
        return
    wanted = [
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
        (resource.RLIMIT_FSIZE, 16 * _MEGABYTE, 16 * _MEGABYTE),
        (resource.RLIMIT_CORE, 0, 0),
    ]
    for kind, soft, hard in wanted:
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):
            continue


def run_tests(tests: dict[str, object]) -> None:
    """Run the ``test…`` functions and ``unittest`` cases among these names, in their order.

    Raises:
        AssertionError: a test failed.
    """
    for name, found in list(tests.items()):
        if isinstance(found, type) and issubclass(found, unittest.TestCase):
            result = unittest.defaultTestLoader.loadTestsFromTestCase(found).run(unittest.TestResult())
            for case, trace in (*result.failures, *result.errors):
                last = trace.strip().splitlines()[-1]
                raise AssertionError(f"{case.id()}: {last}")
        elif name.startswith("test") and callable(found) and not isinstance(found, type):
            found()


def run(code: str, tests: str) -> tuple[bool, str, str]:
    """Whether all tests pass; where it ended; and the error."""
    stage = "code"
    solution = ModuleType("solution")
    sys.modules["solution"] = solution
    try:
        exec(compile(code, "solution.py", "exec"), solution.__dict__)  # noqa: S102 - it is what this process is for
        stage = "tests"
        names = {**solution.__dict__, "__name__": "tests"}
        known = set(names)
        exec(compile(tests, "tests.py", "exec"), names)  # noqa: S102
        run_tests({name: found for name, found in names.items() if name not in known})
    except BaseException as error:  # noqa: BLE001 - SystemExit is a failure as well
        return False, stage, f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
    return True, stage, ""


def main() -> None:
    """Read the task, run it with its output going nowhere, and report."""
    task = json.loads(sys.stdin.buffer.read())
    nonce = task.pop("nonce")
    report = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    limit(task["cpu_s"], task["memory_bytes"])
    ok, stage, error = run(task["code"], task["tests"])
    os.write(report, json.dumps({"nonce": nonce, "ok": ok, "stage": stage, "error": error}).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
