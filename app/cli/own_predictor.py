"""The predictor that decides a recorded run again: the one that it was made with, wherever that still is.

Where it is another one, what is said of the run is not of the new terms alone; so that is always told.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curveroute.agent.ledger import RunSettings
    from curveroute.agent.pool import Pool
    from curveroute.agent.predictor import Predictor
    from curveroute.agent.types import PredictorOrigin


@dataclass(frozen=True, slots=True)
class Found:
    """A predictor, none for the pool's prior curves, and what is to be told of it where it is not the run's own."""

    predictor: Predictor | None
    note: str = ""


def own_predictor(settings: RunSettings | None, pool: Pool, given: str | None) -> Found:
    """The predictor of a run.

    Args:
        settings: what the ledger kept of the run; None where it was written before that was kept.
        pool: the run's pool, whose predictor stands in for one that is gone.
        given: a folder that is taken whatever the run was made with.

    Raises:
        PredictorError: the one to be taken is missing or damaged.
    """
    from curveroute.compose import find_predictor

    if given is not None:
        return Found(find_predictor(pool, given))
    if settings is None:
        return _stand_in(pool, "it is not on record which predictor they were made with")
    return Found(None) if settings.predictor is None else _read_from(settings.predictor, pool)


def _read_from(origin: PredictorOrigin, pool: Pool) -> Found:
    """What stands in a run's folder by now; where nothing does, the pool's, which may be the same moved elsewhere."""
    from curveroute.agent.predictor import load_predictor
    from curveroute.compose import find_predictor

    if not origin.folder:
        return _stand_in(pool, "the predictor that they were made with was never saved")
    if (Path(origin.folder) / "predictor.json").is_file():
        found = load_predictor(origin.folder)
        same = found.origin_.sha256 == origin.sha256
        return Found(found, "" if same else f"the predictor in {origin.folder} is another one by now")
    stand_in = find_predictor(pool, None)
    if stand_in is not None and stand_in.origin_.sha256 == origin.sha256:
        return Found(stand_in)
    return _stand_in(pool, f"the predictor that they were made with is gone from {origin.folder}")


def _stand_in(pool: Pool, why: str) -> Found:
    from curveroute.compose import find_predictor

    found = find_predictor(pool, None)
    taken = "the pool's prior curves" if found is None else f"the pool's, in {found.origin_.folder}"
    return Found(found, f"{why}: decided with {taken}")
