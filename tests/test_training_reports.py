"""What a run goes by and what it leaves: budgets and learning rates, the CSV, the plot."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pyrnnfast import training
from pyrnnfast.training import Budget, History, Row, report


def test_learning_rates() -> None:
    steps = Budget(steps=100)
    assert steps.learning_rate(1.0, 0, 0.0) == 1 / 20
    assert steps.learning_rate(1.0, 3000, 0.5) == Budget(steps=9).learning_rate(1.0, 3000, 0.5) == 0.5
    timed = Budget(minutes=2)
    assert timed.fraction(7, 60.0) == 0.5
    assert timed.fraction(7, 55.0, reserve=10.0) == 0.5
    assert timed.fraction(0, 0.0, reserve=1000.0) == 1.0
    assert timed.learning_rate(1.0, 100, 0.0) == 1.0
    assert timed.learning_rate(1.0, 100, 1.0) == pytest.approx(0.05)


def test_csv_comes_back_to_the_bit(tmp_path: Path) -> None:
    rows = [Row(1, 32, 0.1, 1 / 3, math.inf, 2.0 / 3), Row(2, 64, 0.2, 1e-300, math.nan, 0.1, 1 / 7)]
    history = History(tmp_path / "h.csv")
    for row in rows:
        history.add(row)
        history.flush()
    history.close()
    assert repr(training.read_csv(tmp_path / "h.csv")) == repr(rows)
    assert (tmp_path / "h.csv").read_text().splitlines()[0] == ",".join(report.COLUMNS)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="must be a CSV with the columns step, tokens"):
        History(tmp_path / "other.csv", resume_at=3)
    (tmp_path / "other.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is no CSV"):
        training.read_csv(tmp_path / "other.csv")


def test_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(n, n, 0.0, 0.1, 1.0, 1 / n, 0.5 if n % 100 == 0 else None) for n in range(1, 1000)]
    pytest.importorskip("matplotlib")
    for some in (rows, rows[:1], []):
        assert training.plot(some, tmp_path / "p.png", title=r"a$\frac$語")
        assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert not training.plot(rows, tmp_path / "absent.png")
    assert not (tmp_path / "absent.png").exists()
