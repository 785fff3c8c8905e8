"""Errors: a tree by when things go wrong, drawn where it is defined, each with a remedy."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from curveroute.agent import errors
from curveroute.agent.errors import CurverouteError, MissingExtra, ModelCallError, RunError, SetupError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, CurverouteError)]


def test_every_error_is_of_setup_or_of_a_run() -> None:
    for kind in KINDS:
        if kind not in {CurverouteError, SetupError, RunError}:
            assert issubclass(kind, SetupError) != issubclass(kind, RunError)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^    ([ │├└─]*)(\w+)", inspect.getdoc(errors) or "", flags=re.MULTILINE)
    path: dict[int, str] = {}
    parents = {}
    for marks, name in drawn:
        depth = len(marks) // 4
        path[depth] = name
        parents[name] = path.get(depth - 1)
    assert parents.pop("CurverouteError") is None
    assert parents == {kind.__name__: kind.__base__.__name__ for kind in KINDS if kind is not CurverouteError}


def test_a_missing_part_names_the_command_that_brings_it() -> None:
    error = MissingExtra("local models", "local")
    assert str(error) == 'local models needs an extra: pip install "curveroute[local]"'
    assert error.extra == "local"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {MissingExtra, ModelCallError}])
def test_errors_hold_their_message(kind: type[CurverouteError]) -> None:
    assert str(kind("what, and what to do")) == "what, and what to do"
    assert str(pickle.loads(pickle.dumps(kind("travels")))) == "travels"  # noqa: S301


def test_a_failed_call_tells_status_and_what_may_have_been_billed() -> None:
    error = ModelCallError("no answer", status=429, lost_tries=2)
    assert (str(error), error.status, error.lost_tries) == ("no answer", 429, 2)
    assert (ModelCallError("no").status, ModelCallError("no").lost_tries) == (None, 0)
