"""Tables on the command line: a path, or the name of a shipped one."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def refuse_source(out: Path, sources: Iterable[Path]) -> None:
    """Refuse to write over what is read, also through a link.

    Raises:
        TableError: ``out`` is one of the sources.
    """
    from curveroute.agent.errors import TableError

    if out.is_file() and any(one.exists() and one.samefile(out) for one in sources):
        raise TableError(f"{out} is what would be read, and writing would replace it; choose another path")


def table_path(word: str) -> Path:
    """The path itself; for a bare name such as ``local``, the shipped table of that name if nothing lies there."""
    given = Path(word)
    if given.suffix or given.exists() or given.name != word:
        return given
    shipped = Path(str(resources.files("curveroute.pools") / "tables" / f"{word}.parquet"))
    return shipped if shipped.is_file() else given
