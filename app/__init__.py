"""curveroute: an LLM router that picks the model and the output budget, looks at the answer, and revises.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curveroute.agent.errors import CurverouteError, RunError, SetupError
    from curveroute.agent.types import Arm, Attempt, Estimate, Plan, Verdict
    from curveroute.chat import RouterChat
    from curveroute.middleware import RouterMiddleware as RouterMiddleware  # it needs an extra: not in `__all__`
    from curveroute.route import Route
    from curveroute.router import Router

    __version__: str

_HOMES = {
    "Router": "curveroute.router",
    "RouterChat": "curveroute.chat",
    "RouterMiddleware": "curveroute.middleware",
    "Route": "curveroute.route",
    "Arm": "curveroute.agent.types",
    "Attempt": "curveroute.agent.types",
    "Estimate": "curveroute.agent.types",
    "Plan": "curveroute.agent.types",
    "Verdict": "curveroute.agent.types",
    "CurverouteError": "curveroute.agent.errors",
    "RunError": "curveroute.agent.errors",
    "SetupError": "curveroute.agent.errors",
}

__all__ = [
    "Arm",
    "Attempt",
    "CurverouteError",
    "Estimate",
    "Plan",
    "Route",
    "Router",
    "RouterChat",
    "RunError",
    "SetupError",
    "Verdict",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("curveroute")
    if name not in _HOMES:
        message = f"module 'curveroute' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
