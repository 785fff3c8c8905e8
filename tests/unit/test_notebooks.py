"""The notebooks as they are committed, and the script that runs them: what a notebook may not do is found."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nbformat import NotebookNode, reads, validate, write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FETCH = "%%bash\ncurveroute models fetch > /dev/null"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks_run", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUN = script()


def notebook_of(*sources: str) -> NotebookNode:
    return new_notebook(cells=[new_code_cell(source, id=f"cell-{place}") for place, source in enumerate(sources)])


def published(output: Any) -> NotebookNode:
    """A notebook of one cell that was run, and has this output."""
    return new_notebook(cells=[new_code_cell("1", id="cell", execution_count=1, outputs=[output])])


def executed(
    folder: Path, *sources: str, options: tuple[str, ...] = (), environment: dict[str, str] | None = None
) -> tuple[int, str, NotebookNode]:
    """The exit code, what was printed, and the notebook afterwards, in a small project of its own."""
    path, project = folder / "one.ipynb", folder / "project"
    project.mkdir()
    (project / "kept.txt").write_text("kept")
    write(notebook_of(*sources), path)
    env = {**os.environ, "CURVEROUTE_HOME": str(folder / "home"), "PROJECT": str(project), **(environment or {})}
    command = [sys.executable, str(FOLDER / "run.py"), "--project", str(project), *options, str(path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, reads(path.read_text("utf-8"), as_version=4)


def test_there_are_five_notebooks_and_the_readme_names_each() -> None:
    readme = (FOLDER.parent / "README.md").read_text("utf-8")
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]
    assert [path.name for path in NOTEBOOKS if f"notebooks/{path.name}" not in readme] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_whole_and_with_its_outputs(path: Path) -> None:
    notebook = reads(path.read_text("utf-8"), as_version=4)
    validate(notebook)
    assert RUN.faults(notebook) == []
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_a_room_of_its_own_and_fetches_before_it_asks(path: Path) -> None:
    code = [cell.source for cell in reads(path.read_text("utf-8"), as_version=4).cells if cell.cell_type == "code"]
    asks = [place for place, source in enumerate(code) if "Router" in source or "curveroute collect" in source]
    assert "room = tempfile.TemporaryDirectory()" in code[0]
    assert "room.cleanup()" in code[-1]
    if asks:
        assert FETCH in code[: asks[0]]
        assert 'os.environ["CURVEROUTE_LEDGER"] = f"sqlite:///' in code[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("written to /home/ann/curves", "a path"),
        ("see (/tmp/tmpab12/ledger.sqlite)", "a path"),
        (r"C:\Users\ann", "a path"),
        ("key sk-proj-0123456789", "a secret"),
        ("Authorization: Bearer abc", "a secret"),
        ("served at http://127.0.0.1:8080/v1", "an address"),
        ("10.0.0.7 answered", "an address"),
    ],
)
def test_traces_of_a_machine_are_found_wherever_an_output_is_read(text: str, fault: str) -> None:
    for output in (
        new_output("stream", text=text),
        new_output("execute_result", data={"text/plain": text}, execution_count=1),
        new_output("display_data", data={"text/html": f"<p>{text}</p>", "text/plain": ""}),
    ):
        assert [fault in found for found in RUN.faults(published(output))] == [True]


@pytest.mark.parametrize("text", ["1/2 of 3/4", "and/or", "qwen2.5-coder-0.5b@160", "version 1.2.3", "tasks/home"])
def test_plain_words_are_no_traces(text: str) -> None:
    assert RUN.faults(published(new_output("stream", text=text))) == []


def test_pictures_are_not_read_for_traces_but_count_for_the_size() -> None:
    def picture(size: int) -> NotebookNode:
        return published(new_output("display_data", data={"image/png": "/home/" * (size // 6), "text/plain": ""}))

    assert RUN.faults(picture(600)) == []
    assert "larger" in RUN.faults(picture(RUN.LARGEST))[0]


def test_errors_missing_outputs_and_cells_run_out_of_order_are_faults() -> None:
    failed = new_output("error", ename="ValueError", evalue="x", traceback=[])
    assert RUN.faults(published(failed)) == ["cell: ValueError"]
    assert len(RUN.faults(notebook_of("1"))) == 2
    whole = published(new_output("stream", text="x"))
    whole.cells[0].execution_count = 2
    assert "top to bottom" in RUN.faults(whole)[0]


def test_files_that_come_go_or_change_are_seen(tmp_path: Path) -> None:
    for name in ("kept", "gone", "other"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".venv").mkdir()
    before = RUN.seen(tmp_path)
    (tmp_path / "gone").unlink()
    (tmp_path / "other").write_text("another length")
    (tmp_path / "new").write_text("new")
    (tmp_path / ".venv" / "tool").write_text("a tool's own")
    assert [Path(name).name for name in RUN.changes(before, RUN.seen(tmp_path))] == ["gone", "new", "other"]


def test_what_says_where_it_was_run_is_tidied_away() -> None:
    notebook = notebook_of("1")
    notebook.cells.append(new_markdown_cell("words", id="words", metadata={"editor": "x"}))
    notebook.cells[0].outputs = [new_output("stream", text="\x1b[1mbold\x1b[0m  \nplain")]
    notebook.metadata = NotebookNode(kernelspec={"name": "my-env", "display_name": "mine"}, language_info={"name": "x"})
    RUN.tidy(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].outputs[0].text == "bold\nplain"
    assert [cell.metadata for cell in notebook.cells] == [{}, {}]


def test_a_notebook_that_passes_gets_its_outputs_when_asked_to(tmp_path: Path) -> None:
    code, said, notebook = executed(tmp_path, "x = 2", "print(x + 2)", options=("--write",))
    assert (code, said.split(" (")[0]) == (0, "one.ipynb: ok")
    assert [output.text for output in notebook.cells[1].outputs] == ["4\n"]


def test_a_failing_cell_fails_the_run_and_writes_nothing(tmp_path: Path) -> None:
    code, said, notebook = executed(tmp_path, "1 / 0", options=("--write",))
    assert code == 1
    assert "ZeroDivisionError" in said
    assert notebook.cells[0].outputs == []


def test_whatever_a_notebook_leaves_behind_is_named(tmp_path: Path) -> None:
    leaving = """
