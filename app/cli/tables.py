"""Tables on the command line: a path, or the name of a shipped one."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def table_path(word: str) -> Path:
    """The path itself; for a bare name such as ``local``, the shipped table of that name if nothing lies there."""
    given = Path(word)
    if given.suffix or given.exists() or given.name != word:
        return given
    shipped = Path(str(resources.files("curveroute.pools") / "tables" / f"{word}.parquet"))
    return shipped if shipped.is_file() else given
