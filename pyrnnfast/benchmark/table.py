"""A report as a table for the terminal, as Markdown for a document, and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyrnnfast.benchmark.peers import Ours
from pyrnnfast.benchmark.run import Report, Row
from pyrnnfast.benchmark.shapes import LABELS

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = 1
"""Raised when a field of the JSON changes its meaning."""
TASK_NAMES = {"forward": "forward", "training": "forward + backward"}


def header(report: Report) -> list[str]:
    """Return the columns' names."""
    return ["cell", "shape", "task", "ms", *report.names]


def cells(report: Report, row: Row) -> list[str]:
    """Return one row: our time and spread, and each library's GFLOP/s with its time in units of ours."""
    ours = row.timings[Ours.name]
    spread = (ours.high - ours.low) / 2
    return [
        LABELS[row.workload.cell],
        str(row.workload.shape),
        TASK_NAMES[row.task],
        f"{ours.median * 1e3:.3g} ± {float(f'{spread * 1e3:.1g}'):g}",
        *(_speed(row, name) for name in report.names),
    ]


def _speed(row: Row, name: str) -> str:
    if name not in row.timings:
        return "-"
    text = f"{row.gflops(name):.3g}"
    return text if name == Ours.name else f"{text} ({row.ratio(name):.2g}x)"


def caption(report: Report) -> str:
    """Say what the figures are and where they come from."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    machine = report.machine
    text = (
        "GFLOP/s, higher is better; in parentheses how many times faster pyrnnfast is. "
        f"float32, {report.threads} thread{'s' * (report.threads != 1)}, medians; ms is pyrnnfast's time and "
        f"half its interquartile range. {machine['processor']}, {machine['system']}, "
        f"instruction set {machine['isa']}; {versions}, Python {machine['python']}; {machine['date']}."
    )
    for name, packages in report.absent.items():
        text += f" {name} is not installed (pip install {' '.join(packages)})."
    return text


def rich_table(report: Report) -> Table:
    """Return the table for the terminal."""
    from rich.table import Table

    table = Table(caption=caption(report), caption_justify="left")
    for number, name in enumerate(header(report)):
        table.add_column(name, justify="left" if number < 3 else "right", overflow="fold")
    for row in report.rows:
        table.add_row(*cells(report, row), end_section=row.task == row.workload.tasks[-1])
    return table


def markdown(report: Report) -> str:
    """Return the table as Markdown, the caption below it."""
    head = header(report)
    lines = [head, ["---"] * 3 + ["---:"] * (len(head) - 3)]
    lines += [cells(report, row) for row in report.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{caption(report)}\n"


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as plain dicts, lists, strings and numbers; times in seconds.

    "schema", "machine", "versions", "threads", "pacing", "absent", and "rows", each with "cell", "shape",
    "task", "flops" and "results": by library's name median, low, high, calls, first, gflops and ratio.
    """
    return {
        "schema": SCHEMA,
        "machine": report.machine,
        "versions": report.versions,
        "threads": report.threads,
        "pacing": asdict(report.pacing),
        "absent": report.absent,
        "rows": [
            {
                "cell": row.workload.cell,
                "shape": asdict(row.workload.shape),
                "task": row.task,
                "flops": row.workload.flops(row.task),
                "results": {
                    name: {
                        **asdict(timing),
                        "first": row.first[name],
                        "gflops": row.gflops(name),
                        "ratio": row.ratio(name),
                    }
                    for name, timing in row.timings.items()
                },
            }
            for row in report.rows
        ],
    }
