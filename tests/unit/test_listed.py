"""A run's candidates as arrays: what the outlooker keeps is what the estimates say, whoever made them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from curveroute.agent.propose import Outlooker
from curveroute.agent.types import Message, Query

if TYPE_CHECKING:
    from conftest import House

    from curveroute.agent.types import Estimate

QUERY = Query((Message(role="user", content="What is the capital of Portugal?"),))


def outlooked(house: type[House]) -> tuple[Outlooker, tuple[Estimate, ...]]:
    outlooker = Outlooker(house.pool(budgets=(16, 64, None)), None)
    return outlooker, outlooker.estimates(None, QUERY, outlooker.pool.arms, 0.5)


def test_what_was_kept_when_the_estimates_were_made_is_what_reading_them_gives(house: type[House]) -> None:
    outlooker, made = outlooked(house)
    kept = outlooker.listed(made)
    read = outlooker.listed(tuple(replace(one) for one in made))
    assert outlooker.listed(list(made)) is kept
    assert read is not kept
    assert read.arms == kept.arms == [one.arm for one in made]
    for name in ("places", "quality", "cost_usd", "latency_s", "expected", "here"):
        np.testing.assert_array_equal(getattr(read, name), getattr(kept, name))


def test_other_candidates_that_begin_alike_are_not_taken_for_those_that_were_kept(house: type[House]) -> None:
    outlooker, made = outlooked(house)
    fewer, other = made[:-1], (*made[:-1], replace(made[-1], quality=0.123))
    assert outlooker.listed(fewer).arms == [one.arm for one in fewer]
    assert outlooker.listed(other).quality[-1] == 0.123
    assert outlooker.listed(made).quality[-1] == made[-1].quality


def test_an_arm_stands_where_its_estimate_does_and_one_that_is_no_candidate_nowhere(house: type[House]) -> None:
    outlooker, made = outlooked(house)
    some = outlooker.listed(made[::2])
    assert [some.place(one.arm) for one in made[::2]] == list(range(len(made[::2])))
    with pytest.raises(KeyError):
        some.place(made[1].arm)


def test_no_candidates_are_no_arrays(house: type[House]) -> None:
    outlooker, _ = outlooked(house)
    assert outlooker.listed(()).arms == []
    assert outlooker.listed(()).quality.size == 0
