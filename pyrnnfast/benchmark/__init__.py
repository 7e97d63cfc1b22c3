"""What `pyrnnfast bench` runs: suites of shapes, adapters for the peers, the protocol of timing, the tables.

from pyrnnfast import benchmark
report = benchmark.run(benchmark.suite("overview", ["lstm"]), threads=2)
print(benchmark.markdown(report))
"""

from pyrnnfast.benchmark.case import Case, MismatchError
from pyrnnfast.benchmark.options import OPTIONS, Option
from pyrnnfast.benchmark.peers import BRIDGE, PEERS, Peer, UnsupportedError
from pyrnnfast.benchmark.roofline import Roofline
from pyrnnfast.benchmark.run import Report, Row, measure, run, start
from pyrnnfast.benchmark.shapes import TASKS, Shape, Workload
from pyrnnfast.benchmark.suites import (
    OPTION_SUITES,
    STEPWISE_SUITES,
    SUITES,
    parse_shape,
    shape_suite,
    suite,
)
from pyrnnfast.benchmark.summary import Summary, summarize
from pyrnnfast.benchmark.table import markdown, rich_tables, to_json
from pyrnnfast.benchmark.timing import QUICK, THOROUGH, Pacing, Timing

__all__ = [
    "BRIDGE",
    "OPTIONS",
    "OPTION_SUITES",
    "PEERS",
    "QUICK",
    "STEPWISE_SUITES",
    "SUITES",
    "TASKS",
    "THOROUGH",
    "Case",
    "MismatchError",
    "Option",
    "Pacing",
    "Peer",
    "Report",
    "Roofline",
    "Row",
    "Shape",
    "Summary",
    "Timing",
    "UnsupportedError",
    "Workload",
    "markdown",
    "measure",
    "parse_shape",
    "rich_tables",
    "run",
    "shape_suite",
    "start",
    "suite",
    "summarize",
    "to_json",
]
