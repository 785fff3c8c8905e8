"""How long ``curveroute --help`` takes in a fresh process, beside ``python -c pass``.

Run ``python benchmarks/startup.py``. The two take turns, so that both meet the same machine. Bytecode is written and
used, as in an installation. Prints JSON; times are medians of wall time in seconds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 21
DEMANDED_S = 0.3
COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "help": [str(Path(sys.executable).with_name("curveroute")), "--help"],
    "version": [str(Path(sys.executable).with_name("curveroute")), "--version"],
}


def measure() -> dict[str, float]:
    """Medians; ``ratio`` is that of help to a bare interpreter."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        seconds(command)  # writes the bytecode
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    medians = {f"{name}_s": round(statistics.median(values), 4) for name, values in times.items()}
    ratio = round(medians["help_s"] / medians["python_s"], 2)
    return {**medians, "ratio": ratio, "demanded_help_s": DEMANDED_S, "runs": RUNS}


def seconds(command: list[str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
