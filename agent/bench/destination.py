"""Where a table goes: beside what is there until it is whole, then into its place; into a pipe or an output at once."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from curveroute.agent.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDOUT, _STDERR = 1, 2


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place for the new file; when the block ends well the file there takes the place of ``path``, else nothing does.

    A link stays, and the file it leads to is replaced. A pipe, a device or the command's own output is written into.

    Raises:
        TableError: the folder cannot be written.
    """
    with beside(path) as fresh:
        yield fresh
        if is_stream(path):
            with fresh.open("rb") as file, _opened(path) as out:
                shutil.copyfileobj(file, out)
            return
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        fresh.replace(_led_to(path))


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A place for a new file next to what ``path`` leads to; nothing stays there, unless it took its place."""
    try:
        if path.is_dir():
            raise TableError(f"cannot write {path}: it is a folder; choose another path")
        with TemporaryDirectory() if is_stream(path) else nullcontext() as elsewhere:
            home = Path(elsewhere) if elsewhere else _led_to(path).parent
            home.mkdir(parents=True, exist_ok=True)
            fresh = home / f".{path.name}.{os.getpid()}.part"
            try:
                yield fresh
            finally:
                with suppress(OSError):
                    fresh.unlink(missing_ok=True)
    except OSError as error:
        raise TableError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another path"
        ) from error


def is_stream(path: Path) -> bool:
    """Whether ``path`` leads to a pipe, a device or an output of this process: what is written there is gone."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return _output(path) is not None or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_stdout(path: Path) -> bool:
    """Whether ``path`` leads to this process's standard output."""
    return _output(path) == _STDOUT


def _output(path: Path) -> int | None:
    for output in (_STDOUT, _STDERR):
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(output)):
                return output
    return None


def _led_to(path: Path) -> Path:
    with suppress(FileNotFoundError):
        path.stat()  # tells links in a circle, which not every Python's resolve() does
    return path.resolve()


def _opened(path: Path) -> BinaryIO:
    """Writes into what is there; into an output where its last writer stopped, not over what that wrote."""
    output = _output(path)
    return path.open("wb") if output is None else os.fdopen(os.dup(output), "wb")
