"""What a report comes to: for each suite and task the geometric mean of the ratios, and the worst row."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pyrnnfast.benchmark.peers import Ours, OursStream, PyTorch
from pyrnnfast.benchmark.run import Report, Row
from pyrnnfast.benchmark.shapes import LABELS, TASKS, Workload

BEST = "best peer"


@dataclass(frozen=True)
class Summary:
    """How many times faster one of ours is over the rows of a suite, by geometric means.

    suite, task: whose rows. ours: which of ours. against: "best peer", which is each row's own, or a
    library's name. rows: how many have such a peer. cells: the mean of each cell's rows, by its label. mean:
    that of all rows. worst: the smallest ratio. worst_row: where it is.
    """

    suite: str
    task: str
    ours: str
    against: str
    rows: int
    cells: dict[str, float]
    mean: float
    worst: float
    worst_row: str


def summarize(report: Report) -> list[Summary]:
    """Summarize inference against the best peer of each row, and training against PyTorch.

    A padded row beside a ragged one is there to be compared with that, and is left out.
    """
    found = []
    ragged = {_padded(row) for row in report.rows if row.workload.ragged}
    for suite in dict.fromkeys(row.workload.suite for row in report.rows):
        for task in TASKS:
            rows = [
                row
                for row in report.rows
                if (row.workload.suite, row.task) == (suite, task) and (row.workload, row.task) not in ragged
            ]
            for ours in (Ours.name, OursStream.name):
                against = BEST if task == "forward" else PyTorch.name
                compared = [row for row in rows if ours in row.timings and _peer(row, against)]
                if compared:
                    found.append(_summary(suite, task, ours, against, compared))
    return found


def _peer(row: Row, against: str) -> str | None:
    return row.best if against == BEST else against if against in row.timings else None


def _summary(suite: str, task: str, ours: str, against: str, rows: list[Row]) -> Summary:
    ratios = [(row.ratio(_peer(row, against) or "", ours), row) for row in rows]
    worst, worst_row = min(ratios, key=lambda pair: pair[0])
    cells = {
        LABELS[cell]: geometric_mean(ratio for ratio, row in ratios if row.workload.cell == cell)
        for cell in dict.fromkeys(row.workload.cell for row in rows)
    }
    mean = geometric_mean(ratio for ratio, _ in ratios)
    place = f"{worst_row.workload}, {_peer(worst_row, against)}"
    return Summary(suite, task, ours, against, len(rows), cells, mean, worst, place)


def ragged_shares(report: Report) -> dict[str, float]:
    """Return for each ragged row that a padded one goes with our time in units of the padded one's."""
    padded = {(row.workload, row.task): row for row in report.rows}
    shares = {}
    for row in report.rows:
        other = padded.get(_padded(row))
        if row.workload.ragged and other is not None:
            time = row.timings[Ours.name].median / other.timings[Ours.name].median
            shares[f"{row.workload} {row.task}"] = time
    return shares


def _padded(row: Row) -> tuple[Workload, str]:
    return replace(row.workload, ragged=False), row.task


def geometric_mean(ratios: Iterable[float]) -> float:
    """Return the n-th root of the product of n positive numbers, at least one."""
    logarithms = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logarithms) / len(logarithms))
