"""How long ``curveroute --help`` and ``import curveroute`` take in a fresh process, beside ``python -c pass``.

Run ``python benchmarks/startup.py``. They take turns, so that all meet the same machine. Bytecode is written and
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
DEMANDED_S, DEMANDED_IMPORT_S = 0.3, 0.1
COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import": [sys.executable, "-c", "import curveroute"],
    "help": [str(Path(sys.executable).with_name("curveroute")), "--help"],
    "version": [str(Path(sys.executable).with_name("curveroute")), "--version"],
}


def measure() -> dict[str, float]:
    """Medians; ``ratio`` is that of help to a bare interpreter, ``import_s`` what an import adds to it."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        seconds(command)  # writes the bytecode
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    medians = {f"{name}_s": round(statistics.median(values), 4) for name, values in times.items()}
    ratio = round(medians["help_s"] / medians["python_s"], 2)
    medians["import_s"] = round(medians["import_s"] - medians["python_s"], 4)
    demanded = {"demanded_help_s": DEMANDED_S, "demanded_import_s": DEMANDED_IMPORT_S}
    return {**medians, "ratio": ratio, **demanded, "runs": RUNS}


def seconds(command: list[str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
