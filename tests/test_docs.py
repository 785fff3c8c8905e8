"""Documentation is executed: every block of code in README.md, CONTRIBUTING.md and docs/ is run, or at least checked.

Python blocks are run. Of shell blocks, each ``curveroute`` command is parsed, each ``make`` target and each extra is
looked up. TOML blocks are parsed, and validated where they are pools. A comment on the line before a block changes
that: ``<!-- run -->`` runs a shell block, ``<!-- local -->`` runs a block with the real local models (in tests marked
``local``), ``<!-- no-run: why -->`` leaves it at a check of the syntax.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from curveroute.agent.pool import PoolSpec
from curveroute.cli import build_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
]
BLOCK = re.compile(r"(?:^<!-- *(\S[^>]*?) *-->\n+)?^```(bash|sh|python|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
MARKS = ("run", "local", "no-run")
OPERATORS = {"|", "||", "&&", ";", ">", ">>", "<", "&", "2>"}


class Block(NamedTuple):
    """A fenced block, and where it begins."""

    place: str
    mark: str
    language: str
    code: str


def blocks_of(text: str, page: str) -> Iterator[Block]:
    for found in BLOCK.finditer(text):
        mark, language, code = found.groups()
        line, word = text.count("\n", 0, found.start(2)) + 1, (mark or "").partition(":")[0]
        yield Block(f"{page}:{line}", word if word in MARKS else "", language, code)


BLOCKS = [block for page in PAGES for block in blocks_of((ROOT / page).read_text("utf-8"), page)]


def chosen(*, local: bool) -> list[Any]:
    return [
        pytest.param(block, id=block.place) for block in BLOCKS if is_run(block) and local == (block.mark == "local")
    ]


def is_run(block: Block) -> bool:
    return block.mark == "local" or (
        block.mark == "run" if block.language in {"bash", "sh"} else block.mark != "no-run"
    )


@pytest.mark.parametrize("block", [pytest.param(block, id=block.place) for block in BLOCKS])
def test_a_block_is_what_it_says(block: Block) -> None:
    check(block)


@pytest.mark.parametrize("block", chosen(local=False))
def test_a_block_runs(block: Block, tmp_path: Path) -> None:
    execute(block, tmp_path, {"CURVEROUTE_HOME": str(tmp_path / "home"), "CURVEROUTE_LEDGER": ""})


@pytest.mark.local
@pytest.mark.xdist_group("local-models")
@pytest.mark.parametrize("block", chosen(local=True))
def test_a_block_runs_with_real_models(block: Block, tmp_path: Path) -> None:
    execute(block, tmp_path, {"CURVEROUTE_LEDGER": f"sqlite:///{tmp_path / 'ledger.sqlite'}"})


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert list(lost(ROOT / page)) == []


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.stem != "index"))
def test_the_map_leads_to_every_page(page: str) -> None:
    links = LINK.findall((ROOT / "docs" / "index.md").read_text("utf-8"))
    assert page in {place for place, _ in links}
    assert f": {page}\n" in (ROOT / "mkdocs.yml").read_text("utf-8")


def lost(page: Path) -> Iterator[str]:
    """The links of a page to files that are not there, and to headings that a page has not."""
    for place, anchor in LINK.findall(page.read_text("utf-8")):
        target = page.parent / place if place else page
        if not target.exists():
            yield place
        elif anchor and anchor not in anchors(target.read_text("utf-8")):
            yield f"{place}#{anchor}"


def anchors(text: str) -> set[str]:
    """What a page's headings are called in links: as code hosts do, which is what the site does to plain words."""
    words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(FENCE.sub("", text))]
    return {word.replace(" ", "-") for word in words}


def check(block: Block) -> None:
    """Refuse what could not work: bad syntax, unknown options, targets and extras, faulty pools."""
    if block.language == "python":
        compile(block.code, block.place, "exec")
    elif block.language == "toml":
        table = tomllib.loads(block.code)
        if {"models", "budgets", "name"} <= set(table):
            PoolSpec.model_validate(table)
    else:
        for words in commands(block.code):
            check_command(words)


def commands(code: str) -> Iterator[list[str]]:
    """The simple commands of a shell block, without prompts, comments and assignments."""
    for line in code.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line.removeprefix("$ "), comments=True), ";"]:
            if word not in OPERATORS:
                words.append(word)
                continue
            while words and re.match(r"[A-Z_]+=", words[0]):
                del words[0]
            if words:
                yield words
            words = []


def check_command(words: list[str]) -> None:
    name, *rest = words
    if Path(name).name == "curveroute":
        assert parses(rest), f"{shlex.join(words)} is no command"
    elif name == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert {word for word in rest if "=" not in word and not word.startswith("-")} <= set(targets)
    elif "install" in rest:
        extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
        named = re.findall(r"\[([a-z,]+)\]", " ".join(rest))
        assert {extra for group in named for extra in group.split(",")} <= extras


def parses(words: list[str]) -> bool:
    try:
        build_parser(words).parse_args(words)
    except SystemExit as end:
        return not end.code
    return True


def execute(block: Block, folder: Path, environment: dict[str, str]) -> None:
    if block.language == "toml":
        return
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
    done = subprocess.run(
        [*command, block.code],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


SAMPLE = """
```bash
$ CURVEROUTE_HOME=x curveroute ask "a # b" --json | head -1  # a comment
pip install "curveroute[local,bench]" && make test
```
<!-- no-run: it needs a key -->
```python
import nothing
```

<!-- run -->
```sh
curveroute --version > version
test -s version
```
```toml
[tool]
```
"""


def test_blocks_are_found_with_their_marks() -> None:
    first, second, third, fourth = blocks_of(SAMPLE, "page")
    assert [block.mark for block in (first, second, third, fourth)] == ["", "no-run", "run", ""]
    assert [block.place for block in (first, second)] == ["page:2", "page:7"]
    assert [is_run(block) for block in (first, second, third, fourth)] == [False, False, True, True]
    assert list(commands(first.code)) == [
        ["curveroute", "ask", "a # b", "--json"],
        ["head", "-1"],
        ["pip", "install", "curveroute[local,bench]"],
        ["make", "test"],
    ]


def test_what_is_right_passes_and_what_is_wrong_does_not(tmp_path: Path) -> None:
    for block in blocks_of(SAMPLE, "page"):
        check(block)
    execute(list(blocks_of(SAMPLE, "page"))[2], tmp_path, {})
    for wrong in ("curveroute ask --jsno x", "curveroute aks x", "make tea", 'pip install "curveroute[everything]"'):
        with pytest.raises(AssertionError):
            check(Block("page:1", "", "bash", wrong))
    with pytest.raises(SyntaxError):
        check(Block("page:1", "no-run", "python", "def"))
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        execute(Block("page:1", "", "python", "1 / 0"), tmp_path, {})


def test_lost_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One `thing`, told\n```bash\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](other.md) [b](other.md#one-thing-told) [c](#here) [d](https://example.com/x) "
        "[e](gone.md) [f](other.md#no-heading) [g](#there) [h](gone.md#here)"
    )
    assert list(lost(page)) == ["gone.md", "other.md#no-heading", "#there", "gone.md"]
