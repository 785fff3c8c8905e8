"""What is evaluated: one recorded table, or a fixed pair of training and test tables, as far as the reader wants it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curveroute.agent.bench.columns import columns_hash, read_columns
from curveroute.agent.bench.grid import Grid, grid_of, groups_of
from curveroute.agent.bench.meaning import heard
from curveroute.agent.embed.kept import kept_embeddings
from curveroute.agent.errors import SettingError, TableError
from curveroute.agent.plural import counted, queries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from curveroute.agent.embed.seam import Embedder


@dataclass(frozen=True, slots=True)
class Subject:
    """A table, or a pair.

    Attributes:
        name: the table's file name without its suffix.
        grid: all queries; the training queries of a pair.
        sha256: hash of the data that is tested on, before anything was left out.
        test: the test queries of a pair.
        train_name: the training table of a pair, and ``train_sha256`` its hash.
        notes: what was left out.
    """

    name: str
    grid: Grid
    sha256: str
    test: Grid | None = None
    train_name: str | None = None
    train_sha256: str | None = None
    notes: tuple[str, ...] = ()


def read_subject(path: Path, models: Sequence[str] = (), tasks: Sequence[str] = ()) -> Subject:
    """One table, which every seed splits anew.

    Args:
        path: of the curve table.
        models: names to keep; names that begin with ``-`` are left out instead; none keeps all.
        tasks: the same for the queries' tasks.

    Raises:
        TableError: a fault in the table, or nothing of it is left.
        SettingError: a name that the table does not have.
    """
    columns = read_columns(path)
    return Subject(path.stem, _restricted(grid_of(columns), models, tasks, path.name), columns_hash(columns))


def read_pair(train: Path, test: Path, models: Sequence[str] = (), tasks: Sequence[str] = ()) -> Subject:
    """A fixed split: the arms are those of both tables, and a query of both is not trained on.

    Raises:
        TableError: as :func:`read_subject`, or the tables share no arm, or every training query is tested on.
        SettingError: a name that a table does not have.
    """
    first, second = read_subject(train, models, tasks), read_subject(test, models, tasks)
    shared = [arm for arm in first.grid.arms if arm in set(second.grid.arms)]
    if not shared:
        raise TableError(f"{train.name} and {test.name} share no arm (model and budget); collect some in both")
    group = groups_of((*first.grid.texts, *second.grid.texts)).tolist()
    tested = set(group[len(first.grid) :])
    rows = [row for row, text in enumerate(group[: len(first.grid)]) if text not in tested]
    if not rows:
        raise TableError(f"every query of {train.name} is in {test.name} too; give a training table with others")
    notes = []
    if len(rows) < len(first.grid):
        both = queries(len(first.grid) - len(rows))
        notes.append(f"{both} of {train.name} left out of training, being tested on")
    lone = len({*first.grid.arms, *second.grid.arms}) - len(shared)
    if lone:
        notes.append(f"{counted(lone, 'arm')} left out, being in one table only")
    return Subject(
        second.name,
        _arms(first.grid, shared).take(np.array(rows, dtype=np.intp)),
        second.sha256,
        test=_arms(second.grid, shared),
        train_name=first.name,
        train_sha256=first.sha256,
        notes=tuple(notes),
    )


async def embedded(
    subject: Subject, embedder: Embedder, folder: Path, watch: Callable[[int, int], None] | None = None
) -> Subject:
    """The same with embeddings of the queries, and answers in free text compared by theirs: see :func:`heard`."""
    tested = () if subject.test is None else subject.test.texts
    vectors = await kept_embeddings([*subject.grid.texts, *tested], embedder, folder, watch)
    x, count = vectors.astype(np.float64), len(subject.grid)
    parts = [subject.grid.embedded(x[:count])]
    parts += [] if subject.test is None else [subject.test.embedded(x[count:])]
    grid, *test = await heard(*parts, embedder=embedder, folder=folder, watch=watch)
    return replace(subject, grid=grid, test=test[0] if test else None)


def _arms(grid: Grid, arms: Sequence[object]) -> Grid:
    place = {arm: column for column, arm in enumerate(grid.arms)}
    return grid.keep(np.array([place[arm] for arm in arms], dtype=np.intp))  # type: ignore[index]


def _restricted(grid: Grid, models: Sequence[str], tasks: Sequence[str], source: str) -> Grid:
    names = [str(arm.model) for arm in grid.arms]
    kept_models = _chosen("model", models, names, source)
    kept_tasks = _chosen("task", tasks, grid.tasks, source)
    less = grid.keep(np.flatnonzero([name in kept_models for name in names]))
    heard = np.isfinite(less.quality).any(axis=1) & np.array([task in kept_tasks for task in grid.tasks])
    if not heard.any():
        raise TableError(f"{source}: no query of these tasks was asked of these models; choose others")
    return less.take(np.flatnonzero(heard))


def _chosen(kind: str, wanted: Sequence[str], known: Sequence[str], source: str) -> set[str]:
    """The known names that are wanted; those of a leading ``-`` are not."""
    every = set(known)
    for word in wanted:
        name = word if word in every else word.removeprefix("-")
        if name not in every:
            close = difflib.get_close_matches(name, every, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(every))}"
            raise SettingError(f"{source} has no {kind} {name!r}; {hint}")
    named = {word for word in wanted if word in every}
    refused = {word.removeprefix("-") for word in wanted if word not in every}
    left = (named or every) - refused
    if not left:
        raise SettingError(f"no {kind} of {source} is left; leave out fewer")
    return left
