"""Run the notebooks, each in a folder of its own, and see that nothing of it stays.

Invariant: a notebook passes when no cell fails, it keeps to its time, and what was there before is there after: its
folder and the temporary folder are empty again, no process of its is left, and neither the project nor curveroute's
data has changed (the logs of model servers, which are kept there, aside). With ``--write`` the outputs of those that
pass are kept; code and words are never touched.

Usage: python notebooks/run.py [--write] [--seconds 180] [notebook …]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nbformat import NotebookNode

HERE = Path(__file__).parent
SECONDS = 180.0
LARGEST = 400_000  # characters of a notebook's file, pictures included
MARK = "CURVEROUTE_NOTEBOOK"
NOT_SEEN = {".git", ".venv", "__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache"}
PATHS = re.compile(r"(?<![\w./:<])/(?:home|root|tmp|work|usr|opt|var|etc|mnt|srv|data|private|Users)/|\b[A-Z]:\\\\?\w")
SECRETS = re.compile(
    r"\b(?:sk|pk|lsv2|hf|ghp|xox[bp])[-_][A-Za-z0-9_-]{8,}|\bBearer\s+\S|\bapi[_-]?key\b\s*[=:]", re.IGNORECASE
)
HOSTS = re.compile(r"\bhttps?://[^\s\"'<>)]+|\b(?:\d{1,3}\.){3}\d{1,3}\b|\blocalhost\b")
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
Seen = dict[str, tuple[int, int]]


def main(words: list[str]) -> int:
    """Run what is named, or all, one after the other; 1 when any fails."""
    parser = argparse.ArgumentParser(description="run the notebooks")
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of this folder when none is named")
    parser.add_argument("--write", action="store_true", help="keep the outputs in the notebooks")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"most that one may take (default: {SECONDS:g})")
    parser.add_argument("--project", type=Path, default=HERE.parent, help="folder that must not change")
    options = parser.parse_args(words)
    failed = False
    for path in options.notebooks or sorted(HERE.glob("*.ipynb")):
        begun = time.monotonic()
        notebook, found = run(path.resolve(), options.project, options.seconds)
        if options.write and not found and not (found := faults(notebook)):
            nbformat.write(notebook, path)
        print(f"{path.name}: {'; '.join(found) or 'ok'} ({time.monotonic() - begun:.0f} s)", flush=True)
        failed = failed or bool(found)
    return int(failed)


def run(path: Path, project: Path, seconds: float) -> tuple[NotebookNode, list[str]]:
    """The notebook with its outputs, and what is wrong with the run."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="curveroute-") as given:
        home = Path(given)
        folder, scratch = home / "here", home / "scratch"
        folder.mkdir()
        scratch.mkdir()
        before = _watched(project)
        found = asyncio.run(_execute(notebook, folder, environment(home, scratch), seconds))
        found += [f"left {one.name} beside itself" for one in folder.iterdir()]
        found += [f"left {one.name} in the temporary folder" for one in scratch.iterdir()]
        found += _ended(home)
        found += [f"changed {name}" for name in changes(before, _watched(project))]
    tidy(notebook)
    return notebook, found


def environment(home: Path, scratch: Path) -> dict[str, str]:
    """The kernel's environment: this one's, with commands of this interpreter first and all that is kept under home."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    kept = {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_RUNTIME_DIR": str(home / "jupyter")}
    plain = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "COLUMNS": "110", "NO_COLOR": "1"}
    return {**os.environ, **kept, **plain, "PATH": path, "TMPDIR": str(scratch), MARK: str(home)}


async def _execute(notebook: NotebookNode, folder: Path, env: Mapping[str, str], seconds: float) -> list[str]:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    os.environ["JUPYTER_RUNTIME_DIR"] = env["JUPYTER_RUNTIME_DIR"]
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, resources=where, record_timing=False, coalesce_streams=True)
    client.startup_timeout = int(seconds)
    clock = asyncio.timeout(seconds)
    try:
        async with clock:
            await client.async_execute(env=dict(env))
    except (TimeoutError, CellExecutionError, DeadKernelError) as error:
        # A run that is cancelled ends in whatever error the client makes of it.
        return [f"did not end within {seconds:g} s" if clock.expired() else str(error)]
    return []


def _watched(project: Path) -> Seen:
    """The project's files and curveroute's data: what no notebook may change."""
    from curveroute.agent.settings import load_settings

    data = seen(load_settings().data_dir)
    return seen(project) | {name: what for name, what in data.items() if not name.endswith(".log")}


def seen(folder: Path) -> Seen:
    """Size and time of change of every file that is not a tool's own."""
    found: Seen = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_SEEN]
        for name in files:
            path = Path(place, name)
            if path.exists():
                found[str(path)] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def changes(before: Seen, after: Seen) -> list[str]:
    """Files that came, went, or are not what they were."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _ended(home: Path) -> list[str]:
    """End the processes that the kernel left behind, and name them."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home):
                found.append(f"left process {process.name()}")
                process.kill()
        except psutil.Error:  # not ours to see, or gone by now
            continue
    return found


def tidy(notebook: NotebookNode) -> None:
    """Leave out what says only where and with what it was run, and the colours of a terminal."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = re.sub(r"[ \r]+$", "", ANSI.sub("", output.text), flags=re.MULTILINE)


def faults(notebook: NotebookNode) -> list[str]:
    """What keeps a notebook from being published: cells not run from top to bottom, errors, traces of a machine."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = []
    if [cell.execution_count for cell in code] != [*range(1, len(code) + 1)]:
        found.append("its cells were not run once each, from top to bottom")
    if not any(cell.outputs for cell in code):
        found.append("it has no outputs")
    if len(nbformat.writes(notebook)) > LARGEST:
        found.append(f"it is larger than {LARGEST:,} characters")
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                found.append(f"{cell.id}: {output.ename}")
            found += [f"{cell.id}: {fault}" for text in _texts(output) for fault in _traces(text)]
    return found


def _texts(output: Mapping[str, Any]) -> Iterator[str]:
    """Everything in an output that is read, pictures aside."""
    yield output.get("text", "")
    for kind, data in output.get("data", {}).items():
        if not kind.startswith("image/"):
            yield str(data)


def _traces(text: str) -> Iterator[str]:
    """What a machine or its owner left in a text."""
    for what, pattern in (("a path", PATHS), ("a secret", SECRETS), ("an address", HOSTS)):
        if match := pattern.search(text):
            yield f"{what} in its output: {match.group()!r}"
    if (name := socket.gethostname()) and re.search(rf"\b{re.escape(name)}\b", text):
        yield "this machine's name in its output"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
