"""``curveroute learn``: a predictor learns from feedback, if that makes it better; the old one is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.cli.outputs import declare_overwrite
from curveroute.cli.tables import table_path

if TYPE_CHECKING:
    import argparse

    from curveroute.agent.bench.lessons import Found
    from curveroute.agent.decide import Indices
    from curveroute.agent.embed.seam import Embedder
    from curveroute.agent.predictor import Predictor
    from curveroute.agent.predictor.lessons import Heard
    from curveroute.agent.predictor.relearn import Exam, Relearned
    from curveroute.agent.predictor.weigh import Compared


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--predictor", default=None, metavar="FOLDER", help="the fitted predictor: a folder, or a shipped one's name")
    add("--pool", default=None, help="learn from runs of this pool only, and for its predictor without --predictor")
    add("--out", type=Path, default=None, metavar="FOLDER", help="write it there (default: in place, the old one kept)")
    declare_overwrite(parser)
    add("--table", type=table_path, default=None, help="graded answers on which the error must not rise")
    add(
        "--tolerance",
        type=float,
        default=0.0,
        help="share by which the table's error may rise all the same (default: 0)",
    )
    add("--embedder", default=None, help="openai:MODEL?dim=…&url=…&key_env=…, where the predictor's name is another")
    add("--seed", type=int, default=0, help="seed of the folds (default: 0)")
    add("--dry-run", action="store_true", help="say what it would do, and write nothing")
    add("--undo", action="store_true", help="put back the predictor as it was before it learned last")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, judge, learn, write, and say what was done."""
    from curveroute.agent.bench.lessons import usable
    from curveroute.agent.ledger import Ledger
    from curveroute.agent.predictor.relearn import relearn
    from curveroute.cli.checks import at_least, share
    from curveroute.cli.onboard import chosen_predictor
    from curveroute.compose import load_settings

    at_least("seed", options.seed, 0)
    share("tolerance", options.tolerance)
    predictor = chosen_predictor(options)
    if options.undo:
        return _undo(predictor)
    _check_place(predictor, options)
    with Ledger.open(load_settings().ledger_url) as ledger:
        found = usable(ledger.scored_runs(options.pool), predictor)
    if _nothing_new(found, predictor):
        print("nothing new: all feedback was learned already")
        return 0
    embedder = _embedder(predictor, options)
    heard, group = _heard(found, embedder)
    exam = None if options.table is None else _exam(predictor, embedder, options)
    came = relearn(predictor, heard, group, exam=exam, seed=options.seed)
    return _finish(came, predictor, found, options)


def _check_place(predictor: Predictor, options: argparse.Namespace) -> None:
    """A shipped predictor is the package's: what is learned goes elsewhere, and nothing that is there is lost."""
    from importlib import resources

    from curveroute.agent.errors import SettingError
    from curveroute.cli.outputs import refuse_taken_folder

    if options.out is not None and not options.dry_run:
        refuse_taken_folder(options.out, overwrite=options.overwrite)
    shipped = Path(str(resources.files("curveroute.pools") / "predictors")).resolve()
    if options.out is None and shipped in Path(predictor.origin_.folder).parents:
        raise SettingError(
            f"{predictor.origin_.folder} is the package's own: give --out FOLDER, and use it with --predictor FOLDER"
        )


def _nothing_new(found: Found, predictor: Predictor) -> bool:
    lessons = predictor.lessons_
    return lessons is not None and all(one.run_id in lessons.runs for one in found.runs)


def _embedder(predictor: Predictor, options: argparse.Namespace) -> Embedder:
    from curveroute.agent.embed import embedder_by_name

    embedder = embedder_by_name(options.embedder or predictor.embedder)
    predictor.check_embedder(embedder.name, embedder.dim)
    return embedder


def _heard(found: Found, embedder: Embedder) -> tuple[Heard, Indices]:
    from curveroute.agent.bench.lessons import heard_of
    from curveroute.agent.settings import load_settings
    from curveroute.cli.bars import embedding

    with embedding() as watch:
        return asyncio.run(heard_of(found.runs, embedder, load_settings().cache_dir / "embeddings", watch))


def _exam(predictor: Predictor, embedder: Embedder, options: argparse.Namespace) -> Exam:
    import sys

    from curveroute.agent.bench.columns import columns_hash, read_columns
    from curveroute.agent.bench.grid import grid_of, merged
    from curveroute.agent.bench.lessons import exam_of
    from curveroute.cli.onboard import embedded

    columns = read_columns(options.table)
    if columns_hash(columns) == predictor.data_hash_:
        said = "was fitted on it, which flatters the old heads: a table that it never saw judges better"
        print(f"note: {options.table.name}: the predictor {said}", file=sys.stderr)
    grid = merged(grid_of(columns))
    return exam_of(grid.embedded(embedded(grid.texts, embedder)), predictor, options.tolerance)


def _undo(predictor: Predictor) -> int:
    from curveroute.agent.predictor.editions import bring_back

    folder = predictor.origin_.folder
    print(f"{folder} is again what {bring_back(folder).name} was; its feedback can be learned again")
    return 0


def _finish(came: Relearned, old: Predictor, found: Found, options: argparse.Namespace) -> int:
    from curveroute.agent.predictor import save_predictor
    from curveroute.agent.predictor.editions import replace_predictor

    _tell(came, old, found)
    if came.objection:
        print(f"refused, nothing was changed: {came.objection}")
        return 1
    if options.dry_run:
        print("it would learn; --dry-run: nothing was written")
    elif options.out is None:
        kept = replace_predictor(came.predictor, old.origin_.folder)
        print(f"learned; written to {old.origin_.folder}, the old one is kept in {kept} (--undo brings it back)")
    else:
        save_predictor(came.predictor, options.out)
        print(f"learned; written to {options.out}, {old.origin_.folder} is as it was")
    return 0


def _tell(came: Relearned, old: Predictor, found: Found) -> None:
    from collections import Counter

    from curveroute.agent.plural import counted

    known = frozenset[str]() if old.lessons_ is None else old.lessons_.runs
    arms = Counter(str(one.arm) for one in found.runs if one.run_id not in known)
    served = ", ".join(f"{arm} ({number})" for arm, number in arms.most_common())
    print(f"{counted(arms.total(), 'new run')} with feedback, served by {served}")
    left = (
        (came.corrected, "score", "learned before and changed since, corrected"),
        (len(known), "run", "learned before"),
        (found.strange, "run", "of models that the predictor does not know"),
        (found.wordless, "run", "without words left to embed"),
        (found.waiting, "run", "left for the next time"),
    )
    for count, noun, what in left:
        if count:
            print(f"{counted(count, noun)} {what}")
    _tell_compared("on feedback not learned from", came.weighed.heads)
    luck, belief = came.weighed.luck, came.weighed.belief
    print(f"  dealt out at random, {luck:.1%} go as well with predictions; the training is believed {belief:g} times")
    if came.exam is not None:
        _tell_compared("on the table", came.exam)


def _tell_compared(where: str, one: Compared) -> None:
    print(
        f"{where}, {one.rows} scores: Brier {one.brier[0]:.4f} → {one.brier[1]:.4f} "
        f"(less by {one.gain:+.4f} ± {one.gain_se:.4f}), log loss {one.log_loss[0]:.4f} → {one.log_loss[1]:.4f}"
    )
