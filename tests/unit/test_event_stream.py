"""Server-sent events, read out of pieces of bytes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.chat.event_stream import Events

VALUES = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=2), max_size=4)


def read(pieces: list[bytes]) -> tuple[list[object], bool]:
    events = Events()
    found = [event for piece in pieces for event in events.read(piece)]
    return found, events.done


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


@given(VALUES, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.lists(st.integers(0, 500), max_size=20))
def test_events_are_the_same_wherever_the_bytes_are_cut(
    values: list[Any], end: str, escaped: bool, places: list[int]
) -> None:
    told = [f"data: {json.dumps(value, ensure_ascii=escaped)}{end}{end}" for value in values]
    stream = "".join([*told, f"data: [DONE]{end}{end}", f": more{end}"])
    assert read(cut(stream.encode("utf-8", "surrogatepass"), places)) == (values, True)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b'data:{"a": 1}\n\n', [{"a": 1}]),
        (b'data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
        (b': ping\n\nevent: ping\n\nid: 7\nevent: chunk\nretry: 3\ndata: {"a": 1}\n\n', [{"a": 1}]),
        (b'\xef\xbb\xbfdata: {"a": 1}\n\n', [{"a": 1}]),
        (b'data: {"a": 1}\n\ndata: {"b', [{"a": 1}]),
        (b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: {"b": 2}\n\n', [{"a": 1}]),
    ],
)
def test_of_an_event_its_data_is_read_and_nothing_after_the_last(stream: bytes, expected: list[object]) -> None:
    assert read([stream])[0] == expected


@pytest.mark.parametrize("data", [b"<html>", b"[" * 200_000, b"9" * 5000], ids=["html", "deep", "long"])
def test_what_is_no_json_that_can_be_read_is_told(data: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        read([b"data: " + data + b"\n\n"])
