"""Settings: the only place that reads the environment.

| variable | meaning | default |
|---|---|---|
| ``CURVEROUTE_HOME`` | one folder for weights, ledger and caches | the platform's cache and data folders |
| ``CURVEROUTE_LEDGER`` | SQLAlchemy URL of the ledger | SQLite file in the data folder |
| ``CURVEROUTE_OFFLINE`` | ``1`` forbids downloads | off |
| ``CURVEROUTE_HIDE_CONTENTS`` | ``1`` tells traces nothing of what was asked and answered | off |
| ``CURVEROUTE_LAST_TRACES_S`` | seconds that the end of a process waits for unsent traces at most | 5 |

Whoever hides inputs or outputs from LangSmith or OpenInference by their own variables has asked for the same.

Keys of hosted models are read by the name that the pool gives (``key_env``), at the moment they are needed.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.agent.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HIDDEN = "[hidden]"
_LAST_TRACES_S = 5.0
_TRUE = frozenset({"1", "true", "yes"})
_HIDE = (
    "CURVEROUTE_HIDE_CONTENTS",
    *(f"{tool}_HIDE_{what}" for tool in ("LANGSMITH", "LANGCHAIN", "OPENINFERENCE") for what in ("INPUTS", "OUTPUTS")),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are kept on this machine.

    Attributes:
        cache_dir: weights and embeddings; can be deleted at the price of fetching again.
        data_dir: the ledger and the state of running local servers.
        ledger_url: SQLAlchemy URL of the ledger.
        offline: downloads are forbidden.
    """

    cache_dir: Path
    data_dir: Path
    ledger_url: str
    offline: bool = False


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from ``environ`` (the process environment when not given)."""
    env = os.environ if environ is None else environ
    cache_dir, data_dir = _folders(env.get("CURVEROUTE_HOME", ""))
    ledger_url = env.get("CURVEROUTE_LEDGER", "") or _sqlite_url(data_dir / "ledger.sqlite")
    offline = env.get("CURVEROUTE_OFFLINE", "").lower() in _TRUE
    return Settings(cache_dir=cache_dir, data_dir=data_dir, ledger_url=ledger_url, offline=offline)


def read_secret(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """The value of the key variable ``name``, or ``None`` when it is unset or blank."""
    env = os.environ if environ is None else environ
    return env.get(name, "").strip() or None


def hides_contents(environ: Mapping[str, str] | None = None, *, own: bool = False) -> bool:
    """Whether traces are to be told nothing that was asked, answered, or said of an answer.

    Args:
        environ: the process environment when not given.
        own: by curveroute's own variable, which speaks for every tool.
    """
    env = os.environ if environ is None else environ
    return any(env.get(name, "").lower() in _TRUE for name in (_HIDE[:1] if own else _HIDE))


def unless_hidden(said: str, instead: str = HIDDEN) -> str:
    """What somebody said, for an error that a tracer may tell; ``instead`` of it where contents are hidden."""
    return instead if hides_contents() else said


def last_traces_s(environ: Mapping[str, str] | None = None) -> float:
    """Seconds that the end of a process waits for unsent traces at most.

    Raises:
        SettingError: the variable holds no such number.
    """
    env = os.environ if environ is None else environ
    given = env.get("CURVEROUTE_LAST_TRACES_S", "").strip()
    try:
        seconds = float(given or _LAST_TRACES_S)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < float("inf"):
        raise SettingError(f"CURVEROUTE_LAST_TRACES_S is {given!r}; give seconds, 0 to wait for no trace")
    return seconds


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process: this one's, with ``extra`` laid over it."""
    return {**os.environ, **extra}


def installed_version(package: str = "curveroute") -> str:
    """The version of an installed package; ``unknown`` where it is run from a folder."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@contextmanager
def environment_with(extra: Mapping[str, str]) -> Iterator[None]:
    """This process's environment with ``extra`` laid over it for a while, for libraries that read it once."""
    before = {name: os.environ.get(name) for name in extra}
    os.environ.update(extra)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def lay_over_environment(extra: Mapping[str, str]) -> None:
    """Change this process's environment, for libraries that are configured by it alone."""
    os.environ.update(extra)


def _sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, wherever it lies: of all that a path may hold, two signs mean something in a URL."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def _folders(home: str) -> tuple[Path, Path]:
    if home:
        root = Path(home).expanduser().absolute()
        return root / "cache", root / "data"
    from platformdirs import user_cache_path, user_data_path

    return user_cache_path("curveroute"), user_data_path("curveroute")
