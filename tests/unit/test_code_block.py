"""Programs as answers: found in a text whatever stands around them, and one claim only where they are one program."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.verify.answers import claims_nothing, extract_answer, query_kind, same, spell, well_formed
from curveroute.agent.verify.code_block import is_code, program_in
from curveroute.agent.verify.free_text import groups_of_texts, is_free_text

ADD = "def add(a, b):\n    return a + b"
PROGRAMS = (
    ADD,
    "def add(a, b):\n    return a - b",
    "def ADD(a, b):\n    return a + b",
    "def add(a, b):\n    return str(a + b)",
    "def add(b, a):\n    return a + b",
    "print('hi')",
    "print('Hi')",
    "import math\nprint(math.pi)",
)
OTHERS = (
    "SELECT * FROM a;",
    "SELECT * FROM b;",
    "select name from a;",
    "const a = 1;\nconsole.log(a);",
    "const a = -1;\nconsole.log(a);",
)
LINES = st.lists(st.sampled_from(["a = 1", "  b", "", "  # note", "```", "def f():", "\treturn 'x y'", "}", "é"])).map(
    "\n".join
)


def fence(body: str, language: str = "python") -> str:
    return f"```{language}\n{body}\n```"


PAIRS = list(combinations((*map(fence, PROGRAMS), *(fence(body, "sql") for body in OTHERS)), 2))


@pytest.mark.parametrize(
    "text",
    [
        fence(ADD),
        fence(ADD, ""),
        fence(ADD, "py"),
        ADD,
        f"Here is the function:\n\n{fence(ADD)}\n\nThis function adds two numbers.\nLet me know if you need more!",
        f"Sure!\n{fence('pip install nothing', 'bash')}\nThen:\n{fence(ADD)}",
        f"{fence(ADD)}\nExample usage:\n{fence('print(add(2, 3))')}\nIt prints 5.",
        f"  {fence(ADD)}".replace("\n", "\n  "),
        fence("# adds\ndef add(a, b):  # two numbers\n\n    return (a+b)"),
        f"Answer:\n{fence(ADD)}",
    ],
)
def test_a_program_is_the_claim_whatever_stands_around_it(text: str) -> None:
    answer = extract_answer(text)
    assert answer is not None
    assert is_code(answer)
    assert same(answer, fence(ADD))
    assert well_formed(text, answer, "text")
    assert not well_formed(text, answer, "number")
    assert not is_free_text(answer)


@pytest.mark.parametrize("body", OTHERS)
@pytest.mark.parametrize("language", ["sql", "js", "c++"])
def test_programs_of_any_language_are_claims(body: str, language: str) -> None:
    answer = extract_answer(f"Here:\n{fence(body, language)}")
    assert answer == fence(body, language)
    assert same(answer, fence(f"\n{body}  \n\n", language.upper()))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_different_programs_are_different_claims(one: str, other: str) -> None:
    assert not same(one, other)
    assert not same(other, one)
    assert groups_of_texts((one, other), {}) == (0, 1)


@given(LINES, LINES, st.sampled_from(["", "python", "c"]))
def test_agreement_of_programs_is_symmetric_and_each_agrees_with_itself(a: str, b: str, language: str) -> None:
    one, other = fence(a, language), fence(b, "python")
    assert same(one, other) == same(other, one)
    assert same(one, one)
    assert spell(spell(one)) == spell(one)
    assert not claims_nothing(one)


@given(LINES)
def test_a_programs_fence_and_tag_are_never_an_answer(body: str) -> None:
    for language in ("python", "java", "json", "text", ""):
        assert extract_answer(fence(body, language)) not in {language or "x", "```", f"```{language}"}


@pytest.mark.parametrize(
    ("text", "kind", "answer"),
    [
        (f"{fence('print(2 + 3)')}\nThe result is 5.", "text", "5"),
        (f"{fence('x = 2 + 3')}\nIt comes to 5.", "number", "5"),
        (f"{fence(ADD)}\nSo add(2, 3) = 5", "number", "5"),
        (f"{fence('result = 7')}\nAnswer: 8", "text", "8"),
        (fence("42"), "text", "42"),
        (fence("42", ""), "text", "42"),
        ("Answer:\n```\n42\n```", "text", "42"),
        (fence('{"a": 1}', "json"), "json", '{"a": 1}'),
        ("```\nfoo\nbar\n```", "list", "foo, bar"),
        (f"{fence(ADD)}\n\nOutput:\n\n`a, b`", "list", "a, b"),
    ],
)
def test_what_a_calculation_comes_to_is_the_answer_where_it_is_said(text: str, kind: str, answer: str) -> None:
    assert extract_answer(text, kind) == answer  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["Paris", "x = 5", "The import of wine rose.", "def", "", "import", fence("# a note")])
def test_words_are_no_programs(text: str) -> None:
    assert program_in(text) is None


@pytest.mark.parametrize(
    "query",
    [
        "Write a Python function that counts how many vowels a string has.",
        "Write a program that prints JSON.",
        "Implement a class with a method that compares two values.",
        "Can you write a script that renames files?",
    ],
)
def test_a_program_is_no_number_and_no_yes(query: str) -> None:
    assert query_kind(query) == "text"
