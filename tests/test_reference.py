"""The reference is made from docstrings: every public name has one and is in it, and the site with it is built."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

import curveroute
from curveroute.cli import build_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "api").glob("*.md"))
DIRECTIVE = re.compile(r"^::: (\S+)$", re.MULTILINE)
TOLD = sorted({name for page in PAGES for name in DIRECTIVE.findall(page.read_text("utf-8"))})
PUBLIC = sorted(set(curveroute.__all__) - {"__version__"})


def named(path: str) -> object:
    """The thing behind a dotted path: a module, or a name in one."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        home, _, name = path.rpartition(".")
        return getattr(named(home), name)


def members(thing: object) -> Iterator[tuple[str, object]]:
    """What the reference shows of a thing, below it."""
    if isinstance(thing, ModuleType):
        for name, one in vars(thing).items():
            if not name.startswith("_") and getattr(one, "__module__", "") == thing.__name__ and told(one):
                yield name, one
                yield from ((f"{name}.{below}", part) for below, part in members(one))
    elif inspect.isclass(thing):
        attributes = (inspect.getdoc(thing) or "").partition("Attributes:")[2]  # those of a protocol are told there
        for name, one in vars(thing).items():
            if not name.startswith("_") and told(getattr(one, "__func__", one)) and f" {name}: " not in attributes:
                yield name, one


def told(thing: object) -> bool:
    return inspect.isclass(thing) or inspect.isfunction(thing) or isinstance(thing, property)


def undocumented(path: str) -> list[str]:
    thing = named(path)
    missing = [name for name, one in members(thing) if not inspect.getdoc(one)]
    is_value = not (isinstance(thing, ModuleType) or told(thing))
    return missing if is_value or inspect.getdoc(thing) else [path, *missing]


@pytest.mark.parametrize("path", TOLD)
def test_what_the_reference_names_is_there_and_has_docstrings(path: str) -> None:
    assert undocumented(path) == []


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    thing = getattr(curveroute, name)
    homes = {f"curveroute.{name}", f"{thing.__module__}.{name}", thing.__module__}
    assert homes & set(TOLD)
    overview = (ROOT / "docs" / "api" / "index.md").read_text("utf-8")
    assert f"{name}`" in overview


def test_a_name_without_a_docstring_is_found() -> None:
    class Bare:
        def method(self) -> None: ...

    module = ModuleType("bare")
    Bare.__module__ = "bare"
    module.Bare = Bare  # type: ignore[attr-defined]
    assert [name for name, one in members(module) if not inspect.getdoc(one)] == ["Bare", "Bare.method"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Strict: a link, an anchor or a page that is lost is an error."""
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def inventory(site: Path) -> set[str]:
    """The names that the site's reference holds."""
    head, _, packed = (site / "objects.inv").read_bytes().partition(b"zlib.\n")
    assert head.startswith(b"# Sphinx inventory version 2")
    return {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}


def test_the_site_holds_every_public_name(inventory: set[str]) -> None:
    homes = {name: getattr(curveroute, name).__module__ for name in PUBLIC}
    assert [name for name, home in homes.items() if not {f"curveroute.{name}", f"{home}.{name}"} & inventory] == []


@pytest.mark.parametrize("path", TOLD)
def test_the_site_holds_what_belongs_to_a_name(path: str, inventory: set[str]) -> None:
    assert [name for name, _ in members(named(path)) if f"{path}.{name}" not in inventory] == []


def test_the_site_tells_every_command_and_option(site: Path) -> None:
    page = (site / "commands" / "index.html").read_text("utf-8")
    options = {name for parser in parsers(build_parser()) for one in parser._actions for name in one.option_strings}
    assert {"--explain", "--share", "--epsilon"} <= options
    assert [name for name in sorted(options - {"-h", "--help", "--version"}) if f">{name}" not in page] == []


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands, whose options are declared when they are asked for."""
    yield parser
    for one in parser._actions:
        if isinstance(one, argparse._SubParsersAction):
            for name, sub in one.choices.items():
                top = parser.prog == "curveroute"
                yield from parsers(commands_of(build_parser([name]))[name] if top else sub)


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (subs,) = (one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return dict(subs)


def test_the_site_has_no_marks_of_another_language(site: Path) -> None:
    texts = [path.read_text("utf-8") for path in (site / "api").rglob("index.html")]
    assert [text for text in texts if re.search(r":(?:meth|class|func):|<p>::</p>", text)] == []
