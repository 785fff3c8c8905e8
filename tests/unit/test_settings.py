"""Settings: what the environment says, read in one place and only there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from curveroute.agent.ledger import Ledger
from curveroute.agent.settings import child_environment, load_settings, read_secret

ROOT = Path(__file__).parents[2]
READERS = {"environ", "environb", "getenv", "getenvb", "putenv"}


def test_one_folder_holds_everything_when_it_is_named(tmp_path: Path) -> None:
    settings = load_settings({"CURVEROUTE_HOME": str(tmp_path)})
    assert settings.cache_dir == tmp_path / "cache"
    assert settings.data_dir == tmp_path / "data"
    assert settings.ledger_url == f"sqlite:///{tmp_path / 'data' / 'ledger.sqlite'}"
    assert settings.offline is False


def test_a_relative_or_home_folder_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert load_settings({"CURVEROUTE_HOME": "here"}).data_dir == tmp_path / "here" / "data"
    assert load_settings({"CURVEROUTE_HOME": "~/there"}).data_dir == tmp_path / "me" / "there" / "data"


def test_without_a_name_the_platform_decides() -> None:
    settings = load_settings({})
    assert settings.cache_dir.is_absolute()
    assert settings.data_dir.is_absolute()
    assert "curveroute" in str(settings.cache_dir)
    assert load_settings({"CURVEROUTE_HOME": ""}) == settings


def test_the_ledger_may_be_elsewhere(tmp_path: Path) -> None:
    environ = {"CURVEROUTE_HOME": str(tmp_path), "CURVEROUTE_LEDGER": "postgresql://db/ledger"}
    assert load_settings(environ).ledger_url == "postgresql://db/ledger"
    assert load_settings(environ | {"CURVEROUTE_LEDGER": ""}).ledger_url.startswith("sqlite:///")


@pytest.mark.parametrize(("word", "offline"), [("1", True), ("True", True), ("yes", True), ("0", False), ("", False)])
def test_downloads_can_be_forbidden(word: str, offline: bool) -> None:
    assert load_settings({"CURVEROUTE_OFFLINE": word}).offline is offline


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CURVEROUTE_HOME", str(tmp_path))
    monkeypatch.setenv("SOME_KEY", "secret")
    assert load_settings().cache_dir == tmp_path / "cache"
    assert read_secret("SOME_KEY") == "secret"


@pytest.mark.parametrize(("value", "secret"), [("key", "key"), (" key\n", "key"), ("", None), ("  ", None)])
def test_a_blank_key_is_no_key(value: str, secret: str | None) -> None:
    assert read_secret("A_KEY", {"A_KEY": value}) == secret
    assert read_secret("ANOTHER_KEY", {"A_KEY": value}) is None


def test_a_child_has_this_environment_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("LAID_OVER", "1")
    child = child_environment({"LAID_OVER": "2"})
    assert (child["KEPT"], child["LAID_OVER"]) == ("1", "2")


def test_nobody_else_reads_the_environment() -> None:
    files = [
        path for folder in ("agent", "app", "graphs", "prompts", "pools") for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 50
    readers = {path.relative_to(ROOT).as_posix() for path in files if READERS & names_in(path)}
    assert readers == {"agent/settings.py"}


def names_in(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    attributes = {f"{node.attr}" for node in nodes if isinstance(node, ast.Attribute) and is_os(node.value)}
    imported = {
        name.name for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "os" for name in node.names
    }
    return attributes | imported


def is_os(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "os"


@pytest.mark.parametrize("name", ["with a space", "what?", "a#b", "50%", "a%20b?c=d#e", "naïve"])
def test_the_ledger_lies_in_the_home_folder_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    settings = load_settings({"CURVEROUTE_HOME": str(tmp_path / name)})
    Ledger.open(settings.ledger_url).close()
    assert (settings.data_dir / "ledger.sqlite").is_file()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
