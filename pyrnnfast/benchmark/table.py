"""A report as tables for the terminal, as Markdown for a document, and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyrnnfast.benchmark.peers import Ours, OursStream, Plain
from pyrnnfast.benchmark.run import Report, Row, percent
from pyrnnfast.benchmark.summary import ragged_shares, summarize

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = 2
"""Raised when a field of the JSON changes its meaning."""
FEW = 6
"""So many rows that were not measured are named."""
OWN = (OursStream.name, Plain.name)
"""Ours in other ways, of the same version."""
WORDS = 3
"""The first columns of both tables are words, the others numbers."""

Lines = list[list[str]]


def lines(report: Report) -> Lines:
    """Return the rows as text, the columns' names first; a column that would be empty is left out."""
    head = ["cell", "shape", "task", "ms", *report.names]
    head += ["of plain", "best peer", "of limit", "cold ms", "MiB"]
    every = [head, *(_line(report, row) for row in report.rows)]
    kept = [column for column in zip(*every, strict=True) if any(text != "-" for text in column[1:])]
    return [list(line) for line in zip(*kept, strict=True)]


def _line(report: Report, row: Row) -> list[str]:
    ours = row.timings[Ours.name]
    spread = (ours.high - ours.low) / 2
    part = row.of_limit()
    return [
        row.workload.label,
        row.workload.sizes,
        row.task,
        f"{ours.median * 1e3:.3g} ± {float(f'{spread * 1e3:.1g}'):g}",
        *(_speed(row, name) for name in report.names),
        "-" if Plain.name not in row.timings else f"{row.ratio(Ours.name, Plain.name):.2f}x",
        "-" if row.best is None else f"{row.ratio(row.best):.2f}x {row.best}",
        "-" if part is None else f"{percent(part)} {row.bound}",
        f"{row.first[Ours.name] * 1e3:.3g}",
        _memory(row),
    ]


def _speed(row: Row, name: str) -> str:
    if name not in row.timings:
        return "-"
    text = f"{row.gflops(name):.3g}"
    return text if name == Ours.name else f"{text} ({row.ratio(name):.2g}x)"


def _memory(row: Row) -> str:
    if Ours.name not in row.memory:
        return "-"
    ours = row.memory[Ours.name]
    others = [f"{ours / row.memory[name]:.2f} of {name}'s" for name in row.rivals if row.memory.get(name)]
    return f"{ours:.3g}" + (f" ({', '.join(others)})" if others else "")


def summary_lines(report: Report) -> Lines:
    """Return the summary as text, the columns' names first; only that line without anything to compare."""
    summaries = summarize(report)
    labels = list(dict.fromkeys(label for summary in summaries for label in summary.cells))
    every = [["suite", "task", "ratio", *labels, "all", "rows", "worst row"]]
    every += [
        [
            summary.suite or "-",
            summary.task,
            f"{summary.against} / {summary.ours}",
            *(f"{summary.cells[label]:.2f}" if label in summary.cells else "-" for label in labels),
            f"{summary.mean:.2f}",
            f"{summary.rows}",
            f"{summary.worst:.2f}: {summary.worst_row}",
        ]
        for summary in summaries
    ]
    return every