import os, pathlib, tempfile
pathlib.Path("beside.txt").write_text("x")
tempfile.mkdtemp(prefix="forgotten-")
pathlib.Path(os.environ["PROJECT"], "new.txt").write_text("x")
home = pathlib.Path(os.environ["CURVEROUTE_HOME"], "data")
home.mkdir(parents=True)
(home / "ledger.sqlite").write_text("x")
(home / "server.log").write_text("x")
"""
    code, said, _ = executed(tmp_path, leaving)
    assert code == 1
    for left in ("left beside.txt", "left forgotten-", "new.txt", "ledger.sqlite"):
        assert left in said
    assert "server.log" not in said


def test_a_process_that_outlives_its_notebook_is_named_and_ended(tmp_path: Path) -> None:
    waits = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
"""
    code, said, _ = executed(tmp_path, waits)
    assert code == 1
    assert "left process" in said


def test_a_kernel_that_dies_is_said_to_have_died(tmp_path: Path) -> None:
    code, said, _ = executed(tmp_path, "import os; os._exit(1)")
    assert code == 1
    assert "Kernel died" in said


def test_a_notebook_that_hangs_is_ended(tmp_path: Path) -> None:
    code, said, _ = executed(tmp_path, "import signal; signal.pause()", options=("--seconds", "8"))
    assert code == 1
    assert "did not end within 8 s" in said


def test_without_the_models_a_notebook_says_which_command_fetches_them(tmp_path: Path) -> None:
    code, said, _ = executed(tmp_path, FETCH, environment={"CURVEROUTE_OFFLINE": "1"})
    assert code == 1
    lines = [line for line in said.splitlines() if "downloads are forbidden" in line]
    assert len(lines) == 1
    assert "curveroute models fetch" in lines[0]
