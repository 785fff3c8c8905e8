"""Earlier editions of a predictor, in numbered folders beside it: what was is never lost by learning.

``mine`` becomes ``mine.before-1`` when it first learns, ``mine.before-2`` the next time. At every moment there is a
whole predictor in its folder: the edition is copied first, and what is new is swapped in by ``save_predictor``.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.agent.errors import PredictorError
from curveroute.agent.predictor.store import load_predictor, save_predictor

if TYPE_CHECKING:
    from curveroute.agent.predictor.model import Predictor

_NUMBER = re.compile(r"\.before-([1-9]\d*)")


def editions(folder: str | Path) -> list[Path]:
    """The earlier editions of the predictor in a folder, oldest first."""
    target = Path(folder).resolve()
    found = {
        int(number[1]): one
        for one in target.parent.glob("*.before-*")
        if one.name.startswith(target.name) and (number := _NUMBER.fullmatch(one.name.removeprefix(target.name)))
    }
    return [found[number] for number in sorted(found)]


def replace_predictor(predictor: Predictor, folder: str | Path) -> Path:
    """Put a predictor in the place of one that becomes an earlier edition.

    Returns:
        The edition's folder.

    Raises:
        PredictorError: it cannot be written; the old one is still there.
    """
    target = Path(folder).resolve()
    before = editions(target)
    number = int(before[-1].name.rpartition("-")[2]) + 1 if before else 1
    kept = target.with_name(f"{target.name}.before-{number}")
    try:
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            shutil.copytree(target, fresh, dirs_exist_ok=True)
            fresh.rename(kept)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise PredictorError(
            f"the old predictor cannot be kept beside {target} ({error}): make room, or write the new one elsewhere"
        ) from error
    try:
        save_predictor(predictor, target)
    except PredictorError:
        shutil.rmtree(kept, ignore_errors=True)  # the same is still in its own folder
        raise
    return kept


def bring_back(folder: str | Path) -> Path:
    """Put the last edition in the place of the predictor that learned since.

    Returns:
        The edition's folder, which is no more.

    Raises:
        PredictorError: there is none, or it is damaged; the predictor is still there.
    """
    before = editions(folder)
    if not before:
        raise PredictorError(f"there is no earlier edition beside {folder}: nothing was learned in place there")
    save_predictor(load_predictor(before[-1]), folder)
    shutil.rmtree(before[-1], ignore_errors=True)
    return before[-1]
