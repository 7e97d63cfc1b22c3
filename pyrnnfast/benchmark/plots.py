"""A report as a picture: its rows under the machine's roofline, and how far ahead of the peers they are."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrnnfast._figure import figure_class, png
from pyrnnfast.benchmark import roofline as limits
from pyrnnfast.benchmark.peers import Ours
from pyrnnfast.benchmark.roofline import Roofline
from pyrnnfast.benchmark.run import Report, percent
from pyrnnfast.benchmark.shapes import LABELS, TASKS
from pyrnnfast.training.files import Location, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

WIDTH, ROOF_HEIGHT, ROW_HEIGHT, MARGIN = 11.0, 6.0, 0.21, 1.4
"""Inches."""
GREY = "0.55"
MARKERS = dict(zip(TASKS, "os", strict=True))
COLOURS = {cell: f"C{number}" for number, cell in enumerate(LABELS)}
PEER_MARKERS = "Dv^<>pXP*hd"


def save(report: Report, path: Location) -> None:
    """Draw a report into a PNG: its roofline with our rows and the best peer's, and the ratios to all peers.

    path: written whole or not at all. Without a roofline in the report only the ratios are drawn.
    Raises ImportError as `figure_class` does, OSError when path cannot be written.
    """
    roofline = report.roofline
    heights = [ROOF_HEIGHT] * (roofline is not None) + [MARGIN + ROW_HEIGHT * len(report.rows)]
    figure = figure_class()(figsize=(WIDTH, sum(heights)), layout="constrained")
    figures = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if roofline is not None:
        _draw_roofline(figures[0].add_subplot(), report, roofline)
    _draw_ratios(figures[-1].add_subplot(), report)
    write_whole(path, png(figure))


def _draw_roofline(axes: Axes, report: Report, roofline: Roofline) -> None:
    axes.set(xscale="log", yscale="log", ylabel="GFLOP/s")
    axes.set_title(_title(report), fontsize=9)
    _plain_numbers(axes.xaxis, axes.yaxis)
    axes.set_xlabel("operations per byte of weights streamed (W_hh once a step, W_ih once)")
    left = roofline.peak / max(roofline.bandwidth.values()) / 2
    points = [limits.intensity(row.workload, row.task, roofline.dtype) for row in report.rows]
    left, right = min([left, *points]) / 1.3, max([8 * left, *points]) * 1.3
    style: dict[str, Any] = {"color": "0.35", "linewidth": 1, "zorder": 1}
    text: dict[str, Any] = {"fontsize": 8, "color": "0.25", "ha": "left"}
    axes.plot([left, right], [roofline.peak] * 2, **style)
    axes.text(right, roofline.peak * 1.06, f"FMA {roofline.peak:.0f} GFLOP/s", **{**text, "ha": "right"})
    for place, (level, rate) in enumerate(roofline.bandwidth.items()):
        end = roofline.peak / rate
        axes.plot([left, end], [left * rate, roofline.peak], **style)
        x = left * (end / left) ** (0.02 + 0.15 * place)
        text |= {"rotation": math.degrees(math.atan(rate)), "transform_rotates_text": True}
        axes.text(x, 1.04 * rate * x, f"{level} {rate:.0f} GB/s", rotation_mode="anchor", **text)
    for row, x in zip(report.rows, points, strict=True):
        colour, peer = COLOURS[row.workload.cell], row.best
        if peer is not None:
            theirs = row.gflops(peer)
            axes.plot([x, x], [theirs, row.gflops(Ours.name)], color=colour, linewidth=0.8, alpha=0.5)
            axes.plot(x, theirs, MARKERS[row.task], color=GREY, fillstyle="none", markersize=5)
        axes.plot(x, row.gflops(Ours.name), MARKERS[row.task], color=colour, markersize=5)
    axes.set_xlim(left, right)
    axes.grid(True, which="major", color="0.9")
    kinds = {(row.workload.cell, row.task): None for row in report.rows}
    for cell, task in kinds:
        axes.plot([], [], MARKERS[task], color=COLOURS[cell], label=f"{LABELS[cell]}, {task}")
    axes.plot([], [], "o", color=GREY, fillstyle="none", label="best peer of a row")
    axes.legend(fontsize=8)


def _draw_ratios(axes: Axes, report: Report) -> None:
    rows, peers = report.rows, [name for name in report.names if name != Ours.name]
    axes.set(xscale="log", xlabel="times as fast as the peer")
    axes.text(
        1.01,
        1,
        "best peer" + ", limit" * bool(report.rooflines),
        transform=axes.transAxes,
        fontsize=7,
        va="bottom",
    )
    _plain_numbers(axes.xaxis)
    if not report.rooflines:
        axes.set_title(_title(report), fontsize=9, pad=24)
    for y, row in enumerate(rows):
        ratio = 1.0 if row.best is None else row.ratio(row.best)
        axes.barh(y, ratio - 1, left=1, height=0.7, color=COLOURS[row.workload.cell], alpha=0.45)
        part = row.of_limit()
        note = "" if row.best is None else f"{ratio:.2f}x"
        note += "" if part is None else f"  {percent(part)} of {row.bound}"
        axes.annotate(
            note,
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
            annotation_clip=False,
        )
    for marker, name in zip(itertools.cycle(PEER_MARKERS), peers):
        found = [(row.ratio(name), y) for y, row in enumerate(rows) if name in row.timings]
        axes.plot(
            *np.array(found).reshape(-1, 2).T, marker, color="0.2", markersize=4, linestyle="", label=name
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{row.workload}, {row.task}" for row in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(True, axis="x", color="0.92")
    axes.set_axisbelow(True)
    if peers:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(peers), fontsize=8, frameon=False)


def _plain_numbers(*log_axes: Axis) -> None:
    from matplotlib.ticker import LogLocator

    for axis in log_axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")


def _title(report: Report) -> str:
    machine = report.machine
    head = f"{machine['processor']}, {machine['isa']}, {report.threads} thread{'s' * (report.threads != 1)}"
    return "\n".join([head, *map(str, report.rooflines.values())])
