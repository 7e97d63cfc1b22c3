"""Logs for TensorBoard: which points they have, and that they need their extra."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import require

from pyrnnfast.models import TextClassifier
from pyrnnfast.training import TensorBoard


def test_it_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'pip install "pyrnnfast\[tensorboard\]"'):
        TensorBoard(tmp_path)


def test_there_is_a_point_every_ten_steps_and_one_each_validation(tmp_path: Path) -> None:
    require("tensorboardX")
    for bad in (0, 1.5):
        with pytest.raises((TypeError, ValueError), match="every must be"):
            TensorBoard(tmp_path, bad)  # type: ignore[arg-type]
    texts, labels = ["ab", "cd", "b"] * 10, ["x", "y", "x"] * 10
    network = TextClassifier.from_examples(texts, labels, hidden=2, embedding=2, rng=0)
    log = TensorBoard(tmp_path / "log")
    network.fit(texts, labels, steps=25, batch=9, valid_every=6, callbacks=[log])
    (file,) = (tmp_path / "log").iterdir()
    content = file.read_bytes()
    assert content.count(b"learning_rate") == 2
    assert content.count(b"valid_loss") == 5


def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    require("tensorboardX")
    TensorBoard(tmp_path / "new" / "log")
    assert list((tmp_path / "new" / "log").iterdir()) == []
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "log"):
        with pytest.raises(OSError, match="file"):
            TensorBoard(bad)
