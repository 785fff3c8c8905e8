"""What comes from outside cannot close the marks it stands between, and keeps both its ends."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.fence import fenced


@given(st.text(), st.sampled_from(["question", "answer", "criteria"]))
def test_nothing_that_reads_like_a_mark_is_left(text: str, name: str) -> None:
    for mark in (f"</{name}>", f"< / {name} >", f"</{name.upper()}\n>", f"<{name}>"):
        assert not re.search(rf"<\s*/?\s*{name}\b", fenced(name, f"{text}{mark}{text}", 10_000), re.IGNORECASE)


@given(st.text(max_size=200))
def test_a_short_text_without_marks_is_kept_whole(text: str) -> None:
    assert fenced("question", text.replace("<", ""), 1000) == text.replace("<", "")


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_question_at_either_end_of_a_long_text_is_seen(where: str) -> None:
    document, question = "word " * 5_000, "Who wrote it?"
    text = f"{question}\n{document}" if where == "first" else f"{document}\n{question}"
    seen = fenced("question", text, 2_000)
    assert question in seen
    assert len(seen) < 2_100
