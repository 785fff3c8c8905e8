"""Learning in place keeps what was, and every step of it can be taken back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curveroute.agent.errors import PredictorError
from curveroute.agent.predictor import Predictor, editions, load_predictor, save_predictor
from curveroute.agent.predictor.editions import bring_back, replace_predictor
from curveroute.agent.types import Arm, ModelId

if TYPE_CHECKING:
    from pathlib import Path


def a_predictor(bias: float = 0.0) -> Predictor:
    rng = np.random.default_rng(0)
    quality = rng.random((30, 1))
    made = Predictor(embedder="e").fit(
        rng.normal(size=(30, 3)), quality, quality, cost_usd=quality, arms=[Arm(ModelId("m"), 16)]
    )
    made.heads_ = replace(made.heads_, bias=made.heads_.bias + np.float32(bias))
    return made


def bias_of(folder: Path) -> float:
    return round(float(load_predictor(folder).heads_.bias[0] - a_predictor().heads_.bias[0]), 5)


def test_each_step_is_kept_beside_and_taken_back_in_turn(tmp_path: Path) -> None:
    folder = save_predictor(a_predictor(), tmp_path / "mine")
    (tmp_path / "mine.before-x").mkdir()  # not an edition
    kept = [replace_predictor(a_predictor(step), folder) for step in (1.0, 2.0)]
    assert [one.name for one in kept] == ["mine.before-1", "mine.before-2"] == [
        one.name for one in editions.editions(folder)
    ]  # fmt: skip
    assert [bias_of(one) for one in (*kept, folder)] == [0.0, 1.0, 2.0]
    assert bring_back(folder) == kept[1]
    assert bias_of(folder) == 1.0
    bring_back(folder)
    assert bias_of(folder) == 0.0
    with pytest.raises(PredictorError, match="no earlier edition"):
        bring_back(folder)


def test_ten_editions_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = save_predictor(a_predictor(), tmp_path / "mine")
    for number in (9, 10):
        shutil.copytree(folder, tmp_path / f"mine.before-{number}")
    assert replace_predictor(a_predictor(1.0), folder).name == "mine.before-11"


def test_a_full_disk_leaves_the_old_predictor_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_predictor(a_predictor(), tmp_path / "mine")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", full)
        with pytest.raises(PredictorError, match=r"cannot be kept beside .*No space left"):
            replace_predictor(a_predictor(1.0), folder)
    with monkeypatch.context() as patch:
        patch.setattr("curveroute.agent.predictor.store._write", full)
        with pytest.raises(PredictorError, match="No space left"):
            replace_predictor(a_predictor(1.0), folder)
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]
    assert bias_of(folder) == 0.0


def test_a_damaged_edition_is_not_brought_back(tmp_path: Path) -> None:
    folder = save_predictor(a_predictor(), tmp_path / "mine")
    kept = replace_predictor(a_predictor(1.0), folder)
    (kept / "weights.safetensors").write_bytes(b"")
    with pytest.raises(PredictorError, match="damaged"):
        bring_back(folder)
    assert bias_of(folder) == 1.0
