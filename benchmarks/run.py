"""Every speed figure, each benchmark in a process of its own: ``make bench``. Prints one JSON object."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = ("decision", "graph", "looking", "startup", "chat")


def figures(name: str) -> dict[str, Any]:
    """What one benchmark printed; its complaints go to standard error, and end everything."""
    command = [sys.executable, str(HERE / f"{name}.py")]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(printed)
    return found


def machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cores": cores, "python": platform.python_version()}


if __name__ == "__main__":
    print(json.dumps({**{name: figures(name) for name in NAMES}, "machine": machine()}, indent=2))
