"""When a request is repeated, and after how long: bounded, jittered, and never against the server's word."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.chat.retry import RetryPolicy, is_mendable, retry_after_s

POLICIES = st.builds(
    RetryPolicy,
    tries=st.integers(1, 8),
    base_s=st.floats(0, 10),
    longest_s=st.floats(0, 60),
    longest_retry_after_s=st.floats(0, 600),
)


@given(POLICIES, st.integers(1, 20), st.none() | st.floats(0, 1e6))
def test_waits_are_bounded_and_tries_run_out(policy: RetryPolicy, tried: int, asked: float | None) -> None:
    wait = policy.wait_s(tried, asked)
    if tried >= policy.tries:
        assert wait is None
    elif asked is not None:
        assert wait == (asked if asked <= policy.longest_retry_after_s else None)
    else:
        assert wait is not None
        assert 0 <= wait <= min(policy.longest_s, policy.base_s * 2 ** (tried - 1))


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    assert len({RetryPolicy().wait_s(1, None) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    ("status", "mendable"),
    [
        (408, True),
        (409, True),
        (429, True),
        (500, True),
        (503, True),
        (529, True),
        (400, False),
        (401, False),
        (404, False),
    ],
)
def test_only_what_may_pass_is_mendable(status: int, mendable: bool) -> None:
    assert is_mendable(status) is mendable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_seconds_are_read_and_nonsense_is_not(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000"])
def test_a_date_means_the_time_until_then(zone: str) -> None:
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    later = f"Sat, 21 Nov 2026 12:00:30 {zone}"
    assert retry_after_s({"retry-after": later}, now.timestamp()) == 30.0
    assert retry_after_s({"retry-after": format_datetime(now)}, now.timestamp() + 5) == 0.0


def test_a_date_without_a_clock_is_measured_against_this_machines() -> None:
    assert retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0.0


@given(st.text(), st.text())
def test_no_header_can_break_it(seconds: str, milliseconds: str) -> None:
    found = retry_after_s({"retry-after": seconds, "retry-after-ms": milliseconds}, 0.0)
    assert found is None or (found >= 0 and math.isfinite(found))