def caption(report: Report) -> str:
    """Say what the figures are and where they come from, and what is not there."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items() if name not in OWN)
    machine = report.machine
    text = (
        "GFLOP/s, higher is better; in parentheses how many times faster pyrnnfast is. "
        f"float32, {report.threads} thread{'s' * (report.threads != 1)}, medians; ms is pyrnnfast's time and "
        "half its interquartile range, cold ms its first call's. Training is forward and backward. "
        f"{machine['processor']}, {machine['system']}, instruction set {machine['isa']}; "
        f"{versions}, Python {machine['python']}; {machine['date']}."
    )
    if report.rooflines:
        text += (
            " Of limit: the part of the speed that the machine allows, and what limits it, arithmetic (FMA) "
            f"or reading. Measured: {'; '.join(map(str, report.rooflines.values()))}."
        )
    if any(row.memory for row in report.rows):
        text += " MiB: the peak of one training call beside weights and input."
    for name, packages in report.absent.items():
        text += f" {name} is not installed (pip install {' '.join(packages)})."
    reasons = Counter((name, reason) for row in report.rows for name, reason in row.skipped.items())
    for (name, reason), count in reasons.items():
        if name in report.names or name not in OWN:
            text += f" {name} {reason} ({count} row{'s' * (count != 1)})."
    reasons = Counter((name, reason) for row in report.rows for name, reason in row.memory_skipped.items())
    for (name, reason), count in reasons.items():
        text += f" {name}'s memory was not measured: {reason} ({count} row{'s' * (count != 1)})."
    for place, share in ragged_shares(report).items():
        text += f" {place} takes {share:.2f} of the padded batch's time."
    for suite, left_out in report.left_out.items():
        if left_out:
            named = (
                f", which --json names: {left_out[0]}, ..."
                if len(left_out) > FEW
                else f": {'; '.join(left_out)}"
            )
            text += f" Of {suite or 'the rows'} {len(left_out)} were not measured{named}."
    return text


def rich_tables(report: Report) -> list[Table]:
    """Return the table for the terminal, and the summary where there is something to compare."""
    from rich.table import Table

    tables = []
    for content, note in ((lines(report), caption(report)), (summary_lines(report), None)):
        if len(content) > 1:
            table = Table(caption=note, caption_justify="left")
            for number, name in enumerate(content[0]):
                table.add_column(name, justify="left" if number < WORDS else "right", overflow="fold")
            for line in content[1:]:
                table.add_row(*line)
            tables.append(table)
    return tables


def markdown(report: Report) -> str:
    """Return the table as Markdown, the caption below it, then the summary."""
    texts = []
    for content in (lines(report), summary_lines(report)):
        head = content[0]
        ruled = [head, ["---"] * WORDS + ["---:"] * (len(head) - WORDS), *content[1:]]
        if len(content) > 1:
            texts.append("\n".join("| " + " | ".join(line) + " |" for line in ruled) + "\n")
    return "\n".join([*texts[:1], f"{caption(report)}\n", *texts[1:]])


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as plain dicts, lists, strings and numbers; times in seconds, memory in MiB.

    "schema", "machine", "versions", "threads", "pacing", "absent", "rooflines" (by instruction set, the
    default first), "left_out" (rows that were not measured, by suite), "ragged" (our time in units of the
    padded batch's), "summary" (see `Summary`), and "rows", each with "suite", "cell", "shape", "uncut" (T
    before it was cut, else 0), "ragged", "streaming", "stepwise", "option", "task", "flops", "limit" (seconds
    at least), "bound" (what limits it), "bounds" (seconds by each), "best" (the fastest peer), "skipped"
    (why, by library), "memory_skipped" (why the memory of a library was not measured), and "results": by
    library median, low, high, calls, first, gflops, ratio, of_limit and memory.
    """
    return {
        "schema": SCHEMA,
        "machine": report.machine,
        "versions": report.versions,
        "threads": report.threads,
        "pacing": asdict(report.pacing),
        "absent": report.absent,
        "rooflines": {isa: asdict(roofline) for isa, roofline in report.rooflines.items()},
        "left_out": report.left_out,
        "ragged": ragged_shares(report),
        "summary": [asdict(summary) for summary in summarize(report)],
        "rows": [_row(row) for row in report.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    workload = row.workload
    return {
        "suite": workload.suite,
        "cell": workload.cell,
        "shape": asdict(workload.shape),
        "uncut": workload.uncut,
        "ragged": workload.ragged,
        "streaming": workload.streaming,
        "stepwise": workload.stepwise,
        "option": workload.option,
        "task": row.task,
        "flops": workload.flops(row.task),
        "limit": row.limit,
        "bound": row.bound,
        "bounds": row.bounds,
        "best": row.best,
        "skipped": row.skipped,
        "memory_skipped": row.memory_skipped,
        "results": {
            name: {
                **asdict(timing),
                "first": row.first[name],
                "gflops": row.gflops(name),
                "ratio": row.ratio(name),
                "of_limit": row.of_limit(name),
                "memory": row.memory.get(name),
            }
            for name, timing in row.timings.items()
        },
    }
