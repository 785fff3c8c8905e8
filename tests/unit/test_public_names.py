"""The names that others import: they are there, they are what they say, and each package tells its own."""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import version

import pytest

import curveroute

PACKAGES = [
    "curveroute",
    "curveroute.agent.chat",
    "curveroute.agent.embed",
    "curveroute.agent.ledger",
    "curveroute.agent.pool",
    "curveroute.agent.predictor",
    "curveroute.chat",
    "curveroute.cli",
    "curveroute.graphs",
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_that_a_package_offers_is_there(package: str) -> None:
    module = importlib.import_module(package)
    names = getattr(module, "__all__", ())
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(module, name) is not None


def test_the_face_is_small_and_stable() -> None:
    assert set(curveroute.__all__) == {
        "Arm", "Attempt", "CurverouteError", "Estimate", "Plan", "Route", "Router", "RouterChat", "RunError",
        "SetupError", "Verdict", "__version__",
    }  # fmt: skip
    assert set(curveroute.__all__) <= set(dir(curveroute))
    assert curveroute.__version__ == version("curveroute")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'curveroute' has no attribute 'Roter'"):
        curveroute.Roter  # noqa: B018
    for package in ("curveroute.agent.ledger", "curveroute.graphs"):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            importlib.import_module(package).nothing  # noqa: B018


@pytest.mark.parametrize("name", [name for name in curveroute.__all__ if name != "__version__"])
def test_a_public_name_is_documented(name: str) -> None:
    thing = getattr(curveroute, name)
    assert inspect.isclass(thing)
    assert thing.__name__ == name
    assert inspect.getdoc(thing)
    assert thing.__module__.startswith("curveroute.")
