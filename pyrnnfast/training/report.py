"""What a run leaves to look at: a CSV of its losses, a row for each step, and a plot of them."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, fields
from typing import IO

from pyrnnfast._figure import figure_class, png
from pyrnnfast.training.files import Location, resolve, write_whole


@dataclass
class Row:
    """One step. Losses are means over the batch; in nats for a language model."""

    step: int
    tokens: int
    seconds: float
    learning_rate: float
    gradient_norm: float
    loss: float
    valid_loss: float | None = None


COLUMNS = tuple(field.name for field in fields(Row))


class History:
    """The rows of a run, kept in memory and, given a file, written there.

    location: the CSV; None for memory only. resume_at: keep the rows of a file that is there up to this step
    (and drop a validation that only the end of the earlier run made); None starts anew.
    Numbers are written so that reading them gives the same bits.
    """

    def __init__(
        self, location: Location | None = None, resume_at: int | None = None, valid_every: int | None = None
    ) -> None:
        self.rows: list[Row] = []
        self._file: IO[str] | None = None
        if resume_at is not None and location is not None and os.path.exists(location):
            self.rows = [row for row in read_csv(location) if row.step <= resume_at]
            if valid_every and self.rows and self.rows[-1].step % valid_every:
                self.rows[-1].valid_loss = None
        self._location = location
        self._written = 0

    def add(self, row: Row) -> None:
        """Take up a row; `flush` writes it."""
        self.rows.append(row)

    def flush(self) -> None:
        """Bring the file up to date."""
        if self._location is None:
            return
        if self._file is None:
            write_whole(self._location, _lines([COLUMNS, *map(_cells, self.rows)]).encode())
            self._file = open(resolve(self._location), "a", encoding="utf-8", newline="")  # noqa: SIM115
        else:
            self._file.write(_lines(map(_cells, self.rows[self._written :])))
            self._file.flush()
        self._written = len(self.rows)

    def close(self) -> None:
        """Write the rest of the rows and close the file; there is none if there was no `flush`."""
        if self._file is not None:
            self.flush()
            self._file.close()
            self._file = None


def _cells(row: Row) -> list[str]:
    values = (getattr(row, name) for name in COLUMNS)
    return ["" if value is None else repr(value) for value in values]


def _lines(rows: object) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)  # type: ignore[arg-type]
    return text.getvalue()


def read_csv(location: Location) -> list[Row]:
    """Read the rows of a CSV of losses; what is no such row (a cut last line) is left out.

    Raises OSError when it cannot be read, ValueError when it is no such file.
    """
    rows: list[Row] = []
    with open(location, encoding="utf-8", newline="") as file:
        try:
            lines = csv.reader(file)
            if tuple(next(lines, ())) != COLUMNS:
                raise ValueError(f"{location}: must be a CSV with the columns {', '.join(COLUMNS)}")
            for cells in lines:
                row = _parse(cells)
                if row is not None and (not rows or row.step > rows[-1].step):
                    rows.append(row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{location}: is no CSV of losses ({error})") from None
    return rows


def _parse(cells: list[str]) -> Row | None:
    try:
        step, tokens, *numbers, valid = cells
        seconds, rate, norm, loss = map(float, numbers)
        return Row(int(step), int(tokens), seconds, rate, norm, loss, float(valid) if valid else None)
    except ValueError:
        return None


def plot(rows: list[Row], location: Location, title: str = "", per: str = "token") -> bool:
    """Draw the losses over the steps into a PNG, written whole or not at all.

    per: what the losses are means over.
    Returns False, and does nothing, when matplotlib is not installed. Raises OSError when location cannot be
    written.
    """
    try:
        figure = figure_class()(figsize=(7, 4.5), layout="constrained")
    except ImportError:
        return False
    axes = figure.add_subplot(xlabel="step", ylabel=f"loss, nats per {per}")
    axes.set_title(title, parse_math=False)
    stride = max(1, len(rows) // 400)
    means = [rows[i : i + stride] for i in range(0, len(rows), stride)]
    axes.plot(
        [part[-1].step for part in means],
        [sum(row.loss for row in part) / len(part) for part in means],
        label="training" if stride == 1 else f"training, means of {stride} steps",
        linewidth=1,
    )
    checked = [(row.step, row.valid_loss) for row in rows if row.valid_loss is not None]
    if checked:
        axes.plot(*zip(*checked, strict=True), "o-", markersize=3, label="held out")
    axes.grid(alpha=0.3)
    axes.legend()
    write_whole(location, png(figure))
    return True
