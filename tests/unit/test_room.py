"""Room for a form: budgets that could not hold it are passed over, and something is always left to ask."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curveroute.agent.pool.room import least_tokens, with_room
from curveroute.agent.types import Arm, Form, ModelId, Tool, Toolbox

JOKE: Any = {
    "type": "object",
    "properties": {"setup": {"type": "string"}, "punchline": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["setup", "punchline"],
}
ARMS = tuple(Arm(ModelId(model), budget) for model in ("small", "big") for budget in (16, 64, 256, None))


def budgets(form: Form, arms: tuple[Arm, ...] = ARMS) -> list[int | None]:
    return [arm.budget for arm in with_room(arms, form) if arm.model == "big"]


def test_plain_words_fit_everywhere() -> None:
    assert with_room(ARMS, Form()) == ARMS


def test_a_budget_that_cannot_hold_the_form_is_passed_over() -> None:
    assert budgets(Form(schema=JOKE)) == [64, 256, None]
    assert budgets(Form(toolbox=Toolbox((Tool("tell", "", JOKE),)))) == [64, 256, None]
    assert budgets(Form(schema={"type": "boolean"})) == [16, 64, 256, None]


def test_an_object_of_which_nothing_is_said_holds_something_all_the_same() -> None:
    assert budgets(Form(schema={"type": "object"})) == [64, 256, None]
    assert budgets(Form(schema={"type": "object", "properties": {}})) == [16, 64, 256, None]


def test_the_limit_of_a_call_passes_over_longer_budgets() -> None:
    assert budgets(Form(max_tokens=100)) == [16, 64, None]
    assert budgets(Form(max_tokens=100, schema=JOKE)) == [64, None]


def test_where_nothing_fits_the_nearest_is_left() -> None:
    bounded = tuple(arm for arm in ARMS if arm.budget is not None)
    assert budgets(Form(max_tokens=8), bounded) == [16]
    assert budgets(Form(max_tokens=20, schema=JOKE), bounded) == [16]
    huge: Any = {
        "type": "object",
        "properties": {str(n): JOKE for n in range(30)},
        "required": list(map(str, range(30))),
    }
    assert budgets(Form(schema=huge), bounded) == [256]


@pytest.mark.parametrize(
    ("schema", "characters"),
    [
        ({"const": "yes"}, 5),
        ({"enum": ["a", "long one"]}, 3),
        ({"type": "array", "items": {"type": "string"}}, 2),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, 6),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 4),
        ({"$defs": {"A": {"const": 1}}, "$ref": "#/$defs/A"}, 1),
        ({"$ref": "#"}, 4),
        ({}, 4),
    ],
)
def test_what_a_schema_takes_at_least(schema: Any, characters: int) -> None:
    assert least_tokens(Form(schema=schema)) == characters // 3


def test_the_tool_that_must_be_called_is_what_counts() -> None:
    long, short = Tool("tell", "", JOKE), Tool("now", "", {"type": "object"})
    sizes = [least_tokens(Form(toolbox=Toolbox((long, short), choice))) for choice in ("auto", "tell", "now", "none")]
    assert sizes[0] == sizes[1] > sizes[2] > sizes[3] == 0


@given(
    st.lists(st.one_of(st.none(), st.integers(1, 500)), min_size=1, max_size=5, unique=True),
    st.one_of(st.none(), st.integers(1, 600)),
    st.booleans(),
)
def test_something_is_always_left(offered: list[int | None], limit: int | None, formed: bool) -> None:
    arms = tuple(Arm(ModelId("m"), budget) for budget in offered)
    left = with_room(arms, Form(max_tokens=limit, schema=JOKE if formed else None))
    assert left
    assert set(left) <= set(arms)
