"""`pyrnnfast bench`: time this package against its NumPy reference and the libraries that are installed."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyrnnfast.cli.errors import DebugOption

if TYPE_CHECKING:
    from pyrnnfast.benchmark import Report, Row, Workload

CELLS = {
    "lstm": "lstm",
    "gru": "gru",
    "rnn": "rnn_tanh",
    "rnn_relu": "rnn_relu",
    "gru_reset_before": "gru_reset_before",
    "one_gate_gru": "one_gate_gru",
}
WIDEST = 1000
"""Characters of a line of a table that is not for a terminal."""


def bench(
    threads: Annotated[int, typer.Option(help="Threads of every library; 0: the default of info.")] = 0,
    cell: Annotated[
        list[str] | None, typer.Option(help=f"Only this cell; may be repeated. One of {', '.join(CELLS)}.")
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            help="Which shapes: overview (the default), deepbench, small, streaming, ragged, text, options, "
            "tiny (to try it out), with --bridge cells in place of options, or all (but overview and tiny, "
            "the default of --bridge); may be repeated."
        ),
    ] = None,
    shape: Annotated[
        list[str] | None, typer.Option(metavar="T,N,C,H,L,D", help="This shape; L and D may be left out.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only forward or only training.")] = None,
    bridge: Annotated[
        bool,
        typer.Option("--bridge", help="Measure PyTorch's modules, accelerated, against themselves as is."),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Finish within two minutes: fewer, shorter rows.")
    ] = False,
    memory: Annotated[
        bool | None,
        typer.Option("--memory/--no-memory", help="Measure training's peak memory; default: unless --quick."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there, after each row.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the roofline and the bars against peers there at the end (PNG)."
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    debug: DebugOption = False,
) -> None:
    """Measure speed against PyTorch, Keras, ONNX Runtime, OpenVINO and NumPy, as far as installed.

    Every library gets the same weights and inputs, and its results are held against ours before it is timed.
    With --bridge it is PyTorch's modules after accelerate against the same as they were, and nothing else.
    Ctrl-C ends the run with the rows that are done.
    """
    from pyrnnfast import benchmark, runtime
    from pyrnnfast._figure import figure_class
    from pyrnnfast.benchmark import plots
    from pyrnnfast.training.files import check_writable, write_whole
    from pyrnnfast.validation import MAX_THREADS

    if not 0 <= threads <= MAX_THREADS:
        raise ValueError(f"--threads must be 0 to {MAX_THREADS}, got {threads}")
    if task is not None and task not in benchmark.TASKS:
        raise ValueError(f"--task must be one of {', '.join(benchmark.TASKS)}, got {task}")
    workloads = choose(suite or [], shape or [], cell or [], task, bridge)
    for option, file in {"--json": json_file, "--plot": plot}.items():
        if file is not None and (file.is_dir() or not file.parent.is_dir()):
            raise ValueError(f"{option} must be a file in an existing folder, got {file}")
        if file is not None:
            check_writable(file)
    if json_file is not None and plot is not None and json_file.resolve() == plot.resolve():
        raise ValueError(f"--json and --plot must be two files, got {plot} for both")
    if plot is not None:
        figure_class()
    if bridge:
        importlib.import_module("pyrnnfast.torch")  # raises ImportError, which names the extra, without torch
    pacing = benchmark.QUICK if quick else benchmark.THOROUGH
    peers = benchmark.BRIDGE if bridge else benchmark.PEERS
    report = benchmark.start(threads or runtime.get_num_threads(), pacing, peers, roofline=True)
    try:
        rows = benchmark.measure(report, workloads, memory=not quick if memory is None else memory)
        for _ in shown(rows, sum(len(workload.tasks) for workload in workloads)):
            if json_file is not None:
                content = json.dumps(benchmark.to_json(report), indent=2) + "\n"
                write_whole(json_file, content.encode())
    finally:
        if report.rows:
            try:
                show(report, markdown)
            finally:
                if plot is not None:
                    plots.save(report, plot)


def choose(
    suites: list[str], shapes: list[str], cells: list[str], task: str | None, bridge: bool = False
) -> list[Workload]:
    """Return the workloads that the options name; raise ValueError for a name that is none."""
    from pyrnnfast import benchmark

    offered = [*benchmark.SUITES, *(benchmark.STEPWISE_SUITES if bridge else benchmark.OPTION_SUITES)]
    known = [*offered, "all"]
    for name in suites:
        if name not in known:
            raise ValueError(f"--suite must be one of {', '.join(known)}, got {name}")
    for name in cells:
        if name not in CELLS:
            raise ValueError(f"--cell must be one of {', '.join(CELLS)}, got {name}")
    if not suites and not shapes:
        suites = ["all" if bridge else "overview"]
    if "all" in suites:
        suites = [*suites, *(name for name in offered if name not in ("overview", "tiny"))]
        suites.remove("all")
    chosen = [CELLS[name] for name in cells] or None
    found = [workload for name in dict.fromkeys(suites) for workload in benchmark.suite(name, chosen)]
    try:
        found += benchmark.shape_suite(shapes, chosen)
    except ValueError as error:
        raise ValueError(f"--{error}") from None
    if not found:
        raise ValueError(f"--cell must be one that the suite has, got {', '.join(cells)}")
    if task is not None:
        found = [replace(workload, tasks=(task,)) for workload in found if task in workload.tasks]
    if not found:
        raise ValueError(f"--task must be one that the suite has, got {task}")
    if bridge:
        found = [workload for workload in found if workload.cell in benchmark.BRIDGE[0].cells]
        if not found:
            raise ValueError(f"--cell must be one that PyTorch has, got {', '.join(cells)}")
    return found


def shown(rows: Iterator[Row], total: int) -> Iterator[Row]:
    """Yield the rows, and show on stderr how far it is: a bar on a terminal, else a line for each row."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        done = bar.add_task("measuring", total=total)
        for number, row in enumerate(rows, 1):
            bar.update(done, advance=1, description=f"{row.workload}")
            if not console.is_terminal:
                print(f"{number}/{total} {row.workload} {row.task}", file=sys.stderr, flush=True)
            yield row


def show(report: Report, markdown: bool) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.measure import Measurement

    from pyrnnfast import benchmark

    if markdown:
        typer.echo(benchmark.markdown(report))
        return
    console, tables = Console(), benchmark.rich_tables(report)
    if not sys.stdout.isatty():  # nothing to fit into: let no cell be broken into lines
        options = console.options.update(max_width=WIDEST)
        widest = max(Measurement.get(console, options, table).maximum for table in tables)
        console.width = max(console.width, widest)
    for table in tables:
        console.print(table)
