"""`pyrnnfast bench`: time this package against its NumPy reference and the libraries that are installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pyrnnfast.cli.errors import DebugOption

CELLS = {
    "lstm": "lstm",
    "gru": "gru",
    "rnn": "rnn_tanh",
    "rnn_relu": "rnn_relu",
    "gru_reset_before": "gru_reset_before",
}
WIDEST = 1000
"""Characters of a line of a table that is not for a terminal."""


def bench(
    threads: Annotated[int, typer.Option(help="Threads of every library; 0: the default of info.")] = 0,
    cell: Annotated[
        list[str] | None, typer.Option(help=f"Only this cell; may be repeated. One of {', '.join(CELLS)}.")
    ] = None,
    suite: Annotated[str, typer.Option(help="Which shapes: overview, or tiny to try it out.")] = "overview",
    quick: Annotated[bool, typer.Option("--quick", help="Measure for a shorter time.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there too.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    debug: DebugOption = False,
) -> None:
    """Measure speed against the NumPy reference, PyTorch and ONNX Runtime, as far as they are installed.

    Every library gets the same weights and inputs, and its results are held against ours before it is timed.
    """
    from rich.console import Console
    from rich.measure import Measurement
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pyrnnfast import benchmark, runtime
    from pyrnnfast.training.files import check_writable, write_whole
    from pyrnnfast.validation import MAX_THREADS

    if not 0 <= threads <= MAX_THREADS:
        raise ValueError(f"--threads must be 0 to {MAX_THREADS}, got {threads}")
    if suite not in benchmark.SUITES:
        raise ValueError(f"--suite must be one of {', '.join(benchmark.SUITES)}, got {suite}")
    if json_file is not None and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise ValueError(f"--json must be a file in an existing folder, got {json_file}")
    if json_file is not None:
        check_writable(json_file)
    unknown = [name for name in cell or () if name not in CELLS]
    if unknown:
        raise ValueError(f"--cell must be one of {', '.join(CELLS)}, got {unknown[0]}")
    workloads = benchmark.suite(suite, [CELLS[name] for name in cell] if cell else None)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        done = bar.add_task("measuring", total=sum(len(workload.tasks) for workload in workloads))
        report = benchmark.run(
            workloads,
            threads or runtime.get_num_threads(),
            benchmark.QUICK if quick else benchmark.THOROUGH,
            progress=lambda row: bar.update(done, advance=1, description=f"{row.workload}"),
        )
    if markdown:
        typer.echo(benchmark.markdown(report))
    else:
        console, table = Console(), benchmark.rich_table(report)
        if not sys.stdout.isatty():  # nothing to fit into: let no cell be broken into lines
            widest = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
            console.width = max(console.width, widest)
        console.print(table)
    if json_file is not None:
        write_whole(json_file, (json.dumps(benchmark.to_json(report), indent=2) + "\n").encode())
